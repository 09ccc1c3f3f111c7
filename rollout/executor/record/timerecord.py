"""What the run record keeps of times: when nodes were begun, since when the deadline counts.

Nodes of one second share its text. Bounded, so that the record stays small whatever a plan has in
flight: where there are too many, those that were begun last go first, for their time ends last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from rollout.fleet.objects import format_time, parse_time

MOST_BYTES = 400_000  # of a ConfigMap's 1 MiB; about 15,000 nodes


@dataclass(frozen=True, slots=True)
class StoredTimes:
    """What the run record says, in whole seconds of the server's clock.

    Attributes:
        started: step -> when its node was begun; of those in flight, oldest first, then of those
            that have failed.
        counts_from: since when the progress deadline counts; None: it does not.
        begun_since: since when nodes may have been begun that `started` does not name; None: there
            are none.
        claims: all nodes that the run works on or wants, where others are at work (`claims`).
        beside: processes of other runs that this one knows of.
        word: number of the last record that was to claim something.
    """

    started: Mapping[str, float] = field(default_factory=dict)
    counts_from: float | None = None
    begun_since: float | None = None
    claims: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    word: int = 0


class RecordedStart(msgspec.Struct, frozen=True, array_like=True):
    """Nodes of one DaemonSet that were begun in the same second."""

    at: str
    daemon_set: str
    nodes: tuple[str, ...]


def recorded_starts(started: Mapping[str, float]) -> tuple[RecordedStart, ...]:
    """Return what is kept.

    Args:
        started: id of an update -> seconds; what comes first is kept longest.
    """
    groups: dict[tuple[float, str], list[str]] = {}
    room = MOST_BYTES
    for step, at in started.items():
        _, daemon_set, node = step.split("/")
        if (at, daemon_set) not in groups:
            room -= len(f'["{format_time(at)}","{daemon_set}",[]],')
        room -= len(f'"{node}",')
        if room < 0:
            break
        groups.setdefault((at, daemon_set), []).append(node)
    return tuple(
        RecordedStart(format_time(at), daemon_set, tuple(nodes))
        for (at, daemon_set), nodes in groups.items()
    )


def times_from(
    starts: tuple[RecordedStart, ...], counts_from: str, begun_since: str, word: int = 0
) -> StoredTimes:
    """Return what the next process takes over; what the last one claimed it does not claim."""
    return StoredTimes(
        started={
            f"update/{start.daemon_set}/{node}": parse_time(start.at)
            for start in starts
            for node in start.nodes
        },
        counts_from=parse_time(counts_from) if counts_from else None,
        begun_since=parse_time(begun_since) if begun_since else None,
        word=word,
    )


def written(time: float | None) -> str:
    """Return a time as the record holds it; "" for none."""
    return "" if time is None else format_time(time)
