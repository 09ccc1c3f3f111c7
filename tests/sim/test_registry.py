"""Writes under the rules of the API server: names, versions, generations, ends."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from rollout.sim import podrequests
from rollout.sim.clock import VirtualClock
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, DeleteOptions, PatchType, Registry
from rollout.sim.resources import (
    CONFIG_MAPS,
    DAEMONSETS,
    LEASES,
    NAMESPACES,
    NODES,
    PDBS,
    PODS,
)
from rollout.sim.store import Object, Store
from tests.sim.apiworld import TESTER, ApiWorld, daemonset


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


def refused(call: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        call()
    return caught.value


def ready(pod: Object) -> Object:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return {**pod, "status": {**pod["status"], **status}}


# Creating


def test_a_cluster_begins_with_its_namespaces(world: ApiWorld) -> None:
    names = [obj["metadata"]["name"] for obj in world.store.scan(NAMESPACES)]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]


def test_the_same_seed_gives_the_same_uids() -> None:
    uids = [
        ApiWorld(seed=seed).registry.get(NAMESPACES, "", "kube-system")["metadata"]["uid"]
        for seed in (1, 1, 2)
    ]
    assert uids[0] == uids[1] != uids[2]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-.{12}", uids[0])


def test_the_server_decides_uid_time_and_generation(world: ApiWorld) -> None:
    body = daemonset()
    body["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "x"}
    created = world.registry.create(DAEMONSETS, "default", body, TESTER)
    metadata = created["metadata"]
    assert metadata["uid"] != "mine"
    assert metadata["generation"] == 1
    assert metadata["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert metadata["annotations"] == {"deprecated.daemonset.template.generation": "1"}


def test_generated_names_have_five_letters_behind_the_base(world: ApiWorld) -> None:
    body = {"metadata": {"generateName": "agent-"}}
    names = {
        world.registry.create(CONFIG_MAPS, "default", body, TESTER)["metadata"]["name"]
        for _ in range(50)
    }
    assert len(names) == 50
    assert all(re.fullmatch(r"agent-[bcdfghjklmnpqrstvwxz2456789]{5}", name) for name in names)


def test_a_taken_name_is_refused(world: ApiWorld) -> None:
    world.daemonset()
    error = refused(world.daemonset)
    assert (error.code, error.reason) == (409, "AlreadyExists")
    assert error.message == 'daemonsets.apps "agent" already exists'


def test_nothing_is_created_in_a_namespace_that_is_not_there(world: ApiWorld) -> None:
    body = {"metadata": {"name": "a"}}
    error = refused(lambda: world.registry.create(CONFIG_MAPS, "nowhere", body, TESTER))
    assert (error.code, error.message) == (404, 'namespaces "nowhere" not found')


def test_nothing_is_created_in_a_namespace_on_its_way_out(world: ApiWorld) -> None:
    world.registry.create(NAMESPACES, "", {"metadata": {"name": "old"}}, TESTER)
    world.registry.delete(NAMESPACES, "", "old", TESTER)
    body = {"metadata": {"name": "a"}}
    error = refused(lambda: world.registry.create(CONFIG_MAPS, "old", body, TESTER))
    assert error.code == 403
    assert error.details is not None
    assert error.details["causes"][0]["reason"] == "NamespaceTerminating"


def test_a_dry_run_stores_nothing(world: ApiWorld) -> None:
    before = world.store.version
    shown = world.registry.create(DAEMONSETS, "default", daemonset(), TESTER, dry_run=True)
    assert shown["metadata"]["uid"]
    assert "resourceVersion" not in shown["metadata"]
    assert world.store.version == before


def test_admission_adds_what_the_creator_does_not_own(world: ApiWorld) -> None:
    pod = world.pod("p")
    assert pod["spec"]["priority"] == 0
    tolerations = {entry["key"]: entry["tolerationSeconds"] for entry in pod["spec"]["tolerations"]}
    assert tolerations == {
        "node.kubernetes.io/not-ready": 300,
        "node.kubernetes.io/unreachable": 300,
    }
    assert "f:tolerations" not in pod["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


def test_a_fresh_node_is_tainted_until_it_is_ready() -> None:
    node = ApiWorld(taints=True).node("n")
    taints = [(taint["key"], taint["effect"]) for taint in node["spec"]["taints"]]
    assert taints == [("node.kubernetes.io/not-ready", "NoSchedule")]


def test_managers_need_not_be_tracked() -> None:
    registry = Registry(Store(), VirtualClock(), random.Random(1), track_managers=False)
    created = registry.create(CONFIG_MAPS, "default", {"metadata": {"name": "a"}}, TESTER)
    assert "managedFields" not in created["metadata"]


# Changing


def test_a_write_that_changes_nothing_keeps_the_version(world: ApiWorld) -> None:
    stored = world.daemonset()
    again = world.registry.update(DAEMONSETS, "default", "agent", stored, TESTER)
    assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


def test_a_change_of_labels_keeps_the_generation(world: ApiWorld) -> None:
    stored = world.daemonset()
    metadata = {**stored["metadata"], "labels": {"a": "b"}}
    changed = world.registry.update(
        DAEMONSETS, "default", "agent", {**stored, "metadata": metadata}, TESTER
    )
    assert changed["metadata"]["generation"] == 1
    assert int(changed["metadata"]["resourceVersion"]) > int(stored["metadata"]["resourceVersion"])


def test_a_change_of_the_spec_raises_one_generation_and_of_the_template_both(
    world: ApiWorld,
) -> None:
    world.daemonset()

    def patch(spec: Object) -> tuple[int, str]:
        metadata = world.registry.patch(
            DAEMONSETS, "default", "agent", {"spec": spec}, PatchType.STRATEGIC, TESTER
        )["metadata"]
        key = "deprecated.daemonset.template.generation"
        return metadata["generation"], metadata["annotations"][key]

    assert patch({"minReadySeconds": 5}) == (2, "1")
    template = {"spec": {"containers": [{"name": "a", "image": "agent:v2"}]}}
    assert patch({"template": template}) == (3, "2")


def test_a_status_write_changes_nothing_else(world: ApiWorld) -> None:
    stored = world.daemonset()
    body = {
        **stored,
        "spec": {**stored["spec"], "minReadySeconds": 9},
        "status": {**stored["status"], "numberReady": 3},
    }
    changed = world.registry.update(
        DAEMONSETS, "default", "agent", body, TESTER, subresource="status"
    )
    assert changed["status"]["numberReady"] == 3
    assert changed["spec"] == stored["spec"]
    assert changed["metadata"]["generation"] == 1


def test_a_plain_write_leaves_the_status_alone(world: ApiWorld) -> None:
    stored = world.daemonset()
    body = {**stored, "status": {**stored["status"], "numberReady": 3}}
    changed = world.registry.update(DAEMONSETS, "default", "agent", body, TESTER)
    assert changed["status"]["numberReady"] == 0


def test_a_stale_version_loses(world: ApiWorld) -> None:
    stored = world.daemonset()
    stale = {**stored, "metadata": {**stored["metadata"], "resourceVersion": "1"}}
    error = refused(lambda: world.registry.update(DAEMONSETS, "default", "agent", stale, TESTER))
    assert (error.code, error.reason) == (409, "Conflict")
    assert "the object has been modified" in error.message


def test_another_uid_is_another_object(world: ApiWorld) -> None:
    stored = world.daemonset()
    other = {**stored, "metadata": {**stored["metadata"], "uid": "other"}}
    error = refused(lambda: world.registry.update(DAEMONSETS, "default", "agent", other, TESTER))
    assert error.code == 409
    assert "Precondition failed: UID in precondition: other" in error.message


def test_a_lease_needs_a_version_to_be_replaced(world: ApiWorld) -> None:
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}
    world.registry.create(LEASES, "default", body, TESTER)
    error = refused(lambda: world.registry.update(LEASES, "default", "l", body, TESTER))
    assert error.code == 422
    assert error.message.endswith(
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    )


def test_a_body_for_another_name_is_refused(world: ApiWorld) -> None:
    stored = world.daemonset()
    body = {**stored, "metadata": {**stored["metadata"], "name": "other"}}
    error = refused(lambda: world.registry.update(DAEMONSETS, "default", "agent", body, TESTER))
    assert error.code == 400
    assert error.message == (
        "the name of the object (other) does not match the name on the URL (agent)"
    )


def test_applying_creates_what_is_missing_and_says_who_did(world: ApiWorld) -> None:
    config = {"apiVersion": "apps/v1", "kind": "DaemonSet", **daemonset()}
    caller = Caller("u", manager="applier")
    created = world.registry.patch(DAEMONSETS, "default", "agent", config, PatchType.APPLY, caller)
    managers = created["metadata"]["managedFields"]
    assert [(entry["manager"], entry["operation"]) for entry in managers] == [("applier", "Apply")]
    again = world.registry.patch(DAEMONSETS, "default", "agent", config, PatchType.APPLY, caller)
    assert again["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


# Deleting


def test_what_has_no_finalizers_goes_at_once(world: ApiWorld) -> None:
    world.daemonset()
    _, gone = world.registry.delete(DAEMONSETS, "default", "agent", TESTER)
    assert gone
    assert refused(lambda: world.registry.get(DAEMONSETS, "default", "agent")).code == 404


def test_a_running_pod_has_its_grace_period(world: ApiWorld) -> None:
    world.pod("p", nodeName="n")
    pod, gone = world.registry.delete(PODS, "default", "p", TESTER)
    assert not gone
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["metadata"]["deletionTimestamp"] == "2026-09-21T14:13:50Z"
    assert pod["metadata"]["generation"] == 2


def test_a_second_delete_changes_nothing_unless_it_is_sooner(world: ApiWorld) -> None:
    world.pod("p", nodeName="n")
    first, _ = world.registry.delete(PODS, "default", "p", TESTER)
    again, _ = world.registry.delete(PODS, "default", "p", TESTER)
    later, _ = world.registry.delete(PODS, "default", "p", TESTER, DeleteOptions(60))
    assert first == again == later
    sooner, gone = world.registry.delete(PODS, "default", "p", TESTER, DeleteOptions(5))
    assert sooner["metadata"]["deletionGracePeriodSeconds"] == 5
    assert not gone


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_has_ended_goes_at_once(world: ApiWorld, phase: str) -> None:
    pod = world.pod("p", nodeName="n")
    body = {**pod, "status": {**pod["status"], "phase": phase}}
    world.registry.update(PODS, "default", "p", body, TESTER, subresource="status")
    assert world.registry.delete(PODS, "default", "p", TESTER)[1]


def test_a_pod_without_a_node_goes_at_once(world: ApiWorld) -> None:
    world.pod("p")
    assert world.registry.delete(PODS, "default", "p", TESTER)[1]


def test_a_finalizer_keeps_an_object_until_it_is_taken_away(world: ApiWorld) -> None:
    body = {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    world.registry.create(CONFIG_MAPS, "default", body, TESTER)
    held, gone = world.registry.delete(CONFIG_MAPS, "default", "a", TESTER)
    assert not gone
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    free = {**held, "metadata": {**held["metadata"], "finalizers": []}}
    world.registry.update(CONFIG_MAPS, "default", "a", free, TESTER)
    assert world.store.get(CONFIG_MAPS, ("default", "a")) is None


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")]
)
def test_propagation_is_left_to_the_garbage_collector(
    world: ApiWorld, propagation: str, finalizer: str
) -> None:
    world.daemonset()
    options = DeleteOptions(propagation=propagation)
    kept, gone = world.registry.delete(DAEMONSETS, "default", "agent", TESTER, options)
    assert not gone
    assert kept["metadata"]["finalizers"] == [finalizer]


def test_a_namespace_ends_when_it_is_finalized(world: ApiWorld) -> None:
    world.registry.create(NAMESPACES, "", {"metadata": {"name": "old"}}, TESTER)
    ending, gone = world.registry.delete(NAMESPACES, "", "old", TESTER)
    assert not gone
    assert ending["status"]["phase"] == "Terminating"
    body = {**ending, "spec": {}}
    world.registry.update(NAMESPACES, "", "old", body, TESTER, subresource="finalize")
    assert world.store.get(NAMESPACES, ("", "old")) is None


def test_the_namespaces_that_every_cluster_has_stay(world: ApiWorld) -> None:
    error = refused(lambda: world.registry.delete(NAMESPACES, "", "default", TESTER))
    assert (error.code, error.message) == (
        403,
        'namespaces "default" is forbidden: this namespace may not be deleted',
    )


def test_a_plain_write_cannot_finalize_a_namespace(world: ApiWorld) -> None:
    created = world.registry.create(NAMESPACES, "", {"metadata": {"name": "a"}}, TESTER)
    kept = world.registry.update(NAMESPACES, "", "a", {**created, "spec": {}}, TESTER)
    assert kept["spec"] == {"finalizers": ["kubernetes"]}


# Binding and eviction


def test_a_bound_pod_takes_the_zone_of_its_node(world: ApiWorld) -> None:
    world.registry.create(
        NODES,
        "",
        {"metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": "z1", "other": "x"}}},
        TESTER,
    )
    world.pod("p", labels={"app": "a"})
    world.registry.bind("default", "p", "n", TESTER)
    pod = world.registry.get(PODS, "default", "p")
    assert pod["spec"]["nodeName"] == "n"
    assert pod["metadata"]["labels"] == {"app": "a", "topology.kubernetes.io/zone": "z1"}
    assert pod["metadata"]["generation"] == 1


def test_a_bound_pod_is_not_bound_again(world: ApiWorld) -> None:
    world.pod("p")
    world.registry.bind("default", "p", "n", TESTER)
    error = refused(lambda: world.registry.bind("default", "p", "m", TESTER))
    assert error.message == (
        'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n"'
    )


def budget(world: ApiWorld, name: str = "b", **status: Any) -> None:
    body = {
        "metadata": {"name": name},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    }
    created = world.registry.create(PDBS, "default", body, TESTER)
    counts = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    body = {**created, "status": {**counts, "observedGeneration": 1, **status}}
    world.registry.update(PDBS, "default", name, body, TESTER, subresource="status")


def running_pod(world: ApiWorld) -> None:
    pod = world.pod("p", labels={"app": "a"}, nodeName="n")
    world.registry.update(PODS, "default", "p", ready(pod), TESTER, subresource="status")


def evict(world: ApiWorld) -> None:
    podrequests.evict(world.registry, "default", "p", TESTER)


def is_terminating(world: ApiWorld) -> bool:
    return "deletionTimestamp" in world.registry.get(PODS, "default", "p")["metadata"]


def test_eviction_without_a_budget_is_a_delete_that_says_why(world: ApiWorld) -> None:
    running_pod(world)
    evict(world)
    assert is_terminating(world)
    conditions = world.registry.get(PODS, "default", "p")["status"]["conditions"]
    assert [entry["reason"] for entry in conditions if entry["type"] == "DisruptionTarget"] == [
        "EvictionByEvictionAPI"
    ]


def test_an_eviction_spends_the_budget(world: ApiWorld) -> None:
    running_pod(world)
    budget(world, disruptionsAllowed=1)
    evict(world)
    status = world.registry.get(PDBS, "default", "b")["status"]
    assert status["disruptionsAllowed"] == 0
    assert list(status["disruptedPods"]) == ["p"]
    assert status["conditions"][0]["reason"] == "InsufficientPods"


def test_a_spent_budget_refuses_without_a_retry_time(world: ApiWorld) -> None:
    running_pod(world)
    budget(world)
    error = refused(lambda: evict(world))
    assert (error.code, error.retry_after) == (429, None)
    assert error.details == {
        "causes": [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
            }
        ]
    }


def test_a_budget_whose_status_lags_asks_for_ten_seconds(world: ApiWorld) -> None:
    running_pod(world)
    budget(world, observedGeneration=0, disruptionsAllowed=5)
    error = refused(lambda: evict(world))
    assert (error.code, error.retry_after) == (429, 10)


def test_a_budget_that_failed_to_sync_says_so(world: ApiWorld) -> None:
    running_pod(world)
    failed = {"type": "DisruptionAllowed", "reason": "SyncFailed", "message": "no scale"}
    budget(world, conditions=[{**failed, "status": "False", "lastTransitionTime": None}])
    error = refused(lambda: evict(world))
    assert error.details is not None
    assert error.details["causes"][0]["message"].endswith("because it failed sync: no scale")


def test_two_budgets_for_one_pod_are_an_error(world: ApiWorld) -> None:
    running_pod(world)
    budget(world, "b1", disruptionsAllowed=1)
    budget(world, "b2", disruptionsAllowed=1)
    error = refused(lambda: evict(world))
    assert error.code == 500
    assert error.message.startswith("This pod has more than one PodDisruptionBudget")


def test_a_pending_pod_is_beyond_every_budget(world: ApiWorld) -> None:
    world.pod("p", labels={"app": "a"}, nodeName="n")
    budget(world)
    evict(world)
    assert is_terminating(world)


def test_an_unready_pod_goes_while_the_others_are_enough(world: ApiWorld) -> None:
    pod = world.pod("p", labels={"app": "a"}, nodeName="n")
    body = {**pod, "status": {**pod["status"], "phase": "Running"}}
    world.registry.update(PODS, "default", "p", body, TESTER, subresource="status")
    budget(world, currentHealthy=1, desiredHealthy=1)
    evict(world)
    assert is_terminating(world)
    assert world.registry.get(PDBS, "default", "b")["status"]["disruptionsAllowed"] == 0
