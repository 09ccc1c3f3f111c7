"""Sets OnDelete once more where somebody has turned another strategy on in mid-run (faults.md 27).

Else the controller would at once replace all pods that are left, with no order, wave or gate. That
is no step forward: the run stops for drift all the same, and a person looks. It is done once in a
process, and only where the caller wants it (`--enforce-strategy`): two tools that both insist
would go on for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import ReadDaemonSet, Reassert
from rollout.fleet.objects import DaemonSet

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book
    from rollout.executor.engine.state import DaemonSetRun

AGAIN_S = 1.0  # until what was not done is tried again
PATIENCE_S = 30.0  # for all tries together: the run is about to end (L3)


def drifted(book: Book, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
    """A DaemonSet is not as the run left it."""
    if not book.enforces_strategy or ds.reasserted or not ds.is_turned_back(seen):
        return
    ds.reasserted = ds.reasserting = True
    book.actions.append(Reassert(ds.name))
    book.at(now + PATIENCE_S, lambda _: _give_up(book, ds, "no answer told that it was done"))


def lock_lost(book: Book) -> None:
    """Nothing is written any more, and what was not answered yet is not awaited (S5)."""
    book.enforces_strategy = False
    for ds in book.daemon_sets.values():
        _give_up(book, ds, "the lock is lost for good")


def is_open(book: Book) -> bool:
    """Whether the end of the run waits for an answer."""
    return any(ds.reasserting for ds in book.daemon_sets.values())


def answered(book: Book, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
    """Enter what became of the patch; an unsure one is resolved by a read."""
    match event.answer:
        case ev.Answer.ACCEPTED:
            _done(book, ds)
        case ev.Answer.CONFLICT | ev.Answer.UNKNOWN | ev.Answer.NOT_DONE:
            book.at(now + AGAIN_S, lambda _: _read(book, ds))
        case _:
            _give_up(book, ds, event.message)


def read(book: Book, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
    """Enter what the read told that was to resolve an unsure patch; it may be given up by now."""
    if not ds.reasserting:
        return
    match event.answer:
        case ev.Answer.ACCEPTED:
            _look(book, ds)
        case ev.Answer.NOT_FOUND:
            _give_up(book, ds, "it was deleted")
        case ev.Answer.REFUSED | ev.Answer.NOT_ALLOWED:
            _give_up(book, ds, f"what became of that could not be read: {event.message}")
        case _:
            book.at(now + AGAIN_S, lambda _: _read(book, ds))


def _read(book: Book, ds: DaemonSetRun) -> None:
    if ds.reasserting:
        book.actions.append(ReadDaemonSet(ds.name))


def _look(book: Book, ds: DaemonSetRun) -> None:
    """Decide anew by what the DaemonSet is now."""
    assert ds.live is not None
    if ds.gone:
        _give_up(book, ds, "it was deleted")
    elif ds.is_turned_back(ds.live):
        book.actions.append(Reassert(ds.name))
    elif ds.is_prepared(ds.live):
        _done(book, ds)
    else:
        _give_up(book, ds, "it was changed once more")


def _done(book: Book, ds: DaemonSetRun) -> None:
    if ds.reasserting:
        ds.reasserting = False
        book.drift_why += f"; OnDelete is set again on DaemonSet {ds.name} (--enforce-strategy)"
        book.note("strategy-enforced", ds, message="OnDelete is set again; the run holds")


def _give_up(book: Book, ds: DaemonSetRun, why: str) -> None:
    if ds.reasserting:
        ds.reasserting = False
        book.drift_why += f"; OnDelete could not be set again on DaemonSet {ds.name}: {why}"
