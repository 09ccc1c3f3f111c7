"""Nodes without an available pod that would hold up the waves before theirs go first.

What is unavailable uses the budget, whichever wave it waits in. Where that leaves nothing for the
nodes of an earlier wave, each would wait for the other for ever: order and budget contradict. So
the broken nodes form a wave of their own before all others. Nowhere else: a node that is broken
for a reason of its own is no ground to change the order that the user chose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rollout.planner.waves import PlannedWave
from rollout.quantity import parse_amount

_NAME = "repair"
_RULE = "nodes without an available pod, which use up the budget of the waves before theirs"


@dataclass(frozen=True, slots=True)
class Charge:
    """What of the budget of one DaemonSet is used up before the run.

    Attributes:
        updates: the nodes that it updates.
        broken: those of them that have no available pod.
        others: how many further nodes have none and count; the run does not mend them.
        budget: how many nodes may be in flight.
        base: what percentages are taken of.
    """

    updates: frozenset[str]
    broken: frozenset[str]
    others: int
    budget: int
    base: int


def repair_first(waves: list[PlannedWave], charges: Sequence[Charge]) -> list[PlannedWave]:
    """Return the waves in an order in which none waits for a node of a later one."""
    broken = frozenset[str]().union(*(charge.broken for charge in charges))
    behind = next(
        (i for i, _ in enumerate(waves) if any(_is_stuck(waves, i, c) for c in charges)), None
    )
    if behind is None:
        return waves
    first = tuple(n for wave in waves[behind + 1 :] for n in wave.nodes if n in broken)
    left = [replace(wave, nodes=tuple(n for n in wave.nodes if n not in first)) for wave in waves]
    name = _NAME if all(wave.name != _NAME for wave in waves) else f"{_NAME}-{len(waves) + 1}"
    return [PlannedWave(name, first, _RULE), *(wave for wave in left if wave.nodes)]


def _is_stuck(waves: Sequence[PlannedWave], index: int, charge: Charge) -> bool:
    """Whether broken nodes behind a wave leave no room for a node that works in it."""
    wave = waves[index]
    works = (charge.updates - charge.broken).intersection(wave.nodes)
    waiting = sum(len(charge.broken.intersection(later.nodes)) for later in waves[index + 1 :])
    own = parse_amount(wave.max_unavailable).resolve(charge.base) if wave.max_unavailable else None
    room = charge.budget if own is None else min(own, charge.budget)
    return bool(works) and waiting > 0 and waiting + charge.others >= room
