"""The lines of a journal and the chain that holds them together. Pure: no file, no clock.

Each line is one JSON object with sorted keys and no spaces. `prev` is the hash of the line before,
and `hash` the SHA-256 of the line's own bytes without `hash`. So whoever changes, drops, swaps or
adds a line would have to write every later line anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from rollout.unreadable import UNREADABLE

SCHEMA = "rollout.journal/v1"
START = "0" * 64  # what the first line is chained to
_SEAL = len(f',"hash":"{START}"}}\n')  # what `hash` and the end of the line take
_MOVED = "the chain is broken: before this line one is missing, new or moved"
_ENCODER = msgspec.json.Encoder(order="sorted")


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: what the next line builds on."""

    seq: int = 0
    hash: str = START


@dataclass(frozen=True, slots=True)
class Reading:
    """What a journal holds, up to its end or to the first line that is wrong.

    Attributes:
        head: of the lines that are right.
        size: their length in bytes.
        first: the first line, which says whose journal it is; empty when it is wrong.
        last: the last line that is right.
        told: number of the last event that was told.
        torn: bytes at the end that are no whole line: a write that was cut off.
        broken: what is wrong with the line behind the right ones; "" when nothing is.
    """

    head: Head = Head()
    size: int = 0
    first: Mapping[str, Any] = field(default_factory=dict)
    last: Mapping[str, Any] = field(default_factory=dict)
    told: int = 0
    torn: int = 0
    broken: str = ""


def seal(head: Head, entry: Mapping[str, Any]) -> tuple[bytes, Head]:
    """Return the line of an entry, its end included, and the new head of the chain."""
    seq = head.seq + 1
    body = _ENCODER.encode({**entry, "seq": seq, "prev": head.hash})
    digest = hashlib.sha256(body).hexdigest()
    return _line(body, digest), Head(seq, digest)


def read(lines: Iterable[bytes]) -> Reading:
    """Follow the chain as far as it holds.

    Args:
        lines: with their ends; only the last may lack it.
    """
    reading = Reading()
    for line in lines:
        if not line.endswith(b"\n"):
            return replace(reading, torn=len(line))
        entry, head, wrong = _check(reading.head, line)
        if wrong:
            return replace(reading, broken=wrong)
        reading = Reading(
            head=head,
            size=reading.size + len(line),
            first=reading.first or entry,
            last=entry,
            told=_number(entry.get("event")) or reading.told,
        )
    return reading


def _line(body: bytes, digest: str) -> bytes:
    return b'%s,"hash":"%s"}\n' % (body[:-1], digest.encode())


def _check(head: Head, line: bytes) -> tuple[Mapping[str, Any], Head, str]:
    """Return the entry of a line, the chain's new head, and what is wrong with it."""
    entry = _decoded(line)
    if entry is None:
        return {}, head, "the chain is broken: this is no JSON object"
    if not head.seq and entry.get("schema") != SCHEMA:
        return {}, head, _other_schema(entry)
    body = line[:-_SEAL] + b"}"
    digest = hashlib.sha256(body).hexdigest()
    if line != _line(body, digest):
        return {}, head, "the chain is broken: this line is not what its hash was made of"
    if entry.get("prev") != head.hash or entry.get("seq") != head.seq + 1:
        return {}, head, _MOVED
    return entry, Head(head.seq + 1, digest), ""


def _number(event: object) -> int:
    """Return the number of an event; 0 for what is none: anybody can seal a line."""
    return event if isinstance(event, int) and event > 0 else 0


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict)
    except UNREADABLE:
        return None


def _other_schema(entry: Mapping[str, Any]) -> str:
    schema = entry.get("schema")
    if schema is None:
        return f"a journal begins with a line that names its schema, {SCHEMA}; this one does not"
    return (
        f"the schema is {schema} (of rollout {entry.get('tool', 'of an unknown version')}), and "
        f"this version reads {SCHEMA} only: use that version"
    )
