"""Events under their second name: `events.k8s.io/v1` shows what `v1` stores, with other fields."""

from __future__ import annotations

from typing import Final

from rollout.sim.resources import EVENTS, NEW_EVENTS
from rollout.sim.store import Object

_RENAMED: Final = {
    "involvedObject": "regarding",
    "message": "note",
    "reportingComponent": "reportingController",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
}
_RENAMED_BACK: Final = {new: old for old, new in _RENAMED.items()}


def shown(event: Object) -> Object:
    """Return a stored event as `events.k8s.io/v1` has it."""
    renamed = {_RENAMED.get(key, key): value for key, value in event.items()}
    return {**renamed, "kind": NEW_EVENTS.kind, "apiVersion": NEW_EVENTS.api_version}


def stored(event: Object) -> Object:
    """Return an event of `events.k8s.io/v1` as it is stored."""
    renamed = {_RENAMED_BACK.get(key, key): value for key, value in event.items()}
    return {**renamed, "kind": EVENTS.kind, "apiVersion": EVENTS.api_version}
