"""Where the gates of a spec stand: as vertices of the graph, or in the life of each node.

`when` narrows a gate to waves, zones and labels. A gate around a wave stands there when the wave
has a node for which it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from rollout.fleet.objects import Node
from rollout.fleet.selectors import parse_label_selector
from rollout.gatespec import Gate, WindowGate
from rollout.gatespec.base import At, When
from rollout.planner.graph import GatePlace
from rollout.planner.plan import Plan
from rollout.planner.waves import PlannedWave
from rollout.spec import ZONE_LABEL, Body, window_gates

VERTICES: tuple[At, ...] = ("preflight", "before-wave", "after-wave", "after-run")


@dataclass(frozen=True, slots=True)
class Match:
    """On how many nodes of which waves (1-based) a gate's `when` holds."""

    waves: frozenset[int]
    nodes: int


def resolve(body: Body, step_s: float) -> tuple[Gate, ...]:
    """Return all gates of a spec, those that `windows` is short for first.

    Args:
        body: the spec.
        step_s: seconds that a node usually takes: a window without `enough` needs so much.
    """
    return tuple(
        msgspec.structs.replace(gate, enough=round(step_s))
        if isinstance(gate, WindowGate) and gate.enough is None
        else gate
        for gate in (*window_gates(body), *body.gates)
    )


def holds(when: When, wave: str, zone: str, labels: Mapping[str, str]) -> bool:
    """Whether a gate is asked for a node.

    Args:
        when: of the gate.
        wave: name of the node's wave.
        zone: of the node.
        labels: of the node.
    """
    if when.waves and wave not in when.waves:
        return False
    if when.zones and zone not in when.zones:
        return False
    return not when.labels or parse_label_selector(when.labels).matches(labels)


def match(when: When, waves: Sequence[PlannedWave], nodes: Mapping[str, Node]) -> Match:
    """Return where a gate's `when` holds."""
    found: set[int] = set()
    count = 0
    for number, wave in enumerate(waves, start=1):
        inside = sum(_holds_on(when, wave.name, nodes.get(name)) for name in wave.nodes)
        count += inside
        if inside:
            found.add(number)
    return Match(frozenset(found), count)


def _holds_on(when: When, wave: str, node: Node | None) -> bool:
    labels = node.metadata.labels if node is not None else {}
    return holds(when, wave, labels.get(ZONE_LABEL, ""), labels)


def places(
    gates: Iterable[Gate], waves: Sequence[PlannedWave], nodes: Mapping[str, Node]
) -> list[GatePlace]:
    """Return the gates that are vertices; one whose `when` holds nowhere is none."""
    found = []
    for gate in gates:
        if gate.at not in VERTICES:
            continue
        where = match(gate.when, waves, nodes)
        if where.waves or gate.when == When():
            found.append(GatePlace(gate.name, gate.at, where.waves))
    return found


def places_in(plan: Plan) -> list[GatePlace]:
    """Return the gates that are vertices of a plan, as they stand there."""
    waves: dict[str, set[int]] = {}
    for step in plan.steps:
        if step.kind == "gate":
            waves.setdefault(step.gate, set()).add(step.wave)
    return [
        GatePlace(gate.name, gate.at, frozenset(waves[gate.name] - {0}))
        for gate in plan.gates
        if gate.name in waves
    ]
