"""Times of a run that outlast its process: when nodes were begun, since when its deadline counts.

Where a node has a new pod that was made at once, the pod's own times tell; any other node would get
its whole time again from each process. So the run record says when those were begun, and what has
failed, and since when the progress deadline counts. It says so before a pod is taken away (S4), but
no more than once a second: what is begun in the second behind such a word is not named in it, and
so the word also says since when there may be such nodes. A process that finds one without a pod
takes that time for its start: never later than it was, and hardly earlier. Costs O(nodes in
flight) a second, while pods are taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from math import floor, inf
from typing import TYPE_CHECKING

from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.record.timerecord import StoredTimes
from rollout.fleet.objects import Pod, parse_time

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

SOON_S = 1.0  # a pod that is made so soon tells when its node was begun; also between two writes
BOUND_S = 10.0  # what takes longer is written down in any case: its pod may be made anew
_PART = 0.1  # of the node timeout: the longest that either of them is
_NODES_A_SECOND = 4000  # about 64 KiB of the record; where there are more it is written less often
_SLOW = 2.0  # a write that takes long is repeated after so many times its length
_BEGUN = (StepState.REPLACING, StepState.SOAKING, StepState.PROVING)
_ASKED = (StepState.DELETING, *_BEGUN)


class TimeStore:
    """What the record knows of a run's times, and what it is to be told.

    Args:
        earlier: what an earlier process of the run has written down.
        node_timeout_s: of the plan.
    """

    def __init__(self, earlier: StoredTimes, node_timeout_s: float) -> None:
        self.bound_s = min(BOUND_S, node_timeout_s * _PART)
        self.soon_s = min(SOON_S, node_timeout_s * _PART)
        self.earlier = dict(earlier.started)  # of nodes that this process has not met yet
        self.earlier_since = earlier.begun_since  # of those that the earlier one has not named
        self.names_at_once = True  # nodes that were found begun: nothing else has named them
        self.failed: dict[str, StepRun] = {}
        self.looks_at = inf
        self._stored = earlier  # what the record says, or is about to
        self._is_sure = True  # that it says so
        self._stored_at = -inf
        self._announced_until = -inf  # pods may be taken away until then
        self._to_store: StoredTimes | None = None

    @property
    def stored(self) -> StoredTimes:
        """What the record says, or is about to."""
        return self._stored

    @property
    def counted_from(self) -> float | None:
        """Since when an earlier process counted; where it has begun a node it did."""
        counts_from = self._stored.counts_from
        return counts_from if counts_from is not None else self.earlier_since

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
        return max(when, self._stored_at + self._spacing_s)

    def must_announce(self, now: float) -> bool:
        """Whether a pod may be taken away only once the record has been told (S4)."""
        return now >= self._announced_until

    def announce(self, times: StoredTimes, now: float) -> StoredTimes:
        """Return what is to be written before the next pod is taken away."""
        self.store(times, now)
        self._to_store = None
        self._announced_until = inf  # until it is known how long that takes
        return times

    def announced(self, began: float, ended: float) -> None:
        """The record was told: what is begun within the next second needs no other word."""
        again = ended + _SLOW * (ended - began)
        self._announced_until = max(began + self._spacing_s, again)

    def lacks(self, times: StoredTimes) -> bool:
        """Whether the record does not say so yet."""
        return not self._is_sure or times != self._stored

    def forget(self) -> None:
        """The record could not be written: it may say what it said before, and is to be told."""
        self._stored, self._is_sure = StoredTimes(), False
        self._announced_until = -inf

    @property
    def _spacing_s(self) -> float:
        return max(self.soon_s, len(self._stored.started) / _NODES_A_SECOND)


def begun(book: Book, run: StepRun, now: float) -> None:
    """A node was begun, or found begun: its start is written down if no pod will tell it."""
    if _was_found(book, run) and book.times.names_at_once:
        _look_then(book, now)
    else:
        _look_at(book, _due(book, run), now)


def over(book: Book, run: StepRun, now: float) -> None:
    """A node is done, has failed, or is left out."""
    if run.state is StepState.FAILED:
        book.times.failed[run.id] = run
        _look_at(book, now + book.times.soon_s, now)
    elif run.id in book.times.stored.started:
        _look_at(book, now + book.times.bound_s, now)


def counting_changed(book: Book, now: float, *, first: bool) -> None:
    """The progress deadline begins to count, or counts no longer.

    What a process that goes on begins with is written at once: processes that are killed one soon
    after the other would else give the run time without end.
    """
    at_once = first and book.resumed
    _look_at(book, now if at_once else now + book.times.soon_s, now)


def not_stored(book: Book, now: float) -> None:
    """The record could not be written."""
    book.times.forget()
    _look_at(book, now + book.times.bound_s, now)


def store_soon(book: Book, now: float) -> None:
    """Let the record be written as soon as others are to hear what it says."""
    _look_at(book, now, now)


def announce(book: Book, now: float) -> StoredTimes:
    """Return what the record must say before the next pod is taken away (S4).

    It names all that has been begun, and what is about to be.
    """
    book.times.earlier_since = None
    _look_at(book, now + book.times.soon_s, now)
    named = [run for run in _flying(book, _ASKED) if not _is_told(book, run)]
    return book.times.announce(
        replace(_wanted(book, named, now), begun_since=float(floor(now))), now
    )


def began_before(book: Book, run: StepRun, pods: Collection[Pod]) -> float:
    """Return when an earlier process began a node; infinity where nothing is known of that.

    A start that somebody's wish for another try came after is of the try before.
    """
    started = book.times.earlier.pop(run.id, None)
    if started is None:
        unnamed = book.times.earlier_since
        started = inf if unnamed is None or any(True for _ in pods) else unnamed
    asked = max(book.retries.before.get(name, -inf) for name in ("", run.node))
    return started if asked <= started else inf


def told_by(pods: Collection[Pod]) -> float:
    """Return when a replacement began, as its pods tell: times that stand in the cluster.

    Where one pod ends, its end is what began: the one beside it may be an old one that was taken
    back, and as old as the fleet.
    """
    telling = [pod for pod in pods if pod.terminating] or pods
    times = map(_pod_began, telling)
    return min((time for time in times if time is not None), default=inf)


def left_behind(runs: Iterable[StepRun]) -> dict[str, float]:
    """Return when nodes were begun that are in flight, oldest first."""
    begun = sorted((run for run in runs if run.state in _BEGUN), key=lambda run: run.started_at)
    return {run.id: float(floor(run.started_at)) for run in begun}


def _pod_began(pod: Pod) -> float | None:
    """When a new pod was made, or the deletion of an old one was asked for."""
    meta = pod.metadata
    if meta.deletion_timestamp is not None:  # already is the end of the grace period
        return parse_time(meta.deletion_timestamp) - (meta.deletion_grace_period_seconds or 0)
    return parse_time(meta.creation_timestamp) if meta.creation_timestamp is not None else None


def _flying(book: Book, states: tuple[StepState, ...]) -> list[StepRun]:
    return [run for run in book.busy_nodes.values() if run.state in states]


def _is_told(book: Book, run: StepRun) -> bool:
    """Whether a new pod says, to a second, when its node was begun.

    An old one that ends says so as well, but not for long.
    """
    ds = book.daemon_sets[run.step.daemon_set]
    new = [pod for pod in ds.view.on(run.node) if not pod.terminating and ds.is_target(pod)]
    return told_by(new) <= run.started_at + book.times.soon_s


def _was_found(book: Book, run: StepRun) -> bool:
    return run.inherited and book.resumed


def _due(book: Book, run: StepRun) -> float:
    """Return when the start of a node is to be written down.

    What an earlier process has begun and not written down is at once: processes that are killed
    one soon after the other would else give it time without end.
    """
    times = book.times
    if _was_found(book, run):
        return run.started_at
    return run.started_at + (times.bound_s if _is_told(book, run) else times.soon_s)


def _look_at(book: Book, when: float, now: float) -> None:
    _look_then(book, book.times.not_before(max(when, now)))


def _look_then(book: Book, when: float) -> None:
    if when < book.times.looks_at:
        book.times.looks_at = when
        book.at(when, lambda at: _look(book, when, at))


def _look(book: Book, asked: float, now: float) -> None:
    """Write down what is due, and look again when the next is."""
    times = book.times
    if times.looks_at != asked:
        return
    times.looks_at = inf
    flying = _flying(book, _BEGUN)
    if flying:  # what an earlier process has begun is all among them
        times.names_at_once, times.earlier_since = False, None
    if times.stored.begun_since is not None and _has_unnamed(book, now):
        _look_at(book, now + times.soon_s, now)  # what is stored says enough; the next names them
        return
    soon = [book.progress.changed_at, *(run.started_at for run in flying)]
    later = [at + times.soon_s for at in soon if at + times.soon_s > now]
    later += [due for due in (_due(book, run) for run in flying) if due > now]
    wanted = _wanted(book, [run for run in flying if _due(book, run) <= now], now)
    if times.lacks(wanted):
        times.store(wanted, now)
    if later:
        _look_at(book, min(later), now)


def _has_unnamed(book: Book, now: float) -> bool:
    """Whether nodes may have been begun that are not due to be named yet."""
    soon_s = book.times.soon_s
    return any(
        run.state is StepState.DELETING or run.started_at + soon_s > now
        for run in _flying(book, _ASKED)
    )


def _wanted(book: Book, named: Iterable[StepRun], now: float) -> StoredTimes:
    """Return what the record shall say; what it names already it names to the end."""
    times = book.times
    times.failed = {i: run for i, run in times.failed.items() if run.state is StepState.FAILED}
    stored = times.stored.started
    runs = {run.id: run for run in named}
    runs |= {run.id: run for run in _flying(book, _ASKED) if run.id in stored}
    started = {i: _start(run, stored.get(i)) for i, run in runs.items()}
    started = dict(sorted(started.items(), key=lambda start: start[1]))
    started |= {run.id: float(floor(run.started_at)) for run in times.failed.values()}
    claims = book.claiming.claims
    return StoredTimes(
        started,
        _counts_from(book, now),
        claims=tuple(sorted(book.busy_nodes)) if claims.are_needed else (),
        beside=tuple(sorted(claims.heeded)),
        word=claims.word,
    )


def _start(run: StepRun, stored: float | None) -> float:
    """Return what the record says of a start: the same as before, where that is as good."""
    start = float(floor(run.started_at))
    return stored if stored is not None and start - SOON_S <= stored <= start else start


def _counts_from(book: Book, now: float) -> float | None:
    """Return since when the record shall say that the progress deadline counts.

    Nodes that got done since then tell more, and the next process sees them.
    """
    progress, stored, soon_s = book.progress, book.times.stored.counts_from, book.times.soon_s
    since = progress.counts_from
    if since is None:
        return None if now >= progress.changed_at + soon_s else stored
    known = max(progress.done_at, -inf if stored is None else stored)
    return stored if stored is not None and since <= known + soon_s else float(floor(since))
