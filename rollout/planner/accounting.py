"""Every node accounted for: what the plan says of one node, and the sums over all."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.fleet.objects import HASH_LABEL
from rollout.fleet.snapshot import Fleet
from rollout.planner.fates import NodeFate, start_time
from rollout.planner.plan import PlannedDaemonSet, PlannedNode, PlannedPod, Totals
from rollout.spec import ZONE_LABEL


def planned_node(fleet: Fleet, fate: NodeFate, wave: int | None) -> PlannedNode:
    """Return the part of the plan that describes one node."""
    pod = None
    if fate.pod is not None:
        revision = fleet.revision_of(fate.pod)
        pod = PlannedPod(
            name=fate.pod.metadata.name,
            uid=fate.pod.metadata.uid,
            revision=revision.revision if revision else None,
            hash=fate.pod.metadata.labels.get(HASH_LABEL, ""),
        )
    return PlannedNode(
        name=fate.node.metadata.name,
        uid=fate.node.metadata.uid,
        fate=fate.fate,
        reason=fate.reason,
        deferred_by=fate.deferred_by,
        wave=wave,
        zone=fate.node.metadata.labels.get(ZONE_LABEL, ""),
        predicted_s=start_time(fate.pod),
        available=fate.available,
        in_budget=fate.in_budget,
        removes_pod=fate.removes_pod,
        pod=pod,
    )


def totals(daemon_sets: Iterable[PlannedDaemonSet]) -> Totals:
    """Count nodes by fate."""
    nodes = [node for ds in daemon_sets for node in ds.nodes]
    return Totals(
        nodes=len(nodes),
        update=sum(n.fate == "update" for n in nodes),
        current=sum(n.fate == "current" for n in nodes),
        deferred=sum(n.fate == "deferred" for n in nodes),
        ineligible=sum(n.fate == "ineligible" for n in nodes),
        removed=sum(n.removes_pod for n in nodes),
    )
