"""How the cluster differs from what a plan was made for, compared by meaning.

Hard drift (another object, template, strategy) makes a plan worthless. Soft drift (nodes that
joined or left, pods that were replaced) changes which nodes there are to update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.fleet.objects import ControllerRevision
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode


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


def compare(plan: Plan, fleets: Mapping[str, Fleet]) -> Drift:
    """Compare a plan with the cluster as it is now.

    Args:
        plan: the plan.
        fleets: by name of the DaemonSet.
    """
    hard: list[Change] = []
    soft: list[Change] = []
    for ds in plan.daemon_sets:
        fleet = fleets[ds.name]
        if fleet.cluster_uid != plan.cluster.uid:
            return Drift((Change("cluster", plan.cluster.uid, fleet.cluster_uid),), ())
        hard.extend(_hard(ds, fleet))
        soft.extend(_soft(ds, fleet))
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


def _soft(ds: PlannedDaemonSet, fleet: Fleet) -> list[Change]:
    planned = {node.name: node for node in ds.nodes}
    changes = [
        Change(f"node {name}", "absent", "joined") for name in fleet.nodes if name not in planned
    ]
    for name, node in planned.items():
        live = fleet.nodes.get(name)
        if live is None:
            changes.append(Change(f"node {name}", "present", "left"))
        elif live.metadata.uid != node.uid:
            changes.append(Change(f"node {name} uid", node.uid, live.metadata.uid))
        elif node.fate == "update":
            changes.extend(_pod_change(node, fleet))
    return changes


def _pod_change(node: PlannedNode, fleet: Fleet) -> list[Change]:
    names = {pod.metadata.uid: pod.metadata.name for pod in fleet.pods.get(node.name, ())}
    if node.pod is None or node.pod.uid in names:
        return []
    return [Change(f"pod of {node.name}", node.pod.name, ", ".join(names.values()) or "none")]
