"""The audit log: events as kube-apiserver writes them, also of the cluster's own parts."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.sim.api import Api
from rollout.sim.audit import AuditLog
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.faultfile import read_faults
from rollout.sim.faults import Injector
from rollout.sim.fleetfile import default_fleet
from rollout.sim.rbac import User
from rollout.sim.registry import PatchType
from rollout.sim.requests import Stream
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.steadystate import ADMIN
from tests.sim.apiworld import APPLY, CONFIG_MAP_PATH, MERGE, POD_PATH, USERS, ApiWorld

Json = dict[str, Any]
PLANTED = "hunter2-planted"
PREFIX = "system:serviceaccount:kube-system:"


class AuditedApi(ApiWorld):
    """An API server that has an audit log, whose events are kept."""

    def __init__(self, users: dict[str, User] | None = None) -> None:
        super().__init__()
        self.audit, self.events = AuditLog(), list[Json]()
        self.audit.subscribe(self.events.append)
        self.api = Api(self.registry, tokens=users or USERS, audit=self.audit)
        self.handler = self.api

    @property
    def last(self) -> Json:
        return self.events[-1]


@pytest.fixture
def world() -> AuditedApi:
    return AuditedApi()


def bare_pod(name: str, **metadata: Any) -> Json:
    containers = [{"name": "c", "image": "i"}]
    return {"metadata": {"name": name, **metadata}, "spec": {"containers": containers}}


def test_a_write_to_a_pod_is_told_as_kube_apiserver_tells_it(world: AuditedApi) -> None:
    world.clock.advance(0.25)
    stored = world.send("POST", f"{POD_PATH}?fieldManager=me", bare_pod("p")).body
    event = world.last
    assert list(event) == [
        *("kind", "apiVersion", "level", "auditID", "stage", "requestURI", "verb", "user"),
        *("sourceIPs", "userAgent", "objectRef", "responseStatus", "requestObject"),
        *("responseObject", "requestReceivedTimestamp", "stageTimestamp", "annotations"),
    ]
    identity = event.pop("auditID")
    assert event == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "stage": "ResponseComplete",
        "requestURI": f"{POD_PATH}?fieldManager=me",
        "verb": "create",
        "user": {
            "username": "kubernetes-admin",
            "groups": ["system:masters", "system:authenticated"],
        },
        "sourceIPs": ["127.0.0.1"],
        "userAgent": "tester/1.0",
        "objectRef": {
            "resource": "pods",
            "namespace": "default",
            "name": "p",
            "apiVersion": "v1",
        },
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": bare_pod("p"),
        "responseObject": stored,
        "requestReceivedTimestamp": event["stageTimestamp"],
        "stageTimestamp": event["stageTimestamp"],
        "annotations": {
            "authorization.k8s.io/decision": "allow",
            "authorization.k8s.io/reason": "",
        },
    }
    assert event["stageTimestamp"].endswith(".250000Z")
    world.get(POD_PATH)
    assert world.last["auditID"] != identity


def test_patches_deletes_and_evictions_come_with_what_was_sent_and_answered(
    world: AuditedApi,
) -> None:
    uid = world.send("POST", POD_PATH, bare_pod("p")).body["metadata"]["uid"]
    patch = {"metadata": {"labels": {"a": "b"}}}
    patched = world.send("PATCH", f"{POD_PATH}/p", patch, content_type=MERGE).body
    assert world.last["verb"] == "patch"
    assert (world.last["requestObject"], world.last["responseObject"]) == (patch, patched)
    eviction = {"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All"]}}
    world.send("POST", f"{POD_PATH}/p/eviction", eviction)
    assert world.last["objectRef"]["subresource"] == "eviction"
    assert world.last["requestObject"] == eviction
    assert world.last["responseObject"]["status"] == "Success"
    options = {"preconditions": {"uid": uid}, "gracePeriodSeconds": 0}
    world.send("DELETE", f"{POD_PATH}/p", options)
    assert world.last["verb"] == "delete"
    assert world.last["requestObject"] == options
    assert world.last["responseObject"]["metadata"]["uid"] == uid


def test_an_applied_pod_is_told_from_its_yaml(world: AuditedApi) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "Pod", **bare_pod("p")}).encode()
    target = f"{POD_PATH}/p?fieldManager=me"
    assert world.send("PATCH", target, text, content_type=APPLY).status == 201
    assert world.last["requestObject"]["metadata"] == {"name": "p"}


def test_a_refusal_is_told_with_the_servers_words(world: AuditedApi) -> None:
    world.send("DELETE", f"{POD_PATH}/p", user="dev")
    assert world.last["user"] == {"username": "dev", "groups": ["system:authenticated"]}
    assert world.last["responseStatus"]["code"] == 403
    assert world.last["responseStatus"]["reason"] == "Forbidden"
    assert "cannot delete resource" in world.last["responseStatus"]["message"]
    assert world.last["annotations"]["authorization.k8s.io/decision"] == "forbid"
    world.send("DELETE", f"{POD_PATH}/p")
    status = world.last["responseStatus"]
    assert (status["code"], status["details"]) == (404, {"name": "p", "kind": "pods"})
    world.send("DELETE", f"{POD_PATH}/p", user="nobody")
    assert world.last["user"]["username"] == "system:anonymous"
    assert world.last["responseStatus"]["code"] == 401
    assert world.last["annotations"] == {}


def test_a_body_that_nobody_can_read_is_left_out(world: AuditedApi) -> None:
    world.send("POST", POD_PATH, b"{")
    assert world.last["responseStatus"]["code"] == 400
    assert "requestObject" not in world.last


def test_reads_and_what_names_no_resource_are_told_by_their_metadata(world: AuditedApi) -> None:
    world.send("POST", POD_PATH, bare_pod("p"))
    world.get(f"{POD_PATH}/p")
    assert world.last["level"] == "Metadata"
    assert world.last["objectRef"]["name"] == "p"
    assert "responseObject" not in world.last
    world.get("/version")
    assert world.last["verb"] == "get"
    assert "objectRef" not in world.last
    world.send("POST", "/nothing", {})
    assert (world.last["verb"], world.last["responseStatus"]["code"]) == ("post", 404)


@pytest.mark.parametrize("how", ["closed", "timed out"])
def test_a_watch_is_told_when_it_begins_and_when_it_ends(world: AuditedApi, how: str) -> None:
    stream = world.handler.handle(world.request("GET", f"{POD_PATH}?watch=1&timeoutSeconds=60"))
    assert isinstance(stream, Stream)
    assert [(e["verb"], e["stage"]) for e in world.events] == [("watch", "ResponseStarted")]
    if how == "closed":
        stream.close()
    else:
        world.clock.advance(60)
    begun, ended = world.events
    assert ended["stage"] == "ResponseComplete"
    assert ended["auditID"] == begun["auditID"]
    assert ended["requestReceivedTimestamp"] == begun["requestReceivedTimestamp"]
    assert (ended["stageTimestamp"] > begun["stageTimestamp"]) is (how == "timed out")


def test_who_acts_as_another_is_told_with_both() -> None:
    world = AuditedApi()
    world.send("DELETE", f"{POD_PATH}/p", impersonate_user="jo", impersonate_group="ops")
    assert world.last["user"]["username"] == "kubernetes-admin"
    acting = {"username": "jo", "groups": ["ops", "system:authenticated"]}
    assert world.last["impersonatedUser"] == acting
    world.send("DELETE", f"{POD_PATH}/p", user="dev", impersonate_user="jo")
    assert world.last["user"]["username"] == "dev"
    assert "impersonatedUser" not in world.last, "it was refused"


def test_a_fault_that_answers_is_named_and_one_that_cuts_the_line_leaves_no_event(
    world: AuditedApi,
) -> None:
    text = """
faults:
  - {name: flaky, match: {verbs: [delete]}, count: 1, error: 503}
  - {name: cut, match: {verbs: [delete]}, after: 1, count: 1, refuse: true}
"""
    world.handler = Injector(world.api, read_faults(None, text))
    world.send("DELETE", f"{POD_PATH}/p")
    assert world.last["annotations"] == {"rollout.sim/fault": "flaky"}
    assert world.last["responseStatus"]["code"] == 503
    world.handler.handle(world.request("DELETE", f"{POD_PATH}/p"))
    assert len(world.events) == 1
    assert [entry.fault for entry in world.audit.entries] == ["flaky", "cut"]


def test_what_secrets_config_maps_and_tokens_hold_is_never_in_it(world: AuditedApi) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    bodies: Iterator[Json] = iter(
        [
            {"metadata": {"name": "s"}, "stringData": {"password": PLANTED}},
            {"metadata": {"name": "s"}, "stringData": PLANTED},
            {"metadata": {"name": "t"}, "data": {"password": PLANTED}, PLANTED: 1},
        ]
    )
    for body in bodies:
        world.send("POST", f"{secrets}?fieldValidation=Strict", body)
    patch = [{"op": "test", "path": "/data/password", "value": PLANTED}]
    world.send("PATCH", f"{secrets}/s", patch, content_type="application/json-patch+json")
    world.send("PATCH", f"{secrets}/s", {"type": PLANTED}, content_type=MERGE)
    world.send("POST", CONFIG_MAP_PATH, {"metadata": {"name": "c"}, "data": {"k": PLANTED}})
    world.send("PUT", f"{CONFIG_MAP_PATH}/c", {"metadata": {"name": "c"}, "data": PLANTED})
    world.send("GET", f"{secrets}/s")
    world.send("GET", secrets)
    world.send("DELETE", f"{CONFIG_MAP_PATH}/c")
    world.send("POST", POD_PATH, bare_pod("p"), authorization=f"Bearer {PLANTED}", user=None)
    codes = {event["responseStatus"]["code"] for event in world.events}
    assert {200, 201, 400, 422, 401} <= codes
    assert PLANTED not in json.dumps(world.events)


class Untold(AuditLog):
    """An audit log that nobody listens to and that can't stand to be told."""

    def tell(self, event: Json) -> None:
        raise AssertionError(event)


def test_nobody_builds_what_nobody_asked_for() -> None:
    world, audit = ApiWorld(), Untold()
    Api(world.registry, tokens=USERS, audit=audit).handle(
        world.request("POST", POD_PATH, bare_pod("p"))
    )
    lived(audit)
    assert [entry.verb for entry in audit.entries] == ["create"]


# The cluster's own parts


def lived(audit: AuditLog | None, **settings: Any) -> Cluster:
    """Return a cluster of four nodes after an update, a delete by hand and the loss of a node."""
    clock = VirtualClock()
    cluster = Cluster(clock, default_fleet(4, 1), Settings(**settings), audit)
    cluster.start()
    template = {"metadata": {"labels": {"new": "yes"}}}
    patch, kind = {"spec": {"template": template}}, PatchType.MERGE
    cluster.registry.patch(DAEMONSETS, "logging", "log-agent", patch, kind, ADMIN)
    clock.advance(600)
    cluster.lose_node("node-001")
    clock.advance(120)
    cluster.restore_node("node-001")
    cluster.join_node("late")
    clock.advance(60)
    cluster.remove_node("late")
    clock.advance(120)
    return cluster


def of(event: Json) -> str:
    """Return what an event is about (`pods/status`)."""
    target = event["objectRef"]
    subresource = target.get("subresource")
    return f"{target['resource']}/{subresource}" if subresource else str(target["resource"])


def test_every_part_of_the_cluster_is_in_it_under_its_own_name() -> None:
    audit, events = AuditLog(), list[Json]()
    audit.subscribe(events.append)
    lived(audit, heartbeats=True)
    told = {
        (
            event["user"]["username"].replace("node-000", "NODE"),
            event["verb"],
            "/".join(
                filter(
                    None, (event["objectRef"]["resource"], event["objectRef"].get("subresource"))
                )
            ),
        )
        for event in events
        if event["responseStatus"]["code"] < 400
    }
    assert {
        (f"{PREFIX}daemon-set-controller", "create", "pods"),
        (f"{PREFIX}daemon-set-controller", "delete", "pods"),
        (f"{PREFIX}daemon-set-controller", "create", "controllerrevisions"),
        (f"{PREFIX}daemon-set-controller", "update", "daemonsets/status"),
        (f"{PREFIX}node-controller", "patch", "pods/status"),
        (f"{PREFIX}node-controller", "update", "nodes"),
        (f"{PREFIX}pod-garbage-collector", "delete", "pods"),
        ("system:kube-scheduler", "create", "pods/binding"),
        ("system:node:NODE", "patch", "pods/status"),
        ("system:node:NODE", "delete", "pods"),
        ("system:node:NODE", "update", "leases"),
        ("system:node:node-001", "update", "nodes/status"),
        ("kubernetes-admin", "create", "nodes"),
        ("kubernetes-admin", "delete", "nodes"),
    } <= told


def test_what_the_parts_write_is_told_with_the_objects_behind_it() -> None:
    audit, events = AuditLog(), list[Json]()
    audit.subscribe(events.append)
    lived(audit)
    pods = [event for event in events if event["objectRef"]["resource"] == "pods"]
    by_verb: dict[tuple[str, str], Json] = {}
    for event in pods:
        assert event["level"] == "RequestResponse"
        by_verb.setdefault((event["verb"], event["objectRef"].get("subresource", "")), event)
    created, bound = by_verb[("create", "")], by_verb[("create", "binding")]
    reported = by_verb[("patch", "status")]
    assert created["requestURI"] == "/api/v1/namespaces/logging/pods"
    assert created["responseStatus"]["code"] == 201
    assert created["userAgent"].startswith("kube-controller-manager/v1.36")
    assert created["responseObject"]["metadata"]["uid"]
    assert bound["requestObject"]["target"]["name"].startswith("node-")
    assert bound["responseObject"]["status"] == "Success"
    assert set(reported["requestObject"]) == {"metadata", "status"}
    assert reported["requestURI"].endswith("/status")
    deletes = [event for event in pods if event["verb"] == "delete"]
    ends = [event for event in deletes if event["user"]["username"].startswith("system:node:")]
    assert ends
    for event in ends:
        assert event["responseStatus"]["code"] == 200, "once for each pod"
        uid = event["responseObject"]["metadata"]["uid"]
        assert event["requestObject"]["gracePeriodSeconds"] == 0
        assert event["requestObject"]["preconditions"] == {"uid": uid}
        node = event["responseObject"]["spec"]["nodeName"]
        assert event["user"]["username"] == f"system:node:{node}"
    others = [event for event in events if event["objectRef"]["resource"] != "pods"]
    assert {event["level"] for event in others} == {"Metadata"}


def test_all_that_became_of_the_pods_is_in_it() -> None:
    audit, versions = AuditLog(), set[str]()
    bound = 0

    def look(event: Json) -> None:
        nonlocal bound
        if event["objectRef"]["resource"] == "pods":
            bound += event["objectRef"].get("subresource") == "binding"
            versions.add(event["responseObject"]["metadata"].get("resourceVersion", ""))

    audit.subscribe(look)
    cluster = lived(audit)
    first = min(int(version) for version in versions if version)
    unseen = [
        change
        for change in cluster.store.events_since(PODS, first)
        if str(change.version) not in versions
        # marked and removed by one delete, which answers with the end of it
        and change.object["metadata"].get("deletionGracePeriodSeconds") != 0
    ]
    assert bound > 0
    assert len(unseen) == bound, "a binding is answered with a Status"


def test_the_log_changes_nothing_in_the_history_of_a_cluster() -> None:
    audit = AuditLog()
    audit.subscribe(lambda _event: None)
    with_it, without = lived(audit), lived(None)
    assert list(with_it.store.scan(PODS)) == list(without.store.scan(PODS))
    assert with_it.store.version == without.store.version


# The file


def test_the_file_has_an_event_a_line_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        world, audit = ApiWorld(), AuditLog(path)
        api = Api(world.registry, tokens=USERS, audit=audit)
        api.handle(world.request("GET", POD_PATH))
        watch = api.handle(world.request("GET", f"{POD_PATH}?watch=1"))
        audit.close()
        audit.close()
        assert isinstance(watch, Stream)
        watch.close()  # behind the end of the log
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [e["verb"] for e in events] == ["list", "watch", "list", "watch"]
    assert len({event["auditID"] for event in events}) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
