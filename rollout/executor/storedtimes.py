"""Times of a run that outlast its process: when nodes were begun, since when its deadline counts.

Where a pod is there its own times tell, but a node without one, or whose pod was made anew, would
get its whole time again from each process. So the run record holds the start of what has been in
flight for a while, or has failed, and since when the progress deadline counts. What is over sooner
is never written down; the rest is, in one write for all. Costs O(nodes in flight), seldom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import floor, inf
from typing import TYPE_CHECKING

from rollout.executor.state import StepRun, StepState

if TYPE_CHECKING:
    from rollout.executor.book import Book

BOUND_S = 10.0  # what takes longer is written down; also between two writes
_PART = 0.1  # of the node timeout: the bound where that is shorter
_BEGUN = (StepState.REPLACING, StepState.SOAKING, StepState.PROVING)


@dataclass(frozen=True, slots=True)
class StoredTimes:
    """What the run record says, in whole seconds of the server's clock.

    Attributes:
        started: step -> when its node was begun; of those in flight, oldest first, then of those
            that have failed.
        counts_from: since when the progress deadline counts; None: it does not.
    """

    started: Mapping[str, float] = field(default_factory=dict)
    counts_from: float | None = None


class TimeStore:
    """What the record knows of a run's times, and what it is to be told.

    Args:
        earlier: what an earlier process of the run has written down.
        node_timeout_s: of the plan.
    """

    def __init__(self, earlier: StoredTimes, node_timeout_s: float) -> None:
        self.bound_s = min(BOUND_S, node_timeout_s * _PART)
        self.earlier = dict(earlier.started)  # of nodes that this process has not met yet
        self.failed: dict[str, StepRun] = {}
        self.looks_at = inf
        self._stored = earlier  # what the record says, or is about to
        self._is_sure = True  # that it says so
        self._stored_at = -inf
        self._to_store: StoredTimes | None = None

    @property
    def stored(self) -> StoredTimes:
        """What the record says, or is about to."""
        return self._stored

    def store(self, times: StoredTimes, now: float) -> None:
        """Let the record say so."""
        self._stored = self._to_store = times
        self._stored_at, self._is_sure = now, True

    def take(self) -> StoredTimes | None:
        """Return what is to be written into the record now; None: nothing."""
        times, self._to_store = self._to_store, None
        return times

    def not_before(self, when: float) -> float:
        """Return when to write what is due then: many changes go into one write."""
        return max(when, self._stored_at + self.bound_s)

    def lacks(self, times: StoredTimes) -> bool:
        """Whether the record does not say so yet."""
        return not self._is_sure or times != self._stored

    def forget(self) -> None:
        """The record could not be written: it may say what it said before, and is to be told."""
        self._stored, self._is_sure = StoredTimes(), False


def begun(book: Book, run: StepRun, now: float) -> None:
    """A node was begun, or found begun: its start is written down if it takes long."""
    _look_at(book, _due(book, run), now)


def over(book: Book, run: StepRun, now: float) -> None:
    """A node is done, has failed, or is left out."""
    if run.state is StepState.FAILED:
        book.times.failed[run.id] = run
    elif run.id not in book.times.stored.started:
        return
    _look_at(book, now + book.times.bound_s, now)


def counting_changed(book: Book, now: float) -> None:
    """The progress deadline begins to count, or counts no longer."""
    _look_at(book, now + book.times.bound_s, now)


def not_stored(book: Book, now: float) -> None:
    """The record could not be written."""
    book.times.forget()
    _look_at(book, now + book.times.bound_s, now)


def began_before(book: Book, run: StepRun) -> float:
    """Return when an earlier process began a node; infinity where nothing is known of that.

    A start that somebody's wish for another try came after is of the try before.
    """
    started = book.times.earlier.pop(run.id, inf)
    asked = max(book.retries.before.get(name, -inf) for name in ("", run.node))
    return started if asked <= started else inf


def left_behind(runs: Iterable[StepRun]) -> dict[str, float]:
    """Return when nodes were begun that are in flight, oldest first."""
    begun = sorted((run for run in runs if run.state in _BEGUN), key=lambda run: run.started_at)
    return {run.id: float(floor(run.started_at)) for run in begun}


def _due(book: Book, run: StepRun) -> float:
    """Return when the start of a node is to be written down.

    What an earlier process has begun and not written down is at once: processes that are killed
    one soon after the other would else give it time without end.
    """
    found = run.inherited and book.resumed
    return run.started_at if found else run.started_at + book.times.bound_s


def _look_at(book: Book, when: float, now: float) -> None:
    times = book.times
    when = times.not_before(max(when, now))
    if when < times.looks_at:
        times.looks_at = when
        book.at(when, lambda at: _look(book, when, at))


def _look(book: Book, asked: float, now: float) -> None:
    """Write down what is due, and look again when the next is."""
    times = book.times
    if times.looks_at != asked:
        return
    times.looks_at = inf
    flying = [run for run in book.busy_nodes.values() if run.state in _BEGUN]
    settles = book.progress.changed_at + times.bound_s
    later = [due for due in (settles, *(_due(book, run) for run in flying)) if due > now]
    times.failed = {i: run for i, run in times.failed.items() if run.state is StepState.FAILED}
    started = left_behind(run for run in flying if _due(book, run) <= now)
    started |= {run.id: float(floor(run.started_at)) for run in times.failed.values()}
    wanted = StoredTimes(started, _counts_from(book, now))
    if times.lacks(wanted):
        times.store(wanted, now)
    if later:
        _look_at(book, min(later), now)


def _counts_from(book: Book, now: float) -> float | None:
    """Return since when the record shall say that the progress deadline counts.

    Nodes that got done since then tell more, and the next process sees them.
    """
    progress, stored, bound_s = book.progress, book.times.stored.counts_from, book.times.bound_s
    since = progress.counts_from
    if since is None:
        return None if now >= progress.changed_at + bound_s else stored
    known = max(progress.done_at, -inf if stored is None else stored)
    return stored if stored is not None and since <= known + bound_s else float(floor(since))
