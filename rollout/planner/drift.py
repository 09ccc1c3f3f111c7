"""How the cluster differs from what a plan was made for, compared by meaning.

Hard drift (another object, template, strategy) makes a plan worthless. Soft drift (nodes that
joined or left, pods that were replaced) changes which nodes there are to update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.fleet.objects import ControllerRevision, JsonObject
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.delta import apply_difference
from rollout.planner.fates import NodeFate, node_fates, watched_still
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode
from rollout.spec import ZONE_LABEL


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, for a table old -> new."""

    what: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Drift:
    """All differences; empty when the plan still fits."""

    hard: tuple[Change, ...]
    soft: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.hard or self.soft)


def compare(plan: Plan, fleets: Mapping[str, Fleet], now: float) -> Drift:
    """Compare a plan with the cluster as it is now.

    Args:
        plan: the plan.
        fleets: by name of the DaemonSet.
        now: when the fleets were read, seconds since the epoch.
    """
    hard: list[Change] = []
    soft: list[Change] = []
    for ds in plan.daemon_sets:
        fleet = fleets[ds.name]
        if fleet.cluster_uid != plan.cluster.uid:
            return Drift((Change("cluster", plan.cluster.uid, fleet.cluster_uid),), ())
        found = _hard(ds, fleet)
        hard.extend(found)
        if not found:
            soft.extend(_soft(plan, ds, fleet, now))
    return Drift(tuple(hard), tuple(dict.fromkeys(soft)))


def _hard(ds: PlannedDaemonSet, fleet: Fleet) -> list[Change]:
    live = fleet.daemon_set
    name = f"DaemonSet {ds.key}"
    if live.metadata.uid != ds.uid:
        return [Change(f"{name} uid", ds.uid, live.metadata.uid)]
    changes = []
    digest = template_digest(live.spec.template)
    if digest != ds.current.template_digest:
        now = _revision_text(fleet.current, digest)
        changes.append(Change(f"{name} template", _planned_text(ds), now))
    if live.spec.update_strategy != ds.live_strategy:
        changes.append(
            Change(f"{name} strategy", str(ds.live_strategy), str(live.spec.update_strategy))
        )
    if not changes and live.metadata.generation != ds.generation:
        old, new = str(ds.generation), str(live.metadata.generation)
        changes.append(Change(f"{name} generation", old, new))
    return changes


def _planned_text(ds: PlannedDaemonSet) -> str:
    number = f"revision {ds.current.revision}, " if ds.current.revision else ""
    return f"{number}digest {ds.current.template_digest}"


def _revision_text(revision: ControllerRevision | None, digest: str) -> str:
    if revision is None or template_digest(revision.template) != digest:
        return f"digest {digest}"
    return f"revision {revision.revision} ({revision_hash(revision)}), digest {digest}"


def _soft(plan: Plan, ds: PlannedDaemonSet, fleet: Fleet, now: float) -> list[Change]:
    """Decide every node's fate anew by the plan's own rules; what differs is drift.

    A label or taint that changes nothing about the node's fate or zone is none.
    """
    planned = {node.name: node for node in ds.nodes}
    template = target_template(ds, fleet)
    changes: list[Change] = []
    watched = watched_still(fleet, template, ds.nodes)
    for fate in node_fates(fleet, template, plan.rules, now, watched):
        before = planned.pop(fate.node.metadata.name, None)
        if before is None:
            changes.append(Change(f"node {fate.node.metadata.name}", "absent", "joined"))
        else:
            changes.extend(_node_changes(before, fate, fleet))
    changes.extend(Change(f"node {name}", "present", "left") for name in sorted(planned))
    return changes


def target_template(ds: PlannedDaemonSet, fleet: Fleet) -> JsonObject:
    """Return the planned template, built on the live one that the plan was made for."""
    return apply_difference(fleet.daemon_set.spec.template, ds.template_changes)


def _node_changes(before: PlannedNode, fate: NodeFate, fleet: Fleet) -> list[Change]:
    name = f"node {before.name}"
    if before.uid != fate.node.metadata.uid:
        return [Change(f"{name} uid", before.uid, fate.node.metadata.uid)]
    if before.fate != fate.fate:
        old = f"{before.fate} ({before.reason})" if before.reason else before.fate
        new = f"{fate.fate} ({fate.reason})" if fate.reason else fate.fate
        return [Change(name, old, new)]
    zone = fate.node.metadata.labels.get(ZONE_LABEL, "")
    if before.zone != zone:
        return [Change(f"{name} zone", before.zone or "none", zone or "none")]
    return _pod_change(before, fleet) if before.fate == "update" else []


def _pod_change(node: PlannedNode, fleet: Fleet) -> list[Change]:
    names = {pod.metadata.uid: pod.metadata.name for pod in fleet.pods.get(node.name, ())}
    if node.pod is None or node.pod.uid in names:
        return []
    return [Change(f"pod of {node.name}", node.pod.name, ", ".join(names.values()) or "none")]
