"""The gates before and after a node: a slot is held while they are asked, S8 for each node."""

from __future__ import annotations

from functools import partial

from rollout.executor.engine.advancing import advance
from rollout.executor.engine.book import Book
from rollout.executor.engine.gatebook import GateRun
from rollout.executor.engine.gatestop import lets_go_on, stop_for, verdict_sentence
from rollout.executor.engine.state import IN_FLIGHT, StepRun, StepState
from rollout.gates.verdict import Status
from rollout.gatespec import Gate, per_node
from rollout.planner.gateplaces import holds


def gates_before(book: Book, run: StepRun) -> list[Gate]:
    """Return the gates that must pass before the node's pod goes."""
    if run.step.id in book.gating.passed_before:
        return []
    return [gate for gate in book.gating.before_node if concerns(book, gate, run)]


def ask_before(book: Book, run: StepRun, now: float) -> None:
    """Ask the gates before a node that has taken its slot; `cleared` gets it when they passed."""
    run.state = StepState.ASKING
    book.gating.asking[run.step.id] = run
    _ask_for_node(book, run, gates_before(book, run), now)


def begin_proof(book: Book, run: StepRun, now: float) -> None:
    """Ask the gates behind a node that is healthy; without any it has passed."""
    gates = [gate for gate in book.gating.after_node if concerns(book, gate, run)]
    if run.step.id not in book.gating.missing:
        return  # it has left meanwhile
    if run.state in IN_FLIGHT:
        run.state = StepState.PROVING
    if gates:
        _ask_for_node(book, run, gates, now)
    else:
        _node_passed(book, run, now)


def concerns(book: Book, gate: Gate, run: StepRun) -> bool:
    """Whether a gate is for this node, by its wave, its zone and its labels as they are now."""
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
            began=book.gating.open_before.pop(ids[gate.name], None),
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
    if not lets_go_on(gate_run):
        _node_failed(book, run, gate_run, now)
    elif not missing:
        _node_passed(book, run, now)


def _node_passed(book: Book, run: StepRun, now: float) -> None:
    state = book.gating
    del state.missing[run.step.id]
    if run.step.id in state.asking:
        del state.asking[run.step.id]
        state.passed_before.add(run.step.id)
        state.cleared.append(run)
    else:
        state.proven.add(run.step.id)
        advance(book, book.daemon_sets[run.step.daemon_set], run, now)


def _node_failed(book: Book, run: StepRun, gate_run: GateRun, now: float) -> None:
    """A gate of one node has not passed.

    A gate that is measured for each node and has failed is a failure of this node, which the
    failure rule of the spec judges; anything else speaks against the run as a whole.
    """
    untouched = run.step.id in book.gating.asking
    status = gate_run.verdict.status
    of_the_node = per_node(gate_run.gate) and gate_run.gate.on_failure is None
    if status is not Status.FAILED or not of_the_node:
        stop_for(book, gate_run)
    if untouched and not (status is Status.FAILED and of_the_node):
        step_back(book, run)
        return
    book.gating.rejected.add(run.step.id)
    reason = verdict_sentence(book, gate_run)
    if untouched:
        reason += "; its pod was not touched"
    if run.state is not StepState.FAILED:
        book.end(book.daemon_sets[run.step.daemon_set], run, StepState.FAILED, reason, now)


def step_back(book: Book, run: StepRun) -> None:
    """Give the slot of a node back whose pod has not been touched."""
    book.gating.forget(run)
    book.release(book.daemon_sets[run.step.daemon_set], run)
    run.state, run.lane = StepState.READY, None
    book.enqueue(book.daemon_sets[run.step.daemon_set], run)
