from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.actions import Action, Measure
from rollout.executor.engine.gatebook import AT_ONCE, KEPT_NODES, LATE_S, GateBook, GateRun
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.timers import Timers
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.verdict import Status
from rollout.gatespec import Gate


def a_gate(name: str = "errors", kind: str = "pods", **more: Any) -> Gate:
    document = {"name": name, "kind": kind, "at": "after-node", "interval": "10s"} | more
    made: Gate = msgspec.convert(document, Gate)
    return made


class Bench:
    """A gate book on a clock of its own, whose measurements the test answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[float, Measure]] = []
        self.told: list[Notice] = []
        self.verdicts: list[GateRun] = []
        self.timers = Timers()
        self.book = GateBook(self.timers.at, self._act, self.told.append)

    def _act(self, action: Action) -> None:
        assert isinstance(action, Measure)
        self.asked.append((self.now, action))

    def begin(self, run_id: str, gate: Gate, meter: str = "") -> GateRun:
        return self.book.begin(
            run_id,
            gate,
            lambda run, _now: self.verdicts.append(run),
            self.now,
            meter=meter,
            node="n",
        )

    def answer(self, outcome: Outcome = Outcome.PASSED, index: int = -1) -> None:
        at, action = self.asked[index]
        self.book.measured(action.meter, action.round, Measurement(outcome, at), self.now)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.timers.next_at()) is not None and due <= end:
            self.now = due
            self.timers.run(due)
        self.now = end


def test_five_thousand_nodes_cost_one_measurement_an_interval() -> None:
    bench, gate = Bench(), a_gate(count=3)
    for number in range(5000):
        bench.begin(f"n{number}", gate, meter="errors")
        bench.advance(0.001)
    while len(bench.verdicts) < 5000:
        bench.answer()
        bench.advance(10.0)
    times = [at for at, _ in bench.asked]
    assert len(times) == 4  # 3 for the first ones, and 1 more for those that came behind the first
    assert all(later - earlier >= 10.0 for earlier, later in pairwise(times))
    assert all(run.verdict.status is Status.PASSED for run in bench.verdicts)


def test_a_run_that_joins_is_not_judged_by_what_was_measured_before() -> None:
    bench, gate = Bench(), a_gate()
    bench.begin("first", gate, meter="errors")
    bench.advance(2.0)
    bench.begin("second", gate, meter="errors")
    bench.answer(Outcome.FAILED)
    assert [run.id for run in bench.verdicts] == ["first"]
    bench.advance(10.0)
    bench.answer(Outcome.PASSED)
    assert bench.verdicts[-1].id == "second"
    assert bench.verdicts[-1].verdict.status is Status.PASSED


def test_a_measurement_that_never_ends_is_an_error_and_is_asked_again() -> None:
    bench = Bench()
    bench.begin("a", a_gate(timeout="5s"))
    bench.advance(5.0 + LATE_S)
    assert any("no answer within 5s" in notice.message for notice in bench.told)
    bench.advance(1.0)
    assert len(bench.asked) == 2
    bench.answer(Outcome.PASSED, 0)  # the first one's, too late
    assert not bench.verdicts
    bench.answer(Outcome.PASSED)
    assert len(bench.verdicts) == 1


def test_no_more_are_measured_at_once_than_threads_can_bear() -> None:
    bench = Bench()
    for number in range(AT_ONCE + 10):
        bench.begin(f"n{number}", a_gate(kind="node"))
    assert len(bench.asked) == AT_ONCE
    bench.answer(index=0)
    assert len(bench.asked) == AT_ONCE + 1


def test_news_during_a_measurement_is_not_lost() -> None:
    bench = Bench()
    bench.begin("a", a_gate(kind="approval"))
    bench.book.look_again(lambda _run: True, bench.now)
    bench.answer(Outcome.WAITING)
    assert len(bench.asked) == 2


def test_a_gate_that_is_asked_no_more_decides_nothing() -> None:
    bench = Bench()
    bench.begin("a", a_gate())
    bench.book.end("a")
    bench.answer(Outcome.FAILED)
    assert bench.verdicts == []
    assert bench.book.open == {}


def test_results_of_a_large_fleet_are_bounded_and_the_bad_ones_stay_longest() -> None:
    bench = Bench()
    for number in range(KEPT_NODES + 50):
        bench.begin(f"n{number}", a_gate(kind="node"))
        bench.answer(Outcome.FAILED if number < 10 else Outcome.PASSED)
    assert len(bench.book.results) == KEPT_NODES
    assert {f"n{number}" for number in range(10)} < set(bench.book.results)


@given(
    st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=30),
    st.integers(1, 4),
    st.booleans(),
)
def test_nothing_passes_without_a_measurement_that_did(
    outcomes: list[Outcome],
    wanted: int,
    shared: bool,  # noqa: FBT001 - hypothesis fills it
) -> None:
    bench = Bench()
    gate = a_gate(count=wanted, inconclusiveLimit=2, consecutiveErrorLimit=3)
    bench.begin("a", gate, meter="all" if shared else "")
    for outcome in outcomes:
        before = len(bench.asked)
        bench.answer(outcome)
        if bench.verdicts:
            break
        bench.advance(10.0)
        assert len(bench.asked) == before + 1
    for run in bench.verdicts:
        if run.verdict.status is Status.PASSED:
            assert run.tally.passed
