"""Evictions from nodes with NoExecute taints."""

from __future__ import annotations

import math

import pytest

from rollout.sim.controllers.tainteviction import tolerated_for
from rollout.sim.resources import PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import SmallWorld

TAINT = {"key": "k", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("taints", "tolerations", "seconds"),
    [
        ([], [], math.inf),
        ([{"key": "k", "effect": "NoSchedule"}], [], math.inf),
        ([TAINT], [], 0),
        ([TAINT], [{"key": "k", "operator": "Exists"}], math.inf),
        ([TAINT], [{"key": "k", "operator": "Exists", "tolerationSeconds": 60}], 60),
        ([TAINT], [{"key": "k", "operator": "Exists", "tolerationSeconds": -5}], 0),
        ([TAINT, {"key": "z", "effect": "NoExecute"}], [{"key": "k", "operator": "Exists"}], 0),
        ([TAINT], [{"operator": "Exists"}], math.inf),
    ],
)
def test_how_long_a_pod_may_stay(
    taints: list[Object], tolerations: list[Object], seconds: float
) -> None:
    assert tolerated_for(taints, tolerations) == seconds


def plain_pod(world: SmallWorld) -> None:
    spec = {"nodeName": "n0", "containers": [{"name": "c", "image": "x"}]}
    world.registry.create(PODS, "default", {"metadata": {"name": "plain"}, "spec": spec}, ADMIN)
    world.wait(5)


def test_an_ordinary_pod_leaves_a_dead_node_after_five_minutes_and_a_daemon_pod_stays() -> None:
    world = SmallWorld(1)
    plain_pod(world)
    world.cluster.lose_node("n0")
    world.wait(50 + 295)
    assert "deletionTimestamp" not in world.get(PODS, "plain")["metadata"]
    world.wait(10)
    assert "deletionTimestamp" in world.get(PODS, "plain")["metadata"]
    (daemon,) = (p for p in world.pods() if p["metadata"]["name"] != "plain")
    assert "deletionTimestamp" not in daemon["metadata"]


def test_a_node_that_recovers_in_time_keeps_its_pods() -> None:
    world = SmallWorld(1)
    plain_pod(world)
    world.cluster.lose_node("n0")
    world.wait(200)
    world.cluster.restore_node("n0")
    world.wait(600)
    assert "deletionTimestamp" not in world.get(PODS, "plain")["metadata"]


def test_an_untolerated_taint_evicts_at_once() -> None:
    world = SmallWorld(1)
    plain_pod(world)
    world.taint("n0", "NoExecute")
    world.wait(1)
    assert world.store.get(PODS, ("default", "plain")) is None
    assert "TaintManagerEviction" in world.reasons()
