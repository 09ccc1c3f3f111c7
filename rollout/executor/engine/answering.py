"""What became of the writes that the engine asked for, entered into the book.

A write without an answer is resolved by a read of that very object before anything else; nothing
is guessed.
"""

from __future__ import annotations

import re

from rollout.executor.engine import advancing, observing, reasserting, settling, storedtimes, terms
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    DeletePod,
    Outcome,
    PodWrite,
    Prepare,
    ReadDaemonSet,
    ReadPod,
    Reassert,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.engine.book import Book
from rollout.executor.engine.state import IN_FLIGHT, DaemonSetRun, Phase, StepRun, StepState
from rollout.fleet.objects import strategy_text

_DONE_TO: dict[type[PodWrite], str] = {
    DeletePod: "deleted, waiting for its successor",
    ReleasePod: "handed over, waiting for its successor",
    TakeBack: "taken back, waiting for its successor to go",
}
# How the API server's own authorizer puts it; an admission plugin that refuses puts it otherwise.
_NO_PERMISSION = re.compile(r'User "[^"]*" cannot \w+ resource ')
_AGAIN_S = 2.0  # seconds until what was not done is tried again


def answered(book: Book, event: ev.Answered, now: float) -> None:
    """Enter what became of one action."""
    match event.action:
        case Prepare(name):
            _prepare_answered(book, book.daemon_sets[name], event, now)
        case Restore(name):
            _restore_answered(book, book.daemon_sets[name], event, now)
        case Reassert(name):
            reasserting.answered(book, book.daemon_sets[name], event, now)
        case DeletePod() | ReleasePod() | TakeBack():
            _write_answered(book, event.action, event, now)
        case ReadPod(write):
            _pod_read(book, write, event, now)
        case ReadDaemonSet(name):
            ds = book.daemon_sets[name]
            read = reasserting.read if ds.reasserted else _daemon_set_read
            read(book, ds, event, now)


def _prepare_answered(book: Book, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
    match event.answer:
        case ev.Answer.ACCEPTED:
            ds.generation = event.generation
            ds.phase = Phase.OBSERVING
            observing.resolve(book, ds, now)
        case ev.Answer.UNKNOWN | ev.Answer.CONFLICT:
            ds.patch_is_unsure = event.answer is ev.Answer.UNKNOWN
            book.actions.append(ReadDaemonSet(ds.name))
        case ev.Answer.NOT_DONE:
            book.at(now + _AGAIN_S, lambda _: book.actions.append(ReadDaemonSet(ds.name)))
        case ev.Answer.NOT_FOUND:
            _is_gone(book, ds)
        case _:
            ds.phase = Phase.UNTOUCHED
            book.refuse(f"the patch of DaemonSet {ds.name} was refused: {event.message}", event)


def _restore_answered(book: Book, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
    match event.answer:
        case ev.Answer.ACCEPTED:
            ds.phase = Phase.RESTORED
            book.note("restored", ds, message=strategy_text(ds.planned.final_strategy))
            book.finish_step(book.steps[f"restore/{ds.name}"], now)
        case ev.Answer.UNKNOWN | ev.Answer.CONFLICT:
            ds.patch_is_unsure = event.answer is ev.Answer.UNKNOWN
            book.actions.append(ReadDaemonSet(ds.name))
        case ev.Answer.NOT_DONE:
            book.at(now + _AGAIN_S, lambda _: book.actions.append(ReadDaemonSet(ds.name)))
        case ev.Answer.NOT_FOUND:
            _is_gone(book, ds)
        case _:
            book.refuse(
                f"the strategy of DaemonSet {ds.name} could not be restored: {event.message}; "
                "it is OnDelete",
                event,
            )


def _daemon_set_read(book: Book, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
    """Decide anew after a patch with a lost answer, or one that met a conflict."""
    match event.answer:
        case ev.Answer.ACCEPTED:
            if ds.live is None:
                observing.stays_behind(book, ds)
            else:
                _look_at_patch(book, ds, now)
        case ev.Answer.NOT_FOUND:
            _is_gone(book, ds)
        case ev.Answer.REFUSED | ev.Answer.NOT_ALLOWED:
            what = f"what became of the patch of DaemonSet {ds.name} could not be read"
            book.refuse(f"{what}: {event.message}; 'rollout status {ds.name}' shows it", event)
        case _:
            book.at(now + _AGAIN_S, lambda _: book.actions.append(ReadDaemonSet(ds.name)))


def _look_at_patch(book: Book, ds: DaemonSetRun, now: float) -> None:
    assert ds.live is not None
    if ds.phase is Phase.PREPARING and ds.is_prepared(ds.live):
        ds.generation = ds.live.metadata.generation
        ds.phase = Phase.OBSERVING
        observing.resolve(book, ds, now)
    elif ds.phase is Phase.RESTORING and ds.is_restored(ds.live):
        ds.phase = Phase.RESTORED
        book.finish_step(book.steps[f"restore/{ds.name}"], now)
    elif book.drift_why or (book.stopping and ds.phase is Phase.PREPARING):  # S6, S9
        _leave_patch(ds)
    elif ds.patch_is_unsure:  # it was not made: a server in trouble is left alone for a moment
        ds.patch_is_unsure = False
        book.at(now + _AGAIN_S, lambda at: _look_at_patch(book, ds, at))
    elif ds.phase is Phase.PREPARING:
        book.actions.append(Prepare(ds.name))
    elif ds.phase is Phase.RESTORING:
        book.actions.append(Restore(ds.name))


def _is_gone(book: Book, ds: DaemonSetRun) -> None:
    book.stop_for_drift(f"DaemonSet {ds.name} was deleted")
    _leave_patch(ds)


def _leave_patch(ds: DaemonSetRun) -> None:
    """Wait no longer for a patch that the run will not make: it would never come to its end."""
    back_to = {Phase.PREPARING: Phase.UNTOUCHED, Phase.RESTORING: Phase.OPEN}
    ds.phase = back_to.get(ds.phase, ds.phase)


def _write_answered(book: Book, write: PodWrite, event: ev.Answered, now: float) -> None:
    ds = book.daemon_sets[write.daemon_set]
    step = ds.steps[write.node]
    if step.id in book.asked_back:
        settling.answered(book, ds, step, event, now)
        return
    step.awaiting_answer = False
    if step.state is StepState.GONE:  # its node left while we waited
        return
    if event.answer in (ev.Answer.UNKNOWN, ev.Answer.NOT_DONE):
        step.said = event.message or step.said
    match event.answer:
        case ev.Answer.ACCEPTED | ev.Answer.CONFLICT | ev.Answer.NOT_FOUND:
            # Conflict and not found mean that this pod is gone already: observe (S2).
            _taken_away(book, ds, step, write, event, now)
            if step.state is not StepState.READY:
                advancing.advance(book, ds, step, now)
        case ev.Answer.UNKNOWN:
            step.awaiting_answer = True
            book.actions.append(ReadPod(write))
        case ev.Answer.NOT_DONE if not book.stopping:
            step.awaiting_answer = True
            book.at(now + _AGAIN_S, lambda at: _write_again(book, write, at))
        case ev.Answer.NOT_DONE:
            _let_go(book, ds, step)
        case _ if why := _not_allowed(event):
            _hold_for_rights(book, ds, step, event, why)
        case _:
            book.end(ds, step, StepState.FAILED, f"the pod was not touched: {event.message}", now)


def _not_allowed(event: ev.Answered) -> str:
    """Return in words that we may not do what was asked for; empty for any other answer."""
    if event.answer is ev.Answer.REFUSED and _NO_PERMISSION.search(event.message):
        return f"a permission was taken away: {event.message}"
    return event.message if event.answer is ev.Answer.NOT_ALLOWED else ""


def _hold_for_rights(
    book: Book, ds: DaemonSetRun, step: StepRun, event: ev.Answered, why: str
) -> None:
    """We may not do that any more: no node's fault, and the next one would meet the same."""
    book.hold(
        f"{why}; nothing was done to {step.node}",
        outcome=Outcome.REFUSED,
        code=event.exit_code,
    )
    if step.state is StepState.DELETING:
        _let_go(book, ds, step)
    else:
        step.barred = True


def _write_again(book: Book, write: PodWrite, now: float) -> None:
    """Decide anew about a write that was not done: what spoke for it may not hold any more (S1).

    Where the run stops meanwhile, the node is let go.
    """
    ds = book.daemon_sets[write.daemon_set]
    step = ds.steps[write.node]
    if step.state is StepState.GONE:
        return
    if isinstance(write, TakeBack) and not book.stopping:
        book.actions.append(write)
        return
    step.awaiting_answer = False
    if step.state is StepState.DELETING or book.stopping:
        _let_go(book, ds, step)
    else:  # the second half of a hand-over: only behind a successor that is still well
        advancing.advance(book, ds, step, now)


def _let_go(book: Book, ds: DaemonSetRun, step: StepRun) -> None:
    """Look at a node afresh that was not touched; where the run stops it is as if never begun.

    One that has failed, and gets well, stays as it is: it holds no slot.
    """
    if step.state not in IN_FLIGHT:
        return
    book.release(ds, step)
    step.state = StepState.READY
    book.enqueue(ds, step)


def _taken_away(
    book: Book,
    ds: DaemonSetRun,
    step: StepRun,
    write: PodWrite,
    event: ev.Answered,
    now: float,
) -> None:
    done = event.answer is ev.Answer.ACCEPTED
    step.said = ""
    if event.answer is ev.Answer.NOT_FOUND:
        ds.view.forget(write.uid, now)
    if step.state is StepState.DELETING:
        step.state = StepState.REPLACING
        step.started_at = now  # a slow API server takes nothing from the node's own time
        terms.set_deadline(book, ds, step)
        storedtimes.begun(book, step, now)
        message = f"pod {write.pod} {_DONE_TO[type(write)] if done else 'was gone already'}"
        book.note("node-started", ds, node=step.node, wave=step.step.wave, message=message)
    match write:
        case ReleasePod():
            step.replaced_uid = write.uid
            step.released_uid = write.uid if done else ""
        case DeletePod() if write.uid == step.released_uid:
            step.released_uid = ""  # the second half of a hand-over
        case DeletePod():
            step.replaced_uid = write.uid
        case TakeBack() if not done:  # it went away meanwhile
            _let_go(book, ds, step)


def _pod_read(book: Book, write: PodWrite, event: ev.Answered, now: float) -> None:
    """Resolve a write without an answer by what the pod is now; nothing is guessed."""
    if event.answer is not ev.Answer.ACCEPTED:
        book.at(now + _AGAIN_S, lambda _: book.actions.append(ReadPod(write)))
        return
    ds = book.daemon_sets[write.daemon_set]
    released = ds.view.released.get(write.node)
    is_released = released is not None and released.metadata.uid == write.uid
    pod = released if is_released else ds.view.pods.get(write.uid)
    if isinstance(write, ReleasePod):
        undone = pod is not None and not is_released
    elif isinstance(write, TakeBack):
        undone = is_released
    else:
        undone = pod is not None and not pod.terminating
    answer = ev.Answer.NOT_DONE if undone else ev.Answer.ACCEPTED
    _write_answered(book, write, ev.Answered(write, answer), now)
