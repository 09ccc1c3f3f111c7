"""What is left of a way back that this tool may not go, as commands for somebody who may.

For a way back that ends before it has a view of its own; the cluster is only read.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from rollout.cluster.client import Client
from rollout.errors import ClusterError, ExitCode, Forbidden, StaleError
from rollout.executor.byhand import commands_by_hand, for_cluster
from rollout.executor.engine.state import DaemonSetRun
from rollout.executor.notback import left_out
from rollout.executor.planback import NOTHING, WayBack, plan_back
from rollout.executor.session import Session
from rollout.fleet.objects import Pod
from rollout.planner.plan import PlannedDaemonSet


class WayBackRefused(Forbidden):
    """The way back may not be gone; the message holds the commands that do it by hand.

    Args:
        left: what is left to do.
        commands: that do it, in this order.
        said: why we cannot do it.
        exit_code: for a way back that was not even asked for, what its refusal means.
    """

    def __init__(
        self,
        left: str,
        commands: Sequence[str],
        said: str,
        exit_code: ExitCode = ExitCode.ROLLBACK_INCOMPLETE,
    ) -> None:
        lines = "".join(f"\n  {command}" for command in commands)
        by_hand = f". By hand, in this order:{lines}\n" if commands else ""
        super().__init__(f"the way back may not be begun; {left}{by_hand}\nThe server says: {said}")
        self.exit_code = exit_code
        self._parts = left, commands, said

    def with_options(self, options: str, tried: str) -> WayBackRefused:
        """Return the same for a cluster that is reached by options, which are kubectl's as well.

        Args:
            options: as a shell reads them; "" for none.
            tried: what is to be said behind what the server said.
        """
        left, commands, said = self._parts
        commands = [for_cluster(command, options) for command in commands]
        return WayBackRefused(left, commands, f"{said}{tried}", self.exit_code)


def not_asked(client: Client, session: Session, error: ClusterError) -> WayBackRefused:
    """Return what ends a way back that could not even be asked for: no record, no lock.

    Args:
        client: of the cluster.
        session: of the run that was to go back.
        error: what the server said.
    """
    left, commands = _left(client, session)
    first = f"if a process of run {session.record.run_id} is at work, stop it first; {left}"
    return WayBackRefused(first, commands, str(error), error.exit_code)


def refused(client: Client, session: Session, error: Forbidden) -> WayBackRefused:
    """Return what ends a way back that the server does not allow.

    Args:
        client: of the cluster.
        session: of the run that was to go back.
        error: what the server said.
    """
    left, commands = _left(client, session)
    return WayBackRefused(left, commands, str(error))


def _left(client: Client, session: Session) -> tuple[str, list[str]]:
    """Return what is left to do, and the commands that do it."""
    try:
        found = plan_back(client, session, NOTHING, lambda _seconds: True)
    except (ClusterError, StaleError):
        return "and what is left to do cannot be read", []
    commands, nodes = _commands(found)
    return f"not back yet: {', '.join(sorted(nodes)) or 'the strategy'}", commands


def _commands(found: WayBack) -> tuple[list[str], set[str]]:
    """Return the commands, and the nodes that they are about."""
    sets = [_seen(found, ds) for ds in found.plan.daemon_sets]
    left = {(step.daemon_set, step.node) for step in found.plan.steps if step.kind == "update"}
    left |= left_out(sets)
    return commands_by_hand(found.plan, sets, left), {node for _, node in left}


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
