"""The gates of a plan for people: where each one stands, and by what it decides."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.executor.record.recordedgates import RecordedGate
from rollout.gates.verdict import Rules, rules_of
from rollout.gatespec import ApprovalGate, Gate, PauseGate, WindowGate, per_node
from rollout.gatespec.base import When
from rollout.planner.plan import Plan, Step
from rollout.quantity import cut, format_duration, parse_duration

GOOD_NODES = 5  # gates of single nodes that passed and are shown
GATE_HEADERS = ("GATE", "KIND", "AT", "WHERE", "MEASURED", "WHEN IT FAILS")


def gate_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return a row for each gate, in the order of the spec."""
    waves: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.kind == "gate" and step.wave:
            waves.setdefault(step.gate, []).append(plan.waves[step.wave - 1].name)
    return [
        (
            gate.name,
            gate.kind,
            gate.at,
            cut(waves.get(gate.name, ())) or where_text(gate),
            measured_text(gate),
            failing_text(gate, plan.failure.on_failure),
        )
        for gate in plan.gates
    ]


def gate_text(plan: Plan, step: Step) -> str:
    """Return one gate of the graph as half a sentence: `gate errors (prometheus) after wave 1`."""
    gate = next(gate for gate in plan.gates if gate.name == step.gate)
    place = f"{gate.at.partition('-')[0]} wave {step.wave}" if step.wave else gate.at
    return f"gate {gate.name} ({gate.kind}) {place}: {measured_text(gate)}"


def where_text(gate: Gate) -> str:
    """Return to what a gate's `when` narrows it."""
    if gate.when == When():
        return "everywhere"
    parts = [
        f"waves {cut(gate.when.waves)}" if gate.when.waves else "",
        f"zones {cut(gate.when.zones)}" if gate.when.zones else "",
        f"nodes {gate.when.labels}" if gate.when.labels else "",
    ]
    return ", ".join(part for part in parts if part)


def measured_text(gate: Gate) -> str:
    """Return how often a gate is measured, and how much it bears."""
    if isinstance(gate, WindowGate):
        return cut([str(rule.window) for rule in gate.windows])
    if isinstance(gate, ApprovalGate):
        people = f"{gate.minimum} of {cut(gate.approvers)}" if gate.approvers else str(gate.minimum)
        within = f", within {_duration(gate.deadline)}" if gate.deadline is not None else ""
        return f"until {people} approved{within}"
    if isinstance(gate, PauseGate):
        return f"waits for {_duration(gate.duration)}"
    rules = rules_of(gate)
    text = _how_often(rules)
    if rules.count != 1:
        text += f", every {_duration(gate.interval)}"
    if rules.failure_limit is None:
        text += ", bears any number failed"
    elif rules.failure_limit:
        text += f", bears {rules.failure_limit} failed"
    return f"{text}, per node" if per_node(gate) else text


def _how_often(rules: Rules) -> str:
    if rules.consecutive_success_limit is not None:
        most = f", at most {rules.count}x" if rules.count is not None else ""
        return f"until {rules.consecutive_success_limit} pass in a row{most}"
    return "until the end" if rules.count is None else f"{rules.count}x"


def _duration(written: str | int) -> str:
    return format_duration(parse_duration(written))


def failing_text(gate: Gate, default: str) -> str:
    """Return what happens when it fails."""
    return "told only (dryRun)" if gate.dry_run else gate.on_failure or default


def results_text(gates: Sequence[RecordedGate], waves: Sequence[str]) -> str:
    """Return what gates have said: a line each with the verdict and why, below it what it measured.

    Args:
        gates: from a run or its record.
        waves: names, in the order of the plan.
    """
    lines = []
    shown, hidden = _shown(gates)
    for gate in shown:
        place = _place(gate, waves)
        word = f"{gate.status} (dry run)" if gate.dry_run else gate.status
        again = f"; measured again at {gate.next_at}" if gate.next_at else ""
        lines.append(f"gate {gate.gate} ({gate.kind}) {place}: {word}: {gate.reason}{again}")
        lines += [
            f"  {one.at}  {one.outcome:<12}  {said_text(one.value, one.reason)}"
            for one in gate.measurements
        ]
    if hidden:
        lines.append(f"and {hidden} more gates of single nodes that passed")
    return "\n".join(lines)


def _shown(gates: Sequence[RecordedGate]) -> tuple[list[RecordedGate], int]:
    """Leave out most of what passed on single nodes; returns what is shown, and how many aren't."""
    good = [gate.id for gate in gates if gate.node and gate.status == "passed"]
    hidden = set(good[:-GOOD_NODES])
    return [gate for gate in gates if gate.id not in hidden], len(hidden)


def said_text(value: str, reason: str) -> str:
    """Return what one measurement said: its value and why, each once."""
    if not value or reason.startswith(value):
        return reason
    return f"{value}: {reason}" if reason else value


def place_text(at: str, wave: str, node: str) -> str:
    """Return where a gate is asked: `after wave canary`, `before n1`, `background`.

    Args:
        at: of the gate.
        wave: name of its wave; "": none.
        node: that it is asked for, which says more than its wave; "": none.
    """
    before = at.partition("-")[0]
    if node:
        return f"{before} {node}"
    return f"{before} wave {wave}" if wave else at


def _place(gate: RecordedGate, waves: Sequence[str]) -> str:
    known = 0 < gate.wave <= len(waves)
    name = waves[gate.wave - 1] if known else str(gate.wave or "")
    return place_text(gate.at, name, gate.node)
