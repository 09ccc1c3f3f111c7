"""What the run record keeps of gates: what they said and why, and since when they are asked.

Verdicts are for people; none is carried over to the next process, which asks again. What it takes
over is since when somebody's approval is wanted, and which waves had begun: behind those the gates
have passed; and, of a process that was killed, since when the gates were asked that had no verdict,
for a restart gives them no more time. Bounded, so that the record stays small whatever a plan asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rollout.executor.engine.gatebook import GateBook, GateRun
from rollout.executor.engine.gatestate import Carried
from rollout.executor.record.recordedgates import (
    MOST_GATES,
    UNDECIDED,
    RecordedGate,
    RecordedMeasurement,
)
from rollout.fleet.objects import format_time, parse_time
from rollout.gates.measurement import Measurement, plain
from rollout.gates.verdict import Status
from rollout.gatespec import WindowGate
from rollout.planner.plan import Plan

MOST_TEXT = 160  # characters of a reason


def recorded_gates(gates: GateBook) -> tuple[RecordedGate, ...]:
    """Return what is kept of the gates of a run, results first, then those that are asked.

    Where there are too many, those of single nodes go first, and of these the ones that passed.
    """
    runs = [*gates.results.values(), *gates.open.values()]
    by_weight = sorted(range(len(runs)), key=lambda i: (_weight(runs[i]), -i))
    kept = sorted(by_weight[:MOST_GATES])
    return tuple(_recorded(runs[i]) for i in kept)


def never_asked(
    plan: Plan, gates: GateBook, said: Sequence[RecordedGate], now: float
) -> tuple[RecordedGate, ...]:
    """Return the gates of a plan that were not asked once: nothing measured is not passed.

    Args:
        plan: of the run.
        gates: of this process, which doesn't ask again what an earlier one has passed.
        said: what is told of gates, also of those earlier processes.
        now: by the clock of the run.
    """
    asked = gates.asked.union(gate.gate for gate in said)
    return tuple(
        RecordedGate(
            id=f"gate/{gate.at}/{gate.name}",
            gate=gate.name,
            kind=gate.kind,
            at=gate.at,
            status=Status.NOT_MEASURED.value,
            reason="the run has not come to it, or no node fits its 'when'",
            began=format_time(now),
            dry_run=gate.dry_run,
        )
        for gate in plan.gates
        if gate.name not in asked and not isinstance(gate, WindowGate)
    )


def carried_from(gates: Sequence[RecordedGate], wave: int, *, killed: bool) -> Carried:
    """Return what the next process takes over.

    Args:
        gates: as the record holds them.
        wave: the highest (1-based) that had begun.
        killed: the process before has not come to its own end.
    """
    return Carried(
        began={gate.id: parse_time(gate.began) for gate in gates},
        wave=wave,
        open={g.id: parse_time(g.began) for g in gates if killed and g.status in UNDECIDED},
    )


def _weight(run: GateRun) -> int:
    """Return how soon a gate run gives way to others: people and whole waves never do first."""
    if not run.node or run.waits_for_people:
        return 0
    return 1 if run.verdict.status not in (Status.PASSED, Status.RUNNING) else 2


def _recorded(run: GateRun) -> RecordedGate:
    return RecordedGate(
        id=run.id,
        gate=run.gate.name,
        kind=run.gate.kind,
        at=run.gate.at,
        status=run.verdict.status.value,
        reason=plain(run.verdict.reason, MOST_TEXT),
        began=format_time(math.ceil(run.began)),  # rounded down, a pause would be too short
        wave=run.wave,
        node=run.node,
        dry_run=run.gate.dry_run,
        next_at=format_time(run.verdict.next_at) if run.verdict.next_at is not None else "",
        measurements=tuple(_measured(one) for one in run.tally.recent),
    )


def _measured(one: Measurement) -> RecordedMeasurement:
    return RecordedMeasurement(
        format_time(one.at), one.outcome.value, one.value, plain(one.reason, MOST_TEXT)
    )
