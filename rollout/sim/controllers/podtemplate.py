"""The pods that a DaemonSet's template makes, one per node (behaviour.md 1.2, 1.4, 3.2, 6.2).

All pods of one template share every part that does not name the node: 100,000 pods would not fit
into memory otherwise.
"""

from __future__ import annotations

from typing import Any

from rollout.fleet.eligibility import automatic_tolerations
from rollout.fleet.objects import HASH_LABEL, TEMPLATE_GENERATION_LABEL
from rollout.sim.controllers.decisions import Target
from rollout.sim.resources import DAEMONSETS
from rollout.sim.store import Object


def controller_reference(owner: Object, api_version: str, kind: str) -> Object:
    """Return the ownerReferences entry that makes `owner` the controller of an object."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def node_affinity_to(node: str) -> Object:
    """Return the node affinity that sends a pod to one node."""
    return {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
            ]
        }
    }


class PodTemplate:
    """The pod of one DaemonSet at one revision, ready to be made for any node."""

    def __init__(self, daemon_set: Object, target: Target) -> None:
        meta, template = daemon_set["metadata"], daemon_set["spec"]["template"]
        template_meta: dict[str, Any] = template.get("metadata") or {}
        labels = dict(template_meta.get("labels") or {})
        if target.generation:
            labels[TEMPLATE_GENERATION_LABEL] = target.generation
        if target.hash:
            labels[HASH_LABEL] = target.hash
        self._meta: Object = {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels,
            "ownerReferences": [
                controller_reference(daemon_set, DAEMONSETS.api_version, DAEMONSETS.kind)
            ],
        }
        for name in ("annotations", "finalizers"):
            if template_meta.get(name):
                self._meta[name] = template_meta[name]
        spec = template["spec"]
        self._spec = {**spec, "tolerations": automatic_tolerations(spec)}
        self._affinity: Object = spec.get("affinity") or {}

    def for_node(self, node: str) -> Object:
        """Return the body of the pod for this node."""
        node_affinity: Object = {
            **(self._affinity.get("nodeAffinity") or {}),
            **node_affinity_to(node),
        }
        affinity = {**self._affinity, "nodeAffinity": node_affinity}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": dict(self._meta),
            "spec": {**self._spec, "affinity": affinity},
        }
