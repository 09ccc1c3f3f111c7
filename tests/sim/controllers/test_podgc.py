"""Pods whose node is gone or given up."""

from __future__ import annotations

import pytest

from rollout.sim.resources import PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import ON_DELETE, SmallWorld, terminating


def test_pods_of_a_removed_node_are_failed_and_deleted_after_forty_to_sixty_seconds() -> None:
    world = SmallWorld(2)
    last: list[Object] = []
    world.store.subscribe(PODS, lambda e: last.append(e.object) if e.type == "DELETED" else None)
    world.wait(7)
    world.cluster.remove_node("n0")
    took = world.until(lambda: bool(last))
    assert 40 <= took <= 61
    (ended,) = last
    assert ended["status"]["phase"] == "Failed"
    condition = ended["status"]["conditions"][-1]
    assert (condition["type"], condition["reason"]) == ("DisruptionTarget", "DeletionByPodGC")
    assert condition["message"] == "PodGC: node no longer exists"
    world.wait(1)
    assert world.status()["desiredNumberScheduled"] == 1


def test_a_node_that_comes_back_within_the_quarantine_keeps_its_pods() -> None:
    world = SmallWorld(2)
    pod = world.pod_on("n0")
    world.cluster.remove_node("n0")
    world.wait(15)
    world.cluster.join_node("n0")
    world.wait(120)
    assert pod["metadata"]["uid"] in {p["metadata"]["uid"] for p in world.pods()}


def test_an_out_of_service_node_loses_its_terminating_pods() -> None:
    world = SmallWorld(2, strategy=ON_DELETE)
    world.cluster.lose_node("n0")
    world.wait(120)
    world.taint("n0", "NoExecute", "node.kubernetes.io/out-of-service")
    world.wait(1)
    assert terminating(world.pod_on("n0"))  # the DaemonSet controller's doing
    took = world.until(lambda: not world.pods_on("n0"))
    assert took <= 21


def test_a_pod_that_ends_before_it_was_bound_is_removed() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    body = {
        "metadata": {"name": "stray", "finalizers": ["a.b/keep"]},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "c", "image": "x"}],
        },
    }
    world.registry.create(PODS, "default", body, ADMIN)
    world.delete_pod(world.get(PODS, "stray"))
    world.patch(PODS, "stray", {"metadata": {"finalizers": None}})
    world.wait(30)
    assert "stray" not in {pod["metadata"]["name"] for pod in world.pods()}


def test_it_sleeps_while_there_is_nothing_to_look_at() -> None:
    world = SmallWorld(3)
    world.wait(10)
    before = world.clock.executed
    world.wait(7200)
    assert world.clock.executed - before == pytest.approx(0, abs=5)
