"""What earlier runs led to which template, and whether that went well. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.executor.record.history import PastRun, RunSubject
from rollout.executor.record.record import RunRecord


def led_to(run: PastRun, uid: str, digest: str) -> RunSubject | None:
    """Return the part of a run that led a DaemonSet to a template; None where it did not.

    Args:
        run: the run.
        uid: of the DaemonSet.
        digest: `template_digest` of the template.
    """
    return next((ds for ds in run.daemon_sets if (ds.uid, ds.target_digest) == (uid, digest)), None)


def went_well(run: PastRun | RunRecord) -> bool:
    """Whether a run has come to its end, without a failed node."""
    return run.phase == "complete" and (run.counts is None or not run.counts.failed)


def is_unproven(uid: str, digest: str, runs: Iterable[PastRun]) -> bool:
    """Whether the last run to a template was not brought to its end.

    Args:
        uid: of the DaemonSet.
        digest: `template_digest` of the template.
        runs: all runs that are known.
    """
    found = (run for run in runs if led_to(run, uid, digest) is not None)
    last = max(found, key=lambda run: run.started_at, default=None)
    return last is not None and last.phase != "complete"


def template_before(uid: str, digest: str, runs: Iterable[PastRun]) -> str:
    """Return the digest of the template that an unfinished run to this one came from.

    It was stable itself when that run began, so any number of half-way releases leads back to it.

    Args:
        uid: of the DaemonSet.
        digest: `template_digest` of its template now.
        runs: all runs that are known.

    Returns:
        "" when the last run to the template went well, or none led to it.
    """
    found = [(run, ds) for run in runs if (ds := led_to(run, uid, digest)) is not None]
    last = max(found, key=lambda pair: pair[0].order, default=None)
    return "" if last is None or went_well(last[0]) else last[1].previous_digest
