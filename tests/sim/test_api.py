"""Requests and their answers, without a transport."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from rollout.sim.resources import PODS
from tests.sim.apiworld import (
    APPLY,
    CONFIG_MAP_PATH,
    DAEMONSET_PATH,
    MERGE,
    POD_PATH,
    STRATEGIC,
    TESTER,
    ApiWorld,
    daemonset,
    events,
    raw,
)

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


def filled(world: ApiWorld, *names: str) -> None:
    for name in names:
        assert world.config_map(name, kind="test").status == 201


MINE = "labelSelector=kind%3Dtest"


# Bodies and field validation


def test_unknown_fields_are_dropped_with_a_warning(world: ApiWorld) -> None:
    answer = world.send("POST", DAEMONSET_PATH, daemonset(bogus=1, replicas=2))
    assert answer.status == 201
    assert answer.headers["Warning"] == (
        '299 - "unknown field \\"spec.bogus\\"", 299 - "unknown field \\"spec.replicas\\""'
    )
    assert "bogus" not in answer.body["spec"]


def test_unknown_fields_can_be_ignored(world: ApiWorld) -> None:
    answer = world.send("POST", f"{DAEMONSET_PATH}?fieldValidation=Ignore", daemonset(bogus=1))
    assert (answer.status, answer.headers) == (201, {})


def test_unknown_fields_in_a_patch_can_be_refused(world: ApiWorld) -> None:
    world.daemonset()
    target = f"{DAEMONSET_PATH}/agent?fieldValidation=Strict"
    answer = world.patch(target, {"spec": {"bogus": 1}})
    assert answer.status == 422
    assert 'unknown field "spec.bogus"' in answer.body["message"]


def test_duplicate_fields_can_be_refused(world: ApiWorld) -> None:
    body = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"}}'
    answer = world.send("POST", f"{CONFIG_MAP_PATH}?fieldValidation=Strict", body)
    assert answer.status == 400
    assert 'duplicate field "data.x"' in answer.body["message"]


def test_bodies_may_be_yaml(world: ApiWorld) -> None:
    body = b"metadata: {name: a}\ndata: {day: '2026-01-01'}\n"
    answer = world.send("POST", CONFIG_MAP_PATH, body, content_type="application/yaml")
    assert answer.body["data"] == {"day": "2026-01-01"}


def test_answers_may_be_yaml(world: ApiWorld) -> None:
    filled(world, "a")
    assert world.get(f"{CONFIG_MAP_PATH}/a", accept="application/yaml").text.startswith(
        "apiVersion"
    )


def test_answers_may_be_pretty(world: ApiWorld) -> None:
    filled(world, "a")
    assert "\n  " in world.get(f"{CONFIG_MAP_PATH}/a?pretty=true").text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "unexpected end of JSON input"),
        (b'{"apiVersion":"v2"}', "the API version in the data (v2) does not match the expected"),
        (b'{"kind":"Secret"}', 'Secret in version "v1" cannot be handled as a ConfigMap'),
        (b'{"data":{"a":1}}', "cannot unmarshal number into Go struct field ConfigMap.data"),
    ],
)
def test_a_body_that_is_no_such_object_is_refused(
    world: ApiWorld, body: bytes, message: str
) -> None:
    answer = world.send("POST", CONFIG_MAP_PATH, body)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert message in answer.body["message"]


def test_a_body_for_another_namespace_is_refused(world: ApiWorld) -> None:
    body = {"metadata": {"name": "a", "namespace": "other"}}
    answer = world.send("POST", CONFIG_MAP_PATH, body)
    assert answer.status == 400
    assert answer.body["message"].startswith("the namespace of the provided object does not match")


def test_an_unknown_patch_format_is_refused(world: ApiWorld) -> None:
    filled(world, "a")
    answer = world.patch(f"{CONFIG_MAP_PATH}/a", {}, "application/json")
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")


def test_a_form_that_nobody_reads_is_refused(world: ApiWorld) -> None:
    form = "application/x-www-form-urlencoded"
    for method, target in (("POST", CONFIG_MAP_PATH), ("DELETE", f"{CONFIG_MAP_PATH}/a")):
        answer = world.send(method, target, {}, content_type=form)
        assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")
        assert "application/json, application/yaml" in answer.body["message"]


@pytest.mark.parametrize(
    ("method", "kind"),
    [("POST", "Create"), ("PUT", "Update"), ("PATCH", "Patch"), ("DELETE", "Delete")],
)
def test_another_dry_run_than_all_is_refused(world: ApiWorld, method: str, kind: str) -> None:
    filled(world, "a")
    target = CONFIG_MAP_PATH if method == "POST" else f"{CONFIG_MAP_PATH}/a"
    form = MERGE if method == "PATCH" else "application/json"
    body = None if method == "DELETE" else {"metadata": {"name": "a"}}
    answer = world.send(method, f"{target}?dryRun=Some", body, content_type=form)
    assert answer.status == 422
    assert answer.body["message"].startswith(f'{kind}Options.meta.k8s.io "" is invalid: dryRun:')


@pytest.mark.parametrize(("version", "status"), [("1", 200), ("999999", 504), ("x", 500)])
def test_a_read_may_ask_for_a_version_that_is_new_enough(
    world: ApiWorld, version: str, status: int
) -> None:
    filled(world, "a")
    assert world.get(f"{CONFIG_MAP_PATH}/a?resourceVersion={version}").status == status


def test_a_shape_that_nobody_serves_is_refused(world: ApiWorld) -> None:
    answer = world.get(CONFIG_MAP_PATH, accept="text/html")
    assert (answer.status, answer.body["reason"]) == (406, "NotAcceptable")


def test_the_field_manager_is_named_or_the_first_word_of_the_user_agent(world: ApiWorld) -> None:
    filled(world, "a")
    target = f"{CONFIG_MAP_PATH}/a"
    world.patch(f"{target}?fieldManager=me", {"data": {"x": "1"}})
    managers = world.get(target).body["metadata"]["managedFields"]
    assert [entry["manager"] for entry in managers] == ["me", "tester"]


def test_apply_needs_a_field_manager(world: ApiWorld) -> None:
    answer = world.patch(f"{CONFIG_MAP_PATH}/a", b"metadata: {name: a}", APPLY)
    assert answer.status == 422
    assert "fieldManager: Required value: is required for apply patch" in answer.body["message"]


def test_apply_creates_what_is_missing(world: ApiWorld) -> None:
    target = f"{CONFIG_MAP_PATH}/a?fieldManager=me"
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}"
    assert world.patch(target, body, APPLY).status == 201
    assert world.patch(target, body, APPLY).status == 200


def test_a_put_creates_a_missing_lease_but_no_config_map(world: ApiWorld) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    assert world.send("PUT", leases, {"metadata": {"name": "l"}}).status == 201
    missing = world.send("PUT", f"{CONFIG_MAP_PATH}/a", {"metadata": {"name": "a"}})
    assert missing.status == 404


def test_a_put_with_a_uid_makes_no_lease_anew(world: ApiWorld) -> None:
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
    refused = world.send("PUT", lease, {"metadata": {"name": "l", "uid": "gone"}})
    assert refused.status == 409
    assert refused.body["message"].endswith("UID in precondition: gone, UID in object meta: ")


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", f"{CONFIG_MAP_PATH}/a"), ("PUT", CONFIG_MAP_PATH), ("DELETE", "/api/v1/namespaces")],
)
def test_a_verb_that_makes_no_sense_is_not_allowed(
    world: ApiWorld, method: str, target: str
) -> None:
    assert world.send(method, target, {}).status == 405


# Lists


def test_a_list_goes_on_from_page_to_page(world: ApiWorld) -> None:
    filled(world, "a", "b", "c", "d", "e")
    first = world.get(f"{CONFIG_MAP_PATH}?limit=2")
    assert first.names == ["a", "b"]
    assert first.body["metadata"]["remainingItemCount"] == 3
    second = world.get(f"{CONFIG_MAP_PATH}?limit=2&continue={first.body['metadata']['continue']}")
    assert second.names == ["c", "d"]
    last = world.get(f"{CONFIG_MAP_PATH}?limit=2&continue={second.body['metadata']['continue']}")
    assert last.names == ["e"]
    assert "continue" not in last.body["metadata"]


def test_pages_show_the_world_as_it_was_at_the_first(world: ApiWorld) -> None:
    filled(world, "a", "b", "c")
    first = world.get(f"{CONFIG_MAP_PATH}?limit=1").body["metadata"]
    world.send("DELETE", f"{CONFIG_MAP_PATH}/b")
    filled(world, "bb")
    rest = world.get(f"{CONFIG_MAP_PATH}?continue={first['continue']}")
    assert rest.names == ["b", "c"]
    assert rest.body["metadata"]["resourceVersion"] == first["resourceVersion"]


def test_pages_over_all_namespaces_go_on_behind_namespace_and_name(world: ApiWorld) -> None:
    filled(world, "a")
    world.send("POST", "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "0"}})
    first = world.get("/api/v1/configmaps?limit=1")
    rest = world.get(f"/api/v1/configmaps?continue={first.body['metadata']['continue']}")
    assert (first.names, rest.names) == (["a"], ["0"])


def test_with_a_selector_nobody_counts_the_rest(world: ApiWorld) -> None:
    filled(world, "a", "b", "c")
    meta = world.get(f"{CONFIG_MAP_PATH}?limit=1&{MINE}").body["metadata"]
    assert "continue" in meta
    assert "remainingItemCount" not in meta


def test_a_page_whose_version_is_gone_offers_to_go_on_inconsistently(world: ApiWorld) -> None:
    filled(world, "a", "b")
    token = world.get(f"{CONFIG_MAP_PATH}?limit=1").body["metadata"]["continue"]
    filled(world, "c")
    world.store.compact()
    gone = world.get(f"{CONFIG_MAP_PATH}?limit=1&continue={token}")
    assert (gone.status, gone.body["reason"]) == (410, "Expired")
    fresh = gone.body["metadata"]["continue"]
    assert json.loads(base64.urlsafe_b64decode(fresh + "=="))["rv"] == -1
    assert world.get(f"{CONFIG_MAP_PATH}?continue={fresh}").names == ["b", "c"]


def test_any_version_is_served_whole_as_from_a_cache(world: ApiWorld) -> None:
    filled(world, "a", "b", "c")
    assert world.get(f"{CONFIG_MAP_PATH}?limit=1&resourceVersion=0").names == ["a", "b", "c"]


def test_an_exact_version_shows_the_past(world: ApiWorld) -> None:
    filled(world, "a")
    version = world.get(CONFIG_MAP_PATH).body["metadata"]["resourceVersion"]
    filled(world, "b")
    exact = f"{CONFIG_MAP_PATH}?resourceVersion={version}&resourceVersionMatch=Exact"
    assert world.get(exact).names == ["a"]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("resourceVersionMatch=Exact", 422, "is forbidden unless resourceVersion is provided"),
        ("resourceVersion=1&resourceVersionMatch=Newest", 422, 'Unsupported value: "Newest"'),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            422,
            'is forbidden for resourceVersion "0"',
        ),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("limit=x", 400, "invalid syntax"),
        ("resourceVersion=x", 500, "strconv.ParseUint"),
        ("resourceVersion=999999", 504, "Too large resource version: 999999"),
        ("continue=!", 400, "invalid continue token"),
    ],
)
def test_list_options_that_make_no_sense_are_refused(
    world: ApiWorld, query: str, status: int, message: str
) -> None:
    answer = world.get(f"{CONFIG_MAP_PATH}?{query}")
    assert answer.status == status
    assert message in answer.body["message"]


def test_items_of_a_list_do_not_say_what_they_are(world: ApiWorld) -> None:
    filled(world, "a")
    body = world.get(f"{CONFIG_MAP_PATH}?{MINE}").body
    assert (body["kind"], body["apiVersion"]) == ("ConfigMapList", "v1")
    assert set(body["items"][0]) == {"metadata"}


def test_a_list_may_be_a_table_or_metadata_only(world: ApiWorld) -> None:
    filled(world, "a")
    table = world.get(f"{CONFIG_MAP_PATH}?{MINE}", accept=TABLE).body
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "a")
    partial = world.get(f"{CONFIG_MAP_PATH}?{MINE}", accept=PARTIAL).body
    assert partial["kind"] == "PartialObjectMetadataList"


def test_a_dry_run_does_not_show_up_in_later_reads(world: ApiWorld) -> None:
    filled(world, "a")
    changed = world.patch(f"{CONFIG_MAP_PATH}/a?dryRun=All", {"data": {"x": "1"}})
    assert changed.body["data"] == {"x": "1"}
    assert "data" not in world.get(f"{CONFIG_MAP_PATH}/a").body
    assert "data" not in world.get(CONFIG_MAP_PATH).body["items"][0]


# Watches


def test_a_watch_from_a_version_tells_what_came_behind_it(world: ApiWorld) -> None:
    filled(world, "a")
    version = world.get(CONFIG_MAP_PATH).body["metadata"]["resourceVersion"]
    filled(world, "b")
    stream = world.watch(f"{CONFIG_MAP_PATH}?resourceVersion={version}")
    world.send("DELETE", f"{CONFIG_MAP_PATH}/a")
    assert events(stream) == [("ADDED", "b"), ("DELETED", "a")]


@pytest.mark.parametrize("version", ["", "resourceVersion=0"])
def test_a_watch_from_nowhere_begins_with_the_state(world: ApiWorld, version: str) -> None:
    filled(world, "a", "b")
    stream = world.watch(f"{CONFIG_MAP_PATH}?{version}&{MINE}")
    filled(world, "c")
    assert events(stream) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c")]


def test_a_streaming_list_says_when_it_is_complete(world: ApiWorld) -> None:
    filled(world, "a")
    options = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    told = raw(world.watch(f"{CONFIG_MAP_PATH}?{options}&{MINE}"))
    assert [event["type"] for event in told] == ["ADDED", "BOOKMARK"]
    metadata = told[1]["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert metadata["resourceVersion"] == str(world.store.version)


def test_what_leaves_the_selector_is_deleted_and_what_enters_it_is_added(world: ApiWorld) -> None:
    filled(world, "a")
    stream = world.watch(f"{CONFIG_MAP_PATH}?{MINE}&resourceVersion={world.store.version}")
    world.patch(f"{CONFIG_MAP_PATH}/a", {"metadata": {"labels": {"kind": "other"}}})
    gone = raw(stream)
    assert [(event["type"], event["object"]["metadata"]["labels"]) for event in gone] == [
        ("DELETED", {"kind": "test"})
    ]
    assert gone[0]["object"]["metadata"]["resourceVersion"] == str(world.store.version)
    world.patch(f"{CONFIG_MAP_PATH}/a", {"data": {"x": "1"}})
    assert events(stream) == []
    world.patch(f"{CONFIG_MAP_PATH}/a", {"metadata": {"labels": {"kind": "test"}}})
    assert events(stream) == [("ADDED", "a")]


def test_a_watch_hears_of_its_namespace_only(world: ApiWorld) -> None:
    stream = world.watch(f"{CONFIG_MAP_PATH}?resourceVersion={world.store.version}")
    world.send("POST", "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "x"}})
    assert events(stream) == []


def test_a_watch_may_be_for_one_object(world: ApiWorld) -> None:
    filled(world, "a", "b")
    target = f"{CONFIG_MAP_PATH}?fieldSelector=metadata.name%3Da&resourceVersion=0"
    assert events(world.watch(target)) == [("ADDED", "a")]
    assert events(world.watch(f"{CONFIG_MAP_PATH}/b?resourceVersion=0")) == [("ADDED", "b")]


def test_bookmarks_come_each_minute_and_before_the_end(world: ApiWorld) -> None:
    options = "allowWatchBookmarks=true&timeoutSeconds=90"
    stream = world.watch(f"{CONFIG_MAP_PATH}?{options}&resourceVersion={world.store.version}")
    world.clock.advance(59)
    assert raw(stream) == []
    world.clock.advance(2)
    assert [event["type"] for event in raw(stream)] == ["BOOKMARK"]
    world.clock.advance(28)
    assert [event["type"] for event in raw(stream)] == ["BOOKMARK"]
    assert not stream.closed
    world.clock.advance(1)
    assert stream.closed


def test_a_watch_ends_by_itself_after_half_an_hour_to_an_hour(world: ApiWorld) -> None:
    stream = world.watch(f"{CONFIG_MAP_PATH}?resourceVersion={world.store.version}")
    world.clock.advance(1799)
    assert not stream.closed
    world.clock.advance(1801)
    assert stream.closed


def test_a_closed_watch_leaves_nothing_behind(world: ApiWorld) -> None:
    stream = world.watch(f"{CONFIG_MAP_PATH}?allowWatchBookmarks=true")
    stream.close()
    filled(world, "a")
    assert events(stream) == []
    assert world.clock.next_due() is None


def test_a_watch_from_a_version_that_is_gone_says_so_in_the_stream(world: ApiWorld) -> None:
    version = world.store.version
    filled(world, "a", "b")
    world.store.compact()
    stream = world.watch(f"{CONFIG_MAP_PATH}?resourceVersion={version}")
    told = raw(stream)
    assert [(event["type"], event["object"]["code"]) for event in told] == [("ERROR", 410)]
    assert stream.closed


def test_a_watch_of_tables_sends_its_columns_once(world: ApiWorld) -> None:
    filled(world, "a", "b")
    told = raw(world.watch(f"{CONFIG_MAP_PATH}?{MINE}", accept=TABLE))
    columns = [bool(event["object"]["columnDefinitions"]) for event in told]
    assert columns == [True, False]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sendInitialEvents=true", "sendInitialEvents requires setting resourceVersionMatch"),
        ("resourceVersionMatch=NotOlderThan", "is forbidden for watch unless sendInitialEvents"),
    ],
)
def test_watch_options_that_make_no_sense_are_refused(
    world: ApiWorld, query: str, message: str
) -> None:
    answer = world.get(f"{CONFIG_MAP_PATH}?watch=1&{query}")
    assert answer.status == 422
    assert message in answer.body["message"]


# Deletes


def test_the_query_of_a_delete_counts_only_without_a_body(world: ApiWorld) -> None:
    filled(world, "a", "b")
    assert world.send("DELETE", f"{CONFIG_MAP_PATH}/a?dryRun=All").status == 200
    assert world.get(f"{CONFIG_MAP_PATH}/a").status == 200
    world.send("DELETE", f"{CONFIG_MAP_PATH}/b?dryRun=All", {})
    assert world.get(f"{CONFIG_MAP_PATH}/b").status == 404


def test_a_grace_period_may_be_in_the_query(world: ApiWorld) -> None:
    world.pod("p", nodeName="n")
    answer = world.send("DELETE", f"{POD_PATH}/p?gracePeriodSeconds=5")
    assert answer.body["metadata"]["deletionGracePeriodSeconds"] == 5


def test_a_foreground_delete_is_only_accepted(world: ApiWorld) -> None:
    world.daemonset()
    answer = world.send("DELETE", f"{DAEMONSET_PATH}/agent?propagationPolicy=Foreground")
    assert (answer.status, answer.body["metadata"]["finalizers"]) == (202, ["foregroundDeletion"])


def test_an_unknown_propagation_is_refused(world: ApiWorld) -> None:
    world.daemonset()
    answer = world.send("DELETE", f"{DAEMONSET_PATH}/agent?propagationPolicy=Sideways")
    assert answer.status == 422
    assert "propagationPolicy: Unsupported value" in answer.body["message"]


def test_a_collection_can_be_deleted_by_selector(world: ApiWorld) -> None:
    filled(world, "a", "b")
    world.config_map("c", kind="other")
    answer = world.send("DELETE", f"{CONFIG_MAP_PATH}?{MINE}")
    assert (answer.status, answer.names) == (200, ["a", "b"])
    assert world.get(CONFIG_MAP_PATH).names == ["c"]


# Subresources, reviews, metrics, events


def test_a_daemonset_has_a_status_of_its_own(world: ApiWorld) -> None:
    world.daemonset()
    status = {"status": {"numberReady": 2}}
    answer = world.patch(f"{DAEMONSET_PATH}/agent/status", status, STRATEGIC)
    assert answer.body["status"]["numberReady"] == 2


def test_what_is_not_simulated_says_so(world: ApiWorld) -> None:
    world.pod("p")
    answer = world.send("POST", f"{POD_PATH}/p/exec")
    assert answer.status == 501
    assert answer.body["message"] == "the embedded cluster does not simulate pods/exec"


def test_an_eviction_for_another_pod_is_refused(world: ApiWorld) -> None:
    world.pod("p")
    answer = world.send("POST", f"{POD_PATH}/p/eviction", {"metadata": {"name": "q"}})
    assert answer.body["message"] == "name in URL does not match name in Eviction object"


def test_a_binding_needs_a_node(world: ApiWorld) -> None:
    world.pod("p")
    answer = world.send("POST", f"{POD_PATH}/p/binding", {"metadata": {"name": "p"}})
    assert answer.status == 422


def test_a_review_says_what_somebody_else_may(world: ApiWorld) -> None:
    target = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    spec: dict[str, Any] = {
        "resourceAttributes": {"verb": "get", "resource": "pods"},
        "user": "dev",
    }
    assert world.send("POST", target, {"spec": spec}).body["status"] == {"allowed": False}
    spec["groups"] = ["system:masters"]
    assert world.send("POST", target, {"spec": spec}).body["status"] == {"allowed": True}


def test_a_review_that_asks_nothing_is_refused(world: ApiWorld) -> None:
    target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert world.send("POST", target, {"spec": {}}).status == 422


def test_everybody_may_ask_who_they_are(world: ApiWorld) -> None:
    target = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = world.send("POST", target, {}, user="dev")
    assert answer.body["status"]["userInfo"]["username"] == "dev"


def test_pods_that_run_use_something(world: ApiWorld) -> None:
    world.node("n")
    pod = world.pod("p", nodeName="n")
    world.pod("q")
    body = {**pod, "status": {**pod["status"], "phase": "Running"}}
    world.registry.update(PODS, "default", "p", body, TESTER, subresource="status")
    listed = world.get("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods")
    assert listed.names == ["p"]
    usage = listed.body["items"][0]["containers"][0]["usage"]
    assert usage["cpu"].endswith("n")
    assert world.get("/apis/metrics.k8s.io/v1beta1/nodes/n").body["usage"]["memory"].endswith("Ki")


def test_an_event_is_seen_under_both_of_its_names(world: ApiWorld) -> None:
    body = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p"},
        "message": "m",
        "type": "Normal",
    }
    created = world.send("POST", "/api/v1/namespaces/default/events", body)
    assert created.status == 201, created.text
    new = world.get("/apis/events.k8s.io/v1/namespaces/default/events").body["items"][0]
    assert (new["note"], new["regarding"]["name"]) == ("m", "p")
    stream = world.watch("/apis/events.k8s.io/v1/events?resourceVersion=0")
    assert raw(stream)[0]["object"]["note"] == "m"


def test_every_request_is_in_the_audit_log(world: ApiWorld) -> None:
    filled(world, "a")
    world.send("DELETE", f"{CONFIG_MAP_PATH}/a", user="dev")
    world.watch(CONFIG_MAP_PATH)
    told = [(entry.user, entry.verb, entry.status) for entry in world.api.audit.entries]
    assert told == [
        ("kubernetes-admin", "create", 201),
        ("dev", "delete", 403),
        ("kubernetes-admin", "watch", 200),
    ]
