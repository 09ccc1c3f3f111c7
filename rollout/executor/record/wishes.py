"""What others want of a run, as the engine hears it: always the whole, never a difference.

The engine compares it with what it heard before. So nothing is lost when a watch skips a version of
the record, and a new process hears at once all that was said to the one before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollout.executor.record.record import RunRecord, Wish
from rollout.fleet.objects import parse_time


@dataclass(frozen=True, slots=True)
class Wishes:
    """All that people have said to a run and that still counts.

    Attributes:
        stop: how the run shall stop; None when it shall not.
        waves: numbers (1-based) of the waves behind which the run may go on.
        nodes: may move although the run is paused, or their wave is not approved.
        gates: name of each approval gate -> who approved it, oldest first.
        skipped: node -> why it shall be left alone.
        retried: node -> when (seconds since the epoch) somebody wanted another try; "" is all nodes
            that have failed.
    """

    stop: Wish | None = None
    waves: frozenset[int] = frozenset()
    nodes: frozenset[str] = frozenset()
    gates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    retried: Mapping[str, float] = field(default_factory=dict)


NONE = Wishes()


def wishes_of(record: RunRecord) -> Wishes:
    """Return what the record asks of a run that goes forward."""
    gates: dict[str, tuple[str, ...]] = {}
    for word in record.approvals:
        if word.gate and word.plan == record.plan_id:
            gates[word.gate] = (*gates.get(word.gate, ()), word.by)
    return Wishes(
        stop=record.wish,
        waves=frozenset(
            number for first, last in record.approved_waves for number in range(first, last + 1)
        ),
        nodes=frozenset(record.approved_nodes),
        gates=gates,
        skipped={word.node: _why(word.by, word.reason) for word in record.skips},
        retried={word.node: parse_time(word.at) for word in record.retries},
    )


def wishes_on_the_way_back(record: RunRecord) -> Wishes:
    """Return what counts for a rollback: it can be ended, and nothing else holds it up (S10)."""
    stop = record.wish
    return Wishes(stop=stop if stop is not None and stop.verb == "abort" else None)


def _why(by: str, reason: str) -> str:
    return f"skipped by {by}: {reason}" if reason else f"skipped by {by}"
