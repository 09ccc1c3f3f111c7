"""What a reviewer should know of a plan's gates: those that can't open, or prove nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rollout.fleet.objects import Node
from rollout.gatespec import ApprovalGate, Gate, PodsGate
from rollout.planner.gateplaces import match
from rollout.planner.plan import PlannedDaemonSet
from rollout.planner.waves import PlannedWave
from rollout.quantity import cut, parse_amount

# Fisher's exact test can't reach p < 0.001, one-sided, with fewer pods on both sides together:
# the most extreme table of 6 against 6 has p = 1 / C(12, 6) = 0.0011, of 6 against 7 0.0006.
CONTROL_ENOUGH = 13


def gate_warnings(
    gates: Iterable[Gate],
    waves: Sequence[PlannedWave],
    nodes: Mapping[str, Node],
    daemon_sets: Sequence[PlannedDaemonSet],
    author: str,
) -> list[str]:
    """Return one sentence for each thing.

    Args:
        gates: of the plan.
        waves: of the plan.
        nodes: by name.
        daemon_sets: of the plan.
        author: who plans; "" when that is not known.
    """
    if not waves:
        return []
    warnings: list[str] = []
    for gate in gates:
        if not match(gate.when, waves, nodes).nodes:
            warnings.append(
                f"gate {gate.name} is never asked: no node of the plan fits its 'when'; "
                "check waves, zones and labels"
            )
        elif isinstance(gate, ApprovalGate):
            warnings += _approvers(gate, author)
        elif isinstance(gate, PodsGate) and gate.at == "preflight":
            warnings += _unhealthy(gate, daemon_sets)
        elif isinstance(gate, PodsGate) and gate.control_group:
            warnings += _control(gate, daemon_sets)
    return warnings


def _approvers(gate: ApprovalGate, author: str) -> list[str]:
    others = set(gate.approvers) - _names(author)
    if not gate.approvers or len(others) >= gate.minimum:
        return []
    needs = f"it needs {gate.minimum} of {', '.join(gate.approvers)}"
    why = f"{author}, who made this plan, does not count; name somebody else in 'approvers'"
    return [f"gate {gate.name} can never open: {needs}, and {why}"]


def _names(author: str) -> set[str]:
    """Return what an approver may be called in the spec: `ann@host`, or just `ann`."""
    return {author, author.partition("@")[0]} if author else set()


def _unhealthy(gate: PodsGate, daemon_sets: Sequence[PlannedDaemonSet]) -> list[str]:
    """Say now what the gate would say before the first write."""
    with_pod = [node for ds in daemon_sets for node in ds.nodes if node.pod is not None]
    ill = [node.name for node in with_pod if not node.available]
    if not parse_amount(gate.unavailable_before).exceeded_by(len(ill), len(with_pod)):
        return []
    told = f"{len(ill)} of {len(with_pod)} pods are unavailable before the start"
    unhealthy = f"already unhealthy: {told}, more than {gate.unavailable_before}: {cut(ill)}"
    return [f"gate {gate.name} would fail now: {unhealthy}"]


def _control(gate: PodsGate, daemon_sets: Sequence[PlannedDaemonSet]) -> list[str]:
    small = [ds for ds in daemon_sets if 0 < ds.desired < CONTROL_ENOUGH]
    return [
        f"gate {gate.name}: {ds.desired} pods of DaemonSet {ds.name} are too few to be compared "
        "with a control group; only the gate's own limits decide"
        for ds in small
        if any(node.fate == "update" for node in ds.nodes)
    ]
