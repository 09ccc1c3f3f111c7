from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.conditions import ConditionError, Judgement, check, compile_condition, judge
from rollout.gates.measurement import Outcome
from rollout.gatespec import Gate, GateBase

VARIABLES: dict[str, object] = {
    "node": {"name": "n1", "labels": {"pool": "edge"}},
    "wave": {"number": 2, "name": "canary"},
    "revisions": {"log-agent": {"old": "aaa", "new": "bbb"}},
}


def gate(**conditions: Any) -> GateBase:
    document = {"name": "g", "kind": "http", "at": "after-wave", "url": "https://h/", **conditions}
    made: GateBase = msgspec.convert(document, Gate)
    return made


def outcome(result: object, **conditions: Any) -> Outcome:
    return judge(gate(**conditions), result, VARIABLES).outcome


@pytest.mark.parametrize(
    ("expression", "result", "holds"),
    [
        ("result < 0.01", 0.005, True),
        ("result < 1", 0.5, True),
        ("result < 0.5", 1, False),
        ("result == 1", 1.0, True),
        ("result != 1", 1.0, False),
        ("result > 9007199254740992", 9007199254740993, True),
        ("result.status == 'ok' && result.items.all(i, i.up)", {"status": "ok", "items": []}, True),
        ("result.exists(r, r > 2)", [1.0, 2.5], True),
        ("has(result.a) || size(result) == 0", {}, True),
        ("result.matches('^v[0-9]+$')", "v12", True),
        ("node.labels['pool'] == 'edge' && wave.number == 2", 0, True),
        ("revisions['log-agent'].new == result", "bbb", True),
        ("double(result) < 0.5", "0.25", True),
    ],
)
def test_an_expression_sees_the_result_and_where_it_was_taken(
    expression: str, result: object, *, holds: bool
) -> None:
    assert compile_condition(expression).holds({**VARIABLES, "result": result}) is holds


@pytest.mark.parametrize(
    ("success", "failure", "result", "expected"),
    [
        ("result < 5", None, 1, Outcome.PASSED),
        ("result < 5", None, 9, Outcome.FAILED),
        (None, "result > 5", 1, Outcome.PASSED),
        (None, "result > 5", 9, Outcome.FAILED),
        ("result < 5", "result > 7", 1, Outcome.PASSED),
        ("result < 5", "result > 7", 6, Outcome.INCONCLUSIVE),
        ("result < 5", "result > 7", 8, Outcome.FAILED),
        ("result < 9", "result > 7", 8, Outcome.FAILED),  # both hold
    ],
)
def test_the_two_conditions_together_are_argos(
    success: str | None, failure: str | None, result: object, expected: Outcome
) -> None:
    assert outcome(result, successCondition=success, failureCondition=failure) is expected


@pytest.mark.parametrize("condition", ["successCondition", "failureCondition"])
@pytest.mark.parametrize(
    "expression",
    ["result.missing > 1", "1 / 0 == 1", "result", "'5' < result", "result[7] == 1", "node.x.y"],
)
def test_what_cannot_be_evaluated_to_true_or_false_is_an_error_and_never_passes(
    condition: str, expression: str
) -> None:
    assert outcome(5, **{condition: expression}) is Outcome.ERROR


@pytest.mark.parametrize("result", [None, math.nan, [1.0, math.nan], {"a": {"b": math.nan}}])
@pytest.mark.parametrize("fields", [{"successCondition": "true"}, {"failureCondition": "false"}])
def test_no_value_and_nan_are_no_data_whatever_the_condition_says(
    result: object, fields: dict[str, str]
) -> None:
    assert outcome(result, **fields) is Outcome.NO_DATA


def test_an_infinite_value_never_passes_but_can_fail() -> None:
    assert outcome(math.inf, successCondition="result > 0.99") is Outcome.NO_DATA
    assert outcome(math.inf, successCondition="result < 0.01") is Outcome.FAILED
    assert outcome(-math.inf, thresholdRange={"max": 1}) is Outcome.NO_DATA


@pytest.mark.parametrize(
    ("limits", "result", "expected"),
    [
        ({"min": 1, "max": 2}, 1, Outcome.PASSED),
        ({"min": 1, "max": 2}, 2.0, Outcome.PASSED),
        ({"min": 1, "max": 2}, 0.99, Outcome.FAILED),
        ({"max": 2}, 2.01, Outcome.FAILED),
        ({"max": 2}, "1", Outcome.ERROR),
        ({"max": 2}, True, Outcome.ERROR),
        ({"max": 2}, [1], Outcome.ERROR),
    ],
)
def test_a_threshold_range_holds_both_its_ends(
    limits: dict[str, float], result: object, expected: Outcome
) -> None:
    assert outcome(result, thresholdRange=limits) is expected


def test_the_reason_names_the_condition_that_decided() -> None:
    assert judge(gate(successCondition="result < 0.01"), 0.5, VARIABLES) == Judgement(
        Outcome.FAILED, "successCondition does not hold: result < 0.01"
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("result <", "not CEL: 'result <' is wrong near '<' (line 1, column 8)"),
        ("result ==\n 1 1", "not CEL: 'result == 1 1' is wrong near '1' (line 2, column 4)"),
        ("reslut < 1", "'reslut' is unknown; known are result, node, wave, revisions"),
        ("result.maches('x')", "'maches' is not a function of CEL"),
        ("__import__('os')", "'__import__' is not a function of CEL"),
        (".result == 1", "names with a leading dot"),
        ("(" * 41 + "1" + ")" * 41 + " == 1", "brackets are nested deeper than 40"),
        ("result == '" + "x" * 1000 + "'", "longer than 1000 characters"),
        ("1" + " + 1" * 100 + " > 0", "more than 100 operators"),
        ("!" * 99 + "result" + ")", "not CEL"),
        (
            "result.all(a, result.all(b, result.all(c, a + b + c > 0)))",
            "more than 2 loops within each other",
        ),
    ],
)
def test_a_mistake_shows_when_the_spec_is_read(expression: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        check(gate(failureCondition=expression))
    assert str(caught.value).startswith("failureCondition: ")
    assert message in str(caught.value)


def test_a_loop_over_a_large_result_is_refused_and_not_waited_for() -> None:
    nested = "result.all(a, result.exists(b, a == b))"
    assert outcome(list(range(20)), successCondition=nested) is Outcome.PASSED
    assert outcome(list(range(200)), successCondition=nested) is Outcome.ERROR
    single = "result.all(r, r >= 0)"
    assert outcome(list(range(1000)), successCondition=single) is Outcome.PASSED
    assert outcome(list(range(50_000)), successCondition=single) is Outcome.ERROR
    assert outcome(list(range(50_000)), successCondition="size(result) > 9") is Outcome.PASSED


@given(st.lists(st.sampled_from([*"result.all(x,)[]{}!&|<>=+-*/%?:'\"10 ", " in ", "map("])))
def test_any_text_is_an_expression_or_a_complaint(parts: list[str]) -> None:
    try:
        compiled = compile_condition("".join(parts))
    except ConditionError:
        return
    try:
        assert compiled.holds({**VARIABLES, "result": [1, 2]}) in (True, False)
    except ConditionError:
        return


def test_a_secret_or_a_control_character_in_the_variables_is_not_repeated_in_an_error() -> None:
    hidden = {**VARIABLES, "node": {"token": "hunter2\x1b"}}
    said = judge(gate(successCondition="node.nothing == 1"), 1, hidden)
    assert said.outcome is Outcome.ERROR
    assert "hunter2" not in said.reason


NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["result", "result.a", "size(result)", "result[0]"]))
def test_whatever_comes_back_a_judgement_is_made(result: object, subject: str) -> None:
    found = outcome(result, successCondition=f"{subject} == 'never-this-value'")
    assert found is not Outcome.PASSED


@given(NUMBERS, NUMBERS)
def test_numbers_compare_as_numbers_whatever_their_type(left: float, right: float) -> None:
    given = {"result": [left, right]}
    assert compile_condition("result[0] < result[1]").holds(given) is (left < right)
    assert compile_condition("result[0] == result[1]").holds(given) is (left == right)


@pytest.mark.parametrize(
    "text",
    ["result.yes < 5", "5 > result.yes", "result.yes == 1", "result.yes != 0", "result.no != true"],
)
def test_true_is_not_a_number_and_what_is_missing_is_not_another_value(text: str) -> None:
    """S8: Python takes true for 1, and an error for something that is not true."""
    assert outcome({"yes": True}, successCondition=text) is Outcome.ERROR
    assert outcome({"yes": True}, successCondition=f"!({text})") is Outcome.ERROR
