"""The fleet: one DaemonSet, its revisions, and every node with its pods, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rollout.errors import StaleError
from rollout.fleet import marks
from rollout.fleet.objects import (
    HASH_LABEL,
    ControllerRevision,
    DaemonSet,
    JsonObject,
    Node,
    Pod,
)
from rollout.fleet.revisions import (
    current_revision,
    is_up_to_date,
    owned_revisions,
    revision_hash,
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the planner sees of one DaemonSet; nodes by name, pods by the node they belong to."""

    cluster_uid: str  # UID of the namespace kube-system; "" where only looked at
    daemon_set: DaemonSet
    raw: JsonObject  # the DaemonSet as the server wrote it
    revisions: tuple[ControllerRevision, ...]  # owned, lowest number first
    nodes: Mapping[str, Node]
    pods: Mapping[str, tuple[Pod, ...]]  # owned, in the controller's order of precedence
    recorded_strategy: JsonObject | None = None  # of before a run, from its record

    @property
    def current(self) -> ControllerRevision | None:
        """The revision that the DaemonSet stands at, or None before the first sync."""
        return current_revision(self.revisions)

    @property
    def current_hash(self) -> str:
        """Hash of the current revision; "" when there is none yet."""
        current = self.current
        return revision_hash(current) if current else ""

    @property
    def owner_strategy(self) -> JsonObject:
        """The strategy that the owner wrote: the stored one while a run has set OnDelete.

        Where somebody took the run's annotation away, or spoilt it, its record still tells.

        Raises:
            StaleError: the annotation is spoilt, and no record tells.
        """
        stored = self.daemon_set.metadata.annotations.get(marks.ORIGINAL_STRATEGY)
        if stored is not None:
            try:
                return marks.decode_strategy(stored)
            except StaleError:
                if self.recorded_strategy is None:
                    raise
                return self.recorded_strategy
        if self.recorded_strategy is not None and self.daemon_set.strategy_type == "OnDelete":
            return self.recorded_strategy
        return self.daemon_set.spec.update_strategy

    def is_current(self, pod: Pod) -> bool:
        """Whether the pod is of the DaemonSet's current template."""
        generation = self.daemon_set.template_generation
        return is_up_to_date(pod.metadata.labels, self.current_hash, generation)

    def revision_of(self, pod: Pod) -> ControllerRevision | None:
        """Return the revision that the pod's hash label names, if it is still remembered."""
        hash_ = pod.metadata.labels.get(HASH_LABEL, "")
        return next((r for r in self.revisions if hash_ and revision_hash(r) == hash_), None)


def precedence(pod: Pod) -> tuple[bool, str, str]:
    """Order pods of one node as the controller does: bound first, older first, then by name.

    Source: behaviour.md 1.5 and 5.
    """
    return (
        not pod.spec.node_name,
        pod.metadata.creation_timestamp or "",
        pod.metadata.name,
    )


def build_fleet(
    cluster_uid: str,
    daemon_set: DaemonSet,
    raw: JsonObject,
    revisions: Iterable[ControllerRevision],
    nodes: Iterable[Node],
    pods: Iterable[Pod],
) -> Fleet:
    """Assemble the snapshot; pods of other owners, and pods that belong to no node, stay out."""
    by_node: dict[str, list[Pod]] = {}
    uid = daemon_set.metadata.uid
    for pod in pods:
        node = pod.target_node
        if pod.metadata.controller_uid == uid and node:
            by_node.setdefault(node, []).append(pod)
    return Fleet(
        cluster_uid=cluster_uid,
        daemon_set=daemon_set,
        raw=raw,
        revisions=owned_revisions(daemon_set, revisions),
        nodes={node.metadata.name: node for node in sorted(nodes, key=lambda n: n.metadata.name)},
        pods={name: tuple(sorted(group, key=precedence)) for name, group in by_node.items()},
    )
