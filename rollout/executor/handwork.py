"""What is left of a way back that this tool may not go, as commands for somebody who may.

For a way back that ends before it has a view of its own; the cluster is only read.
"""

from __future__ import annotations

import msgspec

from rollout.cluster.client import Client
from rollout.errors import ClusterError, ExitCode, Forbidden, StaleError
from rollout.executor.byhand import commands_by_hand
from rollout.executor.notback import left_out
from rollout.executor.planback import NOTHING, WayBack, plan_back
from rollout.executor.session import Session
from rollout.executor.state import DaemonSetRun
from rollout.fleet.objects import Pod
from rollout.planner.plan import PlannedDaemonSet


class WayBackRefused(Forbidden):
    """The way back may not be gone; the message holds the commands that do it by hand."""

    exit_code = ExitCode.ROLLBACK_INCOMPLETE


def refused(client: Client, session: Session, error: Forbidden) -> WayBackRefused:
    """Return what ends a way back that the server does not allow.

    Args:
        client: of the cluster.
        session: of the run that was to go back.
        error: what the server said.
    """
    try:
        found = plan_back(client, session, NOTHING, lambda _seconds: True)
    except (ClusterError, StaleError):
        left = "and what is left to do cannot be read"
    else:
        commands, nodes = _commands(found)
        where = ", ".join(sorted(nodes)) or "the strategy"
        lines = "".join(f"\n  {command}" for command in commands)
        left = f"not back yet: {where}. By hand, in this order:{lines}\n"
    return WayBackRefused(f"the way back may not be begun; {left}\nThe server says: {error}")


def _commands(found: WayBack) -> tuple[list[str], set[str]]:
    """Return the commands, and the nodes that they are about."""
    sets = [_seen(found, ds) for ds in found.plan.daemon_sets]
    left = {(step.daemon_set, step.node) for step in found.plan.steps if step.kind == "update"}
    left |= left_out(sets)
    return commands_by_hand(sets, left), {node for _, node in left}


def _seen(found: WayBack, planned: PlannedDaemonSet) -> DaemonSetRun:
    """Return a DaemonSet as a run would have it in view."""
    ds = DaemonSetRun(planned, found.plan.digest, lambda _when, _node: None)
    fleet, now = found.fleets[planned.name], found.read_at
    ds.live, ds.revisions = fleet.daemon_set, fleet.revisions
    for pods in fleet.pods.values():
        for pod in pods:
            ds.view.see(pod, now)
    for old in found.released[planned.name]:
        ds.view.see_released(old.node, msgspec.convert(old, Pod, from_attributes=True), now)
    return ds
