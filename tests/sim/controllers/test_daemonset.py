"""The DaemonSet controller at work: the vectors [V..] and the catalogue of behaviour.md."""

from __future__ import annotations

from itertools import pairwise

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.fleetfile import DaemonSetEntry, UpdateStrategy
from rollout.sim.registry import DeleteOptions, PatchType
from rollout.sim.resources import CONTROLLER_REVISIONS, DAEMONSETS, NODES, PODS
from rollout.sim.steadystate import ADMIN
from tests.sim.smallworld import (
    CONTROLLERS_ONLY,
    ON_DELETE,
    SmallWorld,
    image,
    is_ready,
    rolling,
    target,
    terminating,
)

DAEMON_ONLY = frozenset(("daemonset",))


def generations(world: SmallWorld) -> tuple[int, int]:
    daemon_set = world.daemon_set()
    return daemon_set["metadata"]["generation"], daemon_set["status"]["observedGeneration"]


# Budget


@pytest.mark.parametrize(("unavailable", "budget"), [(1, 1), (2, 2), ("50%", 3), ("34%", 3)])
def test_no_more_nodes_are_down_than_allowed(unavailable: int | str, budget: int) -> None:
    world = SmallWorld(6, strategy=rolling(unavailable))
    least = 6

    def watch() -> bool:
        nonlocal least
        serving = {target(p) for p in world.pods() if is_ready(p) and not terminating(p)}
        least = min(least, len(serving))
        updated = {target(pod) for pod in world.pods() if image(pod) == "agent:v2"}
        return len(updated) == len(serving) == 6

    world.set_image("agent:v2")
    world.until(watch)
    assert least == 6 - budget


def test_a_bad_release_stops_at_the_budget() -> None:
    world = SmallWorld(6, strategy=rolling(2))
    world.fault("agent:bad", "never-ready")
    world.set_image("agent:bad")
    world.wait(3600)
    assert sum(images == ["agent:bad"] for images in world.images().values()) == 2  # V27


def test_all_broken_old_pods_are_replaced_at_once_whatever_the_budget() -> None:
    world = SmallWorld(4, strategy=rolling(1))
    world.fault("agent:v1", "never-ready")
    world.set_image("agent:v2")
    world.wait(0.1)
    assert sum(map(terminating, world.pods())) == 4  # V02, catalogue 19


def test_a_terminating_pod_holds_the_budget_until_it_is_gone() -> None:
    world = SmallWorld(3, strategy=rolling(1))
    world.fault("agent:v1", "stuck-terminating")
    world.set_image("agent:v2")
    world.wait(600)
    assert sum(map(terminating, world.pods())) == 1  # V01
    assert world.status()["numberReady"] == 3


def test_raising_min_ready_seconds_makes_young_pods_unavailable() -> None:
    world = SmallWorld(3, strategy=rolling(1))
    world.delete_pod(world.pod_on("n0"))
    world.wait(5)
    world.change({"minReadySeconds": 3600})
    world.wait(1)
    assert world.status()["numberAvailable"] == 2  # V05: the two that are old enough
    assert world.status()["numberUnavailable"] == 1
    world.set_image("agent:v2")
    world.wait(0.1)
    assert terminating(world.pod_on("n0"))


def test_two_template_changes_within_min_ready_seconds_take_all_young_pods() -> None:
    entry = DaemonSetEntry(
        name="agent", image="agent:v1", min_ready_seconds=600, strategy=rolling(3)
    )
    world = SmallWorld(3, entry=entry)
    world.set_image("agent:v2")
    world.wait(60)
    assert world.images() == {f"n{i}": ["agent:v2"] for i in range(3)}
    world.change({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}})
    world.set_image("agent:v3")
    world.wait(0.1)
    assert sum(map(terminating, world.pods())) == 3  # V48


def test_lowering_the_budget_undoes_nothing() -> None:
    world = SmallWorld(6, strategy=rolling(4))
    world.fault("agent:bad", "never-ready")
    world.set_image("agent:bad")
    world.wait(10)
    world.change({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}})
    world.wait(60)
    assert sum(images == ["agent:bad"] for images in world.images().values()) == 4


# Surge


def test_surge_never_leaves_a_node_without_a_ready_pod() -> None:
    world = SmallWorld(4, strategy=rolling(surge=2))
    world.set_image("agent:v2")

    def serving() -> bool:
        ready = {target(p) for p in world.pods() if is_ready(p) and not terminating(p)}
        assert len(ready) == 4
        assert len(world.pods()) <= 8
        return all(images == ["agent:v2"] for images in world.images().values())

    world.until(serving)


def test_a_host_port_makes_surge_pods_wait_for_ever() -> None:
    entry = DaemonSetEntry(
        name="agent", image="agent:v1", host_ports=(9100,), strategy=rolling(surge=1)
    )
    world = SmallWorld(3, entry=entry)
    world.set_image("agent:v2")
    world.wait(3600)
    pending = [pod for pod in world.pods() if pod["status"]["phase"] == "Pending"]
    assert len(pending) == 1  # V22
    (condition,) = pending[0]["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"
    assert "didn't have free ports" in condition["message"]


def test_switching_to_on_delete_in_mid_surge_deletes_the_new_pods() -> None:
    world = SmallWorld(4, strategy=rolling(surge=4))
    world.fault("agent:v2", "never-ready")
    world.set_image("agent:v2")
    world.wait(5)
    world.on_delete()
    world.wait(5)
    assert world.images() == {f"n{i}": ["agent:v1"] for i in range(4)}  # V06, catalogue 60


def test_a_pod_deleted_by_hand_is_replaced_beside_it_when_surging() -> None:
    world = SmallWorld(2, strategy=rolling(surge=1))
    world.fault("agent:v1@n0", "stuck-terminating")
    world.delete_pod(world.pod_on("n0"))
    world.wait(5)
    assert len(world.pods_on("n0")) == 2  # V25


def test_a_rollout_with_surge_fails_while_an_old_pod_is_on_a_node_that_is_gone() -> None:
    world = SmallWorld(4, strategy=rolling(surge=1))
    world.cluster.remove_node("n0")
    world.set_image("agent:v2")
    world.wait(10)
    assert "agent:v2" not in [i for images in world.images().values() for i in images]  # V09
    world.wait(80)  # pod GC has removed the pod by now
    assert world.images() == {f"n{i}": ["agent:v2"] for i in (1, 2, 3)}


# OnDelete


def test_on_delete_replaces_only_what_somebody_deletes() -> None:
    world = SmallWorld(3, strategy=ON_DELETE)
    world.set_image("agent:v2")
    world.wait(60)
    assert world.images() == {f"n{i}": ["agent:v1"] for i in range(3)}
    world.delete_pod(world.pod_on("n1"))
    world.wait(5)
    assert world.images()["n1"] == ["agent:v2"]
    assert world.status()["updatedNumberScheduled"] == 1


def test_going_back_to_rolling_update_continues_at_once_with_the_stored_numbers() -> None:
    world = SmallWorld(5, strategy=rolling(3))
    # A type-only patch leaves rollingUpdate where it is [V46].
    world.change({"updateStrategy": {"type": "OnDelete"}})
    world.set_image("agent:v2")
    world.wait(10)
    world.change({"updateStrategy": {"type": "RollingUpdate"}})
    world.wait(0.1)
    assert sum(map(terminating, world.pods())) == 3


def test_one_patch_with_on_delete_and_template_deletes_nothing() -> None:
    world = SmallWorld(3)
    world.change(
        {
            "updateStrategy": {"$patch": "replace", "type": "OnDelete"},
            "template": {"spec": {"containers": [{"name": "agent", "image": "agent:v2"}]}},
        }
    )
    world.wait(60)
    assert world.images() == {f"n{i}": ["agent:v1"] for i in range(3)}
    assert generations(world) == (2, 2)


def test_a_narrower_node_selector_removes_pods_at_once_even_on_delete() -> None:
    world = SmallWorld(3, strategy=ON_DELETE)
    world.change({"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}}})
    world.wait(5)
    assert set(world.images()) == {"n1"}  # V20
    assert world.status()["desiredNumberScheduled"] == 1


def test_a_template_that_fits_more_nodes_creates_pods_on_them_at_once() -> None:
    entry = DaemonSetEntry(
        name="agent",
        image="agent:v1",
        node_selector={"kubernetes.io/hostname": "n1"},
        strategy=ON_DELETE,
    )
    world = SmallWorld(3, entry=entry)
    world.change({"template": {"spec": {"nodeSelector": None}}})
    world.wait(5)
    assert set(world.images()) == {"n0", "n1", "n2"}  # catalogue 8


def test_setting_the_template_back_makes_old_pods_current_without_a_restart() -> None:
    world = SmallWorld(3, strategy=ON_DELETE)
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    world.set_image("agent:v2")
    world.wait(1)
    world.set_image("agent:v1")
    world.wait(1)
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids
    assert world.status()["updatedNumberScheduled"] == 3


# Nodes


def test_a_cordoned_node_is_updated_like_any_other() -> None:
    world = SmallWorld(3)
    world.merge_node("n0", {"unschedulable": True})
    world.set_image("agent:v2")
    world.wait(30)
    assert world.images() == {f"n{i}": ["agent:v2"] for i in range(3)}
    assert world.status()["desiredNumberScheduled"] == 3


def test_a_no_schedule_taint_keeps_the_pod_and_does_not_touch_the_status() -> None:
    world = SmallWorld(3)
    before = world.daemon_set()["metadata"]["resourceVersion"]
    world.taint("n0", "NoSchedule")
    world.wait(30)
    assert set(world.images()) == {"n0", "n1", "n2"}  # V19
    assert world.daemon_set()["metadata"]["resourceVersion"] == before  # section 1.7


def test_the_old_pod_of_a_tainted_node_is_deleted_and_not_replaced() -> None:
    world = SmallWorld(3)
    world.taint("n0", "NoSchedule")
    world.set_image("agent:v2")
    world.wait(30)
    assert world.images() == {"n1": ["agent:v2"], "n2": ["agent:v2"]}  # V04


def test_on_delete_keeps_the_pod_of_a_tainted_node_but_does_not_make_it_again() -> None:
    world = SmallWorld(3, strategy=ON_DELETE)
    world.taint("n0", "NoSchedule")
    world.set_image("agent:v2")
    world.wait(5)
    assert world.status()["numberMisscheduled"] == 1
    world.delete_pod(world.pod_on("n0"))
    world.wait(30)
    assert world.pods_on("n0") == []


@pytest.mark.parametrize("strategy", [ON_DELETE, rolling(1), rolling(surge=1)])
def test_a_no_execute_taint_removes_the_pod_at_once(strategy: UpdateStrategy) -> None:
    world = SmallWorld(3, strategy=strategy)
    world.taint("n0", "NoExecute")
    world.wait(5)
    assert world.pods_on("n0") == []  # V38


def test_a_dead_node_leaves_the_desired_count_and_its_pod_hangs() -> None:
    world = SmallWorld(3, strategy=rolling(1))
    world.cluster.lose_node("n0")
    world.wait(120)
    world.set_image("agent:v2")
    world.wait(120)
    assert terminating(world.pod_on("n0"))
    status = world.status()
    assert (status["desiredNumberScheduled"], status["numberMisscheduled"]) == (2, 1)
    assert "updatedNumberScheduled" not in status  # V03: stuck, the budget is used up
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(60)
    assert world.images() == {"n1": ["agent:v2"], "n2": ["agent:v2"]}


def test_three_dead_nodes_block_a_budget_of_two() -> None:
    world = SmallWorld(10, strategy=rolling("20%"))
    for number in range(3):
        world.cluster.lose_node(f"n{number}")
    world.wait(120)
    world.set_image("agent:v2")
    world.wait(600)
    assert world.status()["desiredNumberScheduled"] == 7
    assert "updatedNumberScheduled" not in world.status()  # V32


def test_dead_nodes_do_not_hold_surge() -> None:
    entry = DaemonSetEntry(
        name="agent",
        image="agent:v1",
        strategy=rolling(surge=1),
        tolerations=({"operator": "Exists"},),
    )
    world = SmallWorld(3, entry=entry)
    world.cluster.lose_node("n0")
    world.wait(120)
    world.set_image("agent:v2")
    world.wait(120)
    images = world.images()
    assert (images["n1"], images["n2"]) == (["agent:v2"], ["agent:v2"])  # V31
    assert world.status()["desiredNumberScheduled"] == 3


def test_a_node_that_joins_gets_the_newest_template() -> None:
    world = SmallWorld(2, strategy=ON_DELETE)
    world.set_image("agent:v2")
    world.cluster.join_node("n9")
    world.wait(10)
    assert world.images() == {"n0": ["agent:v1"], "n1": ["agent:v1"], "n9": ["agent:v2"]}  # V28


def test_a_fresh_node_gets_its_pod_only_when_it_is_ready() -> None:
    world = SmallWorld(1)
    world.cluster.join_node("n9")
    world.wait(0.5)
    assert world.pods_on("n9") == []
    world.wait(2)
    assert len(world.pods_on("n9")) == 1


def test_a_pod_for_a_node_that_went_before_it_was_bound_is_deleted() -> None:
    world = SmallWorld(2, parts=CONTROLLERS_ONLY)
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(1)
    assert not world.pod_on("n0")["spec"].get("nodeName")
    world.registry.delete(NODES, "", "n0", ADMIN)
    world.wait(1)
    # There is no handler for vanished nodes: another event has to come by (section 1.7).
    world.patch(DAEMONSETS, "agent", {"metadata": {"annotations": {"note": "1"}}})
    world.wait(1)
    assert world.pods_on("n0") == []


def test_two_hundred_and_fifty_pods_are_made_in_one_sync() -> None:
    entry = DaemonSetEntry(name="agent", image="agent:v1", node_selector={"go": "yes"})
    world = SmallWorld(300, entry=entry, parts=DAEMON_ONLY)
    assert world.pods() == []
    made: list[float] = []
    world.store.subscribe(PODS, lambda _: made.append(world.clock.now()))
    world.change({"template": {"spec": {"nodeSelector": None}}})
    world.wait(5)
    assert sorted(made.count(time) for time in set(made)) == [50, 250]  # V39


def test_no_eligible_node_means_nothing_desired() -> None:
    entry = DaemonSetEntry(name="agent", image="agent:v1", node_selector={"go": "yes"})
    world = SmallWorld(3, entry=entry, strategy=rolling("50%"))
    world.set_image("agent:v2")
    world.wait(5)
    assert world.status() == {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
        "observedGeneration": 2,
    }


# Ownership


def test_an_older_orphan_wins_over_the_owned_pod() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.label(world.pod_on("n0"), {"app": None, "was": "agent"})
    world.wait(5)
    released, successor = sorted(world.pods(), key=lambda pod: str(pod["metadata"]["labels"]))[::-1]
    assert "ownerReferences" not in released["metadata"]  # V11
    assert successor["metadata"]["ownerReferences"][0]["name"] == "agent"
    world.label(released, {"app": "agent", "was": None})
    world.wait(5)
    assert world.pod_on("n0")["metadata"]["uid"] == released["metadata"]["uid"]  # V12
    assert world.pod_on("n0")["metadata"]["ownerReferences"][0]["controller"] is True


def test_released_and_new_pod_run_side_by_side() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.set_image("agent:v2")
    world.wait(1)
    world.label(world.pod_on("n0"), {"app": None, "was": "agent"})
    world.wait(5)
    assert world.images() == {"n0": ["agent:v1", "agent:v2"]}
    assert all(map(is_ready, world.pods()))
    assert world.status()["updatedNumberScheduled"] == 1


def test_a_matching_pod_without_target_is_adopted_and_ignored() -> None:
    world = SmallWorld(1, parts=DAEMON_ONLY)
    world.delete_pod(world.pod_on("n0"), grace=0)
    body = {
        "metadata": {"name": "stray", "labels": {"app": "agent"}},
        "spec": {"containers": [{"name": "agent", "image": "x"}]},
    }
    world.registry.create(PODS, "default", body, ADMIN)
    world.wait(1)
    assert len(world.pods()) == 2  # V35
    stray = world.get(PODS, "stray")
    assert stray["metadata"]["ownerReferences"][0]["name"] == "agent"


def test_a_pod_of_another_controller_is_left_alone() -> None:
    world = SmallWorld(1)
    owner = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": "other",
        "uid": "1234",
        "controller": True,
    }
    body = {
        "metadata": {"name": "theirs", "labels": {"app": "agent"}, "ownerReferences": [owner]},
        "spec": {"nodeName": "n0", "containers": [{"name": "agent", "image": "x"}]},
    }
    created = world.registry.create(PODS, "default", body, ADMIN)
    world.wait(0.1)
    assert (
        world.get(PODS, "theirs")["metadata"]["ownerReferences"]
        == (created["metadata"]["ownerReferences"])
    )


def test_a_pod_whose_hash_label_is_edited_is_outdated() -> None:
    world = SmallWorld(2)
    pod = world.pod_on("n0")
    world.label(pod, {"controller-revision-hash": "other", "pod-template-generation": None})
    world.wait(5)
    assert world.pod_on("n0")["metadata"]["uid"] != pod["metadata"]["uid"]  # V36


def test_orphaned_pods_of_another_template_count_as_updated_by_generation() -> None:
    world = SmallWorld(2)
    body = world.daemon_set()
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    world.registry.delete(
        DAEMONSETS, "default", "agent", ADMIN, DeleteOptions(propagation="Orphan")
    )
    world.wait(5)
    assert all("ownerReferences" not in pod["metadata"] for pod in world.pods())
    containers = [{"name": "agent", "image": "agent:v9"}]
    template = {**body["spec"]["template"], "spec": {"containers": containers}}
    spec = {"selector": body["spec"]["selector"], "template": template}
    world.registry.create(
        DAEMONSETS, "default", {"metadata": {"name": "agent"}, "spec": spec}, ADMIN
    )
    world.wait(30)
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids  # V10
    assert world.status()["updatedNumberScheduled"] == 2


def test_orphaned_pods_of_the_same_template_are_adopted_without_a_restart() -> None:
    world = SmallWorld(2)
    body = world.daemon_set()
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    world.registry.delete(
        DAEMONSETS, "default", "agent", ADMIN, DeleteOptions(propagation="Orphan")
    )
    world.wait(5)
    world.registry.create(
        DAEMONSETS,
        "default",
        {"metadata": {"name": "agent"}, "spec": body["spec"]},
        ADMIN,
    )
    world.wait(5)
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids
    assert list(world.revisions()) == [1]  # catalogue 33


# Failures


def test_failed_pods_are_deleted_with_growing_delays() -> None:
    world = SmallWorld(1)
    world.fault("agent:v1", "rejected")
    failures: list[float] = []
    world.store.subscribe(
        PODS,
        lambda event: failures.append(world.clock.now()) if event.type == "DELETED" else None,
    )
    world.delete_pod(world.pod_on("n0"))
    world.wait(60)
    gaps = [round(b - a) for a, b in pairwise(failures[1:])]
    assert gaps[:4] == [1, 2, 4, 8]  # section 6.1
    assert "FailedDaemonPod" in world.reasons()


def test_a_failed_pod_of_an_old_template_is_replaced_at_once() -> None:
    world = SmallWorld(1, parts=DAEMON_ONLY)
    for _ in range(3):
        world.set_phase(world.pod_on("n0"), "Failed")
        world.wait(0.2)
    world.set_phase(world.pod_on("n0"), "Failed")
    world.wait(0.1)
    failed = world.pod_on("n0")  # in backoff now
    world.set_image("agent:v2")
    world.wait(0.2)
    assert failed["metadata"]["uid"] != world.pod_on("n0")["metadata"]["uid"]  # V40


def test_a_succeeded_pod_is_deleted_without_delay() -> None:
    world = SmallWorld(1, parts=DAEMON_ONLY)
    pod = world.pod_on("n0")
    world.set_phase(pod, "Succeeded")
    world.wait(0.2)
    assert world.pod_on("n0")["metadata"]["uid"] != pod["metadata"]["uid"]
    assert "SucceededDaemonPod" in world.reasons()


def test_a_terminal_pod_that_is_terminating_counts_as_gone() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    pod = world.pod_on("n0")
    world.patch(PODS, pod["metadata"]["name"], {"metadata": {"finalizers": ["a.b/keep"]}})
    world.delete_pod(world.pod_on("n0"))
    world.wait(10)
    assert len(world.pods_on("n0")) == 2  # catalogue 10
    assert world.status()["numberReady"] == 1


def test_a_pod_that_cannot_be_created_halts_the_rollout_on_every_node() -> None:
    world = SmallWorld(3, strategy=rolling(1), parts=DAEMON_ONLY)
    create = world.registry.create
    refused: list[str] = []

    def refuse(resource, namespace, body, caller, **options):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003, ANN202
        if resource is PODS and target(body) == "n0":
            refused.append("n0")
            raise StatusError(403, "Forbidden", "exceeded quota")
        return create(resource, namespace, body, caller, **options)

    world.registry.create = refuse  # type: ignore[method-assign]  # in its place
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.set_image("agent:v2")
    world.wait(20)
    assert refused
    assert world.images() == {"n1": ["agent:v1"], "n2": ["agent:v1"]}  # V08
    assert "FailedCreate" in world.reasons()
    assert generations(world) == (2, 2)


def test_an_external_deletion_can_fulfil_an_expectation_early() -> None:
    from rollout.sim.controllers.expectations import Expectations  # noqa: PLC0415

    expectations = Expectations()
    expectations.expect("a/b", 0, 1, now=0)
    assert not expectations.fulfilled("a/b", now=1)
    expectations.deleted("a/b")
    assert expectations.fulfilled("a/b", now=1)  # V45


# Status and life


def test_a_daemon_set_that_is_being_deleted_is_left_alone() -> None:
    world = SmallWorld(2, parts=DAEMON_ONLY)
    world.patch(DAEMONSETS, "agent", {"metadata": {"finalizers": ["a.b/keep"]}})
    world.registry.delete(DAEMONSETS, "default", "agent", ADMIN)
    before = world.status()
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(5)
    assert world.pods_on("n0") == []  # V30
    assert world.status() == before


def test_deleting_in_the_background_takes_the_pods_along() -> None:
    world = SmallWorld(3)
    world.registry.delete(DAEMONSETS, "default", "agent", ADMIN)
    world.wait(5)
    assert world.pods() == []
    assert world.revisions() == {}


def test_nothing_happens_while_the_controller_manager_is_down() -> None:
    world = SmallWorld(3)
    world.cluster.stop_controllers()
    world.set_image("agent:v2")
    world.delete_pod(world.pod_on("n0"))
    world.wait(60)
    assert set(world.images()) == {"n1", "n2"}
    assert generations(world) == (2, 1)  # catalogue 62
    world.cluster.start_controllers()
    world.wait(60)
    assert world.images() == {f"n{i}": ["agent:v2"] for i in range(3)}


def test_changing_only_the_strategy_makes_no_revision_and_restarts_nothing() -> None:
    world = SmallWorld(2)
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    world.on_delete()
    world.wait(5)
    assert generations(world) == (2, 2)
    assert list(world.revisions()) == [1]
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids


def test_a_template_annotation_restarts_everything() -> None:
    world = SmallWorld(2)
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}
    world.change({"template": {"metadata": {"annotations": stamp}}})
    world.wait(20)
    assert not uids & {pod["metadata"]["uid"] for pod in world.pods()}
    assert sorted(world.revisions()) == [1, 2]


def test_pods_carry_what_the_template_says_and_what_the_controller_adds() -> None:
    world = SmallWorld(1)
    world.delete_pod(world.pod_on("n0"))
    world.wait(5)
    pod = world.pod_on("n0")
    labels = pod["metadata"]["labels"]
    assert labels["app"] == "agent"
    assert labels["pod-template-generation"] == "1"
    assert labels["topology.kubernetes.io/zone"] == "z0"
    assert pod["metadata"]["generateName"] == "agent-"
    assert [t["key"] for t in pod["spec"]["tolerations"]] == [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/pid-pressure",
        "node.kubernetes.io/unschedulable",
    ]
    assert image(pod) == "agent:v1"


def test_the_controller_says_what_it_did_in_events() -> None:
    world = SmallWorld(2)
    world.set_image("agent:v2")
    world.wait(20)
    assert {"SuccessfulCreate", "SuccessfulDelete"} <= set(world.reasons())


# History


def test_revisions_are_numbered_and_the_one_of_an_old_template_is_raised() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    for version in ("agent:v2", "agent:v3", "agent:v1"):
        world.set_image(version)
        world.wait(1)
    assert world.revisions() == {2: "agent:v2", 3: "agent:v3", 4: "agent:v1"}  # V14


def test_a_limit_of_zero_keeps_the_current_and_the_live_revisions() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.change({"revisionHistoryLimit": 0})
    for version in ("agent:v2", "agent:v3"):
        world.set_image(version)
        world.wait(1)
    assert world.revisions() == {1: "agent:v1", 3: "agent:v3"}  # V16


def test_a_deleted_current_revision_comes_back_without_a_restart() -> None:
    world = SmallWorld(2)
    uids = {pod["metadata"]["uid"] for pod in world.pods()}
    (revision,) = world.store.scan(CONTROLLER_REVISIONS, "default")
    world.registry.delete(CONTROLLER_REVISIONS, "default", revision["metadata"]["name"], ADMIN)
    world.wait(10)
    (again,) = world.store.scan(CONTROLLER_REVISIONS, "default")
    assert again["metadata"]["name"] == revision["metadata"]["name"]  # V43
    assert {pod["metadata"]["uid"] for pod in world.pods()} == uids


def test_a_hash_collision_is_counted_and_gives_another_hash() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    world.set_image("agent:v2")
    world.wait(1)
    second = next(
        r for r in world.store.scan(CONTROLLER_REVISIONS, "default") if r["revision"] == 2
    )
    name = second["metadata"]["name"]
    world.registry.delete(CONTROLLER_REVISIONS, "default", name, ADMIN)
    taken = {"metadata": {"name": name}, "data": {"other": 1}, "revision": 1}
    world.registry.create(CONTROLLER_REVISIONS, "default", taken, ADMIN)
    world.wait(5)
    assert world.status()["collisionCount"] == 1  # catalogue 51
    names = [r["metadata"]["name"] for r in world.store.scan(CONTROLLER_REVISIONS, "default")]
    assert len(names) == 3


def test_two_revisions_of_one_template_are_merged_and_all_pods_relabelled() -> None:
    world = SmallWorld(2, strategy=ON_DELETE)
    world.set_image("agent:v2")
    world.wait(1)
    second = next(
        r for r in world.store.scan(CONTROLLER_REVISIONS, "default") if r["revision"] == 2
    )
    meta = second["metadata"]
    twin = {
        "metadata": {
            "name": "agent-twin",
            "labels": {**meta["labels"], "controller-revision-hash": "twin"},
            "ownerReferences": meta["ownerReferences"],
        },
        "data": second["data"],
        "revision": 7,
    }
    world.registry.create(CONTROLLER_REVISIONS, "default", twin, ADMIN)
    world.patch(DAEMONSETS, "agent", {"metadata": {"annotations": {"note": "1"}}})
    world.wait(1)
    assert world.revisions() == {1: "agent:v1", 7: "agent:v2"}
    hashes = {pod["metadata"]["labels"]["controller-revision-hash"] for pod in world.pods()}
    assert hashes == {"twin"}  # V44: really old ones, too
    assert world.status()["updatedNumberScheduled"] == 2


def test_a_revision_keeps_the_annotations_of_its_moment() -> None:
    world = SmallWorld(1, strategy=ON_DELETE)
    cause = {"kubernetes.io/change-cause": "first"}
    world.registry.patch(
        DAEMONSETS,
        "default",
        "agent",
        {
            "metadata": {"annotations": cause},
            "spec": {
                "template": {"spec": {"containers": [{"name": "agent", "image": "agent:v2"}]}}
            },
        },
        PatchType.STRATEGIC,
        ADMIN,
    )
    world.wait(1)
    newest = max(world.store.scan(CONTROLLER_REVISIONS, "default"), key=lambda r: r["revision"])
    assert newest["metadata"]["annotations"]["kubernetes.io/change-cause"] == "first"
