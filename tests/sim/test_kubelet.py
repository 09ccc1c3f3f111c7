"""What kubelets do with pods: start, probe, crash, end; and with nodes that die."""

from __future__ import annotations

import pytest

from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.resources import NODES, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object
from tests.sim.smallworld import ON_DELETE, SmallWorld, is_ready, terminating


def renewed(world: SmallWorld, node: str = "n0") -> None:
    """Delete a node's pod and wait until its successor has been made."""
    old = world.pod_on(node)["metadata"]["uid"]
    world.delete_pod(world.pod_on(node))
    world.until(lambda: [p for p in world.pods_on(node) if p["metadata"]["uid"] != old] != [])


def container(world: SmallWorld, node: str = "n0") -> Object:
    status: Object
    (status,) = world.pod_on(node)["status"]["containerStatuses"]
    return status


def condition(obj: Object, type_: str) -> Object:
    return next(c for c in obj["status"]["conditions"] if c["type"] == type_)


def ready_times(world: SmallWorld, seconds: float, node: str = "n0") -> list[tuple[float, bool]]:
    """When the pod of a node turned Ready and not Ready."""
    turns: list[tuple[float, bool]] = []
    start = world.clock.now()

    def note(_: object) -> None:
        pods = world.pods_on(node)
        now = bool(pods) and is_ready(pods[0])
        if not turns or turns[-1][1] != now:
            turns.append((round(world.clock.now() - start, 1), now))

    stop = world.store.subscribe(PODS, note)
    world.wait(seconds)
    stop()
    return turns


# An ordinary life


def test_a_pod_is_ready_after_its_start_time_and_gone_after_its_stop_time() -> None:
    world = SmallWorld(1)
    world.delete_pod(world.pod_on("n0"))
    uid = world.pod_on("n0")["metadata"]["uid"]
    gone = world.until(lambda: uid not in {p["metadata"]["uid"] for p in world.pods()})
    assert gone == pytest.approx(0.2, abs=0.05)
    ready = world.until(lambda: any(map(is_ready, world.pods())))
    assert ready == pytest.approx(0.6, abs=0.1)


def test_a_running_pod_reports_what_a_kubelet_reports() -> None:
    world = SmallWorld(1)
    renewed(world)
    world.wait(5)
    pod = world.pod_on("n0")
    status = pod["status"]
    assert status["phase"] == "Running"
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    (container_status,) = status["containerStatuses"]
    assert container_status["state"].keys() == {"running"}
    assert container_status["imageID"].startswith("agent@sha256:")
    assert container_status["containerID"].startswith("containerd://")


def test_a_pod_waits_with_container_creating_before_it_runs() -> None:
    world = SmallWorld(1)
    renewed(world)
    world.wait(0.1)
    pod = world.pod_on("n0")
    assert container(world)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(pod, "Ready")["reason"] == "ContainersNotReady"
    assert condition(pod, "Ready")["message"] == "containers with unready status: [agent]"


def test_a_readiness_probe_lets_the_container_run_before_it_is_ready() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    probe = {"httpGet": {"path": "/", "port": 80}}
    containers = [{"name": "agent", "readinessProbe": probe}]
    world.change({"template": {"spec": {"containers": containers}}})
    renewed(world)
    world.wait(0.45)
    assert container(world)["state"].keys() == {"running"}
    assert not is_ready(world.pod_on("n0"))
    world.wait(1)
    assert is_ready(world.pod_on("n0"))


def test_a_pod_that_ends_is_terminal_before_it_is_gone() -> None:
    world = SmallWorld(1)
    phases: list[str] = []
    world.store.subscribe(PODS, lambda e: phases.append(e.object["status"]["phase"]))
    world.delete_pod(world.pod_on("n0"))
    world.wait(0.21)
    assert phases[:3] == ["Running", "Succeeded", "Succeeded"]


def test_the_grace_period_bounds_the_end() -> None:
    world = SmallWorld(1)
    world.cluster.set_image("agent:v1", Behaviour(stop=Timing(100.0)))
    pod = world.pod_on("n0")
    last: list[Object] = []
    world.store.subscribe(PODS, lambda e: last.append(e.object) if e.type == "DELETED" else None)
    world.delete_pod(pod)
    world.wait(29.5)
    assert terminating(world.pod_on("n0"))
    world.wait(1)
    (ended,) = last
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137
    assert ended["status"]["phase"] == "Failed"


def test_a_second_deletion_with_less_grace_hurries_the_end() -> None:
    world = SmallWorld(1)
    world.cluster.set_image("agent:v1", Behaviour(stop=Timing(100.0)))
    pod = world.pod_on("n0")
    world.delete_pod(pod)
    world.wait(1)
    world.delete_pod(pod, grace=2)
    uid = pod["metadata"]["uid"]
    gone = world.until(lambda: uid not in {p["metadata"]["uid"] for p in world.pods()})
    assert gone == pytest.approx(2, abs=0.1)


def test_a_finalizer_keeps_an_ended_pod() -> None:
    world = SmallWorld(1)
    pod = world.pod_on("n0")
    world.patch(PODS, pod["metadata"]["name"], {"metadata": {"finalizers": ["a.b/keep"]}})
    world.delete_pod(world.pod_on("n0"))
    world.wait(60)
    kept = world.get(PODS, pod["metadata"]["name"])
    assert kept["status"]["phase"] == "Succeeded"
    world.registry.patch(
        PODS,
        "default",
        pod["metadata"]["name"],
        {"metadata": {"finalizers": None}},
        PatchType.MERGE,
        ADMIN,
    )
    assert pod["metadata"]["name"] not in {p["metadata"]["name"] for p in world.pods()}


def test_a_force_deleted_pod_is_gone_at_once() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.fault("agent:v1", "stuck-terminating")
    world.delete_pod(world.pod_on("n0"))
    world.wait(600)
    assert terminating(world.pod_on("n0"))
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(0.01)
    assert not any(map(terminating, world.pods()))


# Faults


def test_a_crash_loop_backs_off_from_ten_seconds_to_five_minutes() -> None:
    world = SmallWorld(1)
    world.fault("agent:v1", "crash")
    renewed(world)
    delays: list[str] = []

    def note(_: object) -> None:
        for pod in world.pods():
            for status in pod["status"].get("containerStatuses") or ():
                waiting = status["state"].get("waiting") or {}
                if waiting.get("reason") == "CrashLoopBackOff":
                    delay = waiting["message"].split()[1]
                    if delay not in delays:
                        delays.append(delay)

    world.store.subscribe(PODS, note)
    world.wait(1500)
    assert delays == ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s"]
    status = container(world)
    assert status["restartCount"] >= 7
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert world.pod_on("n0")["status"]["phase"] == "Running"
    assert not is_ready(world.pod_on("n0"))
    assert "BackOff" in world.reasons()


def test_a_restart_gives_a_container_another_id() -> None:
    world = SmallWorld(1)
    before = container(world)["containerID"]
    world.fault("agent:v1", {"kind": "crash", "after": 20})
    world.wait(23)
    assert container(world)["restartCount"] == 1
    assert container(world)["containerID"] != before


def test_an_image_can_crash_after_a_while_of_being_ready() -> None:
    world = SmallWorld(1)
    world.fault(
        "agent:v1", {"kind": "crash", "after": "3m", "exitCode": 137, "reason": "OOMKilled"}
    )
    renewed(world)
    world.wait(170)
    assert is_ready(world.pod_on("n0"))
    world.wait(15)
    terminated = container(world)["lastState"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "OOMKilled")


def test_an_image_can_run_and_never_be_ready_until_it_is_healed() -> None:
    world = SmallWorld(1)
    world.fault("agent:v1", "never-ready")
    assert not is_ready(world.pod_on("n0"))
    assert container(world)["state"].keys() == {"running"}
    assert "Unhealthy" in world.reasons()
    world.wait(600)
    world.fault("agent:v1", None)
    assert is_ready(world.pod_on("n0"))
    assert container(world)["restartCount"] == 0


def test_an_image_can_flap() -> None:
    world = SmallWorld(1)
    world.fault("agent:v1", {"kind": "flap", "after": 8, "lasts": 5})
    turns = ready_times(world, 30)
    assert [round(time) for time, _ in turns] == [8, 13, 21, 26]
    assert [ready for _, ready in turns] == [False, True, False, True]


def test_an_image_can_be_unpullable_on_some_nodes() -> None:
    world = SmallWorld(2, strategy=ON_DELETE)
    world.fault("agent:v1@n0", "unpullable")
    reasons: list[str] = []

    def note(_: object) -> None:
        for pod in world.pods_on("n0"):
            for status in pod["status"].get("containerStatuses") or ():
                reasons.extend(
                    [status["state"]["waiting"]["reason"]] if "waiting" in status["state"] else []
                )

    world.store.subscribe(PODS, note)
    renewed(world, "n0")
    renewed(world, "n1")
    world.wait(60)
    order = [reason for i, reason in enumerate(reasons) if i == 0 or reasons[i - 1] != reason]
    assert order[:4] == ["ContainerCreating", "ErrImagePull", "ImagePullBackOff", "ErrImagePull"]
    assert world.pod_on("n0")["status"]["phase"] == "Pending"
    assert is_ready(world.pod_on("n1"))
    world.fault("agent:v1@n0", None)
    world.wait(300)
    assert is_ready(world.pod_on("n0"))


def test_a_missing_config_map_keeps_a_pod_in_container_creating_until_it_is_there() -> None:
    world = SmallWorld(1)
    world.fault("agent:v1", "missing-configmap")
    renewed(world)
    world.wait(600)
    assert container(world)["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "FailedMount" in world.reasons()
    world.fault("agent:v1", None)
    world.wait(5)
    assert is_ready(world.pod_on("n0"))


def test_an_image_can_take_its_node_down() -> None:
    world = SmallWorld(2, strategy=ON_DELETE)
    world.fault("agent:v2", {"kind": "kills-node", "after": 3})
    world.set_image("agent:v2")
    renewed(world)
    world.wait(120)
    assert condition(world.get(NODES, "n0"), "Ready")["status"] == "Unknown"


def test_a_pod_can_be_stuck_for_a_while() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.fault("agent:v1", {"kind": "stuck-terminating", "lasts": "2m"})
    pod = world.pod_on("n0")
    world.delete_pod(pod)
    uid = pod["metadata"]["uid"]
    gone = world.until(lambda: uid not in {p["metadata"]["uid"] for p in world.pods()})
    assert gone == pytest.approx(120, abs=0.1)


def test_a_rejected_pod_is_failed_at_once() -> None:
    world = SmallWorld(1)
    seen: list[Object] = []
    world.store.subscribe(PODS, lambda e: seen.append(e.object["status"]))
    world.fault("agent:v1", {"kind": "rejected", "reason": "NodeAffinity"})
    world.delete_pod(world.pod_on("n0"))
    world.wait(1)
    failed = next(status for status in seen if status["phase"] == "Failed")
    assert failed["reason"] == "NodeAffinity"


# Nodes


def test_nothing_happens_on_a_lost_node_until_it_is_back() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.cluster.lose_node("n0")
    world.delete_pod(world.pod_on("n0"))
    world.wait(600)
    assert terminating(world.pod_on("n0"))
    world.cluster.restore_node("n0")
    world.wait(5)
    assert not terminating(world.pod_on("n0"))
    assert is_ready(world.pod_on("n0"))


def test_a_restored_node_is_ready_again_with_its_containers_as_they_were() -> None:
    world = SmallWorld(1)
    before = container(world)
    world.cluster.lose_node("n0")
    world.wait(120)
    assert not is_ready(world.pod_on("n0"))
    world.cluster.restore_node("n0")
    world.wait(1)
    assert is_ready(world.pod_on("n0"))
    assert container(world) == before
    assert not world.get(NODES, "n0")["spec"].get("taints")


def test_a_reboot_restarts_the_containers() -> None:
    world = SmallWorld(1)
    world.cluster.reboot_node("n0")
    world.wait(10)
    status = container(world)
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 255
    assert is_ready(world.pod_on("n0"))


def test_a_reboot_ends_what_was_stuck() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.fault("agent:v1", "stuck-terminating")
    world.delete_pod(world.pod_on("n0"))
    world.wait(60)
    world.cluster.reboot_node("n0")
    world.wait(10)
    assert not any(map(terminating, world.pods()))


def test_a_reboot_ends_what_was_deleted_while_the_node_was_down() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.cluster.lose_node("n0")
    world.delete_pod(world.pod_on("n0"))
    world.wait(10)
    world.cluster.reboot_node("n0")
    world.wait(10)
    assert is_ready(world.pod_on("n0"))
    assert container(world)["restartCount"] == 0


def replaced(world: SmallWorld) -> None:
    """Take a node away; another machine comes under its name before its pods are collected."""
    world.cluster.remove_node("n0")
    world.wait(10)
    world.cluster.join_node("n0")
    world.wait(10)


def test_a_machine_that_comes_under_the_name_of_another_takes_its_pods_up() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.cluster.stop_controllers()  # or the pod, which no node wants now, is deleted
    before = world.pod_on("n0")["metadata"]["uid"]
    replaced(world)
    assert world.pod_on("n0")["metadata"]["uid"] == before
    assert container(world)["restartCount"] == 1
    assert is_ready(world.pod_on("n0"))


def test_a_machine_that_comes_under_the_name_of_another_ends_what_was_to_go() -> None:
    world = SmallWorld(1)
    before = world.pod_on("n0")["metadata"]["uid"]
    world.cluster.lose_node("n0")
    world.delete_pod(world.pod_on("n0"))
    replaced(world)
    assert world.pod_on("n0")["metadata"]["uid"] != before
    assert is_ready(world.pod_on("n0"))
    assert len(world.pods()) == 1


def test_a_pod_that_was_bound_while_its_node_was_down_starts_after_the_reboot() -> None:
    world = SmallWorld(1)
    world.cluster.lose_node("n0")
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(10)
    assert world.pod_on("n0")["status"]["phase"] == "Pending"
    world.cluster.reboot_node("n0")
    world.wait(10)
    assert is_ready(world.pod_on("n0"))
    assert container(world)["restartCount"] == 0


def test_an_unpullable_image_is_tried_again_after_a_reboot() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.fault("agent:v1", "unpullable")
    renewed(world)
    world.wait(30)
    world.fault("agent:v1", None)
    world.cluster.reboot_node("n0")
    world.wait(3)
    assert is_ready(world.pod_on("n0"))


def test_a_kubelet_can_say_that_its_node_cannot_work() -> None:
    world = SmallWorld(2)
    world.cluster.kubelets.report_unready("n0", "KubeletNotReady", "container runtime is down")
    world.wait(1)
    node = world.get(NODES, "n0")
    assert condition(node, "Ready")["message"] == "container runtime is down"
    assert {t["key"] for t in node["spec"]["taints"]} == {"node.kubernetes.io/not-ready"}
    assert not is_ready(world.pod_on("n0"))


def test_a_stuck_pod_stays_stuck_when_its_node_was_away() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.fault("agent:v1", "stuck-terminating")
    world.delete_pod(world.pod_on("n0"))
    world.wait(1)
    world.cluster.lose_node("n0")
    world.wait(120)
    world.fault("agent:v1", None)
    world.cluster.restore_node("n0")
    world.delete_pod(world.pod_on("n0"), grace=5)
    world.wait(60)
    assert terminating(world.pod_on("n0"))


def test_a_fault_that_came_while_a_node_was_away_is_felt_when_it_is_back() -> None:
    world = SmallWorld(1)
    world.cluster.lose_node("n0")
    world.fault("agent:v1", "never-ready")
    world.wait(10)
    world.cluster.restore_node("n0")
    world.wait(1)
    assert not is_ready(world.pod_on("n0"))
