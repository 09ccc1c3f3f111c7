"""One thing wrong with one field, as Kubernetes words it (apimachinery, util/validation/field).

A `Cause` is what stands in `details.causes` of a 422; its text is the error without the path.
Paths are plain strings (`spec.containers[0].image`), built by `child`, `index` and `key`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with an object."""

    reason: str
    message: str
    field: str


def child(path: str, *names: str) -> str:
    """Return the path of a field below another."""
    return ".".join((path, *names) if path else names)


def index(path: str, position: int) -> str:
    """Return the path of a list item."""
    return f"{path}[{position}]"


def key(path: str, name: str) -> str:
    """Return the path of a map entry."""
    return f"{path}[{name}]"


def _shown(value: Json) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _text(start: str, detail: str) -> str:
    return f"{start}: {detail}" if detail else start


def required(path: str, detail: str = "") -> Cause:
    """A value is missing."""
    return Cause("FieldValueRequired", _text("Required value", detail), path)


def invalid(path: str, value: Json, detail: str) -> Cause:
    """A value is malformed; dicts are shown as they are, so give their keys in Go's order."""
    return Cause("FieldValueInvalid", _text(f"Invalid value: {_shown(value)}", detail), path)


def not_supported(path: str, value: Json, supported: Iterable[str]) -> Cause:
    """A value is none of those that are known."""
    known = ", ".join(map(_shown, supported))
    text = f"Unsupported value: {_shown(value)}: supported values: {known}"
    return Cause("FieldValueNotSupported", text, path)


def forbidden(path: str, detail: str) -> Cause:
    """A value may not be there, or not change."""
    return Cause("FieldValueForbidden", _text("Forbidden", detail), path)


def duplicate(path: str, value: Json, detail: str = "") -> Cause:
    """A value is there twice."""
    return Cause("FieldValueDuplicate", _text(f"Duplicate value: {_shown(value)}", detail), path)


def not_found(path: str, value: Json) -> Cause:
    """A value names something that is not there."""
    return Cause("FieldValueNotFound", f"Not found: {_shown(value)}", path)


def too_long(path: str, limit: int) -> Cause:
    """A value has too many bytes."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", path)


def each_invalid(path: str, value: Json, messages: Iterable[str]) -> list[Cause]:
    """Return one cause for each thing that is wrong with a value."""
    return [invalid(path, value, message) for message in messages]


def non_negative(path: str, value: int) -> list[Cause]:
    """Refuse a number below zero."""
    return [] if value >= 0 else [invalid(path, value, "must be greater than or equal to 0")]


def immutable(path: str, new: Json, old: Json) -> list[Cause]:
    """Refuse a change."""
    return [] if new == old else [invalid(path, new, "field is immutable")]
