"""What the engine's book says about time: turns steps into the slots and waits of an account.

Also keeps the one thing that the steps don't tell: since when something other than the order of
the plan keeps ready nodes from starting.
"""

from __future__ import annotations

from itertools import pairwise

from rollout.executor.engine import sight
from rollout.executor.engine.accounting import Account, Slot, Wait, settle
from rollout.executor.engine.book import Book
from rollout.executor.engine.state import OVER, Phase, StepRun, StepState

_WAITS = {  # kind of a step -> what is lost to it
    "gate": "gates",
    "approval": "approvals",
    "window": "windows",
    "pause": "pauses",
    "barrier": "bake",
    "prepare": "prepare",
    "restore": "restore",
}
_ANSWERS = "answers"  # a person is asked whether the next node may go
_BLOCKS = ("pause", "no view", "rate limit", "limits")  # the most particular first


def note_block(book: Book, now: float) -> None:
    """Note what keeps ready nodes from starting now; O(lanes) at each decision."""
    reason = _block(book, now)
    if not book.blocks or book.blocks[-1][1] != reason:
        book.blocks.append((now, reason))


def _block(book: Book, now: float) -> str:
    if book.stopping:
        return "pause"
    if sight.is_blind(book, now):
        return "no view"
    if book.stepping.asked is not None:
        return _ANSWERS
    if not any(ds.waits or ds.phase is Phase.UNTOUCHED for ds in book.daemon_sets.values()):
        return ""
    if book.gating.shut(now) is not None:
        return "windows"
    if not any(ds.waits for ds in book.daemon_sets.values()):
        return ""
    return "rate limit" if book.pace.next_at > now else "limits"


def account_of(book: Book, began: float, ended: float, held_back_s: float) -> Account:
    """Return where the time of a run went.

    Args:
        book: of the run.
        began: when its process began, by the clock of the run.
        ended: when it ended.
        held_back_s: how long its writes were held back by rate limits, summed up.
    """
    slots, waits = [], []
    for run in book.steps.values():
        end = run.ended_at or ended
        if run.step.kind in _WAITS and _was_waited_for(run):
            waits.append(Wait(_WAITS[run.step.kind], run.ready_at, end))
        elif run.asked_at:
            slots.append(Slot(run.ready_at, run.asked_at, run.started_at, end))
    ranks = {reason: rank for rank, reason in enumerate((_ANSWERS, *_WAITS.values(), *_BLOCKS))}
    timeline = [*book.blocks, (ended, "")]
    waits += [Wait(why, since, until) for (since, why), (until, _) in pairwise(timeline) if why]
    waits.sort(key=lambda wait: ranks[wait.reason])
    return settle(began, ended, _limit(book), slots, waits, held_back_s=held_back_s)


def _was_waited_for(run: StepRun) -> bool:
    return run.state is not StepState.BLOCKED and (run.state not in OVER or run.ended_at > 0)


def _limit(book: Book) -> int:
    budgets = sum(ds.planned.budget.value for ds in book.daemon_sets.values())
    return min(budgets, book.plan.limits.max_nodes_in_flight or budgets)
