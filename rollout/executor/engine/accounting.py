"""Where the time of a run went: the least it could have taken, and what was lost to what.

No run with `limit` nodes in flight can be quicker than the sum of its nodes' own times divided by
the limit, nor than its longest node (Graham's bound for list scheduling). Everything above is slots
that stood empty; each empty moment is put down to the one thing that kept it empty, so that the
losses add up to the difference, and none is negative. Pure: intervals in, seconds out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

REACTION = "reaction"  # from room for a node until the server has accepted its delete
API_LIMIT = "API limit"  # writes held back by our own rate or by the server (429)
WAVES = "waves"  # nothing is ready: the nodes behind wait for those of their wave
TAIL = "tail"  # nothing is left to start


@dataclass(frozen=True, slots=True)
class Slot:
    """What one node used: all in seconds since the epoch.

    Attributes:
        ready: from when on its turn had come.
        asked: when the engine asked for the delete.
        accepted: when the server had accepted it; from here on it is the node's own time.
        ended: when the verdict was there.
    """

    ready: float
    asked: float
    accepted: float
    ended: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that kept slots empty; of several at once the first in the list counts."""

    reason: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Account:
    """All in seconds; `lost` adds up to `makespan_s - least_s`."""

    makespan_s: float
    nodes_s: float  # the nodes' own times, summed up
    longest_s: float
    limit: int  # nodes in flight at most
    least_s: float  # max(nodes_s / limit, longest_s)
    lost: Mapping[str, float] = field(default_factory=dict)  # by reason, the largest first


def settle(
    began: float,
    ended: float,
    limit: int,
    slots: Sequence[Slot],
    waits: Sequence[Wait] = (),
    *,
    held_back_s: float = 0.0,
) -> Account:
    """Return the account of a run.

    Args:
        began: of the run.
        ended: of the run.
        limit: nodes in flight at most.
        slots: one for each node that was replaced.
        waits: what else kept slots empty, the most particular first.
        held_back_s: seconds that writes were held back, summed up; taken out of the reaction.
    """
    slots = [_clipped(slot, began, ended) for slot in slots]
    limit = max(limit, 1, _peak(slots))
    nodes_s = sum(slot.ended - slot.accepted for slot in slots)
    longest = max(slots, key=lambda slot: slot.ended - slot.accepted, default=None)
    longest_s = longest.ended - longest.accepted if longest is not None else 0.0
    least_s = max(nodes_s / limit, longest_s)
    beside = (longest.accepted, longest.ended) if longest is not None else (began, began)
    lost = _lost(began, ended, limit, slots, waits, beside, least_s - nodes_s / limit)
    limited = min(held_back_s / limit, lost[REACTION])
    lost[REACTION] -= limited
    lost[API_LIMIT] += limited
    by_size = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    shown = {reason: seconds for reason, seconds in by_size if seconds > 0}
    return Account(ended - began, nodes_s, longest_s, limit, least_s, shown)


def _lost(
    began: float,
    ended: float,
    limit: int,
    slots: Sequence[Slot],
    waits: Sequence[Wait],
    beside: tuple[float, float],
    unavoidable_s: float,
) -> defaultdict[str, float]:
    """Put every empty moment down to its reason.

    `beside` is the time in which the longest node was at work: slots that were empty then could not
    all be filled, which is what makes `longest_s` a bound. `unavoidable_s` says how much could not.
    """
    apart: defaultdict[str, float] = defaultdict(float)
    meanwhile: defaultdict[str, float] = defaultdict(float)
    for since, until, empty, asking, reason in _moments(began, ended, limit, slots, waits, beside):
        account = meanwhile if beside[0] <= since and until <= beside[1] else apart
        account[reason] += (until - since) * empty / limit
        account[REACTION] += (until - since) * asking / limit
    all_s = sum(meanwhile.values())
    kept = 1.0 - min(unavoidable_s / all_s, 1.0) if all_s > 0 else 1.0
    for reason, seconds in meanwhile.items():
        apart[reason] += seconds * kept
    return apart


def _moments(
    began: float,
    ended: float,
    limit: int,
    slots: Sequence[Slot],
    waits: Sequence[Wait],
    beside: tuple[float, float],
) -> Iterable[tuple[float, float, int, int, str]]:
    """Yield pieces of time in which nothing changes: from, to, empty slots, asking, why empty."""
    changes: list[tuple[float, str, int]] = [(at, "", 0) for at in (began, ended, *beside)]
    for slot in slots:
        changes += [(slot.ready, "ready", 1), (slot.asked, "ready", -1), (slot.asked, "left", 1)]
        changes += [(slot.asked, "asking", 1), (slot.accepted, "asking", -1)]
        changes += [(slot.accepted, "busy", 1), (slot.ended, "busy", -1)]
    ranks = {wait.reason: rank for rank, wait in reversed(list(enumerate(waits)))}
    for wait in waits:
        since, until = max(wait.since, began), min(wait.until, ended)
        if since < until:
            changes += [(since, wait.reason, 1), (until, wait.reason, -1)]
    changes.sort(key=lambda change: change[0])
    now: Counter[str] = Counter()
    open_: dict[str, int] = {}  # reason -> how many waits of it are under way
    for (at, what, by), (until, _, _) in pairwise(changes):
        now[what] += by
        if what in ranks:
            open_[what] = now[what]
            if not now[what]:
                del open_[what]
        if until > at:
            empty = limit - now["busy"] - now["asking"]
            reason = min(open_, key=ranks.__getitem__) if open_ else _plain(now, len(slots))
            yield at, until, empty, now["asking"], reason


def _plain(now: Counter[str], total: int) -> str:
    if now["ready"]:
        return REACTION
    return WAVES if now["left"] < total else TAIL


def _clipped(slot: Slot, began: float, ended: float) -> Slot:
    """Keep times inside the run and in their order; what another process began counts from us."""
    ready = min(max(slot.ready, began), ended)
    asked = min(max(slot.asked, ready), ended)
    accepted = min(max(slot.accepted, asked), ended)
    return Slot(ready, asked, accepted, min(max(slot.ended, accepted), ended))


def _peak(slots: Sequence[Slot]) -> int:
    """Return how many were in flight at most."""
    changes = sorted(change for slot in slots for change in ((slot.asked, 1), (slot.ended, -1)))
    peak = flying = 0
    for _, by in changes:
        flying += by
        peak = max(peak, flying)
    return peak
