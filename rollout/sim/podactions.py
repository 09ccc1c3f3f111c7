"""The two subresources of pods that are verbs: binding and eviction.

Pure: they say what the pod and its disruption budget become, or refuse with the API server's
words (behaviour.md section 8.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rollout.sim import timestamps
from rollout.sim.errors import StatusError
from rollout.sim.store import Object

CANNOT_EVICT: Final = "Cannot evict pod as it would violate the pod's disruption budget."
LAGGING_RETRY: Final = 10  # seconds, when the budget's status is behind its spec
MAX_DISRUPTED: Final = 2000  # pods whose eviction the controller has not confirmed


def bound(pod: Object, node: str, labels: dict[str, str], now: float) -> Object:
    """Return the pod as it is once bound to the node.

    Args:
        pod: the stored pod.
        node: where it goes.
        labels: what it takes over from the node.
        now: seconds since the Unix epoch.

    Raises:
        StatusError: 409 when it is bound already or on its way out.
    """
    metadata = pod["metadata"]
    name = metadata["name"]
    if "deletionTimestamp" in metadata:
        raise _binding_conflict(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if current := pod["spec"].get("nodeName"):
        why = f'pod {name} is already assigned to node "{current}"'
        raise _binding_conflict(name, why)
    if labels:
        metadata = {**metadata, "labels": {**labels, **(metadata.get("labels") or {})}}
    return {
        **pod,
        "metadata": metadata,
        "spec": {**pod["spec"], "nodeName": node},
        "status": _with_condition(
            pod["status"],
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": timestamps.rfc3339(now),
            },
        ),
    }


def _binding_conflict(name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return StatusError(409, "Conflict", message, {"name": name, "kind": "pods/binding"})


def _with_condition(status: Object, condition: Object) -> Object:
    others = [
        other for other in status.get("conditions") or () if other["type"] != condition["type"]
    ]
    return {**status, "conditions": [*others, condition]}


def disrupted(pod: Object, now: float) -> Object:
    """Return the pod with the condition that says who ends it."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": timestamps.rfc3339(now),
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    return {**pod, "status": _with_condition(pod["status"], condition)}


def spend_budget(pod: Object, budgets: Sequence[Object], now: float) -> Object | None:
    """Return the budget as it is after this eviction, None when no budget is touched.

    Args:
        pod: the pod to evict.
        budgets: the PodDisruptionBudgets whose selector matches it.
        now: seconds since the Unix epoch.

    Raises:
        StatusError: 429 when the budget does not allow it, 500 when there are several.
    """
    if _beyond_budgets(pod) or not budgets:
        return None
    if len(budgets) > 1:
        raise StatusError(
            500,
            "",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource "
            "does not support.",
        )
    budget = budgets[0]
    if not _is_ready(pod) and _spares_unready(budget):
        return None
    return _decremented(budget, pod["metadata"]["name"], now)


def _beyond_budgets(pod: Object) -> bool:
    if "deletionTimestamp" in pod["metadata"]:
        return True
    return pod["status"].get("phase") in ("Pending", "Succeeded", "Failed")


def _is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions") or ()
    )


def _spares_unready(budget: Object) -> bool:
    if budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status", {})
    desired = status.get("desiredHealthy", 0)
    return bool(desired > 0 and status.get("currentHealthy", 0) >= desired)


def _decremented(budget: Object, pod_name: str, now: float) -> Object:
    name = budget["metadata"]["name"]
    status = budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        cause = f"The disruption budget {name} is still being processed by the server."
        raise _too_many(cause, LAGGING_RETRY)
    disrupted_pods = status.get("disruptedPods") or {}
    if len(disrupted_pods) > MAX_DISRUPTED:
        raise StatusError(
            403,
            "Forbidden",
            f'poddisruptionbudget.policy "{name}" is forbidden: DisruptedPods map too big - too '
            "many evictions not confirmed by PDB controller",
            {"name": name, "group": "policy", "kind": "poddisruptionbudget"},
        )
    allowed = status.get("disruptionsAllowed", 0)
    if allowed == 0:
        raise _too_many(_why_exhausted(name, status), 0)
    status = {
        **status,
        "disruptionsAllowed": allowed - 1,
        "disruptedPods": {**disrupted_pods, pod_name: timestamps.rfc3339(now)},
    }
    if allowed == 1:
        status = _exhausted(status, budget["metadata"].get("generation", 0), now)
    return {**budget, "status": status}


def _why_exhausted(name: str, status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition["type"] == "DisruptionAllowed" and condition["reason"] == "SyncFailed":
            return (
                f"The disruption budget {name} does not allow evicting pods currently because it "
                f"failed sync: {condition['message']}"
            )
    return (
        f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and "
        f"has {status.get('currentHealthy', 0)} currently"
    )


def _exhausted(status: Object, generation: int, now: float) -> Object:
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": generation,
        "lastTransitionTime": timestamps.rfc3339(now),
        "reason": "InsufficientPods",
        "message": "",
    }
    return _with_condition(status, condition)


def _too_many(cause: str, retry_after: int) -> StatusError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
    return StatusError(
        429, "TooManyRequests", CANNOT_EVICT, details, retry_after=retry_after or None
    )
