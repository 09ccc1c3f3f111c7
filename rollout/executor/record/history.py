"""What is kept of earlier runs beside the record of the last one. Pure.

The record of a rollout tells of its last run only. When a new run takes its place, what people
want to know of the old one moves into a list in the same ConfigMap: short, and bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rollout.executor.record.journalheads import JournalHead
from rollout.executor.record.record import ConfigMap, Counts, RunRecord
from rollout.unreadable import UNREADABLE

HISTORY_KEY = "history"
MOST_RUNS = 20
MOST_BYTES = 100_000  # of a ConfigMap's 1 MiB
_MOST_TEXT = 300  # characters of a message


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    """Base of the history's parts; keys of later versions are left alone."""


class RunSubject(Struct, frozen=True):
    """One DaemonSet of a run, and the templates that the run led from and to."""

    namespace: str
    name: str
    uid: str
    target_digest: str
    previous_digest: str


class PastRun(Struct, frozen=True):
    """One run, in as few words as possible."""

    run_id: str
    plan_id: str
    plan_digest: str
    phase: str  # in which it was left
    started_at: str
    started_by: str
    finished_at: str
    message: str
    daemon_sets: tuple[RunSubject, ...]
    counts: Counts | None = None  # None: it never came to an end
    journals: tuple[JournalHead, ...] = ()
    epoch: int = 0  # of its lock

    @property
    def order(self) -> tuple[str, int]:
        """Which run of a DaemonSet came later; times are whole seconds, and runs can be short."""
        return self.started_at, self.epoch


def past_run(record: RunRecord) -> PastRun:
    """Return what is kept of a run."""
    return PastRun(
        run_id=record.run_id,
        plan_id=record.plan_id,
        plan_digest=record.plan_digest,
        phase=record.phase,
        started_at=record.started_at,
        started_by=record.started_by,
        finished_at=record.finished_at,
        message=record.message[:_MOST_TEXT],
        daemon_sets=tuple(
            RunSubject(ds.namespace, ds.name, ds.uid, ds.target_digest, ds.previous_digest)
            for ds in record.daemon_sets
        ),
        counts=record.counts,
        journals=record.journals,
        epoch=record.epoch,
    )


def with_run(history: Sequence[PastRun], run: PastRun) -> tuple[PastRun, ...]:
    """Return the history with one more run; the oldest ones make room."""
    kept = (*history, run)[-MOST_RUNS:]
    while len(kept) > 1 and len(msgspec.json.encode(kept)) > MOST_BYTES:
        kept = kept[1:]
    return kept


def encode_history(history: Sequence[PastRun]) -> str:
    """Return the text that stands in the ConfigMap."""
    return msgspec.json.encode(history).decode()


def decode_history(config_map: ConfigMap) -> tuple[PastRun, ...]:
    """Return the runs before the last one, the oldest first; what is no history is none."""
    text = config_map.data.get(HISTORY_KEY, "[]")
    try:
        return msgspec.json.decode(text, type=tuple[PastRun, ...])
    except UNREADABLE:
        return ()
