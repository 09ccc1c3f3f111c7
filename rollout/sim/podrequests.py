"""The two requests that only pods take: to be bound to a node, and to be evicted."""

from __future__ import annotations

from dataclasses import replace

from rollout.sim import admission, deletion, podactions, selectors
from rollout.sim.deletion import DeleteOptions
from rollout.sim.registry import DEFAULT_OPTIONS, Caller, Registry
from rollout.sim.resources import PDBS, PODS


def bind(
    registry: Registry, namespace: str, name: str, node: str, *, dry_run: bool = False
) -> None:
    """Bind a pod to a node, as a scheduler does; that changes no field manager, whoever asks.

    Raises:
        StatusError: 404; 409 when it is bound already or terminating.
    """
    pod = registry.get(PODS, namespace, name)
    labels = admission.topology_labels(registry.store, registry.admission, node)
    bound = podactions.bound(pod, node, labels, registry.clock.now())
    if not dry_run:
        registry.store.put(PODS, (namespace, name), bound)


def evict(
    registry: Registry,
    namespace: str,
    name: str,
    caller: Caller,
    options: DeleteOptions = DEFAULT_OPTIONS,
    *,
    dry_run: bool = False,
) -> None:
    """Delete a pod if its disruption budget allows it.

    Raises:
        StatusError: 404; 409 on a precondition; 429 when the budget does not allow it; 500
            when several budgets match.
    """
    pod, now = registry.get(PODS, namespace, name), registry.clock.now()
    deletion.check_preconditions(PODS, pod, options)
    labels = pod["metadata"].get("labels")
    budgets = [
        budget
        for budget in registry.store.scan(PDBS, namespace)
        if selectors.labels_match(budget["spec"].get("selector"), labels)
    ]
    budget = podactions.spend_budget(pod, budgets, now)
    if dry_run:
        return
    if budget is not None:
        registry.update_status(PDBS, budget, budget["status"], caller)
    if "deletionTimestamp" not in pod["metadata"]:
        body = podactions.disrupted(pod, now)
        registry.update(PODS, namespace, name, body, caller, subresource="status")
    unversioned = replace(options, resource_version=None)
    registry.delete(PODS, namespace, name, caller, unversioned)
