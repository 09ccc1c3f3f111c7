from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sim import decoding, defaults, managedfields
from rollout.sim.errors import StatusError
from rollout.sim.resources import BY_KIND, CONFIG_MAPS, DAEMONSETS
from tests.sim.recorded import answer, items, request

NOW = "2026-11-23T17:24:55Z"
GENERATION = "deprecated.daemonset.template.generation"
CREATES = [
    ("02", "create node n0"),
    ("03", "create with defaults"),
    ("03", "create, surge with hostPort (dry run)"),
    ("04", "create pdb"),
    ("05", "create lease"),
    ("05", "create configmap"),
    ("05", "create event"),
]


def track(
    old: dict[str, Any] | None,
    new: dict[str, Any],
    manager: str = "Python-urllib",
    subresource: str = "",
    now: str = NOW,
) -> Any:
    return managedfields.track_update(
        old,
        new,
        manager=manager,
        api_version=new["apiVersion"],
        subresource=subresource,
        now=now,
    )


def with_generation(daemonset: dict[str, Any], generation: str) -> dict[str, Any]:
    annotations = {**daemonset["metadata"].get("annotations", {}), GENERATION: generation}
    return {**daemonset, "metadata": {**daemonset["metadata"], "annotations": annotations}}


@pytest.mark.parametrize(("number", "name"), CREATES)
def test_the_creator_owns_what_the_recording_says(number: str, name: str) -> None:
    body = request(number, name)
    resource = BY_KIND[body["apiVersion"], body["kind"]]
    new = defaults.with_defaults(resource, decoding.decode(resource, body)[0])
    if resource is DAEMONSETS:
        new = with_generation(new, "1")
    expected = answer(number, name)["metadata"]["managedFields"]
    assert track(None, new, now=expected[0]["time"]) == expected


UPDATES = [  # file, before, after, manager, subresource, time
    ("02", "create node n0", "node status merge patch", "Python-urllib", "status", NOW),
    ("02", "create node n3", "cordon", "Python-urllib", "", NOW),
    ("02", "cordon", "uncordon", "Python-urllib", "", NOW),
    ("03", "create with defaults", "get after create", "kcm", "status", NOW),
    ("03", "get after create", "get when available", "kcm", "status", "2026-11-23T17:24:57Z"),
    (
        "03",
        "get when available",
        "annotate: generation stays",
        "Python-urllib",
        "",
        "2026-11-23T17:24:58Z",
    ),
    (
        "03",
        "one write: OnDelete and template",
        "get after OnDelete + template",
        "kcm",
        "status",
        "2026-11-23T17:24:58Z",
    ),
]


@pytest.mark.parametrize(("number", "before", "after", "manager", "subresource", "now"), UPDATES)
def test_updates_move_ownership_as_recorded(
    number: str, before: str, after: str, manager: str, subresource: str, now: str
) -> None:
    new = answer(number, after)
    expected = new["metadata"]["managedFields"]
    assert track(answer(number, before), new, manager, subresource, now) == expected


def test_taking_over_from_an_applier_as_recorded() -> None:
    new = answer("03", "one write: OnDelete and template")
    expected = new["metadata"]["managedFields"]
    # The template generation rises after ownership was settled.
    new = with_generation(new, "1")
    assert track(answer("03", "server-side apply"), new, now="2026-11-23T17:24:58Z") == expected


def test_a_write_that_changes_nothing_keeps_time_and_entries() -> None:
    live = answer("03", "get when available")
    assert track(live, dict(live), now="2030-01-01T00:00:00Z") is live["metadata"]["managedFields"]


def test_only_the_writer_gets_a_new_time() -> None:
    live = answer("03", "get when available")
    new = {**live, "spec": {**live["spec"], "minReadySeconds": 5}}
    times = {
        entry["manager"]: entry["time"] for entry in track(live, new, now="2030-01-01T00:00:00Z")
    }
    assert times == {"kcm": "2026-11-23T17:24:57Z", "Python-urllib": "2030-01-01T00:00:00Z"}


def test_removing_a_field_gives_it_to_nobody() -> None:
    live = answer("05", "merge patch configmap")
    new = {**live, "data": {"a": "1"}}
    (entry,) = track(live, new, manager="other", now="2030-01-01T00:00:00Z")
    assert entry["manager"] == "Python-urllib"
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:a": {}}}
    assert entry["time"] == live["metadata"]["managedFields"][0]["time"]


def test_an_object_without_managers_stays_untracked_until_an_apply() -> None:
    live = copy.deepcopy(answer("05", "create configmap"))
    del live["metadata"]["managedFields"]
    assert track(live, {**live, "data": {"a": "2"}}) is None
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"b": "1"}, "metadata": {}}
    merged = apply(CONFIG_MAPS, live, config)
    assert [entry["manager"] for entry in merged["metadata"]["managedFields"]] == [
        "rollout",
        "before-first-apply",
    ]


def test_pods_share_one_set_of_fields() -> None:
    first, second = items("03", "pods after create, unscheduled")[:2]
    tracked = [track(None, pod, "kcm")[0]["fieldsV1"] for pod in (first, second)]
    assert tracked[0] is tracked[1]


def test_the_oldest_of_too_many_updaters_are_folded_together() -> None:
    live: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {}}
    for number in range(14):
        new = {**live, "data": {**live["data"], f"k{number:02}": "x"}}
        old = live if number else None
        managers = track(old, new, f"m{number:02}", now=f"2026-01-01T00:00:{number:02}Z")
        live = {**new, "metadata": {"managedFields": managers}}
    names = [entry["manager"] for entry in live["metadata"]["managedFields"]]
    assert len(names) == 10
    assert names[0] == "ancient-changes"
    owned = live["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]
    assert {"f:k00", "f:k04"} <= set(owned)


# Apply


def apply(
    resource: Any,
    live: dict[str, Any] | None,
    config: dict[str, Any],
    *,
    manager: str = "rollout",
    force: bool = False,
    now: str = NOW,
) -> dict[str, Any]:
    return managedfields.apply(
        resource, live, config, manager=manager, force=force, now=now, subresource=""
    )


def config_map(data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


def owners(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_an_apply_that_changes_nothing_is_recorded_without_a_time() -> None:
    live = answer("03", "annotate: generation stays")
    merged = apply(DAEMONSETS, live, request("03", "server-side apply"), force=True)
    expected = answer("03", "server-side apply")
    assert merged["metadata"]["managedFields"] == expected["metadata"]["managedFields"]
    assert merged["spec"] is live["spec"]


def test_conflicts_are_answered_as_recorded() -> None:
    live = answer("03", "server-side apply")
    config = request("03", "server-side apply conflict")
    with pytest.raises(StatusError) as caught:
        apply(DAEMONSETS, live, config, manager="other")
    assert caught.value.body() == answer("03", "server-side apply conflict")


def test_one_conflict_reads_differently() -> None:
    live = apply(CONFIG_MAPS, None, config_map({"a": "1"}))
    with pytest.raises(StatusError) as caught:
        apply(CONFIG_MAPS, live, config_map({"a": "2"}), manager="other")
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "rollout": .data.a'
    )


def test_force_takes_fields_over() -> None:
    live = apply(CONFIG_MAPS, None, config_map({"a": "1", "b": "1"}))
    merged = apply(CONFIG_MAPS, live, config_map({"a": "2"}), manager="other", force=True)
    assert merged["data"] == {"a": "2", "b": "1"}
    assert owners(merged) == {"rollout": {"f:data": {"f:b": {}}}, "other": {"f:data": {"f:a": {}}}}


def test_equal_values_are_owned_together() -> None:
    live = apply(CONFIG_MAPS, None, config_map({"a": "1"}))
    merged = apply(CONFIG_MAPS, live, config_map({"a": "1"}), manager="other")
    assert owners(merged) == {"rollout": {"f:data": {"f:a": {}}}, "other": {"f:data": {"f:a": {}}}}


def test_what_is_no_longer_applied_goes_unless_somebody_else_owns_it() -> None:
    live = apply(CONFIG_MAPS, None, config_map({"a": "1", "b": "1", "c": "1"}))
    live = apply(CONFIG_MAPS, live, config_map({"b": "1"}), manager="other")
    merged = apply(CONFIG_MAPS, live, config_map({"c": "1"}))
    assert merged["data"] == {"b": "1", "c": "1"}


def test_a_container_that_is_no_longer_applied_goes() -> None:
    config = request("03", "server-side apply")
    more = copy.deepcopy(config)
    pod = more["spec"]["template"]["spec"]
    pod["containers"].append({"name": "b", "image": "b:1"})
    pod["hostNetwork"] = True
    live = apply(DAEMONSETS, None, more)
    assert len(live["spec"]["template"]["spec"]["containers"]) == 2
    merged = apply(DAEMONSETS, live, config)
    assert [c["name"] for c in merged["spec"]["template"]["spec"]["containers"]] == ["a"]
    assert "hostNetwork" not in merged["spec"]["template"]["spec"]


def test_an_update_between_keeps_the_appliers_other_fields() -> None:
    live = apply(CONFIG_MAPS, None, config_map({"a": "1", "b": "1"}))
    edited = {**live, "data": {"a": "9", "b": "1"}}
    edited["metadata"] = {**live["metadata"], "managedFields": track(live, edited, "kubectl-edit")}
    with pytest.raises(StatusError, match='conflict with "kubectl-edit" using v1'):
        apply(CONFIG_MAPS, edited, config_map({"a": "1", "b": "1"}))


def test_creating_by_apply_owns_exactly_the_configuration() -> None:
    merged = apply(DAEMONSETS, None, request("03", "server-side apply"))
    expected = answer("03", "server-side apply")["metadata"]["managedFields"][0]
    assert merged["metadata"]["managedFields"] == [{**expected, "time": NOW}]


def test_status_in_a_configuration_is_not_owned() -> None:
    config = {**request("03", "server-side apply"), "status": {"numberReady": 3}}
    assert "f:status" not in owners(apply(DAEMONSETS, None, config))["rollout"]


def test_a_configuration_may_not_bring_managed_fields() -> None:
    config = config_map({"a": "1"})
    config["metadata"]["managedFields"] = [{"manager": "x"}]
    with pytest.raises(StatusError, match=r"metadata\.managedFields must be nil") as caught:
        apply(CONFIG_MAPS, None, config)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"bogus": 1}, ".spec.bogus: field not declared in schema"),
        (
            {"template": {"spec": {"containers": [{"image": "x"}]}}},
            (
                "associative list with keys has an element that omits key field "
                '"name" (and doesn\'t have default value)'
            ),
        ),
    ],
)
def test_a_configuration_that_does_not_fit_the_kind_is_refused(
    spec: dict[str, Any], message: str
) -> None:
    config = {"kind": "DaemonSet", "metadata": {"name": "d", "namespace": "n"}, "spec": spec}
    with pytest.raises(StatusError) as caught:
        apply(DAEMONSETS, None, config)
    assert caught.value.message == (
        "failed to create typed patch object (n/d; apps/v1, Kind=DaemonSet): " + message
    )


DATA = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["1", "2"]), min_size=1)


@given(DATA, DATA, DATA)
def test_applying_twice_is_applying_once(
    first: dict[str, str], others: dict[str, str], second: dict[str, str]
) -> None:
    live = apply(CONFIG_MAPS, None, config_map(first))
    live = apply(CONFIG_MAPS, live, config_map(others), manager="other", force=True)
    before = copy.deepcopy(live)
    once = apply(CONFIG_MAPS, live, config_map(second), force=True)
    assert live == before
    twice = apply(CONFIG_MAPS, once, config_map(second), force=True, now="2030-01-01T00:00:00Z")
    assert twice == once
    data = once.get("data", {})
    assert second.items() <= data.items()
    assert set(data) == {*second, *others}


def test_an_empty_map_in_a_configuration_changes_nothing() -> None:
    live = apply(CONFIG_MAPS, None, config_map({}))
    assert "data" not in live
    assert apply(CONFIG_MAPS, live, config_map({}), now="2030-01-01T00:00:00Z") == live
