"""The bake time of a wave: how long it is watched before the next one begins.

Counted from when its last node got done, by times that stand in the cluster, so that a restart of
ours makes no bake time longer, and none begins anew that was over. At its end the wave has to be
well: nodes whose new pod is not available then have until `nodeTimeout`, and have failed behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine import sight, weighing
from rollout.executor.engine.health import soaked_at
from rollout.executor.engine.state import BEFORE, StepRun, StepState
from rollout.quantity import cut, format_duration

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

_AGAIN_S = 5.0  # seconds until a wave that is not well is looked at again


def note_updated(book: Book, run: StepRun, now: float) -> None:
    """Remember when the last node of a wave got done; its bake time counts from then."""
    times = [_over_at(book, step) for step in _updates(book, run)]
    book.gating.updated_at[run.step.wave] = max(times, default=now)


def note_retried(book: Book, run: StepRun, now: float) -> None:
    """Another try of a node is over: a wave that still bakes is watched from then on."""
    if run.step.wave in book.gating.updated_at:
        book.gating.updated_at[run.step.wave] = now


def bake(book: Book, run: StepRun, now: float) -> None:
    """Let a barrier open when its wave has baked; gates behind the wave take of that time."""
    wave = run.step.wave
    bake_s = book.plan.waves[wave - 1].bake_s if wave else 0.0
    is_behind_us = book.gating.carried.wave > wave  # an earlier process has begun the next one
    if not bake_s or run.step.daemon_set or now == BEFORE or is_behind_us:
        book.finish_step(run, now)
        return
    if wave not in book.gating.updated_at:
        note_updated(book, run, now)
    run.state = StepState.SOAKING
    _look(book, run, 0.0, now)


def baked_at(book: Book, wave: int) -> float:
    """Return when the bake time of a wave is over; 0 where it has not begun."""
    if wave not in book.gating.updated_at:
        return 0.0
    return book.gating.updated_at[wave] + book.plan.waves[wave - 1].bake_s


def sentence(book: Book, now: float) -> str:
    """Say which wave bakes, or is not well behind its bake time; "" when none does."""
    for run in book.steps.values():
        if run.step.kind == "barrier" and run.state is StepState.SOAKING:
            wave = book.plan.waves[run.step.wave - 1]
            text = f"the bake time of wave {wave.name} ({format_duration(wave.bake_s)})"
            over = now >= baked_at(book, run.step.wave)
            unwell = [step.node for step in _unwell(book, run)] if over else []
            if unwell:
                return f"waiting for {cut(unwell)}: not available at the end of {text}"
            return f"waiting for {text}"
    return ""


def _look(book: Book, run: StepRun, unseen_s: float, now: float) -> None:
    """Open the barrier if its bake time is over and the wave is well, or will not get well.

    Args:
        book: of the run.
        run: the barrier.
        unseen_s: for so long nothing could be judged behind the bake time: held against no node.
        now: seconds, by the clock of the run.
    """
    end = baked_at(book, run.step.wave)
    if end > now:
        book.at(end, lambda at: _look(book, run, unseen_s, at))
        return
    seen = sight.can_judge(book, now)
    unwell = _unwell(book, run)
    is_late = now >= end + unseen_s + book.plan.health.node_timeout_s
    if not seen or _tried_again(book, run) or (unwell and not is_late):
        unseen_s += 0.0 if seen else _AGAIN_S
        book.at(now + _AGAIN_S, lambda at: _look(book, run, unseen_s, at))
        return
    for step in unwell:
        ds = book.daemon_sets[step.step.daemon_set]
        weighing.lapse(book, ds, step, "its new pod is not available after the bake time", now)
    book.finish_step(run, now)


def _tried_again(book: Book, run: StepRun) -> bool:
    """Whether a node of the wave is tried again, and not over: the wave is not, either (S7)."""
    return any(step.step.wave == run.step.wave for step in book.retries.open.values())


def _unwell(book: Book, run: StepRun) -> list[StepRun]:
    """Return the nodes of a wave that were done and have no available pod now."""
    return [
        step
        for step in _updates(book, run)
        if step.state is StepState.DONE
        and step.node in book.daemon_sets[step.step.daemon_set].view.unavailable
    ]


def _updates(book: Book, run: StepRun) -> list[StepRun]:
    """Return the updates of a wave that are done or have failed."""
    meeting = book.steps.get(f"updated/{run.step.wave}", run)  # gates stand between it and `run`
    steps = (book.steps[step_id] for step_id in meeting.step.after)
    return [s for s in steps if s.node and s.state in (StepState.DONE, StepState.FAILED)]


def _over_at(book: Book, step: StepRun) -> float:
    """When an update was over; of one that an earlier process began, the cluster says so."""
    if not step.inherited:
        return step.ended_at
    if step.state is StepState.FAILED:
        return min(step.ended_at, step.started_at + book.plan.health.node_timeout_s)
    ds = book.daemon_sets[step.step.daemon_set]
    return soaked_at(ds, step.node, book.plan.health, step.ended_at)
