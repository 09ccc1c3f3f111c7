"""The gates' part in a run: when each one is asked, and what follows from what it says.

Works on the engine's book like `starting` and `answering`. A gate that has passed lets the run go
on, and nothing else does: not its deadline, not an error, not missing data (S8).
"""

from __future__ import annotations

from functools import partial

from rollout.executor import actions, controlling
from rollout.executor.actions import Finish
from rollout.executor.book import IN_FLIGHT, Book
from rollout.executor.gatebook import GateRun
from rollout.executor.gatestate import Guard, Stop
from rollout.executor.notices import Notice
from rollout.executor.state import Phase, StepRun, StepState
from rollout.executor.wishes import Wishes
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.verdict import Status
from rollout.gatespec import (
    ApprovalGate,
    Gate,
    PauseGate,
    WindowGate,
    adds_up,
    per_node,
)
from rollout.planner.gateplaces import holds

_STORED = (ApprovalGate, PauseGate)  # their clock goes on while no process runs


def take_up(book: Book, now: float) -> None:
    """Ask the gates whose turn has come."""
    state = book.gating
    if not _sees_all(book):
        return
    _look_at_windows(book, now)
    _begin_background(book, now)
    while state.to_prove:
        _begin_proof(book, state.to_prove.popleft(), now)
    _give_way(book, now)
    if book.stopping:
        _put_back(book)
        return
    while state.to_ask:
        _begin_vertex(book, state.to_ask.popleft(), now)


def heard(book: Book, meter: str, round_: int, measurement: Measurement, now: float) -> None:
    """Take in a measurement; none passes on a picture of the cluster that is out of date."""
    if book.lost_views and measurement.outcome is Outcome.PASSED:
        resource = next(iter(book.lost_views))
        measurement = Measurement(Outcome.WAITING, measurement.at, reason=f"no view of {resource}")
    book.gates.measured(meter, round_, measurement, now)


def hear(book: Book, before: Wishes, now: float) -> None:
    """Look at once at the gates that somebody has said something about."""
    if book.wishes.gates == before.gates:
        return
    book.gates.look_again(lambda run: isinstance(run.gate, ApprovalGate), now)


def _sees_all(book: Book) -> bool:
    """Whether the first lists are there; before that no picture can be made."""
    seen = all(ds.live is not None and ds.listed for ds in book.daemon_sets.values())
    return seen and book.nodes_listed


# Vertices


def _begin_vertex(book: Book, run: StepRun, now: float) -> None:
    state, gate = book.gating, book.gating.by_name[run.step.gate]
    if state.ignore_windows and isinstance(gate, WindowGate):
        _tell(book, "gate-ignored", gate, run, "its window is ignored, as was asked for")
        book.finish_step(run, now)
        return
    if _is_behind_us(book, run):
        message = "it had passed before, and what comes behind it has begun"
        _tell(book, "gate-passed", gate, run, message)
        book.finish_step(run, now)
        return
    state.vertices[run.step.id] = run
    book.gates.begin(
        run.step.id,
        gate,
        partial(_vertex_judged, book, run),
        now,
        began=state.carried.began.get(run.step.id) if isinstance(gate, _STORED) else None,
        change=_changed_at(book, gate, run.step.wave, now),
        wave=run.step.wave,
    )


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
    book.progress.opened_at = now
    if _lets_go_on(gate_run):
        book.finish_step(run, now)
    else:
        _stop_for(book, gate_run)


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
    for run in [*state.asking.values(), *state.cleared]:
        if run.state is StepState.ASKING and not _may_begin(book, run, now):
            _step_back(book, run)
    cleared = [run for run in state.cleared if run.state is StepState.ASKING]
    state.cleared.clear()
    state.cleared.extend(cleared)


def _may_begin(book: Book, run: StepRun, now: float) -> bool:
    if not controlling.may_start(book, run) or book.gating.shut(now) is not None:
        return False
    return shut_for(book, run, now) is None


def _step_back(book: Book, run: StepRun) -> None:
    """Give the slot of a node back whose pod has not been touched."""
    book.gating.forget(run)
    book.release(book.daemon_sets[run.step.daemon_set], run)
    run.state, run.lane = StepState.READY, None
    book.enqueue(book.daemon_sets[run.step.daemon_set], run)


# Nodes


def gates_before(book: Book, run: StepRun) -> list[Gate]:
    """Return the gates that must pass before the node's pod goes."""
    if run.step.id in book.gating.passed_before:
        return []
    return [gate for gate in book.gating.before_node if _concerns(book, gate, run)]


def ask_before(book: Book, run: StepRun, now: float) -> None:
    """Ask the gates before a node that has taken its slot; `cleared` gets it when they passed."""
    run.state = StepState.ASKING
    book.gating.asking[run.step.id] = run
    _ask_for_node(book, run, gates_before(book, run), now)


def _begin_proof(book: Book, run: StepRun, now: float) -> None:
    gates = [gate for gate in book.gating.after_node if _concerns(book, gate, run)]
    if run.step.id not in book.gating.missing:
        return  # it has left meanwhile
    if run.state in IN_FLIGHT:
        run.state = StepState.PROVING
    if gates:
        _ask_for_node(book, run, gates, now)
    else:
        _node_passed(book, run, now)


def _concerns(book: Book, gate: Gate, run: StepRun) -> bool:
    node = book.nodes.get(run.node)
    labels = node.metadata.labels if node is not None else {}
    ds = book.daemon_sets[run.step.daemon_set]
    wave = book.plan.waves[run.step.wave - 1].name
    return holds(gate.when, wave, ds.zones.get(run.node, ""), labels)


def _ask_for_node(book: Book, run: StepRun, gates: list[Gate], now: float) -> None:
    """Ask gates for one node; those that aren't per node share what they measure."""
    node = f"{run.step.daemon_set}/{run.node}"
    ids = {gate.name: f"gate/{gate.at}/{gate.name}/{node}" for gate in gates}
    book.gating.missing[run.step.id] = set(ids.values())
    for gate in gates:
        book.gates.begin(
            ids[gate.name],
            gate,
            partial(_node_judged, book, run),
            now,
            change=run.started_at if gate.at == "after-node" else 0.0,
            meter="" if per_node(gate) else f"gate/{gate.at}/{gate.name}",
            wave=run.step.wave,
            node=run.node,
            daemon_set=run.step.daemon_set,
        )


def _node_judged(book: Book, run: StepRun, gate_run: GateRun, now: float) -> None:
    state = book.gating
    missing = state.missing.get(run.step.id)
    if missing is None:
        return
    missing.discard(gate_run.id)
    if not _lets_go_on(gate_run):
        _node_failed(book, run, gate_run, now)
    elif not missing:
        _node_passed(book, run, now)


def _node_passed(book: Book, run: StepRun, now: float) -> None:
    state = book.gating
    book.progress.opened_at = now
    del state.missing[run.step.id]
    if run.step.id in state.asking:
        del state.asking[run.step.id]
        state.passed_before.add(run.step.id)
        state.cleared.append(run)
    else:
        state.proven.add(run.step.id)
        book.advance(book.daemon_sets[run.step.daemon_set], run, now)


def _node_failed(book: Book, run: StepRun, gate_run: GateRun, now: float) -> None:
    """A gate of one node has not passed.

    A gate that is measured for each node and has failed is a failure of this node, which the
    failure rule of the spec judges; anything else speaks against the run as a whole.
    """
    untouched = run.step.id in book.gating.asking
    status = gate_run.verdict.status
    of_the_node = per_node(gate_run.gate) and gate_run.gate.on_failure is None
    if status is not Status.FAILED or not of_the_node:
        _stop_for(book, gate_run)
    if untouched and not (status is Status.FAILED and of_the_node):
        _step_back(book, run)
        return
    book.gating.rejected.add(run.step.id)
    reason = _sentence(book, gate_run)
    if untouched:
        reason += "; its pod was not touched"
    if run.state is not StepState.FAILED:
        book.end(book.daemon_sets[run.step.daemon_set], run, StepState.FAILED, reason, now)


# Background


def _begin_background(book: Book, now: float) -> None:
    """Ask the background gates from the first write on."""
    state = book.gating
    begun = book.in_flight or any(d.phase is not Phase.UNTOUCHED for d in book.daemon_sets.values())
    if state.began_background or not begun or not book.pending:
        return
    state.began_background = True
    for gate in state.background:
        book.gates.begin(
            _background_id(gate),
            gate,
            partial(_background_judged, book),
            now,
            change=_changed_at(book, gate, 0, now),
        )


def _background_judged(book: Book, gate_run: GateRun, now: float) -> None:
    del now
    if not _lets_go_on(gate_run):
        _stop_for(book, gate_run)


def background_is_settled(book: Book, now: float) -> bool:
    """Whether the run may end as far as background gates go; ends those that have passed."""
    if not background_has_passed(book, "", now):
        return False
    for gate in book.gating.background:
        if _background_id(gate) in book.gates.open:
            book.gates.conclude(_background_id(gate), now)
    return book.gating.stop is None


def background_has_passed(book: Book, daemon_set: str, now: float) -> bool:
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
    open_ones = [book.gates.open.get(_background_id(gate)) for gate in state.background]
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


def _background_id(gate: Gate) -> str:
    return f"gate/background/{gate.name}"


def _passed_since(run: GateRun, changed: float) -> bool:
    """Whether it has passed behind a change; a shorter memory than ten only measures once more."""
    return any(m.outcome is Outcome.PASSED and m.at >= changed for m in run.tally.recent)


# Windows


def _look_at_windows(book: Book, now: float) -> None:
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
        book.progress.opened_at = now
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
        if shut and _concerns(book, guard.gate, run):
            return guard
    return None


# Verdicts


def _lets_go_on(gate_run: GateRun) -> bool:
    passed = gate_run.verdict.status is Status.PASSED
    assert not passed or gate_run.tally.passed, "S8: passed without a measurement that did"
    return passed or gate_run.gate.dry_run


def _stop_for(book: Book, gate_run: GateRun) -> None:
    """Stop forward steps for a verdict; the worst one decides what follows."""
    gate, status = gate_run.gate, gate_run.verdict.status
    match status:
        case Status.FAILED:
            reaction = gate.on_failure or book.gating.on_failure
        case Status.ERROR:
            reaction = gate.on_error
        case _:
            reaction = gate.on_inconclusive
    stop = Stop(status, reaction, _sentence(book, gate_run))
    if book.gating.stop is None or stop.weight > book.gating.stop.weight:
        book.gating.stop = stop
        book.hold_why, book.by_release = stop.text, False
        aborts = reaction == "abort"
        book.hold_outcome = actions.Outcome.ABORTED if aborts else actions.Outcome.HELD
        book.tell(Notice("held", wave=gate_run.wave, message=stop.text, gate=gate.name))


def _sentence(book: Book, gate_run: GateRun) -> str:
    return f"{place_of(book, gate_run)} {_SAID[gate_run.verdict.status]}: {gate_run.verdict.reason}"


_SAID = {
    Status.FAILED: "failed",
    Status.ERROR: "could not be measured",
    Status.INCONCLUSIVE: "is inconclusive",
    Status.NOT_MEASURED: "was not measured",
    Status.PASSED: "passed",
    Status.RUNNING: "is being measured",
    Status.WAITING: "waits",
}


def place_of(book: Book, gate_run: GateRun) -> str:
    """Return which gate it is, in words: `gate errors after wave canary`."""
    gate = gate_run.gate
    if gate_run.node:
        return f"gate {gate.name} {gate.at.partition('-')[0]} {gate_run.node}"
    if gate_run.wave:
        wave = book.plan.waves[gate_run.wave - 1].name
        return f"gate {gate.name} {gate.at.partition('-')[0]} wave {wave}"
    return f"gate {gate.name} ({gate.at})"


def _tell(book: Book, kind: str, gate: Gate, run: StepRun, message: str) -> None:
    book.tell(Notice(kind, wave=run.step.wave, message=message, gate=gate.name))


def _changed_at(book: Book, gate: Gate, wave: int, now: float) -> float:
    """Return when what a gate judges was changed.

    What adds up (events, log lines) counts from the first change on; a sample of how things are
    must be newer than the last one. In the background, where changes don't end, the first counts;
    before it, that is now.
    """
    if gate.precedes:
        return 0.0
    times = [
        run.started_at
        for run in book.steps.values()
        if run.node and run.started_at and wave in (0, run.step.wave)
    ]
    if gate.at == "background":
        return min(times, default=now)
    return min(times, default=0.0) if adds_up(gate) else max(times, default=0.0)


# The end


def idle(book: Book) -> int:
    """Return how many nodes hold a slot and wait for nothing but people."""
    if not book.gating.missing:
        return 0
    return sum(
        1
        for step_id, missing in book.gating.missing.items()
        if book.steps[step_id].state in (StepState.ASKING, StepState.PROVING)
        and missing
        and all(book.gates.open[run_id].waits_for_people for run_id in missing)
    )


def goes_back(book: Book) -> bool:
    """Whether a gate has said that the release goes back, which waits for no node."""
    stop = book.gating.stop
    return stop is not None and stop.reaction == "rollback"


def stopped(book: Book) -> Finish | None:
    """Return how a run ends that a gate has stopped; None when none has."""
    stop = book.gating.stop
    if stop is None:
        return None
    if stop.reaction == "abort":
        outcome = actions.Outcome.ABORTED
    elif stop.status is Status.FAILED:
        outcome = actions.Outcome.HELD
    else:
        outcome = actions.Outcome.INCONCLUSIVE
    return Finish(outcome, stop.text, reaction=stop.reaction)


def waiting_for_people(book: Book) -> Finish | None:
    """Return how a run ends in which nothing but approvals of gates can change anything."""
    waiting = [run for run in book.gates.open.values() if run.waits_for_people]
    if not waiting:
        return None
    others = any(
        not run.waits_for_people and run.gate.at != "background" for run in book.gates.open.values()
    )
    if others or book.gating.to_ask or book.gating.to_prove or book.gating.cleared:
        return None
    if not book.in_flight and any(ds.waits for ds in book.daemon_sets.values()):
        return None
    first = waiting[0]
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return Finish(
        actions.Outcome.PAUSED,
        f"{place_of(book, first)}{more} waits for approval ({first.verdict.reason}): "
        f"rollout approve {book.plan.name} --gate {first.gate.name} -n {book.plan.namespace}",
    )


def sentence(book: Book, run: StepRun | None = None) -> str:
    """Return what is missing of a node's gates, or of all that are asked; "" when nothing is.

    Args:
        book: the book.
        run: a node in flight; None for the gates that keep the whole run waiting.
    """
    if run is not None:
        ids = book.gating.missing.get(run.step.id, set())
        runs = [book.gates.open[i] for i in sorted(ids) if i in book.gates.open]
    else:
        runs = [book.gates.open[i] for i in book.gating.vertices if i in book.gates.open]
    if not runs:
        return ""
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"waiting for {place_of(book, runs[0])}{more}: {runs[0].verdict.reason}"


def window_sentence(book: Book, now: float) -> str:
    """Return why no node may be begun, where a window is shut; "" where none is."""
    guard = book.gating.shut(now)
    if guard is None:
        guard = next((g for g in book.gating.guards.values() if g.parked), None)
    return "" if guard is None else f"waiting for {guard.gate.name}: {guard.look(now).reason}"
