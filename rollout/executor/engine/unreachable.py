"""Nodes that turn not ready before their turn: set aside, taken up when they are back, or left out.

Such a node says nothing about the release, and its pod could not be replaced: the kubelet that
would do it is silent. So the others go on; the node has until `nodeTimeout`, counted from the time
in its condition, and then it is skipped and stands outside the budget, like a node that was
down before the run. How many there may be is a limit of its own (`maxUnreachable`), for a release
that takes down its neighbours must not march on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.objects import Node, parse_time
from rollout.quantity import cut, format_duration

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


@dataclass(slots=True)
class Unreachable:
    """Which nodes are not ready, and what became of their steps."""

    since: dict[str, float] = field(default_factory=dict)  # node -> seconds
    waiting: dict[str, StepRun] = field(default_factory=dict)  # steps set aside, by id
    missed: Counter[str] = field(default_factory=Counter)  # node -> its steps, also those left out


def note_readiness(book: Book, node: Node, now: float) -> None:
    """Remember since when a node is not ready."""
    name = node.metadata.name
    for ds in book.daemon_sets.values():
        ds.control.note_readiness(name, ready=node.ready)
    if node.ready:
        book.unreachable.since.pop(name, None)
    elif name not in book.unreachable.since:
        times = [
            parse_time(condition.last_transition_time)
            for condition in node.status.conditions
            if condition.type == "Ready" and condition.last_transition_time is not None
        ]
        book.unreachable.since[name] = min([now, *times])


def must_wait(book: Book, ds: DaemonSetRun, run: StepRun) -> bool:
    """Whether a step that would delete a pod has to wait for its node.

    Where the user takes nodes in that were down before the run, that is known and wanted.
    """
    if run.node not in book.unreachable.since:
        return False
    return run.node not in ds.broken_before or book.plan.rules.defer_not_ready


def set_aside(book: Book, ds: DaemonSetRun, run: StepRun) -> None:
    """Let the others go on without this node for a while."""
    if run.id in book.unreachable.waiting:
        return
    book.unreachable.waiting[run.id] = run
    missed = book.unreachable.missed
    missed[run.node] += 1
    since = book.unreachable.since[run.node]
    book.note("node-waits", ds, node=run.node, wave=run.step.wave, message="it is not ready")
    deadline = since + book.plan.health.node_timeout_s
    book.at(deadline, lambda at: _skip(book, ds, run, since, at))
    limit = book.plan.failure.max_unreachable
    if len(missed) > limit.value and not book.hold_why:
        book.hold(
            f"{len(missed)} nodes turned not ready before their update (maxUnreachable "
            f"{limit.text}): {cut(sorted(missed))}"
        )


def take_up(book: Book, run: StepRun) -> None:
    """The node is ready again, or its step is over."""
    if book.unreachable.waiting.pop(run.id, None) is not None:
        missed = book.unreachable.missed
        missed[run.node] -= 1
        if not missed[run.node]:
            del missed[run.node]


def _skip(book: Book, ds: DaemonSetRun, run: StepRun, since: float, now: float) -> None:
    """Leave a node out that did not come back in time."""
    still = run.id in book.unreachable.waiting and book.unreachable.since.get(run.node) == since
    if not still or run.state is not StepState.READY or book.stopping:
        return
    del book.unreachable.waiting[run.id]
    limit = format_duration(book.plan.health.node_timeout_s)
    reason = f"the node turned not ready before its update and was not back after {limit}"
    ds.view.drop_node(run.node)
    book.end(ds, run, StepState.SKIPPED, reason, now)
