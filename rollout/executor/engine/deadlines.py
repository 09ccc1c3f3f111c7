"""The progress deadline: a run on which no node gets done for too long has failed.

Counted from the last node that got done, by times that stand in the cluster, so that a restart of
ours gives no extra time; not while the run waits for something that has a deadline of its own (a
bake time, a gate, a window, a person, a pause). It costs next to nothing per event: one timer,
looked at when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.executor.engine import claiming, guarding, sight, storedtimes
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.health import soaked_at
from rollout.executor.engine.state import BEFORE, DaemonSetRun, Phase, StepRun, StepState
from rollout.quantity import cut, format_duration

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


@dataclass(slots=True)
class Progress:
    """What the deadline is counted from; seconds."""

    counts_from: float | None = None  # since when the run waits for its nodes; None: it does not
    changed_at: float = BEFORE  # when it began to wait for them, or for something else
    done_at: float = BEFORE  # when the last node got done
    looks_at: float | None = None  # when the timer is due


FIRST_LOOK_S = 2.0  # a new process has to see first what got done before it
_PATCHING = (Phase.PREPARING, Phase.OBSERVING, Phase.RESTORING)


def watch(book: Book, now: float) -> None:
    """See to it that somebody looks when the deadline is due; other waits are not counted."""
    progress = book.progress
    counts = _counts(book, now)
    first = progress.changed_at == BEFORE
    if first or counts is not (progress.counts_from is not None):
        earlier = book.times.counted_from if first else None
        progress.changed_at = now
        progress.counts_from = (now if earlier is None else min(now, earlier)) if counts else None
        storedtimes.counting_changed(book, now, first=first)
    if progress.counts_from is not None and progress.looks_at is None and book.finished is None:
        soonest = now + FIRST_LOOK_S if first else now
        limit = book.plan.health.progress_deadline_s
        _look_at(book, max(progress.counts_from + limit, soonest))


def _look_at(book: Book, when: float) -> None:
    book.progress.looks_at = when
    book.at(when, lambda at: _look(book, at))


def got_done(book: Book, run: StepRun, now: float) -> None:
    """A node is done: the deadline starts afresh from the moment at which it was."""
    ds = book.daemon_sets[run.step.daemon_set]
    soaked = soaked_at(ds, run.node, book.plan.health, now)
    book.progress.done_at = max(book.progress.done_at, soaked)


def _look(book: Book, now: float) -> None:
    book.progress.looks_at = None
    if book.finished is not None or not _counts(book, now):
        return
    limit = book.plan.health.progress_deadline_s
    due = _waiting_since(book, now) + limit
    if now < due:
        _look_at(book, due)
        return
    book.hold(
        f"no node got done for {format_duration(limit)} (progressDeadline){_why(book)}",
        outcome=Outcome.DEADLINE,
        by_release=_blames_release(book),
    )


def _blames_release(book: Book) -> bool:
    """Whether nodes that we touched are what nothing got done on."""
    tried = bool(book.flying) or book.failures.total > 0
    if claiming.sentence(book):
        return False
    return tried and not guarding.is_silent(book) and not book.lost_views


def _why(book: Book) -> str:
    """Say what is known of the cause."""
    for ds in book.daemon_sets.values():
        cause = guarding.reason(book, ds) or _cause(ds)
        if cause and not book.lost_views:
            return f": {cause}"
    if others := claiming.sentence(book):
        return f": {others}"
    if book.lost_views:
        return f": {sight.why_blind(book)}"
    unheard = next((run for run in book.flying if run.said), None)
    return f": {unheard.node}: {unheard.said}" if unheard is not None else ""


def _cause(ds: DaemonSetRun) -> str:
    if ds.phase is Phase.OBSERVING:
        return f"the controller has not observed the new template of DaemonSet {ds.name}"
    if ds.waits and ds.view.used and not ds.view.held:
        names = cut(sorted(ds.view.used))
        return f"the budget of DaemonSet {ds.name} ({ds.budget_text}) is used up by {names}"
    return ""


def _waiting_since(book: Book, now: float) -> float:
    """Return since when the run waits for its nodes, or for room for them."""
    began = now if book.progress.counts_from is None else book.progress.counts_from
    flying = book.flying
    tried = min((_tried_since(run) for run in flying), default=BEFORE)
    return max(book.progress.done_at, began, tried)


def _tried_since(run: StepRun) -> float:
    """Return since when a node is tried; a write that is refused begins its step anew each time."""
    return run.asked_at if run.state is StepState.DELETING else run.started_at


def _counts(book: Book, now: float) -> bool:
    """Whether nothing but nodes, or the lack of room or of a view, keeps the run from going on."""
    if book.stopping or book.stepping.asked is not None or book.gating.keep_waiting(now):
        return False
    return (
        bool(book.in_flight)
        or claiming.waits(book)
        or book.sight.dark_since is not None
        or any(
            ds.waits or ds.phase in _PATCHING or not ds.resolved for ds in book.daemon_sets.values()
        )
    )
