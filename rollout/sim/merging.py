"""Merge an applied configuration into an object's values, as structured merge does.

Maps and structs merge field by field, sets and keyed lists item by item, everything else is taken
from the configuration. Ownership is not known here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from rollout.sim.fieldsets import children, item_key
from rollout.sim.schema import Type

Json: TypeAlias = Any


def merge(type_: Type | None, live: Json, config: Json) -> Json:
    """Return the live value with the configuration laid over it; unchanged parts are shared."""
    if live is config or live == config:
        return live
    if isinstance(live, dict) and isinstance(config, dict):
        if type_ is None or type_.granular:
            return _merge_fields(type_, live, config)
    elif isinstance(live, list) and isinstance(config, list) and type_ and not type_.atomic:
        return _merge_items(type_, live, config)
    return config


def _merge_fields(type_: Type | None, live: Json, config: Json) -> Json:
    parts = children(type_, config) or {}
    changes = {}
    for key, part in config.items():
        inner = parts[f"f:{key}"][0]
        new = merge(inner, live[key], part) if key in live else part
        if key not in live or new is not live[key]:
            changes[key] = new
    return {**live, **changes} if changes else live


def _merge_items(type_: Type, live: list[Json], config: list[Json]) -> list[Json]:
    """Keep the configuration's order; items that only the live list has stay where they were."""
    ours = {item_key(type_, item): item for item in live}
    theirs = {item_key(type_, item): item for item in config}
    keys = _interleaved(list(ours), list(theirs))
    merged = [
        merge(type_.item, ours[key], theirs[key])
        if key in ours and key in theirs
        else theirs.get(key, ours.get(key))
        for key in keys
    ]
    same = len(merged) == len(live) and all(
        new is old for new, old in zip(merged, live, strict=True)
    )
    return live if same else merged


def _interleaved(live: list[str], config: list[str]) -> list[str]:
    """Return all keys: config's in its order, each behind the live-only ones that preceded it."""
    shared = [key for key in config if key in set(live)]
    order: list[str] = []
    left, right = list(live), list(config)
    while left or right:
        if left and right:
            if left[0] == right[0]:
                order.append(left.pop(0))
                right.pop(0)
                shared = [key for key in shared if key != order[-1]]
                continue
            if left[0] in config and shared and shared[0] != left[0]:
                left.pop(0)
                continue
        if left and left[0] not in config:
            order.append(left.pop(0))
            continue
        if left and left[0] in order:
            left.pop(0)
        if right:
            order.append(right.pop(0))
            shared = [key for key in shared if key != order[-1]]
    return order
