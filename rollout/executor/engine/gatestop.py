"""What follows from a gate that has not passed: forward steps stop, and the run ends.

A gate that has passed lets the run go on, and nothing else does: not its deadline, not an error,
not missing data (S8).
"""

from __future__ import annotations

from rollout.executor.engine import actions
from rollout.executor.engine.actions import Finish
from rollout.executor.engine.book import Book
from rollout.executor.engine.gatebook import GateRun
from rollout.executor.engine.gatestate import Stop
from rollout.executor.engine.notices import Notice
from rollout.gates.verdict import Status

_SAID = {
    Status.FAILED: "failed",
    Status.ERROR: "could not be measured",
    Status.INCONCLUSIVE: "is inconclusive",
    Status.NOT_MEASURED: "was not measured",
    Status.PASSED: "passed",
    Status.RUNNING: "is being measured",
    Status.WAITING: "waits",
}


def lets_go_on(gate_run: GateRun) -> bool:
    """Whether a gate that has ended lets the run go on: it has passed, or only tries itself."""
    passed = gate_run.verdict.status is Status.PASSED
    assert not passed or gate_run.tally.passed, "S8: passed without a measurement that did"
    return passed or gate_run.gate.dry_run


def stop_for(book: Book, gate_run: GateRun) -> None:
    """Stop forward steps for a verdict; the worst one decides what follows."""
    gate, status = gate_run.gate, gate_run.verdict.status
    match status:
        case Status.FAILED:
            reaction = gate.on_failure or book.gating.on_failure
        case Status.ERROR:
            reaction = gate.on_error
        case _:
            reaction = gate.on_inconclusive
    stop = Stop(status, reaction, verdict_sentence(book, gate_run))
    if book.gating.stop is None or stop.weight > book.gating.stop.weight:
        book.gating.stop = stop
        book.hold_why, book.by_release = stop.text, False
        aborts = reaction == "abort"
        book.hold_outcome = actions.Outcome.ABORTED if aborts else actions.Outcome.HELD
        book.tell(Notice("held", wave=gate_run.wave, message=stop.text, gate=gate.name))


def verdict_sentence(book: Book, gate_run: GateRun) -> str:
    """Return what a gate has said, in one sentence."""
    return f"{place_of(book, gate_run)} {_SAID[gate_run.verdict.status]}: {gate_run.verdict.reason}"


def place_of(book: Book, gate_run: GateRun) -> str:
    """Return which gate it is, in words: `gate errors after wave canary`."""
    gate = gate_run.gate
    if gate_run.node:
        return f"gate {gate.name} {gate.at.partition('-')[0]} {gate_run.node}"
    if gate_run.wave:
        wave = book.plan.waves[gate_run.wave - 1].name
        return f"gate {gate.name} {gate.at.partition('-')[0]} wave {wave}"
    return f"gate {gate.name} ({gate.at})"


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
