"""What the run record keeps of times: when nodes were begun, since when the deadline counts.

Nodes of one second share its text. Bounded, so that the record stays small whatever a plan has in
flight: where there are too many, those that were begun last go first, for their time ends last.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rollout.executor.storedtimes import StoredTimes
from rollout.fleet.objects import format_time, parse_time

MOST_BYTES = 400_000  # of a ConfigMap's 1 MiB; about 15,000 nodes


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
