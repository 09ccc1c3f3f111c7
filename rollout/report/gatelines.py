"""The gates that are asked at a moment, for the live view: where, how often, when next, what last.

One line for each thing that is measured, so nodes that share a gate share its line; the cost grows
with what is in flight. Knows nothing of terminals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rollout.executor.engine.engine import Engine
from rollout.executor.engine.gatebook import GateRun, Meter
from rollout.gates.verdict import so_far
from rollout.report.gates import place_text, said_text

_WITHOUT_NODE_FIRST = {False: 0, True: 1}


@dataclass(frozen=True, slots=True)
class GateLine:
    """One gate that is asked.

    Attributes:
        name: of the gate.
        place: where it stands: `after wave canary`, `before n1`, `after 12 nodes`.
        so_far: its measurements, counted: `2 passed of 5`.
        last: what the last one said; "" before the first.
        next_at: when it is measured next, in seconds on the run's clock; None: nobody knows.
        now: whether it is being measured.
    """

    name: str
    place: str
    so_far: str
    last: str
    next_at: float | None
    now: bool


def gate_lines(engine: Engine) -> list[GateLine]:
    """Return the gates that are asked, those of single nodes last."""
    meters = [meter for meter in engine.gates.meters.values() if meter.runs]
    meters.sort(key=lambda meter: _WITHOUT_NODE_FIRST[bool(_first(meter).node)])
    return [_line(engine, meter) for meter in meters]


def _first(meter: Meter) -> GateRun:
    return next(iter(meter.runs.values()))


def _line(engine: Engine, meter: Meter) -> GateLine:
    run = _first(meter)
    last = run.tally.last
    return GateLine(
        name=meter.gate.name,
        place=_place(engine, list(meter.runs.values())),
        so_far=so_far(run.rules, run.tally),
        last=said_text(last.value, last.reason) if last is not None else "",
        next_at=meter.due,
        now=meter.asked_at is not None,
    )


def _place(engine: Engine, runs: Sequence[GateRun]) -> str:
    first = runs[0]
    node = first.node if len(runs) == 1 else f"{len(runs)} nodes"
    wave = engine.plan.waves[first.wave - 1].name if first.wave else ""
    return place_text(first.gate.at, wave, node if first.node else "")
