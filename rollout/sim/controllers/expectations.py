"""Counted promises: what a controller has asked for and not yet seen (behaviour.md 6.3).

They are counters, not names, so a deletion by somebody else can fulfil a promise early [V45].
"""

from __future__ import annotations

from dataclasses import dataclass

EXPIRY = 300.0  # seconds after which a promise is given up


@dataclass(slots=True)
class _Counts:
    creations: int
    deletions: int
    since: float


class Expectations:
    """Outstanding creations and deletions per key."""

    def __init__(self) -> None:
        self._counts: dict[str, _Counts] = {}

    def expect(self, key: str, creations: int, deletions: int, now: float) -> None:
        """Wait for that many creations and deletions from now on."""
        self._counts[key] = _Counts(creations, deletions, now)

    def created(self, key: str) -> None:
        """Note one creation that was seen, or that failed."""
        counts = self._counts.get(key)
        if counts is not None:
            counts.creations -= 1

    def deleted(self, key: str) -> None:
        """Note one deletion that was seen, or that failed."""
        counts = self._counts.get(key)
        if counts is not None:
            counts.deletions -= 1

    def fulfilled(self, key: str, now: float) -> bool:
        """Whether nothing is outstanding, or it has been for too long."""
        counts = self._counts.get(key)
        if counts is None or (counts.creations <= 0 and counts.deletions <= 0):
            return True
        return now - counts.since > EXPIRY

    def forget(self, key: str) -> None:
        """Drop the key."""
        self._counts.pop(key, None)
