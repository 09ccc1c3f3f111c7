"""Failure domains: a zone in trouble of its own is not held against the release.

Nor is trouble carried into a further zone while several hold it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.state import DaemonSetRun, StepRun, StepState

if TYPE_CHECKING:
    from rollout.executor.book import Book

_UNTOUCHED = (StepState.BLOCKED, StepState.READY, StepState.SKIPPED)


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
    control = [
        node
        for node, zone in ds.zones.items()
        if zone == run.zone and _is_untouched(ds.steps.get(node))
    ]
    down = [node for node in control if node in book.unreachable.since]
    if not down or 2 * len(down) < len(control):
        return ""
    return (
        f"zone {run.zone} is down: {len(down)} of {len(control)} of its nodes that were not "
        "updated are not ready either"
    )


def _is_untouched(step: StepRun | None) -> bool:
    return step is None or step.state in _UNTOUCHED
