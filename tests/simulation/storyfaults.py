"""Draws the larger faults of stories: rights taken away, lists that lie, parts that are down."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

WORSE = ("empty", "shrink", "revoke", "unauthorized", "stopControllers", "loseNode", "loseZone")

_LATE = ("stale", "stall", "drop", "expire", "restart", "delay", "error", "throttle", "refuse")
CAUGHT_UP_S = 40.0  # behind the end of a fault: by then the longest pause of a retry is over


def draw_worse(rng: random.Random) -> dict[str, Any]:
    """Return one fault; it is over within two minutes."""
    start = rng.choice([0, 2, 10, 30])
    fault: dict[str, Any] = {"from": start, "until": start + rng.choice([5, 20, 60])}
    lists = {"verbs": ["list"], "resources": [rng.choice(["pods", "nodes"])]}
    match kind := rng.choice(WORSE):
        case "empty":
            return {**fault, "empty": True, "match": lists, "count": rng.randint(1, 4)}
        case "shrink":
            share = rng.choice(["20%", "50%", "90%"])
            return {**fault, "shrink": share, "match": lists, "count": rng.randint(1, 4)}
        case "revoke":
            return {**fault, "revoke": True, "match": _rights(rng)}
        case "unauthorized":
            return {**fault, "error": 401, "match": _rights(rng), "count": rng.randint(1, 4)}
        case "loseNode":
            return {**fault, kind: f"n-{rng.randrange(3):03d}"}
        case "loseZone":
            return {**fault, kind: "zone-a"}
    del fault["until"]
    return {**fault, kind: True, "for": rng.choice([30, 80])}


def views_are_late_for(faults: Iterable[dict[str, Any]]) -> float:
    """Return for how many seconds from the beginning of the faults news may come late.

    Args:
        faults: of the story.
    """
    return max(map(_late_until, faults), default=0.0)


def _late_until(fault: dict[str, Any]) -> float:
    """When the last thing that a fault kept back is known; 0 where it keeps nothing back."""
    if not any(kind in fault for kind in _LATE):
        return 0.0
    over = fault.get("until", fault["from"] + fault.get("for", 0))
    held = fault.get("stall", 0) + fault.get("delay", 0) + fault.get("stale", 0)
    return float(over + held + CAUGHT_UP_S)


def _rights(rng: random.Random) -> dict[str, Any]:
    return rng.choice(
        [
            {"verbs": ["delete"], "resources": ["pods"]},
            {"verbs": ["patch"], "resources": ["pods", "daemonsets.apps"]},
            {"verbs": ["list", "watch"], "resources": ["pods"]},
            {"verbs": ["get", "update", "create"], "resources": ["configmaps"]},
            {"verbs": ["get", "update"], "resources": ["leases.coordination.k8s.io"]},
            {"verbs": ["get", "list", "watch"], "resources": ["daemonsets.apps", "nodes"]},
        ]
    )
