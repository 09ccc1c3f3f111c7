"""The windows of a run: told when they open and shut, and what waits for them let go."""

from __future__ import annotations

from rollout.executor.engine.book import Book
from rollout.executor.engine.gatestate import Guard
from rollout.executor.engine.nodegates import concerns
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import StepRun, StepState
from rollout.gates.measurement import Outcome


def look_at_windows(book: Book, now: float) -> None:
    """Tell of windows that open or shut, and look again when they next do."""
    for guard in book.gating.guards.values():
        said = guard.look(now)
        if said is guard.noted:
            continue
        guard.noted = said
        is_open = said.outcome is Outcome.PASSED
        if said.again_at is not None:
            book.at(said.again_at, lambda _: None)
        if is_open is not guard.told and not (is_open and guard.told is None):
            kind = "window-open" if is_open else "window-closed"
            book.tell(Notice(kind, message=said.reason, gate=guard.gate.name))
        guard.told = is_open
        if is_open:
            _let_go(book, guard)


def _let_go(book: Book, guard: Guard) -> None:
    for run in guard.parked:
        if run.state is StepState.READY:
            book.enqueue(book.daemon_sets[run.step.daemon_set], run)
    guard.parked.clear()


def shut_for(book: Book, run: StepRun, now: float) -> Guard | None:
    """Return a narrowed window that is shut for this node; None when there is none."""
    for guard in book.gating.guards.values():
        shut = not guard.for_all and guard.is_shut(now)
        if shut and concerns(book, guard.gate, run):
            return guard
    return None


def window_sentence(book: Book, now: float) -> str:
    """Return why no node may be begun, where a window is shut; "" where none is."""
    guard = book.gating.shut(now)
    if guard is None:
        guard = next((g for g in book.gating.guards.values() if g.parked), None)
    return "" if guard is None else f"waiting for {guard.gate.name}: {guard.look(now).reason}"
