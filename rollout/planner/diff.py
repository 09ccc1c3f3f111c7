"""What changes in the object, line by line as `kubectl diff` shows it, with secrets masked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from rollout.fleet.objects import JsonObject

MASK = "***"
_SECRET_NAME = re.compile(
    r"(pass(word|wd|phrase)?|secret|token|credential|api[_-]?key|private[_-]?key|auth)",
    re.IGNORECASE,
)


def object_diff(current: JsonObject, desired: JsonObject) -> tuple[str, ...]:
    """Return a unified diff of two objects; values that look like secrets are masked.

    A masked value that changes still shows as a change, by a different mask.
    """
    before, after = _dump(current, desired, "before"), _dump(desired, current, "after")
    lines = difflib.unified_diff(before, after, "current", "desired", lineterm="", n=3)
    return tuple(lines)


def _dump(value: JsonObject, other: JsonObject, side: str) -> list[str]:
    text = yaml.safe_dump(_masked(value, other, side), sort_keys=True, default_flow_style=False)
    return text.splitlines()


def _masked(value: Any, other: Any, side: str, name: str = "") -> Any:  # noqa: ANN401 - plain data
    """Mask environment values and annotations whose name speaks of a secret."""
    if isinstance(value, Mapping):
        counterpart = other if isinstance(other, Mapping) else {}
        own_name = value.get("name") if isinstance(value.get("name"), str) else ""
        return {
            key: _masked(item, counterpart.get(key), side, f"{key} {own_name}")
            if key != "name"
            else item
            for key, item in value.items()
        }
    if isinstance(value, list):
        counterparts = other if isinstance(other, list) else []
        return [
            _masked(item, _counterpart(item, counterparts, index), side, name)
            for index, item in enumerate(value)
        ]
    if isinstance(value, str) and _SECRET_NAME.search(name):
        return MASK if value == other else f"{MASK} ({side})"
    return value


def _counterpart(item: Any, others: list[Any], index: int) -> Any:  # noqa: ANN401 - plain data
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        named = (o for o in others if isinstance(o, Mapping) and o.get("name") == item["name"])
        return next(named, None)
    return others[index] if index < len(others) else None
