"""Failing seeds that were made smaller and kept: a name, the commit that mended it, the story."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.simulation.scenarios import Scenario

FILE = Path(__file__).parent / "kept_seeds.json"


class Kept(msgspec.Struct, frozen=True):
    """One story that once went wrong."""

    name: str  # what went wrong, in a few words
    mended_by: str  # the commit; "" while it still fails
    scenario: Scenario


def read() -> list[Kept]:
    """Return all kept stories."""
    return msgspec.json.decode(FILE.read_bytes(), type=list[Kept])


def add(kept: Kept) -> None:
    """Write a story into the file; one that has its name makes place for it."""
    others = [one for one in read() if one.name != kept.name]
    data = msgspec.json.encode([*others, kept])
    FILE.write_bytes(msgspec.json.format(data, indent=1) + b"\n")
