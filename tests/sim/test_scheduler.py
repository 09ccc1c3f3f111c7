"""The scheduler: where pods go, and what is said when they go nowhere."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rollout.amounts import parse_amount
from rollout.sim.fleetfile import NodeGroup, Taint
from rollout.sim.resources import NODES, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import SmallWorld

SCHEDULING = frozenset(("scheduler",))


def scheduled(
    world: SmallWorld, spec: Object, name: str = "p", container: Object | None = None
) -> Object:
    body = {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "x", **(container or {})}], **spec},
    }
    world.registry.create(PODS, "default", body, ADMIN)
    world.wait(1)
    return world.get(PODS, name)


def refusal(pod: Object) -> str:
    (condition,) = (c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    return str(condition["message"])


def empty(nodes: int = 2, groups: Iterable[NodeGroup] = ()) -> SmallWorld:
    return SmallWorld(nodes, groups=groups, parts=SCHEDULING, daemon_sets=())


def test_a_pod_goes_to_the_least_used_node_then_to_the_first_by_name() -> None:
    world = empty()
    assert scheduled(world, {}, "a")["spec"]["nodeName"] == "n0"
    assert scheduled(world, {}, "b")["spec"]["nodeName"] == "n1"
    assert scheduled(world, {}, "c")["spec"]["nodeName"] == "n0"


def test_a_bound_pod_says_so() -> None:
    world = empty()
    pod = scheduled(world, {})
    (condition,) = pod["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("PodScheduled", "True")
    assert "Scheduled" in world.reasons()
    assert pod["metadata"]["labels"]["topology.kubernetes.io/zone"] == "z0"


def test_a_node_selector_decides() -> None:
    world = empty(2, groups=(NodeGroup(name="gpu", labels={"gpu": "yes"}),))
    assert scheduled(world, {"nodeSelector": {"gpu": "yes"}})["spec"]["nodeName"] == "gpu"
    pod = scheduled(world, {"nodeSelector": {"gpu": "no"}}, "q")
    assert refusal(pod).startswith(
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    )


def test_a_taint_keeps_a_pod_away_until_it_is_tolerated() -> None:
    tainted = NodeGroup(name="t", taints=(Taint(key="k", value="v", effect="NoSchedule"),))
    world = empty(0, groups=(tainted,))
    assert "1 node(s) had untolerated taint {k: v}" in refusal(scheduled(world, {}))
    toleration = {"key": "k", "operator": "Exists"}
    assert scheduled(world, {"tolerations": [toleration]}, "q")["spec"]["nodeName"] == "t"


def test_a_cordoned_node_takes_no_ordinary_pod() -> None:
    world = empty(1)
    world.merge_node("n0", {"unschedulable": True})
    assert "node.kubernetes.io/unschedulable" in refusal(scheduled(world, {}))
    world.merge_node("n0", {"unschedulable": None})
    world.wait(1)
    assert world.get(PODS, "p")["spec"]["nodeName"] == "n0"


def test_a_host_port_is_free_again_when_its_pod_is_gone() -> None:
    world = empty(1)
    port = {"ports": [{"containerPort": 80, "hostPort": 8080}]}
    scheduled(world, {}, "first", port)
    second = scheduled(world, {}, "second", port)
    assert "1 node(s) didn't have free ports for the requested pod ports" in refusal(second)
    world.delete_pod(world.get(PODS, "first"), grace=0)
    world.wait(1)
    assert world.get(PODS, "second")["spec"]["nodeName"] == "n0"


def test_ports_of_the_host_network_are_host_ports() -> None:
    world = empty(1)
    port = {"ports": [{"containerPort": 9100}]}
    scheduled(world, {"hostNetwork": True}, "first", port)
    assert "free ports" in refusal(scheduled(world, {"hostNetwork": True}, "second", port))


def test_requests_are_held_against_what_is_allocatable() -> None:
    world = empty(1)
    big = {"resources": {"requests": {"cpu": "3", "memory": "1Gi"}}}
    scheduled(world, {}, "first", big)
    assert "1 Insufficient cpu" in refusal(scheduled(world, {}, "second", big))
    small = {"resources": {"requests": {"cpu": "500m"}}}
    assert scheduled(world, {}, "third", small)["spec"]["nodeName"] == "n0"


def test_a_node_takes_only_so_many_pods() -> None:
    world = empty(0, groups=(NodeGroup(name="tiny", allocatable={"pods": "1"}),))
    scheduled(world, {}, "first")
    assert "1 Too many pods" in refusal(scheduled(world, {}, "second"))


def test_a_pod_waits_for_its_node_to_come() -> None:
    world = empty(1)
    pod = scheduled(world, {"nodeSelector": {"kubernetes.io/hostname": "late"}})
    assert "didn't match" in refusal(pod)
    world.cluster.join_node("late")
    world.merge_node("late", {"taints": None})
    world.wait(1)
    assert world.get(PODS, "p")["spec"]["nodeName"] == "late"


def test_another_scheduler_s_pod_is_left_alone() -> None:
    world = empty(1)
    assert "nodeName" not in scheduled(world, {"schedulerName": "mine"})["spec"]


def test_a_paused_scheduler_binds_nothing_until_it_goes_on() -> None:
    world = empty(1)
    world.cluster.scheduler.pause()
    assert "nodeName" not in scheduled(world, {})["spec"]
    world.cluster.scheduler.resume()
    world.wait(1)
    assert world.get(PODS, "p")["spec"]["nodeName"] == "n0"


def test_without_nodes_that_is_what_is_said() -> None:
    world = empty(0)
    assert world.store.count(NODES) == 0
    assert refusal(scheduled(world, {})) == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("text", "value"),
    [("100m", 0.1), ("2", 2.0), (3, 3.0), ("1.5", 1.5), ("512Mi", 2.0**29), ("2G", 2e9)],
)
def test_amounts_are_read_as_kubernetes_writes_them(text: str | int, value: float) -> None:
    assert parse_amount(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "1e", "x", "3Q"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_amount(text)
