from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from rollout.errors import ClusterError
from rollout.gates.measurement import REASON_LENGTH, VALUE_LENGTH, Measurement, Outcome, Reading
from rollout.gates.measuring import measure
from tests.gates.worlds import NOW, a_context, a_gate

HTTP = {"url": "https://h/"}


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a kind of gates in the place of `http` that answers what the test wants."""

    def use(answer: Any) -> None:
        def look(gate: object, context: object) -> object:
            return answer(gate, context)

        monkeypatch.setitem(sys.modules, "rollout.gates.http", SimpleNamespace(measure=look))

    return use


def test_a_value_is_judged_by_the_conditions(answer: Any) -> None:
    answer(lambda *_: Reading(0.0123456789, reason="the rate"))
    gate = a_gate("http", **HTTP, successCondition="result < 0.01")
    assert measure(gate, a_context()) == Measurement(
        Outcome.FAILED,
        NOW,
        "0.0123457",
        "the rate; successCondition does not hold: result < 0.01",
    )


def test_a_value_without_a_condition_is_what_the_kind_says(answer: Any) -> None:
    answer(lambda *_: Reading(200, otherwise=Outcome.PASSED))
    assert measure(a_gate("http", **HTTP), a_context()).outcome is Outcome.PASSED


def test_conditions_see_the_wave_and_the_revisions(answer: Any) -> None:
    answer(lambda *_: Reading(1))
    text = "wave.name == 'canary' && wave.number == 1 && revisions['log-agent'].new == 'bbb'"
    gate = a_gate("http", **HTTP, successCondition=text)
    assert measure(gate, a_context()).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    "error", [ClusterError("not now"), ZeroDivisionError("x"), RecursionError()]
)
def test_whatever_a_kind_raises_is_an_error_of_the_measurement(
    answer: Any, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    answer(fail)
    found = measure(a_gate("http", **HTTP), a_context())
    assert found.outcome is Outcome.ERROR
    assert str(error) in found.reason


def test_a_secret_that_a_kind_repeats_does_not_show(
    answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")

    def leak(_: object, context: Any) -> Measurement:
        value = context.secret.reveal()
        return Measurement(Outcome.FAILED, NOW, f"got {value}", f"{value}\x07 aHVudGVyMg==")

    answer(leak)
    found = measure(a_gate("http", **HTTP, secretRef={"env": "TOKEN"}), a_context())
    assert (found.value, found.reason) == ("got ***", "*** ***")


def test_a_secret_that_is_missing_is_an_error_with_its_place() -> None:
    found = measure(a_gate("http", **HTTP, secretRef={"env": "NOT_SET_AT_ALL"}), a_context())
    assert found.outcome is Outcome.ERROR
    assert "environment variable NOT_SET_AT_ALL is not set" in found.reason


def test_what_is_shown_is_short_and_steers_no_terminal(answer: Any) -> None:
    loud = "\x1b[31m" + "x" * 10_000
    answer(lambda *_: Measurement(Outcome.FAILED, NOW, loud, loud))
    found = measure(a_gate("http", **HTTP), a_context())
    assert (len(found.value), len(found.reason)) == (VALUE_LENGTH, REASON_LENGTH)
    assert "\x1b" not in found.value + found.reason


def test_a_result_of_several_values_is_shown_in_words(answer: Any) -> None:
    answer(lambda _gate, _context: Reading({"total": 3, "p": 0.25, "ok": True}, Outcome.PASSED))
    assert measure(a_gate("http", **HTTP), a_context()).value == "total 3, p 0.25, ok true"
