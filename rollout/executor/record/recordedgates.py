"""What the run record holds of gates: a few words for each, and no more than a record bears."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rollout.gates.verdict import Status

MOST_GATES = 40  # gate runs that are kept: those that are asked, then the newest
UNDECIDED = tuple(s.value for s in Status if not s.final or s is Status.NOT_MEASURED)


class Struct(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of the record's parts."""


class RecordedMeasurement(Struct, frozen=True):
    """One measurement."""

    at: str
    outcome: str
    value: str = ""
    reason: str = ""


class RecordedGate(Struct, frozen=True):
    """One gate at one place."""

    id: str
    gate: str
    kind: str
    at: str
    status: str
    reason: str
    began: str
    wave: int = 0
    node: str = ""
    dry_run: bool = False
    next_at: str = ""  # when it is measured again; "" where it has its verdict
    measurements: tuple[RecordedMeasurement, ...] = ()  # the last ten, oldest first


def with_earlier(
    gates: tuple[RecordedGate, ...], earlier: Iterable[RecordedGate]
) -> tuple[RecordedGate, ...]:
    """Return what gates say, behind the verdicts of earlier parts of the run that still stand."""
    again = {gate.id for gate in gates}
    stand = (g for g in earlier if g.id not in again and g.status not in UNDECIDED)
    return (*stand, *gates)[-MOST_GATES:]
