"""Which revision `undo` goes to. Pure.

The revision before the current one is where kubectl's undo goes. After a rollback that is the very
release that has just failed, and after an undo that was stopped on its way it is the one that the
undo comes from; nobody who says "undo" means either.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollout.errors import StaleError
from rollout.executor.record.earlier import led_to, went_well
from rollout.executor.record.record import ENDED, RunRecord
from rollout.executor.runs import FoundRecord, KnownRun
from rollout.fleet.objects import ControllerRevision
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.notifyspec import Sink
from rollout.planner.rollback import revision_to_undo_to


def revision_meant(
    fleet: Fleet, number: int | None, record: RunRecord | None, runs: Iterable[KnownRun]
) -> ControllerRevision:
    """Return the revision to go to.

    Args:
        fleet: the DaemonSet as it is now.
        number: the revision that was asked for; None for the one before.
        record: of the last undo of this DaemonSet.
        runs: all runs that are known.

    Raises:
        StaleError: when there is no such revision, or when the last run to the revision before has
            failed; with how to go there all the same.
    """
    if number is None and fleet.current is not None and _is_under_way(fleet, record):
        return fleet.current
    revision = revision_to_undo_to(fleet, number)
    last = _last_run_to(fleet, revision, runs)
    if number is None and last is not None and not went_well(last.run):
        raise StaleError(_refusal(fleet, revision, last))
    return revision


def sinks_of_last_run(uid: str, records: Iterable[FoundRecord]) -> tuple[Sink, ...]:
    """Return who was told of the last run of a DaemonSet, and is so of its undo.

    Args:
        uid: of the DaemonSet.
        records: all run records that are known.
    """
    found = [
        found.record
        for found in records
        if found.record is not None and any(ds.uid == uid for ds in found.record.daemon_sets)
    ]
    last = max(found, key=lambda record: record.order, default=None)
    return last.notify if last is not None else ()


def _is_under_way(fleet: Fleet, record: RunRecord | None) -> bool:
    """Whether an undo that is not over has brought the template that is there now."""
    if record is None or record.phase in ENDED:
        return False
    live = fleet.daemon_set
    now = (live.metadata.uid, template_digest(live.spec.template))
    return any((ds.uid, ds.target_digest) == now for ds in record.daemon_sets)


def _last_run_to(
    fleet: Fleet, revision: ControllerRevision, runs: Iterable[KnownRun]
) -> KnownRun | None:
    uid, digest = fleet.daemon_set.metadata.uid, template_digest(revision.template)
    found = (known for known in runs if led_to(known.run, uid, digest) is not None)
    return max(found, key=lambda known: (known.run.started_at, known.last), default=None)


def _refusal(fleet: Fleet, revision: ControllerRevision, last: KnownRun) -> str:
    ds, run, number = fleet.daemon_set.metadata, last.run, revision.revision
    why = f" ({run.message})" if run.message else ""
    return (
        f"the revision before is {number}, but the last run that led to it did not succeed: run "
        f"{run.run_id} of rollout {last.rollout} is {last.phase}{why}. Nothing was changed; "
        f"'rollout history {ds.name} -n {ds.namespace}' shows the revisions, and --to-revision "
        f"{number} goes to that one all the same"
    )
