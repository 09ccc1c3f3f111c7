"""Gates that are asked once more: a pass from before the lock was away, or a pause, is too old.

What such a gate lets begin may not have begun. Then nothing starts until it has passed again; a
gate behind which something has begun has done its work. Approvals and pauses are no measurements
of how things are, and stay.
"""

from __future__ import annotations

from functools import partial

from rollout.executor.engine.book import Book
from rollout.executor.engine.gatebook import GateRun
from rollout.executor.engine.gatechange import changed_at
from rollout.executor.engine.gatestop import lets_go_on, stop_for
from rollout.executor.engine.state import Phase, StepRun, StepState
from rollout.gatespec import ApprovalGate, Gate, PauseGate, WindowGate

_LASTING = (ApprovalGate, PauseGate, WindowGate)  # a window is looked at before each node anyhow


def take_up(book: Book, now: float) -> None:
    """Ask again what has to be, once something may begin."""
    state = book.gating
    if book.stopping:
        _put_off(book)
    elif state.too_old and not book.lost_views:
        state.too_old = False
        _ask_nodes(book)
        for run in _unused(book):
            _ask(book, run, now)


def _put_off(book: Book) -> None:
    """Ask no longer while the run stops; afterwards it is asked from the begin."""
    state = book.gating
    for run_id in state.again:
        book.gates.end(run_id)
    state.too_old = state.too_old or bool(state.again)
    state.again.clear()


def _ask_nodes(book: Book) -> None:
    """Ask nodes anew whose gates have passed and that had no room then."""
    state = book.gating
    waiting = {i for i in state.passed_before if book.steps[i].state is StepState.READY}
    state.passed_before -= waiting


def _unused(book: Book) -> list[StepRun]:
    return [
        run
        for run in book.steps.values()
        if run.step.kind == "gate"
        and run.state is StepState.DONE
        and not isinstance(_gate(book, run), _LASTING)
        and not _is_used(book, run)
    ]


def _is_used(book: Book, run: StepRun) -> bool:
    """Whether something has begun that the gate stands before."""
    wave = max([book.gating.carried.wave, *book.waves_begun])
    phases = {ds.phase for ds in book.daemon_sets.values()}
    ends = bool(phases & {Phase.RESTORING, Phase.RESTORED})
    match _gate(book, run).at:
        case "preflight":
            return wave > 0 or phases != {Phase.UNTOUCHED}
        case "before-wave":
            return ends or wave >= run.step.wave
        case "after-wave":
            return ends or wave > run.step.wave
        case _:
            return ends


def _ask(book: Book, run: StepRun, now: float) -> None:
    gate = _gate(book, run)
    book.gating.again.add(run.step.id)
    book.gates.begin(
        run.step.id,
        gate,
        partial(_judged, book),
        now,
        change=changed_at(book, gate, run.step.wave, now),
        wave=run.step.wave,
    )


def _judged(book: Book, gate_run: GateRun, _now: float) -> None:
    book.gating.again.discard(gate_run.id)
    if not lets_go_on(gate_run):
        stop_for(book, gate_run)


def _gate(book: Book, run: StepRun) -> Gate:
    return book.gating.by_name[run.step.gate]
