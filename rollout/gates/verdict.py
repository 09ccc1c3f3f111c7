"""From measurements to a verdict: the arithmetic of Argo Rollouts, safe by default. Pure.

Where it differs from Argo: a gate passes only with at least one measurement that passed, a gate
that measured nothing is "not measured" (Argo: successful), and a deadline never passes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec.base import DEADLINE_DEFAULT, UNLIMITED, GateBase
from rollout.quantity import format_duration, parse_duration

ERROR_RETRY_S = 10.0  # Argo Rollouts' DefaultErrorRetryInterval
KEPT = 10  # measurements that are shown
_PATIENT = frozenset({"approval", "pause", "window"})  # their waiting is the run's own


class Status(Enum):
    """What a gate says at a moment."""

    PASSED = "passed"
    RUNNING = "running"
    WAITING = "waiting"
    NOT_MEASURED = "not measured"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more is measured."""
        return self not in (Status.RUNNING, Status.WAITING)


_BY_GRAVITY = tuple(Status)  # from the best to the worst


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers of one gate, resolved; durations in seconds.

    Attributes:
        count: measurements that decide; None: it goes on until it is concluded.
        failure_limit: None: failures alone don't end it.
        consecutive_success_limit: None: not asked for.
        deadline: after the begin; infinite for gates that wait with the run.
        no_data: what a measurement without data counts as.
    """

    initial_delay: float = 0.0
    interval: float = 30.0
    count: int | None = 1
    failure_limit: int | None = 0
    consecutive_error_limit: int = 4
    inconclusive_limit: int = 0
    consecutive_success_limit: int | None = None
    deadline: float = math.inf
    no_data: Outcome = Outcome.INCONCLUSIVE

    @property
    def retry(self) -> float:
        """Seconds until the next look after an error: sooner than the interval, never later."""
        return min(self.interval, ERROR_RETRY_S)


@dataclass(frozen=True, slots=True)
class Tally:
    """What the measurements of one gate instance add up to.

    Attributes:
        since: measurements that began before it say nothing about the change.
        recent: the last ten, oldest first.
    """

    since: float = -math.inf
    passed: int = 0
    failed: int = 0
    inconclusive: int = 0
    errors: int = 0
    waits: int = 0
    passed_in_a_row: int = 0
    errors_in_a_row: int = 0
    recent: tuple[Measurement, ...] = ()

    @property
    def counted(self) -> int:
        """Measurements that use up the count: all but errors and waits."""
        return self.passed + self.failed + self.inconclusive

    @property
    def last(self) -> Measurement | None:
        """The newest measurement."""
        return self.recent[-1] if self.recent else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a gate says, why, and when to measure next (server clock; None: never again)."""

    status: Status
    reason: str
    next_at: float | None = None


def rules_of(gate: GateBase) -> Rules:
    """Resolve the fields of a gate.

    Without a count one measurement decides; with a consecutive success limit, or in the
    background, measuring goes on. The deadline is the gate's own, or an hour, or twice what its
    measurements take; approvals, pauses, windows and background gates end with the run.
    """
    endless = gate.at == "background" or gate.consecutive_success_limit is not None
    count = gate.count if gate.count is not None or endless else 1
    return Rules(
        initial_delay=parse_duration(gate.initial_delay),
        interval=parse_duration(gate.interval),
        count=count,
        failure_limit=None if gate.failure_limit == UNLIMITED else gate.failure_limit,
        consecutive_error_limit=gate.consecutive_error_limit,
        inconclusive_limit=gate.inconclusive_limit,
        consecutive_success_limit=gate.consecutive_success_limit,
        deadline=_deadline(gate, count),
        no_data=Outcome.FAILED if gate.on_no_data == "failure" else Outcome.INCONCLUSIVE,
    )


def _deadline(gate: GateBase, count: int | None) -> float:
    if gate.deadline is not None:
        return parse_duration(gate.deadline)
    if gate.kind in _PATIENT or gate.at == "background":
        return math.inf
    measuring = (count or 1) * (parse_duration(gate.interval) + parse_duration(gate.timeout))
    return parse_duration(gate.initial_delay) + max(parse_duration(DEADLINE_DEFAULT), 2 * measuring)


def add(rules: Rules, tally: Tally, measurement: Measurement) -> Tally:
    """Return the tally with one more measurement; one from before the change changes nothing."""
    if not measurement.at >= tally.since:
        return tally
    outcome = measurement.outcome
    if outcome is Outcome.NO_DATA:
        outcome = rules.no_data
    after = replace(tally, recent=(*tally.recent, measurement)[-KEPT:])
    match outcome:
        case Outcome.WAITING:
            return replace(after, waits=tally.waits + 1)
        case Outcome.ERROR:
            return replace(
                after,
                errors=tally.errors + 1,
                errors_in_a_row=tally.errors_in_a_row + 1,
                passed_in_a_row=0,
            )
        case Outcome.PASSED:
            return replace(
                after,
                passed=tally.passed + 1,
                passed_in_a_row=tally.passed_in_a_row + 1,
                errors_in_a_row=0,
            )
    return replace(
        after,
        failed=tally.failed + (outcome is Outcome.FAILED),
        inconclusive=tally.inconclusive + (outcome is not Outcome.FAILED),
        passed_in_a_row=0,
        errors_in_a_row=0,
    )


def assess(rules: Rules, tally: Tally, began: float, now: float) -> Verdict:
    """Judge a gate.

    Args:
        rules: its numbers.
        tally: its measurements so far.
        began: when the gate was asked first, in seconds on the server's clock.
        now: the server's clock.
    """
    broken = _limit_broken(rules, tally)
    if broken is not None:
        return broken
    reached = _count_reached(rules, tally)
    if reached is not None:
        return reached
    end = began + rules.deadline
    if now >= end:
        return _at_the_deadline(rules, tally)
    return _going_on(rules, tally, began, end)


def conclude(rules: Rules, tally: Tally) -> Verdict:
    """Judge a gate that is measured no more: a background gate at the end of the run."""
    verdict = _limit_broken(rules, tally) or _count_reached(rules, tally)
    if verdict is not None:
        return verdict
    if not tally.recent:
        return Verdict(Status.NOT_MEASURED, "nothing was measured")
    if tally.passed and rules.consecutive_success_limit is None:
        return Verdict(Status.PASSED, f"{_counts(tally)} until the end")
    return Verdict(
        Status.INCONCLUSIVE, f"ended without a verdict: {_counts(tally)}{_because(tally)}"
    )


def so_far(rules: Rules, tally: Tally) -> str:
    """Return the measurements of a gate in words, counted: `2 passed, 1 failed of 5`."""
    of = f" of {rules.count}" if rules.count is not None else ""
    return f"{_counts(tally)}{of}"


def worst(statuses: Iterable[Status]) -> Status:
    """Return what several gates say together: the worst of them; nothing says "not measured"."""
    return max(statuses, key=_BY_GRAVITY.index, default=Status.NOT_MEASURED)


def _limit_broken(rules: Rules, tally: Tally) -> Verdict | None:
    why = _because(tally)
    if rules.failure_limit is not None and tally.failed > rules.failure_limit:
        text = f"{tally.failed} failed, more than failureLimit {rules.failure_limit}"
        return Verdict(Status.FAILED, text + why)
    if tally.inconclusive > rules.inconclusive_limit:
        text = f"{tally.inconclusive} inconclusive, more than inconclusiveLimit "
        return Verdict(Status.INCONCLUSIVE, f"{text}{rules.inconclusive_limit}{why}")
    if tally.errors_in_a_row > rules.consecutive_error_limit:
        text = f"{tally.errors_in_a_row} errors in a row, more than consecutiveErrorLimit "
        return Verdict(Status.ERROR, f"{text}{rules.consecutive_error_limit}{why}")
    return None


def _count_reached(rules: Rules, tally: Tally) -> Verdict | None:
    wanted = rules.consecutive_success_limit
    if wanted is not None and tally.passed_in_a_row >= wanted:
        return Verdict(Status.PASSED, f"{tally.passed_in_a_row} passed in a row{_because(tally)}")
    if rules.count is None or tally.counted < rules.count:
        return None
    if wanted is not None:
        text = f"never {wanted} passed in a row in {tally.counted} measurements"
        return Verdict(Status.INCONCLUSIVE, text + _because(tally))
    if not tally.passed:
        text = f"none of {tally.counted} measurements passed"
        return Verdict(Status.INCONCLUSIVE, text + _because(tally))
    return Verdict(Status.PASSED, f"{_counts(tally)}{_because(tally)}")


def _at_the_deadline(rules: Rules, tally: Tally) -> Verdict:
    limit = format_duration(rules.deadline)
    if not tally.recent:
        return Verdict(Status.NOT_MEASURED, f"nothing was measured within its deadline of {limit}")
    text = f"no verdict within its deadline of {limit}: {_counts(tally)}"
    return Verdict(Status.INCONCLUSIVE, text + _because(tally))


def _going_on(rules: Rules, tally: Tally, began: float, end: float) -> Verdict:
    last = tally.last
    if last is None:
        text = "not measured yet"
        return Verdict(Status.RUNNING, text, min(began + rules.initial_delay, end))
    pause = rules.retry if last.outcome is Outcome.ERROR else rules.interval
    due = last.at + pause if last.again_at is None else max(last.again_at, last.at)
    status = Status.WAITING if last.outcome is Outcome.WAITING else Status.RUNNING
    return Verdict(status, f"{so_far(rules, tally)}{_because(tally)}", min(due, end))


def _counts(tally: Tally) -> str:
    parts = [
        f"{number} {word}"
        for number, word in (
            (tally.passed, "passed"),
            (tally.failed, "failed"),
            (tally.inconclusive, "inconclusive"),
            (tally.errors, "error" if tally.errors == 1 else "errors"),
        )
        if number
    ]
    return ", ".join(parts) or "0 passed"


def _because(tally: Tally) -> str:
    last = tally.last
    if last is None:
        return ""
    said = last.reason or last.value
    return f"; last: {said}" if said else ""
