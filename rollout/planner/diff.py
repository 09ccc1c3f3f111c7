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
    r"(pass(word|wd|phrase)?|pwd|secret|token|credential|auth|"
    r"(api|access|private|signing|encryption)[_-]?key)",
    re.IGNORECASE,
)
_REFERENCE_NAME = re.compile(r"(file|path|dir|name)$", re.IGNORECASE)  # says where, not what
_ASSIGNMENT = re.compile(r"([^=]*)=(.+)", re.DOTALL)  # `--token=abc`, `PASSWORD=abc agent`
_URL_PASSWORD = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")
# What `kubectl apply` keeps there is the whole object once more, secrets included.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def object_diff(
    current: JsonObject, desired: JsonObject, names: tuple[str, str] = ("current", "desired")
) -> tuple[str, ...]:
    """Return a unified diff of two objects; values that look like secrets are masked.

    A masked value that changes still shows as a change, by a different mask.

    Args:
        current: what is there.
        desired: what is wanted.
        names: what the head of the diff calls the two.
    """
    before, after = _dump(current, desired, "before"), _dump(desired, current, "after")
    return tuple(difflib.unified_diff(before, after, *names, lineterm="", n=3))


def masked_text(value: JsonObject) -> str:
    """Return an object as YAML; values that look like secrets are masked."""
    return "\n".join(_dump(value, value, ""))


def _dump(value: JsonObject, other: JsonObject, side: str) -> list[str]:
    text = yaml.safe_dump(_masked(value, other, side), sort_keys=True, default_flow_style=False)
    return text.splitlines()


def _masked(value: Any, other: Any, side: str, name: str = "") -> Any:  # noqa: ANN401 - plain data
    """Mask what stands under a name that speaks of a secret: variables, annotations, arguments."""
    if isinstance(value, Mapping):
        counterpart = other if isinstance(other, Mapping) else {}
        variable = str(value.get("name") or "value")
        return {
            key: _masked(item, counterpart.get(key), side, variable if key == "value" else key)
            for key, item in value.items()
        }
    if isinstance(value, list):
        others = other if isinstance(other, list) else []
        return [
            _masked_argument(item, value[index - 1] if index else "", others, side, name)
            if isinstance(item, str)
            else _masked(item, _counterpart(item, others, index), side, name)
            for index, item in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    mask = MASK if value == other else f"{MASK} ({side})"
    return mask if _is_secret(name) else _URL_PASSWORD.sub(rf"\1{mask}@", value)


def _masked_argument(item: str, before: object, others: list[Any], side: str, name: str) -> str:
    """Mask `--token=abc`, and the `abc` behind `--token`."""
    mask = MASK if item in others else f"{MASK} ({side})"
    is_value = isinstance(before, str) and before.startswith("-") and not item.startswith("-")
    if _is_secret(name) or (is_value and "=" not in str(before) and _is_secret(str(before))):
        return mask
    assignment = _ASSIGNMENT.fullmatch(item)
    if assignment and _is_secret(assignment[1]):
        return f"{assignment[1]}={mask}"
    return _URL_PASSWORD.sub(rf"\1{mask}@", item)


def _is_secret(name: str) -> bool:
    if name == _LAST_APPLIED:
        return True
    return bool(_SECRET_NAME.search(name)) and not _REFERENCE_NAME.search(name)


def _counterpart(item: Any, others: list[Any], index: int) -> Any:  # noqa: ANN401 - plain data
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        named = (o for o in others if isinstance(o, Mapping) and o.get("name") == item["name"])
        return next(named, None)
    return others[index] if index < len(others) else None
