"""Draws the gates of a story, and when what they look at turns bad."""

from __future__ import annotations

import random
from typing import Any

from tests.simulation.outsideworld import HOST, LIMIT, How, Turn

OUTSIDE = ("http", "webhook", "prometheus")  # whose servers answer in `outsideworld`
_PLACES = {
    **dict.fromkeys(
        OUTSIDE,
        (
            "preflight",
            "before-wave",
            "before-node",
            "after-node",
            "after-wave",
            "background",
            "after-run",
        ),
    ),
    "node": ("before-node", "after-node", "after-wave"),
    "pods": ("preflight", "after-node", "after-wave", "background"),
    "events": ("after-node", "after-wave", "background"),
    "logs": ("after-node", "after-wave"),
    "approval": ("preflight", "before-wave", "after-wave", "after-run"),
    "pause": ("before-wave", "after-wave"),
    "window": ("before-wave", "before-node", "background"),
}
_HOWS: dict[str, tuple[How, ...]] = {
    "http": ("bad", "bad", "error", "gone", "silent", "garbled", "empty", "nan"),
    "webhook": ("bad", "bad", "gone", "silent", "wait"),
    "prometheus": ("bad", "bad", "error", "gone", "silent", "garbled", "empty", "late", "nan"),
}
_PATIENT = ("approval", "pause", "window")


def draw_gates(rng: random.Random) -> tuple[list[dict[str, Any]], tuple[Turn, ...]]:
    """Return one to three gates, and what turns bad of what they look at."""
    gates = [_gate(rng, f"g{number}") for number in range(rng.choice([1, 1, 2, 3]))]
    turns = tuple(
        _turn(rng, gate) for gate in gates if gate["kind"] not in _PATIENT and rng.random() < 0.4
    )
    return gates, turns


def _gate(rng: random.Random, name: str) -> dict[str, Any]:
    kind = rng.choice([*OUTSIDE, *_PLACES])
    at = rng.choice(_PLACES[kind])
    gate: dict[str, Any] = {"name": name, "kind": kind, "at": at} | _particulars(rng, kind, name)
    if kind in _PATIENT:
        return gate
    gate |= {"interval": rng.choice(["2s", "5s", "10s"]), "timeout": "5s"}
    if at != "background":
        gate["count"] = rng.choice([1, 1, 2, 3])
        gate["failureLimit"] = rng.randrange(gate["count"])
    if rng.random() < 0.2:
        gate["initialDelay"] = rng.choice(["1s", "10s"])
    if rng.random() < 0.2:
        gate["inconclusiveLimit"] = 2
    if rng.random() < 0.4:
        gate["onFailure"] = rng.choice(["hold", "rollback", "abort"])
    if rng.random() < 0.15:
        gate["when"] = {"zones": ["zone-a"]}
    if rng.random() < 0.1:
        gate["dryRun"] = True
    return gate


def _particulars(rng: random.Random, kind: str, name: str) -> dict[str, Any]:
    match kind:
        case "http":
            shares = {"jsonPath": "$.share", "thresholdRange": {"max": LIMIT}}
            return {"url": f"https://{HOST}/{name}", **shares}
        case "webhook":
            return {"url": f"https://{HOST}/{name}"}
        case "prometheus":
            more = {"thresholdRange": {"max": LIMIT}, "maxAge": "1m"}
            return {"url": f"https://{HOST}/{name}", "query": "errors", **more}
        case "node":
            return {"taints": ["sick"]}
        case "events":
            return {"reasons": ["Melted"]}
        case "logs":
            return {"pattern": "panic"}
        case "pause":
            return {"duration": rng.choice(["5s", "40s"])}
        case "window":
            window = rng.choice(
                [{"allow": "*/3 * * * *", "for": "2m"}, {"deny": "*/3 * * * *", "for": "1m"}]
            )
            return {"windows": [window], "enough": 0}
    return {}


def _turn(rng: random.Random, gate: dict[str, Any]) -> Turn:
    how = rng.choice(_HOWS.get(gate["kind"], ("bad",)))
    at = rng.choice([0.0, 3.0, 10.0, 30.0, 60.0]) + rng.random()
    return Turn(gate["name"], at, rng.choice([2.0, 15.0, 60.0, 10_000.0]), how)
