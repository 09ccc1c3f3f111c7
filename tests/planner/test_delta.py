from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.fleet.revisions import canonical_json
from rollout.planner.delta import apply_difference, difference
from tests.planner.worlds import make_template

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b/c", "~1"])
names = st.sampled_from(["a", "b", "c", "d"])
keys = st.sampled_from(["name", "value", "a/b", "~", "", "x"])


def named_items(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    item = st.builds(
        lambda name, rest: {**rest, "name": name}, names, st.dictionaries(keys, inner, max_size=2)
    )
    return st.lists(item, max_size=4)


values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), named_items(inner), st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=12,
)
objects = st.dictionaries(keys, values, max_size=4)


@given(objects, objects)
def test_applying_the_difference_gives_the_new_object(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    operations = difference(old, new)
    assert canonical_json(apply_difference(old, operations)) == canonical_json(new)


@given(objects, objects)
def test_neither_the_old_object_nor_the_operations_are_changed_by_it(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    before = deepcopy(old)
    operations = difference(old, new)
    kept = deepcopy(operations)
    apply_difference(old, operations)
    assert old == before
    assert operations == kept


@given(objects)
def test_equal_objects_differ_in_nothing(value: dict[str, Any]) -> None:
    assert difference(value, deepcopy(value)) == []


@given(objects, objects)
def test_the_same_two_objects_give_the_same_operations(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    shuffled = dict(reversed(new.items()))
    assert difference(old, new) == difference(old, shuffled)


@given(objects, objects)
def test_the_operations_survive_json(old: dict[str, Any], new: dict[str, Any]) -> None:
    operations = json.loads(json.dumps(difference(old, new)))
    assert canonical_json(apply_difference(old, operations)) == canonical_json(new)


def env(**variables: str) -> dict[str, Any]:
    template = make_template()
    template["spec"]["containers"][0]["env"] = [
        {"name": name, "value": value} for name, value in variables.items()
    ]
    return template


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (env(A="1", API_KEY="hunter2"), env(A="2", API_KEY="hunter2")),
        (env(API_KEY="hunter2"), env(NEW="1", API_KEY="hunter2")),
        (env(OLD="1", API_KEY="hunter2", B="1"), env(API_KEY="hunter2", B="2")),
        (env(A="1", API_KEY="hunter2"), env(API_KEY="hunter2", A="1")),
        (env(API_KEY="hunter2", A="1", B="1"), env(A="1", B="1", API_KEY="hunter2")),
        (env(A="1", B="2", API_KEY="hunter2"), env(API_KEY="hunter2", B="3", C="4", A="1")),
        (env(API_KEY="hunter2"), env(API_KEY="hunter2") | {"metadata": {}}),
    ],
)
def test_a_secret_that_does_not_change_is_in_no_operation(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    operations = difference(old, new)
    assert operations
    assert "hunter2" not in json.dumps(operations)
    assert apply_difference(old, operations) == new


@given(st.permutations(["A", "B", "C", "D", "E"]), st.permutations(["A", "B", "C", "D", "F"]))
def test_no_order_of_variables_brings_an_unchanged_value_into_the_plan(
    before: list[str], after: list[str]
) -> None:
    old = env(**{name: f"secret-{name}" for name in before})
    new = env(**{name: f"secret-{name}" for name in after})
    text = json.dumps(difference(old, new))
    assert not any(f"secret-{name}" in text for name in "ABCD")
    assert apply_difference(old, difference(old, new)) == new


def test_one_new_image_is_one_operation() -> None:
    assert difference(make_template(), make_template(image="agent:2")) == [
        {"op": "replace", "path": "/spec/containers/0/image", "value": "agent:2"}
    ]


def test_items_are_the_same_by_name_and_not_by_place() -> None:
    old = {"c": [{"name": "a", "x": 1}, {"name": "b", "x": 1}]}
    new = {"c": [{"name": "z"}, {"name": "a", "x": 1}, {"name": "b", "x": 2}]}
    assert difference(old, new) == [
        {"op": "add", "path": "/c/0", "value": {"name": "z"}},
        {"op": "replace", "path": "/c/2/x", "value": 2},
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [({"a": 1}, {"a": True}), ({"a": 0}, {"a": False}), ({"a": 1}, {"a": "1"}), ({"a": None}, {})],
)
def test_values_that_python_calls_equal_but_json_does_not_are_different(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    operations = difference(old, new)
    assert canonical_json(apply_difference(old, operations)) == canonical_json(new)
    assert operations


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/containers/3/image", "value": "x"},
        {"op": "remove", "path": "/spec/missing"},
        {"op": "remove", "path": "/spec/containers/7"},
        {"op": "replace", "path": "/nothing/here", "value": 1},
        {"op": "replace", "path": "/spec/containers/agent/image", "value": 1},
        {"op": "replace", "path": "/spec/containers/0/image/x", "value": 1},
        {"op": "add", "path": "/spec/containers/9", "value": {}},
    ],
)
def test_operations_that_do_not_fit_are_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"operation on {operation['path']} does not fit"):
        apply_difference(make_template(), [operation])
