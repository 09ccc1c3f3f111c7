"""What a watch has seen so far, by resource version: tells news from repetition and from the past.

A lagging API server, or a connection that is resumed, may tell an old state again. Kubernetes 1.35
made resource versions comparable as integers; versions that aren't numbers are never called old.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from itertools import islice
from typing import Protocol

TOMBSTONES = 4096  # removed objects that are remembered, against late news of them


class Metadata(Protocol):
    """The part of `metadata` that tells objects and their states apart."""

    @property
    def name(self) -> str:
        """Name inside the namespace."""

    @property
    def namespace(self) -> str:
        """Empty for cluster scope."""

    @property
    def uid(self) -> str:
        """Different for every object that ever had the name."""

    @property
    def resource_version(self) -> str:
        """The state of the object."""


class Versioned(Protocol):
    """Any decoded API object."""

    @property
    def metadata(self) -> Metadata:
        """Identity and version."""


class Verdict(enum.Enum):
    """What an event is worth."""

    NEWS = "news"
    REPEATED = "repeated"
    OUTDATED = "outdated"


class VersionBook:
    """The newest version seen of every object, and of the whole collection."""

    def __init__(self) -> None:
        self.latest = ""  # where a watch goes on
        self._seen: dict[str, int] = {}
        self._removed: dict[str, int] = {}

    def restart(self, version: str, objects: Iterable[Versioned]) -> bool:
        """Take over a list; False, and nothing changes, if it's older than what was seen."""
        if _is_older(version, self.latest):
            return False
        self.latest = version
        self._removed.clear()
        self._seen = {
            _key(obj.metadata): number
            for obj in objects
            if (number := _number(obj.metadata.resource_version)) is not None
        }
        return True

    def change(self, metadata: Metadata) -> Verdict:
        """Judge and note an added or modified object."""
        key, number = _key(metadata), _number(metadata.resource_version)
        known = self._seen.get(key, self._removed.get(key))
        if number is not None and known is not None and number <= known:
            return Verdict.REPEATED if number == known else Verdict.OUTDATED
        self.advance(metadata.resource_version)
        if number is not None:
            self._seen[key] = number
            self._removed.pop(key, None)
        return Verdict.NEWS

    def remove(self, metadata: Metadata) -> Verdict:
        """Judge and note a deleted object."""
        key, number = _key(metadata), _number(metadata.resource_version)
        if key in self._removed:
            return Verdict.REPEATED
        known = self._seen.get(key)
        if number is not None and known is not None and number < known:
            return Verdict.OUTDATED
        self.advance(metadata.resource_version)
        self._seen.pop(key, None)
        if number is not None:
            self._bury(key, number)
        return Verdict.NEWS

    def advance(self, version: str) -> bool:
        """Note that everything up to this version is known; False if it's older than what was."""
        is_older = _is_older(version, self.latest)
        if not is_older:
            self.latest = version
        return not is_older

    def seen(self, metadata: Metadata) -> str:
        """Return the newest version seen of an object, or "" if there's none."""
        key = _key(metadata)
        number = self._seen.get(key, self._removed.get(key))
        return "" if number is None else str(number)

    def _bury(self, key: str, number: int) -> None:
        self._removed[key] = number
        for oldest in list(islice(self._removed, max(len(self._removed) - TOMBSTONES, 0))):
            del self._removed[oldest]


def _key(metadata: Metadata) -> str:
    return metadata.uid or f"{metadata.namespace}/{metadata.name}"


def _number(version: str) -> int | None:
    return int(version) if version.isdecimal() else None


def _is_older(version: str, reference: str) -> bool:
    number, other = _number(version), _number(reference)
    return number is not None and other is not None and number < other
