from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gatespec.jsonpath import find, parse_path

DOCUMENT = {"status": {"ready": True}, "items": [{"a.b": 1}, {"a.b": 2}], "x-y": None}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DOCUMENT),
        ("$.status.ready", True),
        ("$.items[1]['a.b']", 2),
        ('$["items"][0]["a.b"]', 1),
        ("$.x-y", None),
    ],
)
def test_a_path_names_one_value(path: str, value: object) -> None:
    assert find(DOCUMENT, parse_path(path)) == value


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("$.status.phase", "$.status.phase"),
        ("$.items[2]", "$.items[2]"),
        ("$.items.a", "$.items.a"),
        ("$.status[0].deep", "$.status[0]"),
    ],
)
def test_a_value_that_is_not_there_is_named(path: str, missing: str) -> None:
    with pytest.raises(KeyError) as caught:
        find(DOCUMENT, parse_path(path))
    assert caught.value.args == (missing,)


@pytest.mark.parametrize(
    "path", ["status", "", "$.", "$..a", "$.*", "$[*]", "$[-1]", "$[?(@.a)]", "$.a b", "$['a]"]
)
def test_what_could_name_several_values_or_run_something_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"begin with|is not a step"):
        parse_path(path)


@given(st.text())
def test_any_text_is_a_path_or_a_complaint(text: str) -> None:
    try:
        steps = parse_path(f"${text}")
    except ValueError:
        return
    assert all(isinstance(step, str | int) for step in steps)
