"""What the DaemonSet controller knows of the cluster: its informer caches, by DaemonSet.

Fed with store events in order, it says which pods and revisions belong to which DaemonSet, which
orphans one may adopt and which owned objects it has to release. It writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rollout.fleet.eligibility import Requirements, compile_requirements
from rollout.fleet.objects import Taint
from rollout.fleet.selectors import Requirement, Selector
from rollout.sim.controllers.daemonview import DaemonView, NodeFacts
from rollout.sim.controllers.decisions import daemon_pod
from rollout.sim.resources import PODS
from rollout.sim.store import Event, Object


@dataclass(slots=True)
class Tracked:
    """One DaemonSet with everything that is its own."""

    object: Object
    selector: Selector
    requirements: Requirements
    view: DaemonView
    revisions: dict[str, Object] = field(default_factory=dict)
    adoptable: dict[str, Object] = field(default_factory=dict)  # pods
    adoptable_revisions: dict[str, Object] = field(default_factory=dict)
    to_release: dict[str, Object] = field(default_factory=dict)  # pods
    revisions_to_release: dict[str, Object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return object_key(self.object)

    @property
    def uid(self) -> str:
        """The UID of the DaemonSet."""
        return str(self.object["metadata"]["uid"])


def object_key(obj: Object) -> str:
    """Return `namespace/name`."""
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"


def controller_uid(obj: Object | None) -> str | None:
    """Return the UID of the controller that owns the object, or None."""
    for owner in (obj or {}).get("metadata", {}).get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return None


def label_selector(selector: Object) -> Selector:
    """Return the selector that an object carries, ready for matching."""
    labels: dict[str, str] = selector.get("matchLabels") or {}
    expressions: list[dict[str, Any]] = selector.get("matchExpressions") or []
    return Selector(
        (
            *(Requirement(key, "In", (value,)) for key, value in labels.items()),
            *(
                Requirement(e["key"], e["operator"], tuple(e.get("values") or ()))
                for e in expressions
            ),
        )
    )


def labels_of(obj: Object) -> dict[str, str]:
    """Return the labels of an object; none are an empty dict."""
    labels: dict[str, str] = obj["metadata"].get("labels") or {}
    return labels


def node_facts(node: Object) -> NodeFacts:
    """Read what eligibility looks at in a Node object."""
    taints = (node.get("spec") or {}).get("taints") or ()
    return NodeFacts(
        labels_of(node),
        tuple(Taint(t["key"], t["effect"], t.get("value") or "") for t in taints),
    )


class DaemonCache:
    """Nodes, DaemonSets, their pods and revisions, and what belongs to nobody."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.nodes: dict[str, NodeFacts] = {}
        self.tracked: dict[str, Tracked] = {}
        self._by_uid: dict[str, Tracked] = {}
        self._by_namespace: dict[str, dict[str, Tracked]] = {}
        self._orphan_pods: dict[str, dict[str, Object]] = {}
        self._orphan_revisions: dict[str, dict[str, Object]] = {}

    def owner(self, obj: Object | None) -> Tracked | None:
        """Return the DaemonSet that controls the object, if there is one."""
        uid = controller_uid(obj)
        return self._by_uid.get(uid) if uid is not None else None

    def matching(self, obj: Object) -> Iterator[Tracked]:
        """Yield the DaemonSets whose selector fits an orphan."""
        labels = labels_of(obj)
        for tracked in self._by_namespace.get(obj["metadata"]["namespace"], {}).values():
            if tracked.selector.matches(labels):
                yield tracked

    # DaemonSets

    def put_daemon_set(self, obj: Object) -> Tracked:
        """Take a new or changed DaemonSet."""
        tracked = self.tracked.get(object_key(obj))
        if tracked is not None and tracked.uid != obj["metadata"]["uid"]:
            self.drop_daemon_set(tracked.object)
            tracked = None
        if tracked is None:
            return self._track(obj)
        if obj["spec"]["template"] != tracked.object["spec"]["template"]:
            tracked.requirements = compile_requirements(obj["spec"]["template"])
        tracked.object = obj
        return tracked

    def drop_daemon_set(self, obj: Object) -> None:
        """Forget a DaemonSet that is gone."""
        tracked = self.tracked.pop(object_key(obj), None)
        if tracked is not None:
            self._by_uid.pop(tracked.uid, None)
            self._by_namespace[obj["metadata"]["namespace"]].pop(tracked.key, None)

    def _track(self, obj: Object) -> Tracked:
        tracked = Tracked(
            obj,
            label_selector(obj["spec"]["selector"]),
            compile_requirements(obj["spec"]["template"]),
            DaemonView(self.nodes, self._rng),
        )
        namespace = obj["metadata"]["namespace"]
        self.tracked[tracked.key] = self._by_uid[tracked.uid] = tracked
        self._by_namespace.setdefault(namespace, {})[tracked.key] = tracked
        for pod in self._orphan_pods.get(namespace, {}).values():
            if tracked.selector.matches(labels_of(pod)):
                tracked.adoptable[pod["metadata"]["name"]] = pod
        for revision in self._orphan_revisions.get(namespace, {}).values():
            if tracked.selector.matches(labels_of(revision)):
                tracked.adoptable_revisions[revision["metadata"]["name"]] = revision
        return tracked

    # Nodes

    def put_node(self, node: Object) -> None:
        """Take a new node, or one whose labels or taints changed."""
        name = node["metadata"]["name"]
        self.nodes[name] = node_facts(node)
        self._node_changed(name)

    def drop_node(self, name: str) -> None:
        """Forget a node that is gone."""
        self.nodes.pop(name, None)
        self._node_changed(name)

    def _node_changed(self, name: str) -> None:
        for tracked in self.tracked.values():
            tracked.view.node_changed(name)

    # Pods and revisions

    def put(self, event: Event) -> None:
        """Take a change of a pod or a revision."""
        obj, name = event.object, event.key[1]
        before = self.owner(event.old)
        after = self.owner(obj) if event.type != "DELETED" else None
        is_pod = event.resource is PODS
        if before is not None and before is not after:
            self._disown(before, name, is_pod=is_pod)
        if after is not None:
            self._own(after, obj, is_pod=is_pod)
        self._place_orphan(event, is_pod=is_pod)

    def _own(self, tracked: Tracked, obj: Object, *, is_pod: bool) -> None:
        name = obj["metadata"]["name"]
        if not tracked.selector.matches(labels_of(obj)):
            self._disown(tracked, name, is_pod=is_pod)
            (tracked.to_release if is_pod else tracked.revisions_to_release)[name] = obj
            return
        if is_pod:
            tracked.to_release.pop(name, None)
            tracked.view.put_pod(daemon_pod(obj))
        else:
            tracked.revisions_to_release.pop(name, None)
            tracked.revisions[name] = obj

    def _disown(self, tracked: Tracked, name: str, *, is_pod: bool) -> None:
        if is_pod:
            tracked.view.drop_pod(name)
            tracked.to_release.pop(name, None)
        else:
            tracked.revisions.pop(name, None)
            tracked.revisions_to_release.pop(name, None)

    def _place_orphan(self, event: Event, *, is_pod: bool) -> None:
        """Keep the lists of what may be adopted, and by whom."""
        obj, (namespace, name) = event.object, event.key
        orphans = (self._orphan_pods if is_pod else self._orphan_revisions).setdefault(
            namespace, {}
        )
        was = orphans.pop(name, None)
        if was is not None:
            for tracked in self.matching(was):
                (tracked.adoptable if is_pod else tracked.adoptable_revisions).pop(name, None)
        if event.type == "DELETED" or controller_uid(obj) is not None:
            return
        orphans[name] = obj
        if "deletionTimestamp" in obj["metadata"]:
            return
        for tracked in self.matching(obj):
            (tracked.adoptable if is_pod else tracked.adoptable_revisions)[name] = obj
