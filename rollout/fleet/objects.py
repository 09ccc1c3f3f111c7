"""The few fields of Kubernetes objects that we read, decoded straight from bytes by msgspec.

5,000 pods decode in 0.1 s this way, against 11 s through generated client models. Fields that
the server leaves out have the API's own zero value here. Nothing in this module talks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec

JsonObject: TypeAlias = dict[str, Any]

HASH_LABEL = "controller-revision-hash"
TEMPLATE_GENERATION_LABEL = "pod-template-generation"
TEMPLATE_GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"


class Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Base of all decoded API objects: immutable, camelCase on the wire."""


class Owner(Struct, frozen=True):
    """`metadata.ownerReferences[]`."""

    kind: str
    name: str
    uid: str
    controller: bool = False


class Meta(Struct, frozen=True):
    """`metadata`, as far as anybody here asks."""

    name: str
    uid: str = ""
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[Owner, ...] = ()

    @property
    def controller_uid(self) -> str | None:
        """UID of the controller that owns this object, or None."""
        return next((owner.uid for owner in self.owner_references if owner.controller), None)


class PodMeta(Struct, frozen=True):
    """Pod metadata without the annotations, which can be large and decide nothing."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[Owner, ...] = ()

    @property
    def controller_uid(self) -> str | None:
        """UID of the controller that owns this pod, or None."""
        return next((owner.uid for owner in self.owner_references if owner.controller), None)


class Condition(Struct, frozen=True):
    """`status.conditions[]` of pods and nodes."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class Taint(Struct, frozen=True):
    """`spec.taints[]` of a node."""

    key: str
    effect: str
    value: str = ""


class NodeSpec(Struct, frozen=True):
    """`spec` of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Struct, frozen=True):
    """`status` of a node."""

    conditions: tuple[Condition, ...] = ()


class Node(Struct, frozen=True):
    """A node."""

    metadata: Meta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """Whether nothing says that the node is not ready.

        A Ready condition that is False or Unknown says so. A node without the condition has no
        kubelet that reports (a virtual node, say): its pods' own readiness is all there is.
        """
        return all(c.status == "True" for c in self.status.conditions if c.type == "Ready")


class WaitingState(Struct, frozen=True):
    """`state.waiting` of a container."""

    reason: str = ""
    message: str = ""


class TerminatedState(Struct, frozen=True):
    """`state.terminated` or `lastState.terminated` of a container."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class ContainerState(Struct, frozen=True):
    """`state` of a container."""

    waiting: WaitingState | None = None
    terminated: TerminatedState | None = None


class ContainerStatus(Struct, frozen=True):
    """`status.containerStatuses[]`."""

    name: str
    ready: bool = False
    restart_count: int = 0
    container_id: str = msgspec.field(default="", name="containerID")
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodSpec(Struct, frozen=True):
    """`spec` of a pod: where it is bound, or where its affinity sends it."""

    node_name: str = ""
    affinity: JsonObject | None = None


class PodStatus(Struct, frozen=True):
    """`status` of a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Struct, frozen=True):
    """A pod."""

    metadata: PodMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def terminating(self) -> bool:
        """Whether somebody has asked for its deletion."""
        return self.metadata.deletion_timestamp is not None

    @property
    def terminal(self) -> bool:
        """Whether all its containers have ended for good."""
        return self.status.phase in ("Failed", "Succeeded")

    @property
    def ready_condition(self) -> Condition | None:
        """The Ready condition, if the kubelet has written one."""
        for condition in self.status.conditions:
            if condition.type == "Ready":
                return condition
        return None

    @property
    def ready(self) -> bool:
        """Whether the Ready condition is True."""
        condition = self.ready_condition
        return condition is not None and condition.status == "True"

    @property
    def restarts(self) -> int:
        """Container restarts, all containers together."""
        return sum(s.restart_count for s in self.status.container_statuses)

    @property
    def container_ids(self) -> frozenset[str]:
        """The ids of its containers: a container that was replaced has another one."""
        return frozenset(s.container_id for s in self.status.container_statuses if s.container_id)

    @property
    def target_node(self) -> str:
        """The node it is bound or sent to (behaviour.md 1.4); "" when neither is said."""
        return self.spec.node_name or _affinity_target(self.spec.affinity)


class ControllerRevision(Struct, frozen=True):
    """One remembered pod template of a DaemonSet."""

    metadata: Meta
    revision: int
    data: JsonObject | None = None

    @property
    def template(self) -> JsonObject:
        """The pod template that the revision holds, without the patch directive."""
        spec = (self.data or {}).get("spec") or {}
        return {k: v for k, v in (spec.get("template") or {}).items() if k != "$patch"}


class DaemonSetStatus(Struct, frozen=True):
    """`status` of a DaemonSet: eventually consistent, never the base of a decision."""

    observed_generation: int = 0


class LabelSelector(Struct, frozen=True):
    """`spec.selector`."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[JsonObject, ...] = ()


class DaemonSetSpec(Struct, frozen=True):
    """`spec` of a DaemonSet; template and strategy stay as the server wrote them."""

    selector: LabelSelector
    template: JsonObject
    update_strategy: JsonObject = {}
    min_ready_seconds: int = 0
    revision_history_limit: int = 10


class DaemonSet(Struct, frozen=True):
    """A DaemonSet."""

    metadata: Meta
    spec: DaemonSetSpec
    status: DaemonSetStatus = DaemonSetStatus()

    @property
    def template_generation(self) -> str | None:
        """Value that `pod-template-generation` has on up-to-date pods (behaviour.md 3.2)."""
        text = self.metadata.annotations.get(TEMPLATE_GENERATION_ANNOTATION, "")
        return text if text.isdigit() else None

    @property
    def strategy_type(self) -> str:
        """`RollingUpdate` or `OnDelete`."""
        return str(self.spec.update_strategy.get("type") or "RollingUpdate")


class Regarding(Struct, frozen=True):
    """`involvedObject` of an event."""

    uid: str = ""
    kind: str = ""
    name: str = ""


class ClusterEvent(Struct, frozen=True):
    """An event that a component of the cluster wrote (core/v1)."""

    metadata: Meta
    involved_object: Regarding = Regarding()
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: str | None = None
    event_time: str | None = None

    @property
    def at(self) -> float:
        """When it was last seen, seconds since the epoch; 0.0 when it does not say."""
        text = self.last_timestamp or self.event_time or self.metadata.creation_timestamp
        return parse_time(text) if text else 0.0


class Namespace(Struct, frozen=True):
    """A namespace; the UID of kube-system tells one cluster from another."""

    metadata: Meta


def parse_time(text: str) -> float:
    """Return an API time stamp as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def format_time(seconds: float) -> str:
    """Return seconds since the epoch as the API writes time stamps (UTC, whole seconds)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _affinity_target(affinity: JsonObject | None) -> str:
    required = ((affinity or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            values: list[str] = list(field.get("values") or [])
            named = field.get("key") == "metadata.name" and field.get("operator") == "In"
            if named and len(values) == 1:
                return values[0]
    return ""


def strategy_text(strategy: JsonObject) -> str:
    """Return a strategy block for a sentence: `RollingUpdate, maxUnavailable 1, maxSurge 0`."""
    parts = [str(strategy.get("type") or "RollingUpdate")]
    rolling = strategy.get("rollingUpdate") or {}
    parts += [f"{key} {rolling[key]}" for key in ("maxUnavailable", "maxSurge") if key in rolling]
    return ", ".join(parts)


def version_number(text: str) -> int:
    """Return a resource version as a number, for telling older from newer; 0 for one that is none.

    Comparable since Kubernetes 1.35.
    """
    return int(text) if text.isdecimal() else 0
