"""What the API server's built-in admission plugins do to objects before they are stored.

Pure but for reading other objects: priority of pods, tolerations every pod gets, the taint of a
fresh node, topology labels of a bound pod, and the refusal to create things in a namespace that
is missing or on its way out. Each rule can be switched off, as the plugins can.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rollout.sim.errors import StatusError
from rollout.sim.resources import NAMESPACES, NODES, PODS, PRIORITY_CLASSES, Resource
from rollout.sim.store import Object, Store

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
IMMORTAL: Final = ("default", "kube-public", "kube-system")  # NamespaceLifecycle
TOLERATION_SECONDS: Final = 300  # DefaultTolerationSeconds
TOPOLOGY_LABELS: Final = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


@dataclass(frozen=True, slots=True)
class Admission:
    """Which plugins run."""

    taint_new_nodes: bool = True  # TaintNodesByCondition
    default_tolerations: bool = True  # DefaultTolerationSeconds
    topology_labels: bool = True  # PodTopologyLabels


def check_namespace(store: Store, resource: Resource, namespace: str, name: str) -> None:
    """Refuse to create in a namespace that does not exist or is being deleted.

    Raises:
        StatusError: 404 for a missing namespace, 403 for a terminating one.
    """
    found = store.get(NAMESPACES, ("", namespace))
    if found is None:
        raise StatusError(
            404,
            "NotFound",
            f'namespaces "{namespace}" not found',
            {"name": namespace, "kind": "namespaces"},
        )
    if "deletionTimestamp" in found["metadata"]:
        raise _terminating(resource, namespace, name)


def _terminating(resource: Resource, namespace: str, name: str) -> StatusError:
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    details: Object = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    details["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    message = f'{resource.group_resource} "{name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, details)


def check_delete(resource: Resource, name: str) -> None:
    """Refuse to delete a namespace that every cluster has.

    Raises:
        StatusError: 403.
    """
    if resource is NAMESPACES and name in IMMORTAL:
        raise StatusError(
            403,
            "Forbidden",
            f'namespaces "{name}" is forbidden: this namespace may not be deleted',
            {"name": name, "kind": "namespaces"},
        )


def admit_create(store: Store, rules: Admission, resource: Resource, obj: Object) -> Object:
    """Return the object as the mutating plugins leave it.

    Raises:
        StatusError: 403 when a pod names a priority class that does not exist.
    """
    if resource is PODS:
        return _admit_pod(store, rules, obj)
    if resource is NODES and rules.taint_new_nodes:
        return _with_not_ready_taint(obj)
    return obj


def _admit_pod(store: Store, rules: Admission, pod: Object) -> Object:
    spec = pod["spec"]
    changes = _priority(store, pod)
    if rules.default_tolerations:
        tolerations = spec.get("tolerations", [])
        missing = [key for key in (NOT_READY, UNREACHABLE) if not _tolerates(tolerations, key)]
        if missing:
            changes["tolerations"] = [*tolerations, *map(_for_a_while, missing)]
    if all(spec.get(key) == value for key, value in changes.items()):
        return pod
    return {**pod, "spec": {**spec, **changes}}


def _priority(store: Store, pod: Object) -> Object:
    spec = pod["spec"]
    name = spec.get("priorityClassName")
    if not name:
        return {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
    found = store.get(PRIORITY_CLASSES, ("", name))
    if found is None:
        pod_name = pod["metadata"].get("name", "")
        raise StatusError(
            403,
            "Forbidden",
            f'pods "{pod_name}" is forbidden: no PriorityClass with name {name} was found',
            {"name": pod_name, "kind": "pods"},
        )
    policy = found.get("preemptionPolicy", "PreemptLowerPriority")
    return {"priority": found.get("value", 0), "preemptionPolicy": policy}


def _tolerates(tolerations: list[Object], key: str) -> bool:
    return any(
        toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")
        for toleration in tolerations
    )


def _for_a_while(key: str) -> Object:
    return {
        "key": key,
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": TOLERATION_SECONDS,
    }


def _with_not_ready_taint(node: Object) -> Object:
    spec = node.get("spec", {})
    taints = spec.get("taints", [])
    if any(taint["key"] == NOT_READY and taint["effect"] == "NoSchedule" for taint in taints):
        return node
    taint = {"key": NOT_READY, "effect": "NoSchedule"}
    return {**node, "spec": {**spec, "taints": [*taints, taint]}}


def topology_labels(store: Store, rules: Admission, node: str) -> dict[str, str]:
    """Return the labels that a pod gets from its node when it is bound."""
    found = store.get(NODES, ("", node)) if rules.topology_labels else None
    if found is None:
        return {}
    labels = found["metadata"].get("labels", {})
    return {key: labels[key] for key in TOPOLOGY_LABELS if key in labels}
