"""The run record: what cannot be read from the cluster's own objects, kept in one ConfigMap.

Which nodes are done is read from the pods, never from here. The record says whose run it is, of
which plan, what strategy was there before, and how it ended; it is written before the action that
it describes (S4).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from rollout.errors import StaleError
from rollout.executor.record.journalheads import JournalHead
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.record.timerecord import RecordedStart
from rollout.fleet.objects import JsonObject, Meta
from rollout.notifyspec import Sink
from rollout.planner.plan import Plan
from rollout.unreadable import UNREADABLE

SCHEMA_VERSION = 1
DATA_KEY = "record"

AT_WORK_LABEL = "rollout/at-work"  # on the records of runs that are, or were killed

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
    "superseded",
    "cleaned up",
]
WishVerb: TypeAlias = Literal["pause", "hold", "abort", "rollback"]
FailurePolicy: TypeAlias = Literal["hold", "rollback", "abort"]
AT_WORK: tuple[RunPhase, ...] = ("running", "rolling back")  # or its process was killed
ENDED: tuple[RunPhase, ...] = ("complete", "rolled back", "aborted", "superseded", "cleaned up")
# The strategy is back, or is another run's affair; an aborted run leaves it as it is.
NOTHING_LEFT: tuple[RunPhase, ...] = ("complete", "rolled back", "superseded", "cleaned up")

MOST_WAVE_NAMES = 300  # runs of names; beyond them a wave is approved by its number
_NUMBERED = re.compile(r"^(.*?)([1-9][0-9]{0,8})$", re.DOTALL)
_WISHED = {"pause": "paused", "hold": "held", "abort": "aborted", "rollback": "taken back"}


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
    previous_digest: str  # of the template that a rollback goes back to
    surges: bool  # pods are handed over


class Approval(Struct, frozen=True):
    """Somebody's word that the run of this very plan may go on: a wave, a node, or a gate."""

    by: str
    at: str
    plan: str  # id of the plan that was approved; a word for another plan counts for nothing
    reason: str = ""
    wave: str = ""
    node: str = ""
    gate: str = ""


class Wish(Struct, frozen=True):
    """How somebody wants the run to stop; the last word counts."""

    verb: WishVerb
    by: str
    at: str
    reason: str = ""

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{_WISHED[self.verb]} by {self.by}{why}"


def stopped_text(state: str, why: str) -> str:
    """Return where a run stands with why: `paused: stopped by SIGINT`, `paused by ann: a look`.

    Args:
        state: of the run, as `paused`.
        why: "" when nobody said; where it begins with the state, that stands there once.
    """
    return why if why.startswith(f"{state} ") else f"{state}: {why}" if why else state


class NodeWord(Struct, frozen=True):
    """What somebody wants of one node; "" means all that have failed."""

    node: str
    by: str
    at: str
    reason: str = ""


class Said(Struct, frozen=True):
    """One thing that somebody said to the run, for people to read."""

    number: int  # 1, 2, 3, ...: in this order the words came
    verb: str
    by: str
    at: str
    about: str = ""  # "wave canary", "node n7"
    reason: str = ""


class NameRun(Struct, frozen=True, array_like=True):
    """Names that differ in their last number only: prefix + first .. prefix + last.

    A name by itself has `first` 0. So a plan of 100,000 waves fits into the record.
    """

    prefix: str
    first: int = 0
    last: int = 0


class Superseded(Struct, frozen=True):
    """A run that was not ended when another plan took its place."""

    run_id: str
    plan_id: str
    phase: str  # in which it was
    started_by: str


class Counts(Struct, frozen=True):
    """How far a run came: nodes, when it ended last."""

    updated: int
    failed: int
    deferred: int
    total: int  # that the plan updates
    skipped: int = 0  # left out while the run went


class RunRecord(Struct, frozen=True):
    """One execution of one plan.

    Lists that people make longer are bounded, see `saying`; what falls out of `said` and
    `approvals` is for reading only, never what a run goes by.
    """

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
    on_failure: FailurePolicy = "hold"  # of the plan: what a rejected approval leads to
    waves: tuple[NameRun, ...] = ()  # their names, for approvals
    wave_count: int = 0
    waits_for: str = ""  # name, or number, of the wave whose approval the run waits for
    wish: Wish | None = None
    approved_waves: tuple[tuple[int, int], ...] = ()  # ranges of numbers, 1-based, both inclusive
    approved_nodes: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()  # who, when, why: the newest ones, and all of gates
    skips: tuple[NodeWord, ...] = ()
    retries: tuple[NodeWord, ...] = ()
    said: tuple[Said, ...] = ()  # the newest words
    said_count: int = 0  # of all words
    failed: tuple[str, ...] = ()  # nodes, when the run ended last; the first ones
    failed_count: int = 0
    counts: Counts | None = None  # of the run's last part
    superseded: tuple[Superseded, ...] = ()  # runs whose place this one took; the newest ones
    gates: tuple[RecordedGate, ...] = ()  # what they said: those that are asked, and the newest
    starts: tuple[RecordedStart, ...] = ()  # when nodes in flight, and failed ones, were begun
    begun_since: str = ""  # nodes may have been begun since that `starts` does not name; "": none
    counts_from: str = ""  # since when the progress deadline counts; "": it does not
    gate_wave: int = 0  # the highest wave (1-based) that had begun, where there are gates
    last_wave_done: int = 0  # the highest (1-based) of which sinks have heard, at the last end
    sequence: int = 0  # number of the last event that was told
    journals: tuple[JournalHead, ...] = ()  # where they stood: what is cut off can be proven
    notify: tuple[Sink, ...] = ()  # of the plan: who is told, also of what is said by hand
    claims: tuple[str, ...] = ()  # all nodes that it works on or wants, where others are at work
    beside: tuple[str, ...] = ()  # processes of other runs that it knows of (`claims`)
    word: int = 0  # number of the last write that was to claim something
    signed_by: str = ""  # whose signature of the plan was checked last, and by which key
    epoch: int = 0  # of the lock under which it was written; a run under a lower one stops (S9)

    @property
    def order(self) -> tuple[str, int]:
        """Which run of a DaemonSet came later; times are whole seconds, and runs can be short."""
        return self.started_at, self.epoch


class ConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """The object that holds the record, or a plan."""

    metadata: Meta
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}  # base64


class WholeConfigMap(msgspec.Struct, frozen=True, rename="camel"):
    """The same with its metadata whole: who replaces the object leaves in it what others wrote."""

    metadata: JsonObject
    data: dict[str, str] = {}
    binary_data: dict[str, str] = {}

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.get("labels") or {}

    def kept(self) -> JsonObject:
        """Return its metadata for a replacement of exactly this version."""
        return {key: value for key, value in self.metadata.items() if key != "managedFields"}


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
        on_failure=plan.failure.on_failure,
        waves=name_runs(wave.name for wave in plan.waves),
        wave_count=len(plan.waves),
        notify=plan.notify,
        daemon_sets=tuple(
            RecordedDaemonSet(
                name=ds.name,
                namespace=ds.namespace,
                uid=ds.uid,
                original_strategy=ds.original_strategy,
                final_strategy=ds.final_strategy,
                target_digest=ds.target.template_digest,
                previous_digest=ds.stable.template_digest,
                surges=ds.hand_over is not None,
            )
            for ds in plan.daemon_sets
        ),
    )


def name_runs(names: Iterable[str]) -> tuple[NameRun, ...]:
    """Return names in few words; those beyond `MOST_WAVE_NAMES` runs are left out."""
    runs: list[NameRun] = []
    for name in names:
        run = _as_run(name)
        before = runs[-1] if runs else NameRun("")
        follows = before.first and (before.prefix, before.last + 1) == (run.prefix, run.first)
        if follows:
            runs[-1] = NameRun(run.prefix, before.first, run.last)
        elif len(runs) < MOST_WAVE_NAMES:
            runs.append(run)
        else:
            break
    return tuple(runs)


def _as_run(name: str) -> NameRun:
    found = _NUMBERED.match(name)
    return NameRun(found[1], int(found[2]), int(found[2])) if found else NameRun(name)


def wave_numbers(record: RunRecord, name: str) -> list[int]:
    """Return the numbers (1-based) of the waves of this name, or the wave of this number."""
    wanted = _as_run(name)
    found: list[int] = []
    first = 1
    for run in record.waves:
        if run.prefix == wanted.prefix and run.first <= wanted.first <= run.last:
            found.append(first + wanted.first - run.first)
        first += run.last - run.first + 1
    if not found and name.isdecimal() and 1 <= int(name) <= record.wave_count:
        return [int(name)]
    return found


def wave_name(record: RunRecord, number: int) -> str:
    """Return the name of a wave (1-based); its number where the record has no name for it."""
    first = 1
    for run in record.waves:
        size = run.last - run.first + 1
        if first <= number < first + size:
            return f"{run.prefix}{run.first + number - first}" if run.first else run.prefix
        first += size
    return str(number)


def encode_record(record: RunRecord) -> str:
    """Return the text that stands in the ConfigMap."""
    return msgspec.json.encode(record).decode()


def decode_record(config_map: ConfigMap) -> RunRecord:
    """Read a record.

    Raises:
        StaleError: when it is not one, or of a schema that this version does not know.
    """
    where = f"ConfigMap {config_map.metadata.namespace}/{config_map.metadata.name}"
    text = config_map.data.get(DATA_KEY, "")
    try:
        record = msgspec.json.decode(text, type=RunRecord)
    except UNREADABLE as error:
        _require_schema(where, _schema_of(text))
        raise StaleError(
            f"{where} holds no run record that this version reads ({error}); look at it, and "
            "delete it when no run needs it"
        ) from None
    _require_schema(where, record.schema_version)
    return record


def _require_schema(where: str, version: int) -> None:
    """Refuse another schema: fields of the same name may mean something else there."""
    if version != SCHEMA_VERSION:
        raise StaleError(
            f"{where} holds a run record of schema {version}, and this version of rollout reads "
            f"schema {SCHEMA_VERSION}; use the rollout that wrote it"
        )


class _Versioned(msgspec.Struct, frozen=True, rename="camel"):
    """As much of a record as every version has."""

    schema_version: int = SCHEMA_VERSION


def _schema_of(text: str) -> int:
    """Return the schema of a record that cannot be read; ours where it does not say another."""
    try:
        return msgspec.json.decode(text, type=_Versioned).schema_version
    except UNREADABLE:
        return SCHEMA_VERSION
