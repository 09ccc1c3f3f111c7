"""How a step in flight moves on: by the verdict on its node, to the next wait or to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine import guarding, sight, terms
from rollout.executor.engine.actions import DeletePod
from rollout.executor.engine.health import Verdict, judge
from rollout.executor.engine.state import IN_FLIGHT, DaemonSetRun, StepRun, StepState

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


def advance(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """Look at a node in flight (or failed, which may heal) and move its step on."""
    if run.awaiting_answer or run.state is StepState.ASKING or not sight.can_judge(book, now):
        return
    if run.taken_back:
        return  # its successor is about to end
    verdict = judge(run, ds, book.nodes.get(run.node), now, book.plan.health)
    _note_trouble(book, run, verdict)
    match verdict:
        case Verdict(failed=reason) if reason:
            if run.state is not StepState.FAILED:
                book.end(ds, run, StepState.FAILED, reason, now)
        case Verdict(healthy=True) if not book.gating.is_proven(run):
            book.gating.prove(run)
        case Verdict(healthy=True) if run.released_uid:
            _end_hand_over(book, ds, run, now)
        case Verdict(healthy=True):
            book.end(ds, run, StepState.DONE, "", now)
        case _:
            _not_yet(book, ds, run, verdict, now)


def _not_yet(book: Book, ds: DaemonSetRun, run: StepRun, verdict: Verdict, now: float) -> None:
    """Wait for a node; one that was healthy before has its gates asked anew later."""
    book.gating.leave(run)
    if run.state is StepState.PROVING and now >= terms.over_at(book, ds, run, now):
        book.end(ds, run, StepState.FAILED, "it was healthy, and is not any more", now)
        return
    if run.state is not StepState.FAILED:
        run.state = StepState.SOAKING if verdict.soaking else StepState.REPLACING
    guarding.look_at(book, ds, run, now)
    terms.end_if_over(book, ds, run, now)
    when = verdict.look_again
    if when is not None and when > now:
        book.at(when, lambda at: _look_again(book, ds, run, at))


def _note_trouble(book: Book, run: StepRun, verdict: Verdict) -> None:
    """Keep count of the nodes in flight that are in trouble, and pause where that is wished."""
    if run.state in IN_FLIGHT and verdict.in_trouble is not run.in_trouble:
        run.in_trouble = verdict.in_trouble
        book.in_trouble += 1 if verdict.in_trouble else -1
    if verdict.pauses:
        book.pause(f"{run.node}: {verdict.pauses}")


def _end_hand_over(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """Delete the released pod: its successor has passed."""
    released = ds.view.released.get(run.node)
    if released is None:
        return  # the release was accepted and is not seen yet
    if released.terminating:
        book.end(ds, run, StepState.DONE, "", now)
        return
    assert released.metadata.uid == run.released_uid, "S2: not the pod that was released"
    run.awaiting_answer = True
    meta = released.metadata
    book.actions.append(DeletePod(ds.name, run.node, meta.name, meta.uid))


def _look_again(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    if run.state in IN_FLIGHT or run.state is StepState.FAILED:
        advance(book, ds, run, now)
