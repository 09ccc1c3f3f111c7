"""The run record: what cannot be read from the cluster's own objects, kept in one ConfigMap.

Which nodes are done is read from the pods, never from here. The record says whose run it is, of
which plan, what strategy was there before, and how it ended; it is written before the action that
it describes (S4).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from rollout.errors import StaleError, UsageError
from rollout.fleet.objects import JsonObject, Meta
from rollout.planner.plan import Plan

SCHEMA_VERSION = 1
DATA_KEY = "record"
MANAGED_BY = {"app.kubernetes.io/managed-by": "rollout"}

RunPhase: TypeAlias = Literal[
    "running",
    "paused",
    "held",
    "aborted",
    "drifted",
    "refused",
    "complete",
    "rolling back",
    "rolled back",
    "rollback incomplete",
]


class Struct(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of the record's parts."""


class RecordedDaemonSet(Struct, frozen=True):
    """What to put back, and what was aimed at."""

    name: str
    namespace: str
    uid: str
    original_strategy: JsonObject
    final_strategy: JsonObject
    target_digest: str
    previous_digest: str  # of the template of before the run
    surges: bool  # pods are handed over


class Approval(Struct, frozen=True):
    """Somebody's word that the run may go on behind a wave of this very plan."""

    wave: str
    by: str
    at: str
    reason: str = ""


class Control(Struct, frozen=True):
    """What somebody else wants of the run."""

    wish: Literal["pause", "rollback"]
    by: str
    at: str
    reason: str = ""


class RunRecord(Struct, frozen=True):
    """One execution of one plan."""

    schema_version: int
    run_id: str
    plan_id: str
    plan_digest: str
    name: str
    phase: RunPhase
    started_at: str
    started_by: str
    daemon_sets: tuple[RecordedDaemonSet, ...]
    finished_at: str = ""
    message: str = ""
    waves: tuple[str, ...] = ()  # their names, for approvals
    approvals: tuple[Approval, ...] = ()
    control: Control | None = None
    sequence: int = 0  # number of the last event that was told
    epoch: int = 0  # of the lock under which it was written; a run under a lower one stops (S9)


class ConfigMap(msgspec.Struct, frozen=True):
    """The object that holds the record."""

    metadata: Meta
    data: dict[str, str] = {}


def record_name(plan_name: str) -> str:
    """Return the ConfigMap's name."""
    return f"rollout-{plan_name}"


def new_record(plan: Plan, run_id: str, started_at: str, started_by: str) -> RunRecord:
    """Return the record of a run that begins."""
    return RunRecord(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        plan_id=plan.id,
        plan_digest=plan.digest,
        name=plan.name,
        phase="running",
        started_at=started_at,
        started_by=started_by,
        waves=tuple(wave.name for wave in plan.waves),
        daemon_sets=tuple(
            RecordedDaemonSet(
                name=ds.name,
                namespace=ds.namespace,
                uid=ds.uid,
                original_strategy=ds.original_strategy,
                final_strategy=ds.final_strategy,
                target_digest=ds.target.template_digest,
                previous_digest=ds.current.template_digest,
                surges=ds.hand_over is not None,
            )
            for ds in plan.daemon_sets
        ),
    )


def approve(record: RunRecord, approval: Approval) -> RunRecord:
    """Return the record with one more approval.

    Raises:
        UsageError: when the plan has no such wave.
    """
    if approval.wave not in record.waves:
        known = ", ".join(record.waves)
        raise UsageError(f"the plan has no wave '{approval.wave}'; it has {known}")
    return msgspec.structs.replace(record, approvals=(*record.approvals, approval))


def approved_waves(record: RunRecord) -> frozenset[int]:
    """Return the numbers (1-based) of the waves behind which the run may go on."""
    names = {approval.wave for approval in record.approvals}
    return frozenset(n for n, name in enumerate(record.waves, start=1) if name in names)


def encode_record(record: RunRecord) -> str:
    """Return the text that stands in the ConfigMap."""
    return msgspec.json.encode(record).decode()


def decode_record(config_map: ConfigMap) -> RunRecord:
    """Read a record.

    Raises:
        StaleError: when it is not one, or of a schema that this version does not know.
    """
    name = config_map.metadata.name
    try:
        return msgspec.json.decode(config_map.data.get(DATA_KEY, ""), type=RunRecord)
    except msgspec.DecodeError as error:
        raise StaleError(
            f"ConfigMap {config_map.metadata.namespace}/{name} holds no run record that this "
            f"version reads ({error}); look at it, and delete it when no run needs it"
        ) from None
