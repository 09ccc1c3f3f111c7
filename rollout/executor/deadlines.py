"""The progress deadline: a run on which no node gets done for too long has failed.

Counted from the last node that got done, by times that stand in the cluster, so that a restart of
ours gives no extra time; not while the run waits for something that has a deadline of its own (a
bake time, a gate, a window, a person, a pause). It costs nothing per event: one timer, looked at
when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.executor import guarding
from rollout.executor.actions import Outcome
from rollout.executor.state import DaemonSetRun, Phase, StepRun
from rollout.quantity import cut, format_duration

if TYPE_CHECKING:
    from rollout.executor.book import Book


@dataclass(slots=True)
class Progress:
    """What the deadline is counted from; seconds."""

    last_at: float = float("-inf")  # when the last node got done
    began_at: float = float("inf")  # when the first step that is not over began
    opened_at: float = float("-inf")  # when the last bake time was over
    paused: bool = False  # nothing may start
    looks_at: float | None = None  # when the timer is due


_PATCHING = (Phase.PREPARING, Phase.OBSERVING, Phase.RESTORING)


def watch(book: Book, now: float) -> None:
    """See to it that somebody looks when the deadline is due; a pause is not counted."""
    if book.stopping:
        book.progress.paused = True
        return
    if book.progress.paused:
        book.progress.paused = False
        book.progress.last_at = now
    if book.progress.looks_at is None and book.finished is None:
        book.progress.began_at = min(book.progress.began_at, now)
        _look_at(book, book.progress.began_at + book.plan.health.progress_deadline_s)


def _look_at(book: Book, when: float) -> None:
    """Set the timer; one that is later than this one has nothing to say any more."""
    book.progress.looks_at = when
    book.at(when, lambda at: _look(book, when, at))


def begun(book: Book, run: StepRun, now: float) -> None:
    """A step has begun, or is found begun; one that is long over its time says nothing.

    Such a one was stopped, or failed, before: while nobody worked on the run.
    """
    if run.started_at + book.plan.health.node_timeout_s > now:
        book.progress.began_at = min(book.progress.began_at, run.started_at)
        due = run.started_at + book.plan.health.progress_deadline_s
        if book.progress.looks_at is None or due < book.progress.looks_at:
            _look_at(book, due)


def got_done(book: Book, run: StepRun, now: float) -> None:
    """A node is done: the deadline starts afresh from the moment at which it was."""
    ds = book.daemon_sets[run.step.daemon_set]
    since = [ds.view.ready_since.get(pod.metadata.uid, now) for pod in ds.view.on(run.node)]
    soaked = max(since, default=now) + max(book.plan.health.soak_s, ds.view.min_ready_s)
    book.progress.last_at = max(book.progress.last_at, min(now, soaked))


def _look(book: Book, asked: float, now: float) -> None:
    if book.progress.looks_at != asked:
        return
    book.progress.looks_at = None
    if book.stopping or book.finished is not None:
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
    silent = any(guard.silent for guard in book.guards.values())
    return tried and not silent and not book.lost_views


def _why(book: Book) -> str:
    """Say what is known of the cause."""
    for ds in book.daemon_sets.values():
        cause = guarding.reason(book, ds) or _cause(ds)
        if cause and not book.lost_views:
            return f": {cause}"
    return f": no view of {cut(sorted(book.lost_views))}" if book.lost_views else ""


def _cause(ds: DaemonSetRun) -> str:
    if ds.phase is Phase.OBSERVING:
        return f"the controller has not observed the new template of DaemonSet {ds.name}"
    if ds.waits and ds.view.unavailable and not ds.view.held:
        names = cut(sorted(ds.view.unavailable))
        return f"the budget of DaemonSet {ds.name} ({ds.planned.budget_text}) is used up by {names}"
    return ""


def _waiting_since(book: Book, now: float) -> float:
    """Return since when the run waits for its nodes, or for room for them."""
    if book.gating.keep_waiting(now):
        book.progress.last_at = now
    flying = book.flying
    if flying:
        return max(book.progress.last_at, flying[0].started_at)
    if not _waits_for_room(book):
        book.progress.last_at = now
    return max(book.progress.last_at, book.progress.opened_at, book.progress.began_at)


def _waits_for_room(book: Book) -> bool:
    """Whether anything but a bake time or a person keeps the run from going on."""
    return any(
        ds.waits or ds.phase in _PATCHING or not ds.resolved for ds in book.daemon_sets.values()
    )
