"""What the API server itself decides when an object of a kind is created or updated.

Which fields a writer may not touch through which endpoint, what status a fresh object has, and
when `metadata.generation` and the template generation of a DaemonSet rise (behaviour.md section
3.2). Pure functions on immutable objects.
"""

from __future__ import annotations

from typing import Final

from rollout.sim.resources import (
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PDBS,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Resource,
)
from rollout.sim.store import Object

TEMPLATE_GENERATION: Final = "deprecated.daemonset.template.generation"

WITH_GENERATION: Final = frozenset(
    (DAEMONSETS, DEPLOYMENTS, JOBS, PDBS, PODS, REPLICA_SETS, STATEFUL_SETS)
)
"""Kinds whose generation the server counts."""

NEEDS_VERSION_TO_UPDATE: Final = frozenset(
    ("leases", "poddisruptionbudgets", "customresourcedefinitions", "apiservices")
)
"""Plurals that a PUT without resourceVersion is refused for."""

_DAEMONSET_STATUS: Final[Object] = {
    "currentNumberScheduled": 0,
    "numberMisscheduled": 0,
    "desiredNumberScheduled": 0,
    "numberReady": 0,
}
_PDB_STATUS: Final[Object] = {
    "disruptionsAllowed": 0,
    "currentHealthy": 0,
    "desiredHealthy": 0,
    "expectedPods": 0,
}


def prepare_create(resource: Resource, obj: Object) -> Object:
    """Return the object with what the server decides at creation: status, generation."""
    if resource in WITH_GENERATION:
        obj = {**obj, "metadata": {**obj["metadata"], "generation": 1}}
    if resource is DAEMONSETS:
        return _with_template_generation(
            {**obj, "status": _DAEMONSET_STATUS}, max(1, template_generation(obj) or 1)
        )
    if resource is PODS:
        return {**obj, "status": {"phase": "Pending", "qosClass": qos_class(obj["spec"])}}
    if resource is PDBS:
        return {**obj, "status": _PDB_STATUS}
    if resource is NAMESPACES:
        return _new_namespace(obj)
    if resource is JOBS:
        return {**_new_job(obj), "status": {}}
    if resource.has_status and resource is not NODES:
        return {**obj, "status": {}}
    return obj


def prepare_update(resource: Resource, new: Object, old: Object, subresource: str) -> Object:
    """Return the new object with everything restored that this endpoint may not change."""
    if subresource == "status":
        return _status_update(resource, new, old)
    if resource.has_status:
        new = _with_part(new, old, "status")
    if resource is DAEMONSETS:
        return _daemonset_update(new, old)
    if resource is NAMESPACES and not subresource:
        return _with_part(new, old, "spec")  # its finalizers change through `finalize` only
    if resource in WITH_GENERATION and new.get("spec") != old.get("spec"):
        return _next_generation(new)
    return new


def template_generation(daemonset: Object) -> int | None:
    """Return the template generation from the annotation, None when absent or malformed."""
    text = (daemonset["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION)
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None


def qos_class(spec: Object) -> str:
    """Return the pod's quality of service class from the resources of its containers."""
    containers = [*spec.get("containers", ()), *spec.get("initContainers", ())]
    parts = [container.get("resources") or {} for container in containers]
    if not any(part.get("requests") or part.get("limits") for part in parts):
        return "BestEffort"
    return "Guaranteed" if all(map(_is_guaranteed, parts)) else "Burstable"


def _is_guaranteed(resources: Object) -> bool:
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or limits
    return all(name in limits and requests.get(name) == limits[name] for name in ("cpu", "memory"))


def _status_update(resource: Resource, new: Object, old: Object) -> Object:
    restored = {**old, "metadata": new["metadata"]}
    if "status" in new:
        restored["status"] = new["status"]
    else:
        restored.pop("status", None)
    if resource is PODS:
        # Old kubelets sent owner references that they did not understand back truncated.
        restored["metadata"] = _keep(new["metadata"], old["metadata"], "ownerReferences")
        if "qosClass" in old.get("status", {}):
            qos = old["status"]["qosClass"]
            restored["status"] = {**restored.get("status", {}), "qosClass": qos}
    return restored


def _keep(new: Object, old: Object, key: str) -> Object:
    if new.get(key) == old.get(key):
        return new
    kept = {name: value for name, value in new.items() if name != key}
    if key in old:
        kept[key] = old[key]
    return kept


def _with_part(new: Object, old: Object, part: str) -> Object:
    if new.get(part) is old.get(part):
        return new
    return _keep(new, old, part)


def _daemonset_update(new: Object, old: Object) -> Object:
    generation = template_generation(old) or 1
    if new["spec"] is old["spec"] or new["spec"] == old["spec"]:
        return _with_template_generation(new, generation)
    if new["spec"].get("template") != old["spec"].get("template"):
        generation += 1
    return _next_generation(_with_template_generation(new, generation))


def _next_generation(obj: Object) -> Object:
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "generation": metadata.get("generation", 0) + 1}}


def _with_template_generation(daemonset: Object, generation: int) -> Object:
    metadata = daemonset["metadata"]
    annotations = metadata.get("annotations") or {}
    if annotations.get(TEMPLATE_GENERATION) == str(generation):
        return daemonset
    annotations = {**annotations, TEMPLATE_GENERATION: str(generation)}
    return {**daemonset, "metadata": {**metadata, "annotations": annotations}}


def _new_job(job: Object) -> Object:
    """Let a Job select the pods that carry its uid, unless its writer chose a selector."""
    spec, metadata = job.get("spec") or {}, job["metadata"]
    if spec.get("manualSelector"):
        return job
    uid, name = metadata["uid"], metadata["name"]
    template = spec.get("template") or {}
    template_metadata = template.get("metadata") or {}
    labels = {
        **(template_metadata.get("labels") or {}),
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    template = {**template, "metadata": {**template_metadata, "labels": labels}}
    return {**job, "spec": {**spec, "selector": selector, "template": template}}


def _new_namespace(namespace: Object) -> Object:
    metadata = namespace["metadata"]
    labels = {
        **(metadata.get("labels") or {}),
        "kubernetes.io/metadata.name": metadata.get("name", ""),
    }
    return {
        **namespace,
        "metadata": {**metadata, "labels": labels},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }
