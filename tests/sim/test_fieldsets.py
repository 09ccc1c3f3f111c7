from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sim import fieldsets, schema
from rollout.sim.fieldsets import MISSING, compare, difference, intersection, owned_by, union
from rollout.sim.schema import Type

NAMES = st.sampled_from(["f:a", "f:b", "f:c"])
SETS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda inner: st.tuples(st.dictionaries(NAMES, inner, min_size=1, max_size=3), st.booleans())
    .map(lambda pair: {".": {}, **pair[0]} if pair[1] else pair[0]),
)  # fmt: skip


def members(fields: dict[str, Any]) -> set[str]:
    return set(fieldsets.paths(fields))


@given(SETS, SETS)
def test_sets_have_the_algebra_of_sets(left: dict[str, Any], right: dict[str, Any]) -> None:
    # The root is no path itself.
    left = {key: node for key, node in left.items() if key != "."}
    right = {key: node for key, node in right.items() if key != "."}
    assert members(union(left, right)) == members(left) | members(right)
    assert members(difference(left, right)) == members(left) - members(right)
    assert members(intersection(left, right)) == members(left) & members(right)


@given(SETS)
def test_nothing_changed_returns_the_very_set(fields: dict[str, Any]) -> None:
    assert union(fields, fields) is fields
    assert difference(fields, {}) is fields
    assert difference(fields, {"f:other": {}}) is fields


def test_equal_sets_are_one_object() -> None:
    assert fieldsets.shared({"f:b": {}, "f:a": {}}) is fieldsets.shared({"f:a": {}, "f:b": {}})


def test_paths_are_written_as_in_messages() -> None:
    fields: dict[str, Any] = {
        "f:spec": {
            "f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}},
            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {"f:hostPort": {}}},
        },
        "f:finalizers": {'v:"x"': {}},
    }
    assert list(fieldsets.paths(fields)) == [
        '.finalizers[="x"]',
        '.spec.containers[name="a"]',
        '.spec.containers[name="a"].image',
        '.spec.ports[containerPort=80,protocol="TCP"].hostPort',
    ]


def test_without_trees_takes_everything_below_a_member() -> None:
    fields: dict[str, Any] = {"f:status": {"f:a": {}}, "f:spec": {"f:b": {}, "f:c": {}}}
    assert fieldsets.without_trees(fields, {"f:status": {}}) == {"f:spec": fields["f:spec"]}
    assert fieldsets.without_trees(fields, {"f:spec": {"f:b": {}}}) == {
        "f:status": {"f:a": {}},
        "f:spec": {"f:c": {}},
    }


def typed(kind: str) -> Type:
    found = schema.kind_type("v1", kind)
    assert found is not None
    return found


def test_items_are_compared_by_their_keys() -> None:
    old = {"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}}
    new = {"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]}}
    changed, removed = compare(typed("Pod"), old, new)
    assert changed == {"f:spec": {"f:containers": {'k:{"name":"b"}': {"f:image": {}}}}}
    assert removed is None


def test_a_port_without_protocol_is_the_tcp_one() -> None:
    type_ = schema.structs()["Container"].fields["ports"].type
    assert fieldsets.item_key(type_, {"containerPort": 80}) == (
        'k:{"containerPort":80,"protocol":"TCP"}'
    )


def test_atomic_values_are_one_path() -> None:
    old = {"spec": {"nodeSelector": {"a": "1"}, "tolerations": [{"key": "a"}]}}
    new = {"spec": {"nodeSelector": {"a": "2"}, "tolerations": [{"key": "b"}]}}
    changed, _ = compare(typed("Pod"), old, new)
    assert changed == {"f:spec": {"f:nodeSelector": {}, "f:tolerations": {}}}


def test_what_appears_is_added_with_all_its_parts() -> None:
    changed, _ = compare(typed("ConfigMap"), {}, {"data": {"a": "1"}})
    assert changed == {"f:data": {".": {}, "f:a": {}}}
    changed, _ = compare(typed("ConfigMap"), {"data": None}, {"data": {"a": "1"}})
    assert changed == {"f:data": {"f:a": {}}}


def test_what_disappears_is_removed_with_all_its_parts() -> None:
    changed, removed = compare(typed("ConfigMap"), {"data": {"a": "1"}}, {})
    assert changed is None
    assert removed == {"f:data": {".": {}, "f:a": {}}}


@pytest.mark.parametrize("value", [{}, None, []])
def test_empty_values_are_leaves(value: Any) -> None:
    type_ = schema.structs()["Pod"].fields["spec"].type
    assert compare(type_, MISSING, value) == ({}, None)
    assert compare(type_, value, MISSING) == (None, {})


def test_the_same_dict_is_not_looked_into() -> None:
    part = {"not": {"a": object()}}
    assert compare(typed("Pod"), {"spec": part}, {"spec": part}) == (None, None)


def test_an_undescribed_object_is_owned_map_by_map() -> None:
    changed, _ = compare(None, {"spec": {"a": 1}}, {"spec": {"a": 2, "list": [1]}})
    assert changed == {"f:spec": {"f:a": {}, "f:list": {}}}


def test_an_applier_owns_what_it_names() -> None:
    config = {
        "metadata": {"labels": {"a": "1"}},
        "spec": {"containers": [{"name": "a", "resources": {}}], "nodeSelector": {"x": "y"}},
    }
    assert owned_by(typed("Pod"), config) == {
        "f:metadata": {"f:labels": {"f:a": {}}},
        "f:spec": {
            "f:containers": {'k:{"name":"a"}': {".": {}, "f:name": {}, "f:resources": {}}},
            "f:nodeSelector": {},
        },
    }


def test_removing_members_prunes_what_runs_empty() -> None:
    pod = {"spec": {"containers": [{"name": "a", "image": "1"}], "nodeName": "n"}}
    doomed: dict[str, Any] = {
        "f:spec": {"f:containers": {'k:{"name":"a"}': {".": {}, "f:image": {}}}}
    }
    assert fieldsets.without(typed("Pod"), pod, doomed) == {
        "spec": {"containers": None, "nodeName": "n"}
    }
