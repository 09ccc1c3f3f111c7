"""Whether what somebody names to a run is there: a slip of the pen must not count as said.

A name is refused only where that is certain. A plan that the cluster does not keep, or an object
that we may not read, proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollout.cli.speaking import Hearing
from rollout.errors import ClusterError, DocumentError, Forbidden, NotFound, StaleError, UsageError
from rollout.executor.record.planstore import read_kept_plan
from rollout.executor.record.record import RunRecord
from rollout.fleet.objects import Node
from rollout.gates.approval import why_not
from rollout.gatespec import ApprovalGate
from rollout.planner.plan import Plan
from rollout.quantity import cut


def require_nodes(run: Hearing, nodes: Iterable[str]) -> None:
    """Refuse a node that neither the run's plan nor the cluster has.

    Raises:
        UsageError: when there is none of this name.
    """
    plan = _kept(run)
    if plan is None:
        return
    known = {node.name for ds in plan.daemon_sets for node in ds.nodes}
    for name in nodes:
        if name not in known and _is_missing(run, name):
            raise UsageError(
                f"neither plan {plan.id} nor the cluster has a node '{name}'; check the name with "
                "'rollout status'; nothing was changed"
            )


def require_approval_gate(run: Hearing, gate: str) -> None:
    """Refuse a gate that the run's plan has not, or that asks nobody.

    Raises:
        UsageError: when no gate of this name asks for approval.
    """
    plan = _kept(run)
    if plan is None:
        return
    asking = [found.name for found in plan.gates if found.kind == "approval"]
    if gate not in asking:
        has = f"it has {cut(asking)}" if asking else "it has none"
        raise UsageError(f"plan {plan.id} has no approval gate '{gate}'; {has}")


def require_voice(run: Hearing, gate: str, who: str) -> str:
    """Refuse a voice that an approval gate would not count, before it looks like one that does.

    Returns:
        How many voices the gate needs, as " of 2"; "" where the plan is not at hand.

    Raises:
        Forbidden: when whoever speaks made the plan, or is not asked.
    """
    plan = _kept(run)
    found = next((one for one in plan.gates if one.name == gate), None) if plan else None
    if plan is None or not isinstance(found, ApprovalGate):
        return ""
    why = why_not(found, plan.author, who)
    if why:
        asked = f"of {cut(found.approvers)}" if found.approvers else "of somebody else"
        needs = "1 approval" if found.minimum == 1 else f"{found.minimum} approvals"
        raise Forbidden(
            f"gate {gate} of run {run.record.run_id}: {why}; it needs {needs} {asked}; nothing "
            "was changed"
        )
    return f" of {found.minimum}"


def awaited_gates(record: RunRecord) -> list[str]:
    """Return the approval gates that a stopped run waits for."""
    asked = (g.gate for g in record.gates if g.kind == "approval" and g.status == "waiting")
    return list(dict.fromkeys(asked))


def _kept(run: Hearing) -> Plan | None:
    try:
        return read_kept_plan(run.client, run.client.namespace, run.record)
    except (StaleError, DocumentError, ClusterError):
        return None


def _is_missing(run: Hearing, node: str) -> bool:
    try:
        run.client.get(f"/api/v1/nodes/{node}", Node)
    except NotFound:
        return True
    except ClusterError:
        return False
    return False
