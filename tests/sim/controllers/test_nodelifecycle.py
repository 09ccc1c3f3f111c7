"""What becomes of nodes that are not well, and of the pods on them."""

from __future__ import annotations

import pytest

from rollout.sim.controllers.nodelifecycle import wanted_taints
from rollout.sim.resources import NODES
from rollout.sim.store import Object
from tests.sim.smallworld import SmallWorld, is_ready

PREFIX = "node.kubernetes.io"


def node(ready: str, *others: tuple[str, str], **spec: object) -> Object:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    conditions += [{"type": type_, "status": status} for type_, status in others]
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}


def taints(obj: Object) -> list[tuple[str, str]]:
    return [
        (taint["key"].removeprefix(f"{PREFIX}/"), taint["effect"])
        for taint in wanted_taints(obj, "now")
    ]


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (node("True"), []),
        (node("False"), [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]),
        (node("Unknown"), [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]),
        (node("True", ("MemoryPressure", "True")), [("memory-pressure", "NoSchedule")]),
        (node("True", ("DiskPressure", "True")), [("disk-pressure", "NoSchedule")]),
        (node("True", ("PIDPressure", "True")), [("pid-pressure", "NoSchedule")]),
        (node("True", ("NetworkUnavailable", "True")), [("network-unavailable", "NoSchedule")]),
        (node("True", ("MemoryPressure", "Unknown")), []),
        (node("True", unschedulable=True), [("unschedulable", "NoSchedule")]),
    ],
)
def test_conditions_and_cordons_become_taints(obj: Object, expected: list[tuple[str, str]]) -> None:
    assert taints(obj) == expected


def test_other_taints_stay_and_outdated_ones_go() -> None:
    own = {"key": "dedicated", "effect": "NoSchedule"}
    old = {"key": f"{PREFIX}/not-ready", "effect": "NoSchedule"}
    assert taints(node("True", taints=[own, old])) == [("dedicated", "NoSchedule")]


def test_a_node_that_never_said_anything_keeps_its_taints() -> None:
    fresh = {"key": f"{PREFIX}/not-ready", "effect": "NoSchedule"}
    assert taints(node("", taints=[fresh])) == [("not-ready", "NoSchedule")]


def test_a_no_execute_taint_keeps_its_time() -> None:
    known = {"key": f"{PREFIX}/not-ready", "effect": "NoExecute", "timeAdded": "before"}
    assert wanted_taints(node("False", taints=[known]), "now")[-1] == known


def test_a_silent_kubelet_is_noticed_after_fifty_seconds() -> None:
    world = SmallWorld(2)
    world.cluster.lose_node("n0")
    noticed = world.until(lambda: not is_ready(world.get(NODES, "n0")))
    assert noticed == pytest.approx(50, abs=1)
    world.wait(1)
    lost = world.get(NODES, "n0")
    reasons = {c["type"]: c["reason"] for c in lost["status"]["conditions"]}
    assert set(reasons.values()) == {"NodeStatusUnknown"}
    assert {t["effect"] for t in lost["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    assert not is_ready(world.pod_on("n0"))
    assert is_ready(world.pod_on("n1"))


def test_a_short_silence_is_not_noticed() -> None:
    world = SmallWorld(1)
    world.cluster.lose_node("n0")
    world.wait(40)
    world.cluster.restore_node("n0")
    world.wait(60)
    assert is_ready(world.get(NODES, "n0"))
    assert is_ready(world.pod_on("n0"))


def test_a_restarted_controller_gives_silent_nodes_their_grace_again() -> None:
    world = SmallWorld(1)
    world.cluster.lose_node("n0")
    world.wait(40)
    world.cluster.stop_controllers()
    world.wait(100)
    assert is_ready(world.get(NODES, "n0"))
    world.cluster.start_controllers()
    noticed = world.until(lambda: not is_ready(world.get(NODES, "n0")))
    assert noticed == pytest.approx(50, abs=1)


def test_a_cordon_comes_and_goes_as_a_taint() -> None:
    world = SmallWorld(1)
    world.merge_node("n0", {"unschedulable": True})
    world.wait(1)
    (taint,) = world.get(NODES, "n0")["spec"]["taints"]
    assert taint == {"key": f"{PREFIX}/unschedulable", "effect": "NoSchedule"}
    world.merge_node("n0", {"unschedulable": None})
    world.wait(1)
    assert "taints" not in world.get(NODES, "n0")["spec"]


def test_a_zone_can_be_lost_and_come_back() -> None:
    world = SmallWorld(3)
    world.cluster.lose_zone("z0")
    world.wait(60)
    assert not any(is_ready(node) for node in world.store.scan(NODES))
    world.cluster.restore_zone("z0")
    world.wait(5)
    assert all(is_ready(node) for node in world.store.scan(NODES))
    assert all(map(is_ready, world.pods()))
