"""Failure domains: a zone in trouble of its own is not held against the release.

Nor is trouble carried into a further zone while several hold it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine.state import DaemonSetRun, StepRun

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


def is_open(book: Book, ds: DaemonSetRun, run: StepRun) -> bool:
    """Whether a pod may be taken away in the zone of this step.

    Where several other zones hold pods that are unavailable for other reasons than ours, one
    more could be the one too many for what is spread over zones.
    """
    limit = book.plan.limits.max_broken_zones
    if limit is None or not run.zone or ds.view.broken_zones.get(run.zone):
        return True
    return len(ds.view.broken_zones) < limit


def went_down(book: Book, ds: DaemonSetRun, run: StepRun) -> str:
    """Say so when a whole zone is down, updated or not; "" when it is not, or cannot be told.

    The nodes of the zone that the run has not touched are the control group: where at least half
    of them are not ready either, it is not the new pod that took this one down.
    """
    if not run.zone or run.node not in book.unreachable.since:
        return ""
    control, down = ds.control.size[run.zone], ds.control.down[run.zone]
    if not down or 2 * down < control:
        return ""
    return (
        f"zone {run.zone} is down: {down} of {control} of its nodes that were not updated are not "
        "ready either"
    )
