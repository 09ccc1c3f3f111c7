from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sim.errors import StatusError
from rollout.sim.jsonpatch import json_patch
from tests.sim.recorded import answer, request

LIVE = {"a": {"b": [1, 2, 3], "c/d": "x", "e~f": None}, "g": True}


def test_recorded_failing_test_gives_the_recorded_answer() -> None:
    live = answer("03", "get when available")
    with pytest.raises(StatusError) as caught:
        json_patch(live, request("03", "json patch test fails"))
    assert caught.value.body() == answer("03", "json patch test fails")


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ({"op": "add", "path": "/a/b/1", "value": 9}, ("a", "b"), [1, 9, 2, 3]),
        ({"op": "add", "path": "/a/b/-", "value": 9}, ("a", "b"), [1, 2, 3, 9]),
        ({"op": "add", "path": "/a/b/3", "value": 9}, ("a", "b"), [1, 2, 3, 9]),
        ({"op": "add", "path": "/a/new", "value": None}, ("a", "new"), None),
        ({"op": "replace", "path": "/a/c~1d", "value": "y"}, ("a", "c/d"), "y"),
        ({"op": "replace", "path": "/a/e~0f", "value": "y"}, ("a", "e~f"), "y"),
        ({"op": "replace", "path": "/a/b/0", "value": 9}, ("a", "b"), [9, 2, 3]),
        ({"op": "remove", "path": "/a/b/0"}, ("a", "b"), [2, 3]),
        ({"op": "move", "from": "/a/b/0", "path": "/h"}, ("a", "b"), [2, 3]),
        ({"op": "copy", "from": "/a/b", "path": "/h"}, ("h",), [1, 2, 3]),
        ({"op": "test", "path": "/a/b", "value": [1, 2, 3]}, ("g",), True),
        ({"op": "test", "path": "/missing", "value": None}, ("g",), True),
    ],
)
def test_operations(operation: dict[str, Any], path: tuple[str, ...], expected: Any) -> None:
    result: Any = json_patch(LIVE, [operation])
    for part in path:
        result = result[part]
    assert result == expected


def test_remove_takes_a_key_away() -> None:
    assert "g" not in json_patch(LIVE, [{"op": "remove", "path": "/g"}])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/g", "value": 1},  # true is not 1
        {"op": "test", "path": "/a/b", "value": [1, 2]},
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/missing/deep", "value": 1},
        {"op": "add", "path": "/a/b/9", "value": 1},
        {"op": "add", "path": "/a/b/x", "value": 1},
        {"op": "add", "path": "/g/x", "value": 1},
        {"op": "move", "from": "/missing", "path": "/h"},
        {"op": "add", "path": "no-slash", "value": 1},
        {"op": "add", "path": "/h"},
        {"op": "bogus", "path": "/g"},
        {"op": "replace", "path": "", "value": 1},
    ],
)
def test_what_does_not_fit_is_refused_without_a_reason(operation: dict[str, Any]) -> None:
    with pytest.raises(StatusError) as caught:
        json_patch(LIVE, [operation])
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == (
        "the server rejected our request due to an error in our request"
    )


def test_a_patch_that_is_no_list_is_a_bad_request() -> None:
    with pytest.raises(StatusError, match=r"object into Go value of type jsonpatch\.P") as caught:
        json_patch(LIVE, {})
    assert caught.value.code == 400


def test_too_many_operations_are_too_large() -> None:
    with pytest.raises(StatusError) as caught:
        json_patch(LIVE, [{"op": "test", "path": "/g", "value": True}] * 10_001)
    assert caught.value.code == 413


def test_all_operations_or_none() -> None:
    before = copy.deepcopy(LIVE)
    with pytest.raises(StatusError):
        json_patch(LIVE, [{"op": "remove", "path": "/g"}, {"op": "remove", "path": "/g"}])
    assert before == LIVE


def test_untouched_parts_are_shared() -> None:
    assert json_patch(LIVE, [{"op": "replace", "path": "/g", "value": 1}])["a"] is LIVE["a"]


@given(st.dictionaries(st.text(max_size=3), st.integers(), max_size=4), st.text(max_size=3))
def test_what_is_added_can_be_tested_and_removed(live: dict[str, int], name: str) -> None:
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    with_value = json_patch(live, [{"op": "add", "path": path, "value": {"x": [1]}}])
    assert json_patch(with_value, [{"op": "test", "path": path, "value": {"x": [1]}}]) == with_value
    without = {key: value for key, value in live.items() if key != name}
    assert json_patch(with_value, [{"op": "remove", "path": path}]) == without
