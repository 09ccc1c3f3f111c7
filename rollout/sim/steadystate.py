"""Build a cluster as if it had run for days: nodes Ready, every pod in its place and up to date.

Nothing is simulated for it. The first pod of a DaemonSet goes through the registry like any other;
the others are copies that share all but what names their node, so that 100,000 of them take
seconds and little memory.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rollout.fleet.eligibility import compile_requirements, evaluate
from rollout.fleet.objects import TEMPLATE_GENERATION_ANNOTATION, parse_time
from rollout.sim.clock import VirtualClock
from rollout.sim.components import SCHEDULER, kubelet_caller
from rollout.sim.controllers.daemoncache import node_facts
from rollout.sim.controllers.daemonstatus import next_status
from rollout.sim.controllers.daemonview import Totals
from rollout.sim.controllers.decisions import Target
from rollout.sim.controllers.podtemplate import PodTemplate, node_affinity_to
from rollout.sim.controllers.revisions import RevisionHistory
from rollout.sim.fleetfile import ZONE_LABEL, DaemonSetEntry, Fleet, NodeGroup, User
from rollout.sim.images import Images
from rollout.sim.kubelet import AddressPool
from rollout.sim.nodeobjects import CAPACITY, REGION_LABEL, node_body
from rollout.sim.nodestatus import ready_conditions, unknown_conditions, with_conditions
from rollout.sim.podstatus import (
    conditions,
    container_id,
    container_status,
    read_runs,
    running,
    unready_status,
)
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import (
    BY_KIND,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    NAMESPACES,
    NODES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
)
from rollout.sim.store import Object
from rollout.sim.timestamps import rfc3339

DAY: Final = 86_400.0
NODE_AGE: Final = 30 * DAY
DAEMON_SET_AGE: Final = 10 * DAY
POD_AGE: Final = 2 * DAY
ADMIN: Final = Caller(
    "kubernetes-admin", ("system:masters", "system:authenticated"), "kubectl-create"
)
UNREACHABLE: Final = "node.kubernetes.io/unreachable"


class SteadyState:
    """Fills an empty cluster from a fleet description."""

    def __init__(
        self,
        registry: Registry,
        controller: Caller,
        addresses: AddressPool,
        images: Images,
        now: float,
    ) -> None:
        """Prepare.

        Args:
            registry: of the empty cluster; its clock must be `clock`'s.
            controller: in whose name pods and revisions are made.
            addresses: gives pods their addresses.
            images: tell how long a pod took to become ready.
            now: when the simulation starts; everything is older.
        """
        self._registry = registry
        self._controller = controller
        self._addresses = addresses
        self._starts = _Starts(images)
        self._now = now
        self._clock = VirtualClock(now - NODE_AGE)
        self._lost: set[str] = set()

    def build(self, fleet: Fleet) -> list[str]:
        """Build everything; returns the names of the nodes that are down."""
        present, self._registry.clock = self._registry.clock, self._clock
        try:
            number = 0
            for group in fleet.nodes:
                for name in group.names():
                    self._node(group, name, number)
                    number += 1
            for body in fleet.objects:
                self._object(body)
            for user in fleet.users:
                self._rights(user)
            for entry in fleet.daemon_sets:
                self._daemon_set(entry)
        finally:
            self._registry.clock = present
        return sorted(self._lost)

    def _age(self, seconds: float) -> None:
        """Turn the clock to that long before the start."""
        self._clock = self._registry.clock = VirtualClock(self._now - seconds)

    def _node(self, group: NodeGroup, name: str, number: int) -> None:
        zone = group.zones[number % len(group.zones)] if group.zones else ""
        node = node_body(name, number, zone=zone, labels=group.labels)
        reported = ready_conditions(ready=True) if group.ready else unknown_conditions()
        if not group.ready:
            self._lost.add(name)
        status = {**node["status"]}
        if group.allocatable:
            status["allocatable"] = {**CAPACITY, **group.allocatable}
        stamp = rfc3339(self._clock.now())
        metadata = {
            **node["metadata"],
            "uid": self._registry.new_uid(),
            "creationTimestamp": stamp,
            **({"annotations": group.annotations} if group.annotations else {}),
        }
        obj = {
            **node,
            "metadata": metadata,
            "spec": _node_spec(group),
            "status": with_conditions(status, reported, stamp),
        }
        self._registry.store.put(NODES, ("", name), obj)

    def _object(self, body: Object) -> None:
        resource = BY_KIND.get((body.get("apiVersion", ""), body.get("kind", "")))
        if resource is None:
            raise ValueError(f"kind {body.get('kind')} of {body.get('apiVersion')} is not served")
        namespace = ""
        if resource.namespaced:
            namespace = (body.get("metadata") or {}).get("namespace") or "default"
            self._namespace(namespace)
        self._registry.create(resource, namespace, body, ADMIN)

    def _namespace(self, name: str) -> None:
        if self._registry.store.get(NAMESPACES, ("", name)) is None:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            self._registry.create(NAMESPACES, "", body, ADMIN)

    # Users

    def _rights(self, user: User) -> None:
        for number, rule in enumerate(user.rules):
            name = f"fleet:{user.name}:{number}"
            body = {
                "verbs": list(rule.verbs),
                "apiGroups": list(rule.api_groups),
                "resources": list(rule.resources),
                "resourceNames": list(rule.resource_names),
                "nonResourceURLs": list(rule.non_resource_urls),
            }
            rules = [{key: value for key, value in body.items() if value}]
            for namespace in rule.namespaces or ("",):
                self._grant(user, name, rules, namespace)

    def _grant(self, user: User, name: str, rules: list[Object], namespace: str) -> None:
        role, binding = (
            (ROLES, ROLE_BINDINGS)
            if namespace
            else (
                CLUSTER_ROLES,
                CLUSTER_ROLE_BINDINGS,
            )
        )
        if namespace:
            self._namespace(namespace)
        group = "rbac.authorization.k8s.io"
        self._registry.create(role, namespace, {"metadata": {"name": name}, "rules": rules}, ADMIN)
        self._registry.create(
            binding,
            namespace,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": role.kind, "name": name},
                "subjects": [{"apiGroup": group, "kind": "User", "name": user.name}],
            },
            ADMIN,
        )

    # DaemonSets

    def _daemon_set(self, entry: DaemonSetEntry) -> None:
        body = entry.body()
        namespace = body["metadata"].get("namespace") or "default"
        self._namespace(namespace)
        self._age(DAEMON_SET_AGE)
        nodes = list(self._eligible(body))
        split = entry.updated_nodes(len(nodes))
        image = body["spec"]["template"]["spec"]["containers"][0]["image"]
        first = _with_image(body, entry.previous_image) if entry.previous_image else body
        daemon_set = self._registry.create(DAEMONSETS, namespace, first, ADMIN)
        target = self._record(daemon_set)
        updated = len(nodes)
        if entry.previous_image:
            self._pods(daemon_set, target, nodes[split:], POD_AGE)
            daemon_set = self._registry.update(
                DAEMONSETS,
                namespace,
                daemon_set["metadata"]["name"],
                {**daemon_set, "spec": _with_image(daemon_set, image)["spec"]},
                ADMIN,
            )
            target = self._record(daemon_set)
            updated = split
        self._pods(daemon_set, target, nodes[:updated], POD_AGE)
        self._status(daemon_set, nodes, nodes[:updated])

    def _eligible(self, body: Object) -> Iterator[str]:
        """Yield the nodes that run the pod, or did before they were lost."""
        requirements = compile_requirements(body["spec"]["template"])
        for node in self._registry.store.scan(NODES):
            name = node["metadata"]["name"]
            facts = node_facts(node)
            taints = tuple(t for t in facts.taints if t.key != UNREACHABLE)
            verdict = evaluate(requirements, name=name, labels=facts.labels, taints=taints)
            if verdict.should_run:
                yield name

    def _record(self, daemon_set: Object) -> Target:
        history = RevisionHistory(self._registry, self._controller).construct(
            daemon_set, self._revisions(daemon_set), ()
        )
        annotations = daemon_set["metadata"]["annotations"]
        return Target(history.hash, annotations[TEMPLATE_GENERATION_ANNOTATION])

    def _revisions(self, daemon_set: Object) -> list[Object]:
        uid = daemon_set["metadata"]["uid"]
        namespace = daemon_set["metadata"]["namespace"]
        return [
            revision
            for revision in self._registry.store.scan(CONTROLLER_REVISIONS, namespace)
            if any(o["uid"] == uid for o in revision["metadata"].get("ownerReferences") or ())
        ]

    def _pods(self, daemon_set: Object, target: Target, nodes: Sequence[str], age: float) -> None:
        if not nodes:
            return
        self._age(age)
        first = self._first_pod(daemon_set, target, nodes[0])
        copies = _Copies(first, self._registry, self._addresses, self._starts)
        for node in nodes:
            if node != nodes[0]:
                copies.put(node, lost=node in self._lost)
        if nodes[0] in self._lost:
            copies.mark_lost(first)

    def _first_pod(self, daemon_set: Object, target: Target, node: str) -> Object:
        """Make one pod the ordinary way, up to Ready."""
        namespace = daemon_set["metadata"]["namespace"]
        template = PodTemplate(daemon_set, target)
        pod = self._registry.create(PODS, namespace, template.for_node(node), self._controller)
        name = pod["metadata"]["name"]
        self._registry.bind(namespace, name, node, SCHEDULER)
        pod = self._registry.get(PODS, namespace, name)
        stamp = rfc3339(self._clock.now())
        runs = read_runs(pod)
        for run in runs:
            run.state, run.ready, run.pulled = running(stamp), True, True
        status = {
            **pod["status"],
            "phase": "Running",
            "conditions": _ready_since(
                conditions(
                    pod["status"].get("conditions") or (), runs, stamp, sandbox=True, ended=""
                ),
                rfc3339(self._clock.now() + self._starts.draw(pod, node)),
            ),
            **self._addresses.take(self._registry.store.get(NODES, ("", node))),
            "startTime": stamp,
            "containerStatuses": [container_status(run, pod["metadata"]["uid"]) for run in runs],
        }
        return self._registry.update_status(PODS, pod, status, kubelet_caller(node))

    def _status(self, daemon_set: Object, nodes: Sequence[str], updated: Sequence[str]) -> None:
        alive = [node for node in nodes if node not in self._lost]
        lost = len(nodes) - len(alive)
        totals = Totals(
            desired=len(alive),
            current=len(alive),
            misscheduled=lost,
            ready=len(alive),
            updated=sum(1 for node in updated if node not in self._lost),
            available=len(alive),
        )
        meta = daemon_set["metadata"]
        status = next_status(daemon_set["status"], totals, meta["generation"])
        self._registry.update_status(DAEMONSETS, daemon_set, status, self._controller)


class _Copies:
    """Pods like a first one, on other nodes."""

    def __init__(
        self, first: Object, registry: Registry, addresses: AddressPool, starts: _Starts
    ) -> None:
        self._first = first
        self._registry = registry
        self._addresses = addresses
        self._starts = starts
        self._began = parse_time(first["metadata"]["creationTimestamp"])
        self._conditions: dict[str, list[Object]] = {}  # those of a time are one object
        self._labels: dict[str, dict[str, str]] = {}

    def put(self, node: str, *, lost: bool) -> None:
        """Store the pod of one more node."""
        node_object = self._registry.store.get(NODES, ("", node))
        assert node_object is not None
        meta, spec = self._first["metadata"], self._first["spec"]
        uid = self._registry.new_uid()
        namespace = meta["namespace"]
        name = self._registry.generate_name(PODS, namespace, meta["generateName"])
        affinity = {
            **spec["affinity"],
            "nodeAffinity": {**spec["affinity"]["nodeAffinity"], **node_affinity_to(node)},
        }
        pod = {
            **self._first,
            "metadata": {
                **meta,
                "name": name,
                "uid": uid,
                "labels": self._labels_for(node_object),
            },
            "spec": {**spec, "nodeName": node, "affinity": affinity},
            "status": {
                **self._first["status"],
                "conditions": self._conditions_on(node),
                **self._addresses.take(node_object),
                "containerStatuses": [
                    {**status, "containerID": container_id(uid, status["name"], 0)}
                    for status in self._first["status"]["containerStatuses"]
                ],
            },
        }
        stored = self._registry.store.put(PODS, (namespace, name), pod)
        if lost:
            self.mark_lost(stored)

    def _conditions_on(self, node: str) -> list[Object]:
        """Return the conditions of a pod that took as long to become ready as they do there."""
        since = rfc3339(self._began + self._starts.draw(self._first, node))
        if since not in self._conditions:
            self._conditions[since] = _ready_since(self._first["status"]["conditions"], since)
        return self._conditions[since]

    def mark_lost(self, pod: Object) -> None:
        """Let the pod be unready, as on a node that is down."""
        meta = pod["metadata"]
        changed = {**pod, "status": unready_status(pod["status"], None)}
        self._registry.store.put(PODS, (meta["namespace"], meta["name"]), changed)

    def _labels_for(self, node: Object) -> dict[str, str]:
        """Return the labels of a pod on the node: equal ones are one object."""
        labels = node["metadata"]["labels"]
        topology = {key: labels[key] for key in (ZONE_LABEL, REGION_LABEL) if key in labels}
        key = "/".join(topology.values())
        known = self._labels.get(key)
        if known is None:
            own = self._first["metadata"]["labels"]
            rest = {k: v for k, v in own.items() if k not in (ZONE_LABEL, REGION_LABEL)}
            known = self._labels[key] = {**rest, **topology}
        return known


class _Starts:
    """How long pods took from their creation to their readiness.

    Drawn from a source of its own: what the simulation draws from then on is the same without it.
    """

    def __init__(self, images: Images) -> None:
        self._images = images
        self._rng = random.Random("starts of the first pods")  # noqa: S311 - a simulation

    def draw(self, pod: Object, node: str) -> float:
        """Return the seconds of one pod."""
        behaviours = (
            self._images.behaviour(container["image"], node)
            for container in pod["spec"]["containers"]
        )
        return max(b.start.draw(self._rng) for b in behaviours if b.start is not None)


def _ready_since(conditions: Sequence[Object], since: str) -> list[Object]:
    """Return the conditions with another time at which the pod became ready."""
    return [
        {**c, "lastTransitionTime": since} if c["type"] in ("Ready", "ContainersReady") else c
        for c in conditions
    ]


def _node_spec(group: NodeGroup) -> Object:
    taints: list[dict[str, Any]] = [
        {"key": t.key, "effect": t.effect, **({"value": t.value} if t.value else {})}
        for t in group.taints
    ]
    if group.unschedulable:
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    if not group.ready:
        taints += [{"key": UNREACHABLE, "effect": e} for e in ("NoSchedule", "NoExecute")]
    spec: Object = {"taints": taints} if taints else {}
    return {**spec, "unschedulable": True} if group.unschedulable else spec


def _with_image(daemon_set: Mapping[str, Any], image: str) -> Object:
    """Return the manifest with the first container's image replaced."""
    spec = daemon_set["spec"]
    pod_spec = spec["template"]["spec"]
    first, *others = pod_spec["containers"]
    containers = [{**first, "image": image}, *others]
    template = {**spec["template"], "spec": {**pod_spec, "containers": containers}}
    return {**daemon_set, "spec": {**spec, "template": template}}
