"""The gates' part in a run: whose turn it is, and the steps of the plan that are gates.

Works on the engine's book like `starting` and `answering`. What a verdict means for the run stands
in `gatestop`; gates of single nodes, in the background, and windows have their own modules.
"""

from __future__ import annotations

from functools import partial

from rollout.executor.engine import backgroundgates, claiming, controlling, gateagain, sight
from rollout.executor.engine.book import Book
from rollout.executor.engine.gatebook import GateRun
from rollout.executor.engine.gatechange import changed_at
from rollout.executor.engine.gatestate import Gating
from rollout.executor.engine.gatestop import lets_go_on, stop_for
from rollout.executor.engine.gatewindows import look_at_windows, shut_for
from rollout.executor.engine.nodegates import begin_proof, step_back
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import Phase, StepRun, StepState
from rollout.executor.record.wishes import Wishes
from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec import ApprovalGate, Gate, PauseGate, WindowGate

_STORED = (ApprovalGate, PauseGate)  # their clock goes on while no process runs


def take_up(book: Book, now: float) -> None:
    """Ask the gates whose turn has come."""
    state = book.gating
    if not _sees_all(book):
        return
    look_at_windows(book, now)
    backgroundgates.begin(book, now)
    while state.to_prove:
        begin_proof(book, state.to_prove.popleft(), now)
    _give_way(book, now)
    gateagain.take_up(book, now)
    if book.stopping:
        _put_back(book)
        return
    while state.to_ask:
        _begin_vertex(book, state.to_ask.popleft(), now)


def heard(book: Book, meter: str, round_: int, measurement: Measurement, now: float) -> None:
    """Take in a measurement; none passes on a picture of the cluster that is out of date."""
    if measurement.outcome is Outcome.PASSED and not _saw_all(book, measurement, now):
        reason = sight.why_blind(book) or "the view of the cluster was lost meanwhile"
        measurement = Measurement(Outcome.WAITING, measurement.at, reason=reason)
    book.gates.measured(meter, round_, measurement, now)


def _saw_all(book: Book, measurement: Measurement, now: float) -> bool:
    """Whether a measurement began when all was seen, and ends so."""
    return not sight.is_blind(book, now) and measurement.at >= book.sight.settled_at


def hear(book: Book, before: Wishes, now: float) -> None:
    """Look at once at the gates that somebody has said something about."""
    if book.wishes.gates == before.gates:
        return
    book.gates.look_again(lambda run: isinstance(run.gate, ApprovalGate), now)


def came_back(book: Book) -> None:
    """The lock is valid again, or a pause is over: what passed before then says nothing now."""
    book.gating.too_old = True


def _sees_all(book: Book) -> bool:
    """Whether the first lists are there; before that no picture can be made."""
    seen = all(ds.live is not None and ds.listed for ds in book.daemon_sets.values())
    return seen and book.nodes_listed


def _begin_vertex(book: Book, run: StepRun, now: float) -> None:
    state, gate = book.gating, book.gating.by_name[run.step.gate]
    if state.ignore_windows and isinstance(gate, WindowGate):
        _tell(book, "gate-ignored", gate, run, "its window is ignored, as was asked for")
        book.finish_step(run, now)
        return
    if _is_behind_us(book, run):
        message = "it had passed before, and what comes behind it has begun"
        _tell(book, "gate-passed", gate, run, message)
        book.gates.asked.add(gate.name)
        book.finish_step(run, now)
        return
    state.vertices[run.step.id] = run
    book.gates.begin(
        run.step.id,
        gate,
        partial(_vertex_judged, book, run),
        now,
        began=_began_before(state, gate, run.step.id),
        change=changed_at(book, gate, run.step.wave, now),
        wave=run.step.wave,
    )


def _began_before(state: Gating, gate: Gate, run_id: str) -> float | None:
    """Return since when a gate is asked, where an earlier process began it; None: from now on."""
    open_before = state.open_before.pop(run_id, None)
    return state.carried.began.get(run_id) if isinstance(gate, _STORED) else open_before


def _is_behind_us(book: Book, run: StepRun) -> bool:
    """Whether an earlier process of this run has begun what comes behind the gate (S7)."""
    wave = book.gating.carried.wave
    match book.gating.by_name[run.step.gate].at:
        case "preflight":
            return wave > 0
        case "before-wave":
            return wave >= run.step.wave
        case "after-wave":
            return wave > run.step.wave
        case _:
            return any(ds.phase is Phase.RESTORED for ds in book.daemon_sets.values())


def _vertex_judged(book: Book, run: StepRun, gate_run: GateRun, now: float) -> None:
    book.gating.vertices.pop(run.step.id, None)
    if lets_go_on(gate_run):
        book.finish_step(run, now)
    else:
        stop_for(book, gate_run)


def _put_back(book: Book) -> None:
    """The run stops: gates that have begun are asked afresh if it goes on."""
    state = book.gating
    for run_id, run in state.vertices.items():
        book.gates.end(run_id)
        state.to_ask.append(run)
    state.vertices.clear()


def _give_way(book: Book, now: float) -> None:
    """Let nodes go that hold a slot and may not be begun any more: a stop, or a window's end."""
    state = book.gating
    if book.stopping or book.retries.open or state.any_shut(now):
        for run in [*state.asking.values(), *state.cleared, *claiming.waiting(book)]:
            if run.state is StepState.ASKING and not _may_begin(book, run, now):
                step_back(book, run)
    cleared = [run for run in state.cleared if run.state is StepState.ASKING]
    state.cleared.clear()
    state.cleared.extend(cleared)


def _may_begin(book: Book, run: StepRun, now: float) -> bool:
    if not controlling.may_start(book, run) or book.gating.shut(now) is not None:
        return False
    return shut_for(book, run, now) is None


def _tell(book: Book, kind: str, gate: Gate, run: StepRun, message: str) -> None:
    book.tell(Notice(kind, wave=run.step.wave, message=message, gate=gate.name))
