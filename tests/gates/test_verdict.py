from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.verdict import (
    KEPT,
    Rules,
    Status,
    Tally,
    Verdict,
    add,
    assess,
    conclude,
    rules_of,
    worst,
)
from rollout.gatespec import Gate

P, F, I, E, N, W = (  # noqa: E741 - letters of the tables
    Outcome.PASSED,
    Outcome.FAILED,
    Outcome.INCONCLUSIVE,
    Outcome.ERROR,
    Outcome.NO_DATA,
    Outcome.WAITING,
)
LETTERS = {"P": P, "F": F, "I": I, "E": E, "N": N, "W": W}


def gate_rules(**fields: Any) -> Rules:
    document = {"name": "g", "kind": "prometheus", "at": "after-wave", "url": "https://p"}
    document |= {"query": "up", "successCondition": "result > 0.0", **fields}
    gate: Any = msgspec.convert(document, Gate)
    return rules_of(gate)


def play(rules: Rules, outcomes: str) -> tuple[Tally, Verdict]:
    """Measure as the verdict asks for it, until it is final or the outcomes end."""
    tally, now = Tally(), 0.0
    verdict = assess(rules, tally, 0.0, now)
    for letter in outcomes:
        assert not verdict.status.final, f"measured again after {verdict.status}"
        assert verdict.next_at is not None
        now = verdict.next_at
        tally = add(rules, tally, Measurement(LETTERS[letter], now, reason=f"saw {letter}"))
        verdict = assess(rules, tally, 0.0, now)
    return tally, verdict


def test_commands_21_the_fifth_result_fails_and_all_five_are_kept() -> None:
    rules = gate_rules(count=5, interval="60s", failureLimit=1)
    assert play(rules, "PFPP")[1].status is Status.RUNNING
    tally, verdict = play(rules, "PFPPF")
    assert verdict == Verdict(Status.FAILED, "2 failed, more than failureLimit 1; last: saw F")
    assert [m.outcome for m in tally.recent] == [P, F, P, P, F]
    assert [m.at for m in tally.recent] == [0.0, 60.0, 120.0, 180.0, 240.0]


def test_commands_22_no_data_is_inconclusive_and_with_on_no_data_a_failure() -> None:
    assert play(gate_rules(), "N")[1].status is Status.INCONCLUSIVE
    assert play(gate_rules(onNoData="failure"), "N")[1].status is Status.FAILED


def test_commands_23_the_fifth_error_in_a_row_is_one_and_a_recovery_goes_on() -> None:
    rules = gate_rules(count=2, interval="60s", consecutiveErrorLimit=4)
    tally, verdict = play(rules, "EEEEE")
    assert verdict.status is Status.ERROR
    assert verdict.reason.startswith("5 errors in a row, more than consecutiveErrorLimit 4")
    assert [m.at for m in tally.recent] == [0.0, 10.0, 20.0, 30.0, 40.0]  # sooner than interval
    assert play(rules, "EEEP")[1].status is Status.RUNNING
    assert play(rules, "EEEPEEEEP")[1].status is Status.PASSED


@pytest.mark.parametrize(
    ("fields", "outcomes", "status"),
    [
        ({}, "", Status.RUNNING),
        ({}, "P", Status.PASSED),
        ({}, "F", Status.FAILED),
        ({}, "I", Status.INCONCLUSIVE),
        ({}, "E", Status.RUNNING),
        ({}, "W", Status.WAITING),
        ({}, "WWWP", Status.PASSED),  # commands 25: waits use up nothing
        ({"count": 3}, "PP", Status.RUNNING),
        ({"count": 3}, "PPP", Status.PASSED),
        ({"count": 3, "failureLimit": 2}, "FFP", Status.PASSED),
        ({"count": 3, "failureLimit": 2}, "FFF", Status.FAILED),
        ({"count": 3, "inconclusiveLimit": 1}, "IPP", Status.PASSED),
        ({"count": 3, "inconclusiveLimit": 1}, "II", Status.INCONCLUSIVE),
        ({"count": 2, "inconclusiveLimit": 2}, "II", Status.INCONCLUSIVE),  # no success at all
        ({"count": 1, "consecutiveErrorLimit": 0}, "E", Status.ERROR),
        ({"count": 2}, "PEP", Status.PASSED),  # errors don't use up the count
        ({"consecutiveSuccessLimit": 3}, "PPEPPP", Status.PASSED),
        ({"consecutiveSuccessLimit": 3}, "PPEPP", Status.RUNNING),
        ({"consecutiveSuccessLimit": 2, "failureLimit": -1}, "FPFPFPP", Status.PASSED),
        ({"consecutiveSuccessLimit": 2, "failureLimit": 1}, "FPF", Status.FAILED),
        ({"consecutiveSuccessLimit": 2, "failureLimit": -1, "count": 4}, "PFPF", I),
        ({"at": "background"}, "PPPPP", Status.RUNNING),
        ({"at": "background"}, "PPF", Status.FAILED),  # commands 28
    ],
)
def test_the_arithmetic_is_argos_but_nothing_unknown_passes(
    fields: dict[str, Any], outcomes: str, status: Status | Outcome
) -> None:
    expected = Status.INCONCLUSIVE if status is I else status
    assert play(gate_rules(**fields), outcomes)[1].status is expected


def test_faults_49_a_flapping_gate_needs_its_successes_in_a_row() -> None:
    rules = gate_rules(consecutiveSuccessLimit=3, failureLimit=-1, interval="1m", deadline="10m")
    tally, verdict = play(rules, "PPFPPFPPF")
    assert verdict.status is Status.RUNNING
    verdict = assess(rules, tally, 0.0, 600.0)
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.reason.startswith("no verdict within its deadline of 10m: 6 passed, 3 failed")


def test_nothing_measured_is_not_measured_and_not_passed() -> None:
    rules = gate_rules(initialDelay="5m", deadline="10m")
    assert assess(rules, Tally(), 100.0, 100.0) == Verdict(
        Status.RUNNING, "not measured yet", 400.0
    )
    assert assess(rules, Tally(), 100.0, 700.0).status is Status.NOT_MEASURED
    assert conclude(rules, Tally()).status is Status.NOT_MEASURED
    assert worst([]) is Status.NOT_MEASURED


def test_a_measurement_from_before_the_change_says_nothing() -> None:
    tally = Tally(since=50.0)
    assert add(Rules(), tally, Measurement(P, 49.9)) == tally
    assert add(Rules(), tally, Measurement(P, 50.0)).passed == 1
    assert add(Rules(), tally, Measurement(P, math.nan)) == tally


def test_a_background_gate_is_judged_when_the_run_ends() -> None:
    rules = gate_rules(at="background", failureLimit=1)
    assert conclude(rules, play(rules, "PFP")[0]) == Verdict(
        Status.PASSED, "2 passed, 1 failed until the end"
    )
    assert conclude(rules, play(rules, "E")[0]).status is Status.INCONCLUSIVE
    assert conclude(rules, play(rules, "FPF")[0]).status is Status.FAILED
    steady = gate_rules(at="background", consecutiveSuccessLimit=3)
    assert conclude(steady, play(steady, "PP")[0]).status is Status.INCONCLUSIVE


def test_a_measurement_says_itself_when_to_look_again() -> None:
    rules = gate_rules(interval="60s", deadline="10m")
    tally = add(rules, Tally(), Measurement(W, 10.0, again_at=400.0))
    assert assess(rules, tally, 0.0, 10.0).next_at == 400.0
    tally = add(rules, Tally(), Measurement(W, 10.0, again_at=9000.0))
    assert assess(rules, tally, 0.0, 10.0).next_at == 600.0  # its deadline
    tally = add(rules, Tally(), Measurement(W, 10.0))
    assert assess(rules, tally, 0.0, 10.0).next_at == 70.0


@pytest.mark.parametrize(
    ("fields", "deadline"),
    [
        ({}, 3600.0),
        ({"deadline": "5m"}, 300.0),
        ({"initialDelay": "10m"}, 4200.0),
        ({"count": 100, "interval": "60s"}, 18000.0),
        ({"at": "background"}, math.inf),
    ],
)
def test_every_gate_but_the_patient_ones_has_a_deadline(
    fields: dict[str, Any], deadline: float
) -> None:
    assert gate_rules(**fields).deadline == deadline


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "approval"},
        {"kind": "pause", "duration": "1h"},
        {"kind": "window", "windows": [{"allow": "0 22 * * *", "for": "6h"}]},
    ],
)
def test_gates_that_wait_for_people_or_the_clock_wait_with_the_run(fields: dict[str, Any]) -> None:
    gate: Any = msgspec.convert({"name": "g", "at": "before-wave", **fields}, Gate)
    assert rules_of(gate).deadline == math.inf


def test_the_worst_of_all_gates_decides() -> None:
    assert worst([Status.PASSED, Status.PASSED]) is Status.PASSED
    assert worst([Status.PASSED, Status.RUNNING]) is Status.RUNNING
    assert worst([Status.RUNNING, Status.NOT_MEASURED]) is Status.NOT_MEASURED
    assert worst([Status.ERROR, Status.INCONCLUSIVE]) is Status.ERROR
    assert worst([Status.ERROR, Status.FAILED, Status.PASSED]) is Status.FAILED


OUTCOMES = st.lists(st.sampled_from(sorted(LETTERS)), max_size=30).map("".join)
RULES = st.builds(
    Rules,
    initial_delay=st.sampled_from([0.0, 5.0]),
    interval=st.sampled_from([1.0, 30.0, 60.0]),
    count=st.none() | st.integers(1, 8),
    failure_limit=st.none() | st.integers(0, 4),
    consecutive_error_limit=st.integers(0, 4),
    inconclusive_limit=st.integers(0, 4),
    consecutive_success_limit=st.none() | st.integers(1, 4),
    deadline=st.sampled_from([math.inf, 60.0, 600.0]),
    no_data=st.sampled_from([I, F]),
)


def fold(rules: Rules, outcomes: str) -> Tally:
    tally = Tally()
    for number, letter in enumerate(outcomes):
        tally = add(rules, tally, Measurement(LETTERS[letter], float(number)))
    return tally


@given(RULES, OUTCOMES, st.floats(0, 1e6))
def test_only_a_measurement_that_passed_can_let_a_gate_pass(
    rules: Rules, outcomes: str, now: float
) -> None:
    without = fold(rules, outcomes.replace("P", ""))
    assert assess(rules, without, 0.0, now).status is not Status.PASSED
    assert conclude(rules, without).status is not Status.PASSED


@given(RULES, OUTCOMES, st.floats(0, 1e6), st.floats(0, 1e6))
def test_time_alone_never_makes_a_gate_pass(
    rules: Rules, outcomes: str, one: float, other: float
) -> None:
    tally = fold(rules, outcomes)
    early, late = sorted((one, other))
    before, after = assess(rules, tally, 0.0, early), assess(rules, tally, 0.0, late)
    if before.status.final:
        assert after == before or early >= rules.deadline
    else:
        assert after.status is not Status.PASSED


@given(RULES, OUTCOMES)
def test_a_worse_measurement_in_place_of_a_pass_never_makes_the_verdict_better(
    rules: Rules, outcomes: str
) -> None:
    verdict = assess(rules, fold(rules, outcomes), 0.0, 1.0)
    if verdict.status is Status.FAILED:
        worse = fold(rules, outcomes.replace("P", "F"))
        assert assess(rules, worse, 0.0, 1.0).status is Status.FAILED


@given(RULES, OUTCOMES)
def test_the_tally_adds_up(rules: Rules, outcomes: str) -> None:
    tally = fold(rules, outcomes)
    assert tally.counted + tally.errors + tally.waits == len(outcomes)
    assert tally.passed == outcomes.count("P")
    assert tally.failed + tally.inconclusive == len([o for o in outcomes if o in "FIN"])
    assert tally.passed_in_a_row <= tally.passed
    assert tally.errors_in_a_row <= tally.errors
    assert [m.at for m in tally.recent] == [float(n) for n in range(len(outcomes))][-KEPT:]


@given(RULES, OUTCOMES)
def test_errors_and_waits_never_use_up_the_count(rules: Rules, outcomes: str) -> None:
    lenient = replace(rules, consecutive_error_limit=10**6, consecutive_success_limit=None)
    clean = outcomes.replace("E", "").replace("W", "")
    noisy = assess(lenient, fold(lenient, outcomes), 0.0, 0.0).status
    quiet = assess(lenient, fold(lenient, clean), 0.0, 0.0).status
    open_ = {Status.RUNNING, Status.WAITING}
    assert noisy is quiet or {noisy, quiet} <= open_


@given(RULES, OUTCOMES)
def test_the_next_look_is_never_after_the_deadline_and_errors_are_looked_at_sooner(
    rules: Rules, outcomes: str
) -> None:
    tally = fold(rules, outcomes)
    verdict = assess(rules, tally, 0.0, 0.0)
    assert (verdict.next_at is None) == verdict.status.final
    if verdict.next_at is not None:
        assert verdict.next_at <= max(rules.deadline, 0.0)
        if tally.last is not None and tally.last.outcome is E:
            assert verdict.next_at <= tally.last.at + rules.interval
