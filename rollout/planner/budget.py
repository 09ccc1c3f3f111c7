"""Limits resolved to numbers, by Kubernetes' rules, each with the base that it was taken of.

Sources: behaviour.md 2.1 (percentages round up) and 2.6 (exactly one limit is non-zero).
"""

from __future__ import annotations

from dataclasses import dataclass

from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Limit
from rollout.quantity import Amount, parse_amount
from rollout.spec import DaemonSetItem


def resolved(amount: Amount, base: int) -> Limit:
    """Return the number with the sentence that explains it."""
    number, text = amount.resolve(base), amount.explain(base)
    return Limit(number, text, amount.value, base) if amount.percent else Limit(number, text)


@dataclass(frozen=True, slots=True)
class Limits:
    """The two limits of one DaemonSet; exactly one of them is not zero."""

    max_unavailable: Limit
    max_surge: Limit


def update_limits(item: DaemonSetItem, fleet: Fleet, base: int) -> Limits:
    """Resolve the limits of one DaemonSet: the spec's, else its own, else 1 as Kubernetes does.

    Args:
        item: its part of the spec.
        fleet: what runs now.
        base: nodes that should run the pod.
    """
    if item.strategy is not None:
        surge: int | str = item.strategy.max_surge
        unavailable: int | str | None = item.strategy.max_unavailable
    else:
        own = fleet.owner_strategy.get("rollingUpdate") or {}
        on_delete = fleet.owner_strategy.get("type") == "OnDelete"
        surge = 0 if on_delete else own.get("maxSurge", 0)
        unavailable = None if on_delete else own.get("maxUnavailable")
    if unavailable is None:
        unavailable = 0 if parse_amount(surge).value else 1
    return Limits(
        resolved(parse_amount(unavailable), base),
        resolved(parse_amount(surge), base),
    )
