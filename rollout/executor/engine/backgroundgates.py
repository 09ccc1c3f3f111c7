"""The gates in the background: asked from the first write on, settled behind the last change."""

from __future__ import annotations

from functools import partial

from rollout.executor.engine.book import Book
from rollout.executor.engine.gatebook import GateRun
from rollout.executor.engine.gatechange import changed_at
from rollout.executor.engine.gatestop import lets_go_on, place_of, stop_for
from rollout.executor.engine.state import Phase
from rollout.gates.measurement import Outcome
from rollout.gatespec import Gate


def begin(book: Book, now: float) -> None:
    """Ask the background gates from the first write on."""
    state = book.gating
    begun = book.in_flight or any(d.phase is not Phase.UNTOUCHED for d in book.daemon_sets.values())
    if state.began_background or not begun or not book.pending:
        return
    state.began_background = True
    for gate in state.background:
        book.gates.begin(
            _id_of(gate),
            gate,
            partial(_judged, book),
            now,
            change=changed_at(book, gate, 0, now),
        )


def _judged(book: Book, gate_run: GateRun, now: float) -> None:
    del now
    if not lets_go_on(gate_run):
        stop_for(book, gate_run)


def are_settled(book: Book, now: float) -> bool:
    """Whether the run may end as far as background gates go; ends those that have passed."""
    if not have_passed(book, "", now):
        return False
    for gate in book.gating.background:
        if _id_of(gate) in book.gates.open:
            book.gates.conclude(_id_of(gate), now)
    return book.gating.stop is None


def have_passed(book: Book, daemon_set: str, now: float) -> bool:
    """Whether each background gate has passed on a measurement newer than the last change.

    One that has not is measured at once, and on, until it passes or says something else.

    Args:
        book: the book.
        daemon_set: whose changes count; "": all.
        now: seconds, by the clock of the run.
    """
    state = book.gating
    if state.background and not state.began_background:
        return not book.pending or not book.waves_begun
    open_ones = [book.gates.open.get(_id_of(gate)) for gate in state.background]
    asked = [run for run in open_ones if run is not None and not run.gate.dry_run]
    if not asked:
        return state.stop is None
    changed = max(
        (run.started_at for run in book.steps.values() if daemon_set in ("", run.step.daemon_set)),
        default=0.0,
    )
    behind = {run.id for run in asked if not _passed_since(run, changed)}
    book.gates.look_again(lambda run: run.id in behind and book.gates.is_older(run, changed), now)
    return not behind and state.stop is None


def sentence(book: Book) -> str:
    """Return which background gate has yet to pass behind the last change; "" when none has."""
    asked = [book.gates.open.get(_id_of(gate)) for gate in book.gating.background]
    changed = max((run.started_at for run in book.steps.values()), default=0.0)
    behind = [r for r in asked if r and not r.gate.dry_run and not _passed_since(r, changed)]
    if not behind:
        return ""
    more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
    said = behind[0].verdict.reason
    return f"waiting for {place_of(book, behind[0])}{more} to pass behind the last node: {said}"


def _id_of(gate: Gate) -> str:
    return f"gate/background/{gate.name}"


def _passed_since(run: GateRun, changed: float) -> bool:
    """Whether it has passed behind a change; a shorter memory than ten only measures once more."""
    return any(m.outcome is Outcome.PASSED and m.at >= changed for m in run.tally.recent)
