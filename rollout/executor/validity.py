"""Until when a plan may be begun: what fits at its review may not fit for ever."""

from __future__ import annotations

from rollout.cluster.client import Client
from rollout.errors import StaleError
from rollout.fleet.objects import parse_time
from rollout.planner.plan import Plan
from rollout.quantity import format_duration


def require_valid(client: Client, plan: Plan) -> None:
    """Refuse to begin a run of a plan that has expired, by the cluster's clock.

    One that was begun in time goes on: to stop half-way would be worse.

    Raises:
        StaleError: when it has expired.
        ClusterError: when it expires, and the cluster's time is not known.
    """
    if plan.valid_for_s is None:
        return
    late_s = client.told_time() - parse_time(plan.expires_at)
    if late_s >= 0:
        raise StaleError(
            f"plan {plan.id} expired at {plan.expires_at}, {format_duration(late_s)} ago by the "
            f"clock of {client.server}: no run of it begins any more; plan again with 'rollout "
            f"plan -f SPEC --valid-for {format_duration(plan.valid_for_s)} --out PLAN'"
        )
