"""Disruption budgets over daemon pods, and evictions under them."""

from __future__ import annotations

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.podrequests import evict as evict_pod
from rollout.sim.resources import PDBS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import ON_DELETE, SmallWorld, terminating


def budget(world: SmallWorld, **spec: object) -> Object:
    selector = {"matchLabels": {"app": "agent"}}
    body = {"metadata": {"name": "b"}, "spec": {"selector": selector, **spec}}
    world.registry.create(PDBS, "default", body, ADMIN)
    world.wait(1)
    return world.get(PDBS, "b")


def evict(world: SmallWorld, node: str) -> None:
    name = world.pod_on(node)["metadata"]["name"]
    evict_pod(world.registry, "default", name, ADMIN)


@pytest.fixture
def world() -> SmallWorld:
    return SmallWorld(3, strategy=ON_DELETE)


def test_a_count_of_pods_is_kept(world: SmallWorld) -> None:
    status = budget(world, minAvailable=2)["status"]
    assert status["expectedPods"] == status["currentHealthy"] == 3
    assert (status["desiredHealthy"], status["disruptionsAllowed"]) == (2, 1)
    (condition,) = status["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "SufficientPods")


def test_an_eviction_uses_the_budget_up_until_the_pod_is_back(world: SmallWorld) -> None:
    budget(world, minAvailable=2)
    evict(world, "n0")
    with pytest.raises(StatusError) as refused:
        evict(world, "n1")
    assert refused.value.code == 429
    world.wait(0.1)
    assert world.get(PDBS, "b")["status"]["currentHealthy"] == 2
    world.wait(10)
    evict(world, "n1")
    assert terminating(world.pod_on("n1"))


@pytest.mark.parametrize("spec", [{"maxUnavailable": 1}, {"minAvailable": "50%"}])
def test_daemon_sets_have_no_scale_so_percentages_allow_nothing(
    world: SmallWorld, spec: dict[str, object]
) -> None:
    status = budget(world, **spec)["status"]
    (condition,) = status["conditions"]
    assert status["disruptionsAllowed"] == 0
    assert condition["reason"] == "SyncFailed"
    assert condition["message"] == "daemonsets.apps does not implement the scale subresource"
    with pytest.raises(StatusError) as refused:
        evict(world, "n0")
    assert refused.value.code == 429
    assert "CalculateExpectedPodCountFailed" in world.reasons()


def test_the_controller_s_own_deletions_ignore_budgets(world: SmallWorld) -> None:
    budget(world, minAvailable=3)
    world.change({"updateStrategy": {"type": "RollingUpdate"}})
    world.set_image("agent:v2")
    world.wait(20)
    assert world.images() == {f"n{i}": ["agent:v2"] for i in range(3)}


def test_an_unready_pod_is_not_healthy(world: SmallWorld) -> None:
    world.fault("agent:v1@n0", "never-ready")
    status = budget(world, minAvailable=2)["status"]
    assert (status["currentHealthy"], status["disruptionsAllowed"]) == (2, 0)
    assert status["conditions"][0]["reason"] == "InsufficientPods"


def test_a_budget_over_nothing_allows_nothing(world: SmallWorld) -> None:
    body = {
        "metadata": {"name": "none"},
        "spec": {"selector": {"matchLabels": {"no": "where"}}, "minAvailable": 0},
    }
    world.registry.create(PDBS, "default", body, ADMIN)
    world.wait(1)
    status = world.get(PDBS, "none")["status"]
    assert (status["expectedPods"], status["disruptionsAllowed"]) == (0, 0)
    assert "NoPods" in world.reasons()
