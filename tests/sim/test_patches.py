from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sim import decoding, patches
from rollout.sim.errors import StatusError
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, NODES, PDBS, PODS, SERVICES
from tests.sim.recorded import answer, request

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
KEYS = st.sampled_from(["a", "b", "c"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)


def pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def smp(patch: dict[str, Any], current: dict[str, Any] | None = None) -> dict[str, Any]:
    return patches.strategic_merge_patch(PODS, current or pod(), patch)


# Merge patches


def test_a_merge_patch_sets_replaces_and_removes() -> None:
    current = {"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 3}
    patch = {"a": {"x": None, "z": {"deep": None, "new": 1}}, "b": [3], "d": 4}
    assert patches.merge_patch(current, patch) == {
        "a": {"y": 2, "z": {"new": 1}},
        "b": [3],
        "c": 3,
        "d": 4,
    }


def test_a_merge_patch_shares_what_it_does_not_touch() -> None:
    current = {"a": {"x": 1}, "b": {"y": {"z": 2}}}
    merged = patches.merge_patch(current, {"a": {"x": 2}})
    assert merged["b"] is current["b"]
    assert patches.merge_patch(current, {"a": {"x": 1}, "gone": None}) is not None


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_is_idempotent_and_leaves_its_input_alone(
    current: dict[str, Any], patch: dict[str, Any]
) -> None:
    before = copy.deepcopy(current)
    once = patches.merge_patch(current, patch)
    assert current == before
    assert patches.merge_patch(once, patch) == once


@given(OBJECTS)
def test_an_empty_merge_patch_returns_the_very_object(current: dict[str, Any]) -> None:
    assert patches.merge_patch(current, {}) is current


def test_a_merge_patch_that_is_no_object_is_a_bad_request() -> None:
    with pytest.raises(StatusError) as caught:
        patches.merge_patch({}, [1])
    assert caught.value.code == 400
    assert caught.value.message == (
        "error decoding patch: json: cannot unmarshal array into Go value of type "
        "map[string]interface {}"
    )


# Strategic merge patches


def test_recorded_patch_of_strategy_and_template() -> None:
    live = answer("03", "server-side apply")
    patch = request("03", "one write: OnDelete and template")
    patched = patches.strategic_merge_patch(DAEMONSETS, live, patch)
    assert patched["spec"] == answer("03", "one write: OnDelete and template")["spec"]
    assert patched["status"] is live["status"]


def test_recorded_patch_of_pod_conditions_keeps_the_others_behind() -> None:
    after = answer("03", "pod status strategic patch")
    scheduled = after["status"]["conditions"][1]
    before = {**after, "status": {**after["status"], "conditions": [scheduled]}}
    patched = patches.strategic_merge_patch(
        PODS, before, request("03", "pod status strategic patch")
    )
    assert decoding.decode(PODS, patched)[0] == after


def test_containers_merge_by_name_as_set_image_needs_it() -> None:
    patched = smp({"spec": {"containers": [{"name": "b", "image": "b:2"}]}})
    # What the patch names comes in its order, what it does not name stays before what followed it.
    assert patched["spec"]["containers"] == [
        {"name": "a", "image": "a:1"},
        {"name": "b", "image": "b:2"},
    ]


def test_unnamed_items_of_the_server_keep_their_place() -> None:
    patched = smp({"spec": {"containers": [{"name": "new"}, {"name": "a", "tty": True}]}})
    assert [item["name"] for item in patched["spec"]["containers"]] == ["new", "a", "b"]


def test_set_element_order_puts_items_in_the_order_of_kubectl() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "a", "image": "a:2"}],
        }
    }
    assert smp(patch)["spec"]["containers"] == [
        {"name": "b", "image": "b:1"},
        {"name": "a", "image": "a:2"},
    ]


def test_delete_removes_one_item() -> None:
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}],
            "containers": [{"$patch": "delete", "name": "a"}],
        }
    }
    assert [item["name"] for item in smp(patch)["spec"]["containers"]] == ["b"]


def test_replace_in_a_list_drops_the_old_items() -> None:
    patch = {"spec": {"containers": [{"name": "c"}, {"$patch": "replace"}]}}
    assert smp(patch)["spec"]["containers"] == [{"name": "c"}]


def test_replace_in_a_map_is_how_rollout_undo_restores_a_template() -> None:
    revision = answer("03", "revisions after create")["items"][0]["data"]
    live = answer("03", "one write: OnDelete and template")
    patched = patches.strategic_merge_patch(DAEMONSETS, live, revision)
    assert patched["spec"]["template"] == answer("03", "create with defaults")["spec"]["template"]
    assert patched["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_delete_in_a_map_empties_it() -> None:
    live = pod(securityContext={"runAsUser": 1})
    assert (
        smp({"spec": {"securityContext": {"$patch": "delete"}}}, live)["spec"]["securityContext"]
        == {}
    )


def test_null_removes_a_field_and_an_item_field() -> None:
    live = pod(nodeName="n")
    patched = smp({"spec": {"nodeName": None, "containers": [{"name": "a", "image": None}]}}, live)
    assert "nodeName" not in patched["spec"]
    assert patched["spec"]["containers"][0] == {"name": "a"}


def test_tolerations_and_taints_are_replaced() -> None:
    live = pod(tolerations=[{"key": "a"}])
    patched = smp({"spec": {"tolerations": [{"key": "b"}]}}, live)
    assert patched["spec"]["tolerations"] == [{"key": "b"}]
    node = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    taints = [{"key": "b", "effect": "NoExecute"}]
    patched = patches.strategic_merge_patch(NODES, node, {"spec": {"taints": taints}})
    assert patched["spec"]["taints"] == taints


def test_finalizers_merge_as_a_set() -> None:
    live = {"metadata": {"finalizers": ["a", "b"]}}
    patched = smp({"metadata": {"finalizers": ["c", "a"]}}, live)
    assert sorted(patched["metadata"]["finalizers"]) == ["a", "b", "c"]
    patched = smp({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, live)
    assert patched["metadata"]["finalizers"] == ["b"]


def test_container_ports_merge_by_number_and_service_ports_by_port() -> None:
    live = pod(containers=[{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}])
    patch = {
        "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 1}]}]}
    }
    assert smp(patch, live)["spec"]["containers"][0]["ports"] == [
        {"containerPort": 80, "name": "web", "hostPort": 1}
    ]
    service = {"spec": {"ports": [{"port": 80, "name": "web"}]}}
    merged = patches.strategic_merge_patch(SERVICES, service, {"spec": {"ports": [{"port": 443}]}})
    assert {port["port"] for port in merged["spec"]["ports"]} == {80, 443}


def test_volumes_know_which_keys_to_retain() -> None:
    live = pod(volumes=[{"name": "v", "emptyDir": {}}])
    change = {"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}
    assert smp({"spec": {"volumes": [change]}}, live)["spec"]["volumes"] == [
        {"name": "v", "hostPath": {"path": "/x"}}
    ]


def test_retained_keys_must_name_what_the_patch_sets() -> None:
    change = {"name": "v", "emptyDir": {}, "$retainKeys": ["name"]}
    with pytest.raises(StatusError, match="invalid patch format of retainKeys") as caught:
        smp({"spec": {"volumes": [change]}}, pod(volumes=[{"name": "v"}]))
    assert caught.value.code == 400


def test_the_selector_of_a_budget_is_replaced() -> None:
    live = {"spec": {"selector": {"matchLabels": {"a": "1"}}}}
    patch = {"spec": {"selector": {"matchLabels": {"b": "2"}}}}
    assert patches.strategic_merge_patch(PDBS, live, patch) == patch


def test_labels_and_data_merge_key_by_key() -> None:
    live = {"metadata": {"labels": {"a": "1"}}, "data": {"x": "1"}}
    patch = {"metadata": {"labels": {"a": None, "b": "2"}}, "data": {"y": "2"}}
    assert patches.strategic_merge_patch(CONFIG_MAPS, live, patch) == {
        "metadata": {"labels": {"b": "2"}},
        "data": {"x": "1", "y": "2"},
    }


def test_new_values_lose_their_nulls_and_directives() -> None:
    affinity: dict[str, Any] = {
        "nodeAffinity": None,
        "$retainKeys": ["podAffinity"],
        "podAffinity": {},
    }
    assert smp({"spec": {"affinity": affinity}})["spec"]["affinity"] == {"podAffinity": {}}


def test_an_item_without_its_merge_key_is_the_servers_error() -> None:
    with pytest.raises(StatusError) as caught:
        smp({"spec": {"containers": [{"image": "x:2"}]}})
    assert caught.value.code == 500
    assert caught.value.message == ("map: map[image:x:2] does not contain declared merge key: name")


def test_an_unknown_directive_is_the_servers_error() -> None:
    with pytest.raises(StatusError, match="unknown patch type: bogus in map"):
        smp({"spec": {"$patch": "bogus"}})


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4))
def test_a_strategic_patch_is_idempotent(names: list[str]) -> None:
    patch = {"spec": {"containers": [{"name": name, "tty": True} for name in names]}}
    live = pod()
    before = copy.deepcopy(live)
    once = smp(patch, live)
    assert live == before
    assert smp(patch, once) == once
    kept = {item["name"] for item in once["spec"]["containers"]}
    assert kept == {"a", "b", *names}
