"""The judge of the audit log: it sees each limit broken, and what the store saw."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

import pytest

from rollout.sim.api import Api
from rollout.sim.audit import AuditLog
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, NodeGroup
from rollout.sim.images import Fault, FaultKind
from rollout.sim.registry import PatchType, Registry
from rollout.sim.requests import Request, encode
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Event, Object
from tests.e2e.auditjudge import Delete, Json, judge
from tests.e2e.world import audit_into

OWNER = "ds-1"
CONTROLLER = "system:serviceaccount:kube-system:daemon-set-controller"


class Log:
    """Writes a log by hand, a second after each other."""

    def __init__(self) -> None:
        self.events: list[Json] = []
        self._versions = itertools.count(101)

    def verdict(self, min_ready_s: float = 0) -> Any:
        return judge(self.events, OWNER, min_ready_s=min_ready_s)

    def write(
        self,
        verb: str,
        answer: Json,
        *,
        user: str = "ann",
        subresource: str = "",
        sent: Json | None = None,
        name: str = "",
        code: int = 200,
        **more: Any,
    ) -> None:
        number = len(self.events)
        meta = answer.get("metadata", {})
        self.events.append(
            {
                "kind": "Event",
                "apiVersion": "audit.k8s.io/v1",
                "level": "RequestResponse",
                "stage": "ResponseComplete",
                "requestURI": "/api/v1/namespaces/logging/pods",
                "verb": verb,
                "user": {"username": user},
                "objectRef": {
                    "resource": "pods",
                    "namespace": "logging",
                    "name": name or meta.get("name", ""),
                    "subresource": subresource,
                },
                "responseStatus": {"code": code},
                "requestObject": sent or {},
                "responseObject": answer,
                "stageTimestamp": f"2026-11-23T10:00:{number:02d}.500000Z",
                **more,
            }
        )

    def pod(self, name: str, **more: Any) -> Json:
        return pod(name, next(self._versions), **more)

    def create(self, name: str) -> None:
        self.write("create", self.pod(name, ready=None), user=CONTROLLER, code=201)

    def ready(self, name: str, *, ready: bool = True) -> None:
        changed = f"2026-11-23T10:00:{len(self.events):02d}Z"
        answer = self.pod(name, ready=ready, changed=changed)
        self.write("patch", answer, user="system:node:x", subresource="status")

    def delete(self, name: str, *, uid: str | None = None, user: str = "ann", **more: Any) -> None:
        options = {"preconditions": {"uid": f"uid-{name}" if uid is None else uid}}
        self.write("delete", self.pod(name, ending=30), sent=options, user=user, **more)

    def gone(self, name: str) -> None:
        answer = self.pod(name, ready=False, ending=0)
        self.write("delete", answer, user=f"system:node:{name[0]}")

    def replace(self, old: str, new: str) -> None:
        self.gone(old)
        self.create(new)
        self.ready(new)


def pod(
    name: str,
    version: int,
    *,
    ready: bool | None = True,
    ending: int | None = None,
    owner: str | None = OWNER,
    changed: str = "2026-11-20T10:00:00Z",
) -> Json:
    """Return a pod `NODE-NUMBER`; its node is the first letter of its name."""
    meta: Json = {
        "name": name,
        "namespace": "logging",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    if owner is not None:
        meta["ownerReferences"] = [{"uid": owner, "controller": True}]
    if ending is not None:
        meta |= {"deletionTimestamp": changed, "deletionGracePeriodSeconds": ending}
    fields = [{"key": "metadata.name", "operator": "In", "values": [name[0]]}]
    required = {"nodeSelectorTerms": [{"matchFields": fields}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": changed}]
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"affinity": affinity},
        "status": {} if ready is None else {"conditions": conditions},
    }


@pytest.fixture
def log() -> Log:
    return Log()


def test_one_node_after_the_other_is_never_more_than_one(log: Log) -> None:
    for node in "abc":
        log.delete(f"{node}-1")
        log.replace(f"{node}-1", f"{node}-2")
    verdict = log.verdict()
    assert len(verdict.down) == 1
    assert not verdict.doubled
    assert verdict.created == 3
    assert verdict.deletes_by("ann") == [
        Delete(f"{node}-1", f"uid-{node}-1", node, "ann", bound=True) for node in "abc"
    ]


def test_a_delete_before_the_new_pod_is_ready_is_one_node_too_many(log: Log) -> None:
    log.delete("a-1")
    log.gone("a-1")
    log.create("a-2")
    log.delete("b-1")
    log.ready("a-2")
    log.replace("b-1", "b-2")
    assert log.verdict().down == {"a", "b"}


def test_a_pod_that_falls_over_counts_as_one_that_was_deleted(log: Log) -> None:
    log.ready("a-1", ready=False)
    log.delete("b-1")
    assert log.verdict().down == {"a", "b"}


def test_what_was_down_before_the_log_began_is_down_from_its_start(log: Log) -> None:
    log.delete("b-1")
    log.replace("b-1", "b-2")
    log.write("delete", log.pod("a-1", ready=False, ending=30))
    assert log.verdict().down == {"a", "b"}


def test_a_pod_is_available_when_it_was_ready_long_enough(log: Log) -> None:
    log.delete("a-1")
    log.replace("a-1", "a-2")  # ready at 10:00:03
    log.delete("b-1")
    log.replace("b-1", "b-2")
    log.delete("c-1")  # at 10:00:08
    assert len(log.verdict().down) == 1
    assert len(log.verdict(min_ready_s=0.5).down) == 1
    assert len(log.verdict(min_ready_s=3).down) == 2
    assert len(log.verdict(min_ready_s=30).down) == 3


def test_two_pods_on_too_many_nodes_are_seen_also_where_the_old_ones_are_released(
    log: Log,
) -> None:
    log.write("patch", log.pod("a-1"))
    log.write("patch", log.pod("a-1", owner=None), user=CONTROLLER)
    log.create("a-2")
    log.ready("a-2")
    log.create("b-2")  # beside b-1, which is touched only later
    log.delete("a-1")
    log.ready("b-2")
    log.delete("b-1")
    verdict = log.verdict()
    assert verdict.doubled == {"a", "b"}
    assert not verdict.down


def test_a_pod_that_is_being_deleted_uses_no_surge(log: Log) -> None:
    log.delete("a-1")
    log.create("a-2")
    assert not log.verdict().doubled


def test_a_second_delete_an_unbound_one_and_a_strangers_one_are_told(log: Log) -> None:
    log.delete("a-1")
    log.delete("a-1", uid="")
    log.delete("b-1", user="bob")
    log.delete("c-1", uid="another")
    assert [(d.pod, d.user, d.bound) for d in log.verdict().deletes] == [
        ("a-1", "ann", True),
        ("a-1", "ann", False),
        ("b-1", "bob", True),
        ("c-1", "ann", False),
    ]


def test_who_is_impersonated_is_who_asked(log: Log) -> None:
    log.delete("a-1", impersonatedUser={"username": "jo"})
    assert [delete.user for delete in log.verdict().deletes] == ["jo"]


def test_an_eviction_and_a_delete_of_many_are_deletes(log: Log) -> None:
    log.ready("b-1")
    eviction = {"deleteOptions": {"preconditions": {"uid": "uid-b-1"}}}
    log.write(
        *("create", {"kind": "Status"}), subresource="eviction", sent=eviction, name="b-1", code=201
    )
    log.write("deletecollection", {"kind": "PodList", "items": [log.pod("a-1"), log.pod("c-1")]})
    verdict = log.verdict()
    assert [(d.pod, d.bound) for d in verdict.deletes] == [
        ("b-1", True),
        ("a-1", False),
        ("c-1", False),
    ]
    assert verdict.down == {"a", "b", "c"}


def test_what_was_refused_and_what_was_only_tried_changes_nothing(log: Log) -> None:
    log.delete("a-1", code=409)
    log.delete("a-1", requestURI="/api/v1/namespaces/logging/pods/a-1?dryRun=All")
    log.write("delete", log.pod("b-1"), sent={"dryRun": ["All"]})
    log.delete("c-1", stage="ResponseStarted")
    log.write("get", {"kind": "Pod"}, level="Metadata")
    log.write("create", {}, subresource="proxy", name="a-1", level="Metadata")
    assert log.verdict().deletes == ()
    assert not log.verdict().down


def test_pods_of_others_are_no_concern(log: Log) -> None:
    log.write("delete", log.pod("a-1", owner="another", ending=30))
    log.write("delete", log.pod("b-1", owner=None, ending=30))
    assert log.verdict().deletes == ()
    assert not log.verdict().down


def test_answers_out_of_order_are_put_in_the_order_of_their_versions(log: Log) -> None:
    log.delete("a-1")
    log.gone("a-1")
    log.create("a-2")
    ready, delete = log.pod("a-2"), log.pod("b-1", ending=30)
    log.write("delete", delete)  # sent when a-2 was ready, answered before the kubelet was
    log.write("patch", ready, subresource="status")
    assert len(log.verdict().down) == 1


def test_a_log_without_what_was_written_is_no_evidence(log: Log) -> None:
    log.write("delete", {"kind": "Status"}, level="Metadata")
    with pytest.raises(ValueError, match="delete /api/v1/namespaces/logging/pods: without what"):
        log.verdict()


# The same as the store saw it


class Witness:
    """Counts by the store itself, whose every change it hears of."""

    def __init__(self, cluster: Cluster) -> None:
        self.down = self.doubled = 0
        self._pods: dict[str, dict[str, Object]] = defaultdict(dict)
        for found in cluster.store.scan(PODS):
            self._pods[found["spec"]["nodeName"]][found["metadata"]["uid"]] = found
        cluster.store.subscribe(PODS, self._look)

    def _look(self, event: Event) -> None:
        meta, spec = event.object["metadata"], event.object["spec"]
        terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        node = terms["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
        self._pods[node].pop(meta["uid"], None)
        if event.type != "DELETED":
            self._pods[node][meta["uid"]] = event.object
        kept = [
            [p for p in pods.values() if "deletionTimestamp" not in p["metadata"]]
            for pods in self._pods.values()
        ]
        self.down = max(self.down, sum(not any(map(_is_ready, pods)) for pods in kept))
        self.doubled = max(self.doubled, sum(len(pods) > 1 for pods in kept))


def _is_ready(found: Object) -> bool:
    conditions = found["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def audited(strategy: Json, seed: int, audit: AuditLog) -> tuple[Cluster, VirtualClock]:
    """Return a cluster whose DaemonSet has this strategy, and its clock."""
    fleet = Fleet(
        seed=seed,
        nodes=(NodeGroup(name="n{}", count=12, zones=("z0",)),),
        daemon_sets=(DaemonSetEntry(name="agent", namespace="logging", image="agent:v1"),),
    )
    clock = VirtualClock()
    cluster = Cluster(clock, fleet, audit=audit)
    cluster.start()
    change(cluster.registry, {"updateStrategy": strategy})
    return cluster, clock


def change(registry: Registry, spec: Json) -> None:
    patch = {"spec": spec}
    registry.patch(DAEMONSETS, "logging", "agent", patch, PatchType.STRATEGIC, ADMIN)


ROLLING = {
    "maxUnavailable": {"maxUnavailable": 3},
    "maxSurge": {"maxUnavailable": 0, "maxSurge": 3},
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limits", ROLLING.values(), ids=list(ROLLING))
def test_the_log_tells_what_the_store_saw(limits: Json, seed: int) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
    events: list[Json] = []
    cluster, clock = audited(strategy, seed, audit_into(events))
    witness = Witness(cluster)
    cluster.set_image_fault("agent:v2@n3", Fault(FaultKind.CRASH))
    cluster.set_image_fault("agent:v1@n5", Fault(FaultKind.NEVER_READY))
    image = {"containers": [{"name": "agent", "image": "agent:v2"}]}
    change(cluster.registry, {"template": {"spec": image}})
    clock.advance(60)
    cluster.lose_node("n7")
    clock.advance(600)
    daemon_set = cluster.registry.get(DAEMONSETS, "logging", "agent")
    verdict = judge(events, daemon_set["metadata"]["uid"])
    assert (len(verdict.down), len(verdict.doubled)) == (witness.down, witness.doubled)
    assert verdict.created >= 11
    assert verdict.deletes_by(CONTROLLER)


def test_the_log_tells_a_delete_by_hand_and_the_kubelets_last_word() -> None:
    events: list[Json] = []
    audit = audit_into(events)
    cluster, clock = audited({"type": "OnDelete"}, 1, audit)
    victim = next(cluster.store.scan(PODS))
    meta, node = victim["metadata"], victim["spec"]["nodeName"]
    body = encode({"preconditions": {"uid": meta["uid"]}})
    path = f"/api/v1/namespaces/logging/pods/{meta['name']}"
    headers = {"authorization": "Bearer admin", "content-type": "application/json"}
    Api(cluster.registry, audit=audit).handle(Request.parse("DELETE", path, headers, body))
    clock.advance(60)
    verdict = judge(events, meta["ownerReferences"][0]["uid"])
    assert verdict.deletes == (
        Delete(meta["name"], meta["uid"], node, ADMIN.user, bound=True),
        Delete(meta["name"], meta["uid"], node, f"system:node:{node}", bound=True),
    )
    assert verdict.created == 1
    assert verdict.down == {node}
