"""What becomes of hand-overs that did not end well, when their run goes on to its end without them.

A run that stops before its end leaves a released pod at work: whoever goes on with the run, or
takes it back, finds it. One that is complete has nobody behind it any more, and nobody would ever
end that pod. So the old pod of a node that failed, or was skipped, is taken back: it gets its label
again, the controller adopts it and ends the newer one, and nothing restarts (behaviour.md 8.3).
Till then it may get well; but not for long where such nodes use up maxSurge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rollout.executor.engine import events as ev
from rollout.executor.engine import observing
from rollout.executor.engine.actions import ReadPod, TakeBack
from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.objects import Pod
from rollout.quantity import cut

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

_GIVEN_UP = (StepState.FAILED, StepState.SKIPPED, StepState.GONE)
_SHARE = 0.9  # of the time until the progress deadline would end the run
AGAIN_S = 2.0  # seconds until what was not done is tried again


def settle(book: Book, ds: DaemonSetRun) -> bool:
    """Take back the old pods of nodes that were given up.

    Returns:
        Whether nothing of that is left to do.
    """
    settled = True
    for run, pod in _owed(ds):
        settled = False
        _take_back(book, ds, run, pod)
    return settled


def make_room(book: Book, now: float) -> None:
    """Take old pods back where hand-overs that failed keep all others from starting for long.

    So too where all is over and there is no strategy to restore, which would wait for that.
    """
    for ds in book.daemon_sets.values():
        view = ds.view
        if not book.pending:
            settle(book, ds)
        elif view.doubled and not view.held and ds.waits:
            for run, pod in _owed(ds):
                if not run.in_the_way_until:
                    run.in_the_way_until = now + _patience_s(book)
                    book.at(run.in_the_way_until, lambda _: None)
                elif now >= run.in_the_way_until:
                    _take_back(book, ds, run, pod)


def _patience_s(book: Book) -> float:
    """Return for how long a failed node may get well; it ends before the progress deadline."""
    health = book.plan.health
    beyond_s = health.progress_deadline_s - health.node_timeout_s
    return _SHARE * min(health.node_timeout_s, beyond_s)


def _take_back(book: Book, ds: DaemonSetRun, run: StepRun, pod: Pod) -> None:
    if not run.awaiting_answer and not run.taken_back:
        run.awaiting_answer = run.taken_back = True
        book.asked_back.add(run.id)
        meta = pod.metadata
        book.actions.append(TakeBack(ds.name, run.node, meta.name, meta.uid))


def is_open(book: Book) -> bool:
    """Whether a released pod of a node that was given up is not taken back yet."""
    return any(True for ds in book.daemon_sets.values() for _ in _owed(ds))


def answered(book: Book, ds: DaemonSetRun, run: StepRun, event: ev.Answered, now: float) -> None:
    """Enter what became of taking an old pod back.

    That it is done is for the view to say; until then it is not asked for again.
    """
    write = event.action
    assert isinstance(write, TakeBack)
    if event.answer is ev.Answer.UNKNOWN:
        book.actions.append(ReadPod(write))
        return
    if event.answer is ev.Answer.NOT_DONE and run.taken_back:
        book.at(now + AGAIN_S, lambda _: _again(book, run))
        return
    book.asked_back.discard(run.id)
    if not run.taken_back:
        return  # it has another try by now
    run.awaiting_answer = False
    match event.answer:
        case ev.Answer.ACCEPTED:
            message = "its old pod is taken back"
            book.note("node-taken-back", ds, node=run.node, wave=run.step.wave, message=message)
            run.reason = f"{run.reason}; {message}"
        case ev.Answer.CONFLICT | ev.Answer.NOT_FOUND:
            run.taken_back = False
            observing.release_ended(book, ds, run.node, write.uid, now)
        case _:
            run.left_beside = event.message


def _again(book: Book, run: StepRun) -> None:
    """Let it be asked for again; a run that is to stop by now does not."""
    book.asked_back.discard(run.id)
    run.awaiting_answer = run.taken_back = False


def taken_back(ds: DaemonSetRun) -> list[str]:
    """Return the nodes on which the controller would replace an old pod that was taken back.

    Where it may take no pod down before another one is there, the node goes on working.
    """
    final = ds.planned.final_strategy
    limit = (final.get("rollingUpdate") or {}).get("maxUnavailable", 1)
    if final.get("type") == "OnDelete" or str(limit) in ("0", "0%"):
        return []
    steps = ds.steps.values() if ds.hands_over else ()
    return [run.node for run in steps if run.taken_back and run.state is not StepState.GONE]


def sentence(sets: Iterable[DaemonSetRun]) -> str:
    """Say where a released pod stays for good, and who ends it; "" when none does."""
    left = [
        (ds, run) for ds in sets for run in ds.steps.values() if run.left_beside and ds.hands_over
    ]
    if not left:
        return ""
    ds, first = left[0]
    return (
        f"the released pods on {cut([run.node for _, run in left])} could not be taken back "
        f"({first.left_beside}): 'rollout cleanup --daemonset {ds.name} -n {ds.planned.namespace}' "
        "does it"
    )


def waits_for(book: Book) -> str:
    """Say whose old pod is being taken back; "" when none is."""
    nodes = sorted(
        {run.node for d in book.daemon_sets.values() for run, _ in _owed(d) if run.taken_back}
    )
    return f"waiting for the old pods on {cut(nodes)}: they are taken back" if nodes else ""


def at_work(book: Book) -> str:
    """Say where a run that ends before its end leaves released pods; "" where it leaves none.

    The pod of a node that is done has been deleted, though the news of that may be on its way.
    """
    nodes = {
        node
        for ds in book.daemon_sets.values()
        for node, pod in (ds.view.released.items() if ds.hands_over else ())
        if not pod.terminating and _stays(ds.steps.get(node))
    }
    if not nodes:
        return ""
    name = f"{book.plan.name} -n {book.plan.namespace}"
    return (
        f"the old pods on {cut(sorted(nodes))} are handed over and go on working: 'rollout "
        f"rollback {name}' takes them back, 'rollout cleanup {name}' what nobody goes on with"
    )


def _stays(run: StepRun | None) -> bool:
    return run is not None and run.state is not StepState.DONE and not run.left_beside


def _owed(ds: DaemonSetRun) -> Iterator[tuple[StepRun, Pod]]:
    """Return the steps that are given up, and whose old pod still is a released one."""
    for node, pod in ds.view.released.items() if ds.hands_over else ():
        run = ds.steps.get(node)
        given_up = run is not None and run.state in _GIVEN_UP and not run.left_beside
        if run is not None and given_up and not pod.terminating:
            yield run, pod
