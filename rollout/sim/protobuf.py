"""Protobuf bodies, as Go's typed clients send them.

kubectl (create configmap, auth can-i, drain) and controllers write protobuf and read JSON if they
must. The types of the fields are those of `schema`; `kinds.numbers` beside this module has their
numbers. Knows the wire format only: what the fields mean is decided after decoding, as for JSON.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from rollout.sim import schema, timestamps
from rollout.sim.errors import StatusError
from rollout.sim.schema import Form, Type
from rollout.sim.store import Object

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class _Message:
    """The fields of one struct by number, and the structs that are part of it on the wire only."""

    fields: dict[int, tuple[str, Type]] = field(default_factory=dict)
    inlined: dict[int, str] = field(default_factory=dict)


@cache
def _messages() -> dict[str, _Message]:
    text = resources.files("rollout.sim").joinpath("kinds.numbers").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    entries = [entry.split() for entry in re.split(r"\n(?=\S)", "\n".join(lines))]
    numbers = {name.removesuffix(":"): parts for name, *parts in entries}
    holders = {part.partition("~")[2]: name for name, parts in numbers.items() for part in parts}
    return {name: _read(name, parts, holders) for name, parts in numbers.items()}


def _read(name: str, parts: list[str], holders: dict[str, str]) -> _Message:
    """Return a struct's message; one that only the wire knows has the fields of its holder."""
    described = schema.structs().get(name) or schema.structs()[holders[name]]
    message = _Message()
    for part in parts:
        left, _, right = part.partition("=")
        if right.startswith("~"):
            message.inlined[int(left)] = right[1:]
        else:
            message.fields[int(right)] = (left, described.fields[left].type)
    return message


def decode(body: bytes) -> Object:
    """Return a protobuf body as the object that its JSON would give.

    Raises:
        StatusError: 415 for a kind that is not known in this form, 400 for a broken body.
    """
    if not body.startswith(MAGIC):
        raise StatusError(
            400, "BadRequest", "provided data does not appear to be a protobuf message"
        )
    try:
        envelope = dict(_fields(body[len(MAGIC) :]))
        meta = dict(_fields(_data(envelope.get(1, b""))))
        api_version, kind = (_data(meta.get(number, b"")).decode() for number in (1, 2))
        type_ = schema.kind_type(api_version, kind)
        if type_ is None or type_.name not in _messages():
            raise _unsupported(kind)
        content = _message(type_.name, _data(envelope.get(2, b"")))
    except (IndexError, KeyError, ValueError) as error:
        raise StatusError(400, "BadRequest", f"invalid protobuf message: {error}") from None
    return {"apiVersion": api_version, "kind": kind, **content}


def _unsupported(kind: str) -> StatusError:
    message = f"the embedded cluster reads {kind or 'this object'} as JSON or YAML, not as protobuf"
    return StatusError(415, "UnsupportedMediaType", message)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & _MORE:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[wire]
        if at + length > len(data):
            raise IndexError("unexpected end of message")
        yield tag >> 3, data[at : at + length]
        at += length


def _message(name: str, data: bytes) -> dict[str, Any]:
    known = _messages()[name]
    found: dict[str, Any] = {}
    for number, raw in _fields(data):
        if number in known.inlined:
            found.update(_message(known.inlined[number], _data(raw)))
        elif number in known.fields:
            field_name, type_ = known.fields[number]
            _put(found, field_name, type_, raw)
    return {key: value for key, value in found.items() if value is not None}


def _put(found: dict[str, Any], name: str, type_: Type, raw: int | bytes) -> None:
    """Add one occurrence of a field; lists and maps come item by item."""
    item = type_.item
    if item is None:
        found[name] = _value(type_, raw)
    elif type_.form is Form.MAP:
        entry = dict(_fields(_data(raw)))
        key = _data(entry.get(1, b"")).decode()
        found.setdefault(name, {})[key] = _value(item, entry.get(2, b""))
    elif item.form is Form.INT and isinstance(raw, bytes):  # packed
        found.setdefault(name, []).extend(_packed(raw))
    else:
        found.setdefault(name, []).append(_value(item, raw))


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        number, at = _varint(data, at)
        yield _signed(number)


def _data(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise IndexError("a number where bytes belong")
    return raw


def _value(type_: Type, raw: int | bytes) -> Any:  # noqa: ANN401 - JSON
    if type_.form in (Form.INT, Form.BOOL):
        number = raw if isinstance(raw, int) else 0
        return bool(number) if type_.form is Form.BOOL else _signed(number)
    data = _data(raw)
    match type_.form:
        case Form.STRING:
            return data.decode()
        case Form.BYTES:
            return base64.b64encode(data).decode()
        case Form.STRUCT:
            return _message(type_.name, data)
    parts = dict(_fields(data))
    match type_.form:
        case Form.TIME | Form.MICRO_TIME:
            return _time(parts, micro=type_.form is Form.MICRO_TIME)
        case Form.INT_OR_STRING:
            return _int_or_string(parts)
        case Form.QUANTITY:
            return _data(parts.get(1, b"")).decode()
    return json.loads(_data(parts.get(1, b"null")))


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _time(parts: dict[int, int | bytes], *, micro: bool) -> str | None:
    """Return a time; Go's zero time is an empty message."""
    seconds, nanoseconds = parts.get(1, 0), parts.get(2, 0)
    if not isinstance(seconds, int) or not isinstance(nanoseconds, int) or not seconds:
        return None
    if not micro:
        return timestamps.rfc3339(seconds)
    return f"{timestamps.rfc3339(seconds)[:-1]}.{nanoseconds // 1000:06d}Z"


def _int_or_string(parts: dict[int, int | bytes]) -> int | str:
    if parts.get(1):
        return _data(parts.get(3, b"")).decode()
    number = parts.get(2, 0)
    return _signed(number) if isinstance(number, int) else 0
