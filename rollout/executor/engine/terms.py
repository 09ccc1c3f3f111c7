"""How long a node may take: its own time, and not that in which nobody could help it.

Time in which pods and nodes were not seen is held against no node (see `sight`). Nor is, in a
hand-over, the time in which the controller was taken for dead: the old pod goes on working, nothing
else starts, and a step that gave up would leave that pod beside a successor which is made later.
Both only up to the progress deadline, so that every wait ends (L3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine import guarding, sight
from rollout.executor.engine.health import waiting_for
from rollout.executor.engine.state import IN_FLIGHT, DaemonSetRun, StepRun, StepState
from rollout.fleet.objects import parse_time
from rollout.quantity import format_duration

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

_ANSWER_S = 120.0  # more for a node whose delete is not accepted yet: the node can't help it


def set_deadline(book: Book, ds: DaemonSetRun, run: StepRun) -> None:
    """End the step in time, counted from its start; an earlier deadline of it counts no more."""
    asking = _ANSWER_S if run.state is StepState.DELETING else 0.0
    run.due_at = run.started_at + book.plan.health.node_timeout_s + asking
    run.missed_before_s = book.sight.missed_s
    run.unserved_s = _unserved_before(ds, run) if run.inherited else 0.0
    began = run.started_at
    book.at(run.due_at, lambda at: _expire(book, ds, run, began, at))


def end_if_over(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """End a step at once that was found over its time: nothing may start before it has failed (S6).

    Left to its deadline, another node would be begun beside it, by each process that goes on.
    """
    if over_at(book, ds, run, now) <= now:
        _expire(book, ds, run, run.started_at, now)


def _unserved_before(ds: DaemonSetRun, run: StepRun) -> float:
    """Return for how long a node found in flight had waited for its successor to be made; seconds.

    Told by times stored in the cluster; what no controller is down for does not count.
    """
    born = [
        parse_time(pod.metadata.creation_timestamp)
        for pod in ds.view.on(run.node)
        if ds.is_target(pod) and pod.metadata.creation_timestamp is not None
    ]
    waited = min(born, default=run.started_at) - run.started_at
    return waited if waited >= guarding.PATIENCE_S else 0.0


def over_at(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> float:
    """Return when a step is over its time."""
    lost = book.sight.missed_by(now) - run.missed_before_s
    if run.released_uid and ds.hands_over:
        lost += guarding.unserved_for(book, ds, run, now)
    due = run.due_at + min(lost, book.plan.health.progress_deadline_s)
    return due if book.sight.dark_since is not None else max(due, book.sight.settled_at)


def _expire(
    book: Book, ds: DaemonSetRun, run: StepRun, began: float, now: float, *, last: bool = False
) -> None:
    if run.state not in IN_FLIGHT or run.started_at != began or run.barred:
        return
    later = over_at(book, ds, run, now)
    if later > now:
        book.at(later, lambda at: _expire(book, ds, run, began, at, last=last))
    elif run.state is StepState.PROVING:
        return  # its gates have a time of their own; unwell from now on, it fails at once
    elif run.awaiting_answer and run.state is not StepState.DELETING and not last:
        # The node has passed; only its released pod is left, which has just been asked for.
        until = now + _ANSWER_S
        book.at(until, lambda at: _expire(book, ds, run, began, at, last=True))
    else:
        node = book.nodes.get(run.node)
        what = sight.why_dark(book) or waiting_for(run, ds, node, now, book.plan.health)
        limit = format_duration(now - began)
        book.end(ds, run, StepState.FAILED, f"not done after {limit}: {what}", now)
