"""Limits resolved to numbers, by Kubernetes' rules, each with the base that it was taken of.

Sources: behaviour.md 2.1 (percentages round up) and 2.6 (exactly one limit is non-zero).
"""

from __future__ import annotations

from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Limit
from rollout.quantity import Amount, parse_amount
from rollout.spec import DaemonSetItem, LoadedSpec


def resolved(amount: Amount, base: int) -> Limit:
    """Return the number with the sentence that explains it."""
    return Limit(value=amount.resolve(base), text=amount.explain(base))


def max_unavailable(
    loaded: LoadedSpec, index: int, item: DaemonSetItem, fleet: Fleet, base: int
) -> Limit:
    """Resolve the limit of one DaemonSet: the spec's, else its own, else 1 as Kubernetes does.

    Args:
        loaded: the spec, for messages.
        index: position of the DaemonSet in the spec.
        item: its part of the spec.
        fleet: what runs now.
        base: nodes that should run the pod.

    Raises:
        DocumentError: when the limits ask for surge.
    """
    at = ("daemonSets", index, "strategy")
    if item.strategy is not None:
        surge: int | str = item.strategy.max_surge
        unavailable: int | str | None = item.strategy.max_unavailable
    else:
        own = fleet.owner_strategy.get("rollingUpdate") or {}
        on_delete = fleet.owner_strategy.get("type") == "OnDelete"
        surge = 0 if on_delete else own.get("maxSurge", 0)
        unavailable = None if on_delete else own.get("maxUnavailable")
    if parse_amount(surge).value:
        raise loaded.error(
            at,
            f"maxSurge {surge} asks for surge, which this version cannot do; write "
            f"'strategy: {{maxUnavailable: 1, maxSurge: 0}}' for DaemonSet {item.name}",
        )
    return resolved(parse_amount(1 if unavailable is None else unavailable), base)
