"""Evictions: a pod is deleted if its disruption budget allows it."""

from __future__ import annotations

from dataclasses import replace

from rollout.sim import deletion, podactions, selectors
from rollout.sim.deletion import DeleteOptions
from rollout.sim.registry import DEFAULT_OPTIONS, Caller, Registry
from rollout.sim.resources import PDBS, PODS


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
