"""The status that the DaemonSet controller writes (behaviour.md section 5)."""

from __future__ import annotations

from typing import Final

from rollout.sim.controllers.daemonview import Totals
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import DAEMONSETS
from rollout.sim.store import Object

STATUS_TRIES: Final = 2
_NUMBERS: Final = (
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
)
_OMITTED_WHEN_ZERO: Final = frozenset(
    ("updatedNumberScheduled", "numberAvailable", "numberUnavailable", "observedGeneration")
)


def numbers(totals: Totals) -> dict[str, int]:
    """Return the seven numbers of the status."""
    return {
        "currentNumberScheduled": totals.current,
        "numberMisscheduled": totals.misscheduled,
        "desiredNumberScheduled": totals.desired,
        "numberReady": totals.ready,
        "updatedNumberScheduled": totals.updated,
        "numberAvailable": totals.available,
        "numberUnavailable": totals.desired - totals.available,
    }


def next_status(status: Object, totals: Totals, observed_generation: int | None) -> Object:
    """Return the status with new numbers; zeros are left out where the API leaves them out.

    Args:
        status: the status as it is.
        totals: the sums over all nodes.
        observed_generation: the generation that was worked on; None leaves it as it is.
    """
    values = numbers(totals)
    if observed_generation is not None:
        values["observedGeneration"] = observed_generation
    rest = {name: value for name, value in status.items() if name not in values}
    shown = {n: value for n, value in values.items() if value or n not in _OMITTED_WHEN_ZERO}
    return {**rest, **shown}


def write_status(
    registry: Registry, caller: Caller, daemon_set: Object, totals: Totals, *, observe: bool
) -> bool:
    """Write the status unless it says so already; False when the server refused twice."""
    meta, status = daemon_set["metadata"], daemon_set.get("status") or {}
    generation = meta["generation"]
    values = numbers(totals)
    same = all(status.get(name, 0) == values[name] for name in _NUMBERS)
    if same and status.get("observedGeneration", 0) >= generation:
        return True
    for _ in range(STATUS_TRIES):
        try:
            live = registry.get(DAEMONSETS, meta["namespace"], meta["name"])
            changed = next_status(live.get("status") or {}, totals, generation if observe else None)
            registry.update_status(DAEMONSETS, live, changed, caller)
        except StatusError:
            continue
        return True
    return False
