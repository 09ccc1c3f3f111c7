"""Does a plan still fit the cluster when its run begins? If not: refuse it, or fit it anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from rollout.errors import StaleError
from rollout.fleet.snapshot import Fleet
from rollout.planner.drift import Drift, compare
from rollout.planner.plan import Plan
from rollout.planner.reconcile import reconcile

DriftPolicy: TypeAlias = Literal["fail", "reconcile", "ignore"]


def fitted(plan: Plan, fleets: Mapping[str, Fleet], now: float, on_drift: DriftPolicy) -> Plan:
    """Refuse hard drift, and deal with soft drift as the user chose.

    Args:
        plan: what shall be done.
        fleets: how it is, by the name of the DaemonSet.
        now: seconds since the epoch, by the cluster's clock.
        on_drift: what to do about soft drift.

    Returns:
        The plan to carry out.

    Raises:
        StaleError: with every difference.
    """
    drift = compare(plan, fleets, now)
    if drift.hard or (drift.soft and on_drift == "fail"):
        raise StaleError(drift_text(drift))
    if drift.soft and on_drift == "reconcile":
        return reconcile(plan, fleets, now)
    return plan


def drift_text(drift: Drift) -> str:
    """Return drift as a message: a line for each difference, and what to do."""
    lines = [f"  {c.what}: {c.old} -> {c.new}" for c in (*drift.hard, *drift.soft)][:20]
    more = len(drift.hard) + len(drift.soft) - len(lines)
    if more:
        lines.append(f"  and {more} more")
    listing = "\n".join(lines)
    cure = "make a new plan with 'rollout plan'"
    if not drift.hard:
        cure += ", or go on with --on-drift reconcile (or ignore)"
    return f"the cluster is not what the plan was made for:\n{listing}\nnothing was changed; {cure}"
