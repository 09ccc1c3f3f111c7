"""The runs that the cluster knows of, and the history of a DaemonSet, for people and programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollout.executor.record.record import Counts
from rollout.executor.runs import KnownRun
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.snapshot import Fleet
from rollout.quantity import format_age
from rollout.report.table import text_table

CHANGE_CAUSE = "kubernetes.io/change-cause"
_WENT_BACK = ("rolling back", "rollback incomplete", "rolled back")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run in a list."""

    namespace: str
    rollout: str
    run: str
    phase: str
    by: str
    started: str
    finished: str
    daemon_sets: tuple[str, ...]
    nodes: Counts | None  # None: it has not ended yet
    lock: str  # who holds it, and when he last renewed it; "": nobody
    message: str
    plan: str
    digest: str


@dataclass(frozen=True, slots=True)
class RevisionRow:
    """One revision of a DaemonSet."""

    revision: int
    hash: str
    created: str
    change_cause: str
    pods: int
    current: bool
    runs: tuple[RunRow, ...]  # that led to it, the latest first
    back: tuple[RunRow, ...]  # whose rollback led to it, the latest first


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of a DaemonSet, oldest first, and runs to templates that are forgotten."""

    namespace: str
    name: str
    revisions: tuple[RevisionRow, ...]
    forgotten: tuple[RunRow, ...]


def run_row(known: KnownRun) -> RunRow:
    """Return a run as a row."""
    run = known.run
    return RunRow(
        namespace=known.namespace,
        rollout=known.rollout,
        run=run.run_id,
        phase=known.phase,
        by=run.started_by,
        started=run.started_at,
        finished=run.finished_at,
        daemon_sets=tuple(f"{ds.namespace}/{ds.name}" for ds in run.daemon_sets),
        nodes=run.counts,
        lock=_lock(known),
        message=run.message,
        plan=run.plan_id,
        digest=run.plan_digest,
    )


def runs_text(rows: Sequence[RunRow], namespace: str) -> str:
    """Return runs for people; those of all namespaces where none is named."""
    if not rows:
        where = f"in namespace {namespace}; -A asks in all" if namespace else "in any namespace"
        return f"No runs are known {where}."
    headers = (
        *("NAMESPACE", "ROLLOUT", "RUN", "PHASE", "NODES", "BY", "STARTED", "FINISHED"),
        *("LOCK", "SAYS"),
    )
    cells = [
        (
            r.namespace,
            r.rollout,
            r.run,
            r.phase,
            _nodes(r),
            r.by,
            *_times(r),
            r.lock or "-",
            r.message or "-",
        )
        for r in rows
    ]
    return text_table(headers, cells)


def daemon_set_history(fleet: Fleet, runs: Iterable[KnownRun]) -> History:
    """Put revisions and runs together, by the digest of the template.

    Args:
        fleet: the DaemonSet with its revisions and pods.
        runs: all runs that are known, the latest first.
    """
    live = fleet.daemon_set.metadata
    led: dict[str, list[RunRow]] = {}
    back: dict[str, list[RunRow]] = {}
    for known in runs:
        for subject in known.run.daemon_sets:
            if subject.uid != live.uid:
                continue
            led.setdefault(subject.target_digest, []).append(run_row(known))
            if known.run.phase in _WENT_BACK:
                back.setdefault(subject.previous_digest, []).append(run_row(known))
    pods = Counter(
        revision.metadata.uid
        for group in fleet.pods.values()
        for pod in group
        if (revision := fleet.revision_of(pod)) is not None
    )
    current = fleet.current
    rows = tuple(
        RevisionRow(
            revision=item.revision,
            hash=revision_hash(item),
            created=item.metadata.creation_timestamp or "",
            change_cause=item.metadata.annotations.get(CHANGE_CAUSE, ""),
            pods=pods[item.metadata.uid],
            current=current is not None and item.metadata.uid == current.metadata.uid,
            runs=tuple(led.pop(template_digest(item.template), ())),
            back=tuple(back.get(template_digest(item.template), ())),
        )
        for item in fleet.revisions
    )
    forgotten = tuple(row for group in led.values() for row in group)
    return History(live.namespace, live.name, rows, forgotten)


def history_text(history: History) -> str:
    """Return the history for people."""
    rows: list[tuple[str, ...]] = []
    for revision in history.revisions:
        number = f"{revision.revision}{' (current)' if revision.current else ''}"
        cause, pods = revision.change_cause or "<none>", str(revision.pods)
        head = (number, revision.hash, revision.created, pods, cause)
        runs = [(run, run.phase) for run in revision.runs]
        runs += [(run, f"{run.phase}, to this one") for run in revision.back]
        runs.sort(key=lambda pair: pair[0].started, reverse=True)
        rows += [
            (*(head if not at else [""] * len(head)), run.run, run.by, run.started, result)
            for at, (run, result) in enumerate(runs)
        ] or [(*head, "-", "-", "-", "-")]
    rows += [
        ("forgotten", "-", "-", "-", "-", run.run, run.by, run.started, run.phase)
        for run in history.forgotten
    ]
    headers = ("REVISION", "HASH", "CREATED", "PODS", "CHANGE-CAUSE", "RUN", "BY", "STARTED")
    table = text_table((*headers, "RESULT"), rows)
    return f"DaemonSet {history.namespace}/{history.name}\n{table}"


def _nodes(row: RunRow) -> str:
    return "-" if row.nodes is None else f"{row.nodes.updated}/{row.nodes.total}"


def _times(row: RunRow) -> tuple[str, str]:
    return row.started or "-", row.finished or "-"


def _lock(known: KnownRun) -> str:
    if known.locks is None:
        return "may not be read"
    return ", ".join(dict.fromkeys(_holder(lock.holder, lock.age_s) for lock in known.locks))


def _holder(who: str, age_s: float | None) -> str:
    silent = "at an unknown time" if age_s is None else f"{format_age(age_s)} ago"
    return f"{who}, renewed {silent}"
