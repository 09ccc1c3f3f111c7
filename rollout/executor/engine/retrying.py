"""Another try of a failed node, because somebody asked for it.

S3 for another try: the pod of the target revision that failed is deleted by its UID, so at most
once for each wish. Its successor is younger than that wish, and only a new one can take it away,
also after a restart of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollout.executor.engine import unreachable
from rollout.executor.engine.health import judge
from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.objects import parse_time

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


@dataclass(slots=True)
class Retries:
    """Who is tried again.

    Attributes:
        before: node ("": all) -> when somebody asked an earlier process of this run for it.
        open: steps that are tried again and not over, by id.
        awaited: what waits for such a step once more, by its id.
    """

    before: dict[str, float]
    open: dict[str, StepRun] = field(default_factory=dict)
    awaited: dict[str, list[StepRun]] = field(default_factory=dict)


_NEVER = "1970-01-01T00:00:00Z"


def reopen(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """Let a failed node begin again; what is healthy there is only looked at once more."""
    run.retry_uid = ""
    book.gating.forget(run)
    run.retry_uid = _failed_pod(book, ds, run, now)
    run.replaced_uid = ""
    run.taken_back, run.left_beside, run.in_the_way_until = False, "", 0.0
    run.reopened = True
    run.state, run.reason, run.lane = StepState.READY, "", None
    run.ready_at, run.asked_at, run.ended_at = now, 0.0, 0.0
    book.retries.open[run.step.id] = run
    if run.told:
        hold_back(book, run)
    book.note("node-retried", ds, node=run.node, wave=run.step.wave)
    book.enqueue(ds, run)


def hold_back(book: Book, run: StepRun) -> None:
    """Let what waits for a node, and has not begun, wait for it once more (S7)."""
    waiting = book.retries.awaited.setdefault(run.step.id, [])
    for successor in _behind(run):
        if successor.node and successor.state is StepState.READY:
            unreachable.take_up(book, successor)
            successor.state, successor.lane = StepState.BLOCKED, None
        if successor.state is StepState.BLOCKED:
            successor.blockers += 1
            waiting.append(successor)


def _behind(run: StepRun) -> list[StepRun]:
    """Return what waits for a step: in its wave also behind a barrier that has been passed.

    Later waves are not gone through, for they may be all other nodes: `controlling.may_start` keeps
    them back.
    """
    found: dict[str, StepRun] = {}
    left = list(run.successors)
    while left:
        successor = left.pop()
        if successor.step.id not in found:
            found[successor.step.id] = successor
            ends_wave = successor.step.kind == "barrier" and not successor.step.daemon_set
            passed = not successor.node and successor.state is StepState.DONE
            left += successor.successors if passed and not ends_wave else ()
    return list(found.values())


def let_go(book: Book, run: StepRun, now: float) -> None:
    """Tell those that waited for another try that it is over."""
    for successor in book.retries.awaited.pop(run.step.id, ()):
        successor.blockers -= 1
        if not successor.blockers:
            book.unblock(successor, now)


def was_asked_before(book: Book, ds: DaemonSetRun, run: StepRun) -> bool:
    """Whether a node that fails just now was to be tried again before this process began."""
    asked = max((book.retries.before.get(name, 0.0) for name in ("", run.node)), default=0.0)
    if not asked or run.reopened:
        return False
    born = [parse_time(pod.metadata.creation_timestamp or _NEVER) for pod in ds.view.on(run.node)]
    return bool(born) and all(at < float(int(asked)) for at in born)


def _failed_pod(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> str:
    """Return the UID of the failed pod of the target revision that is in the way; "" for none."""
    node = book.nodes.get(run.node)
    if node is None or not node.ready:
        return ""  # no successor would come up there
    verdict = judge(run, ds, node, now, book.plan.health)
    for pod in ds.view.on(run.node):
        if ds.is_target(pod) and not pod.terminating and (verdict.failed or not pod.ready):
            return pod.metadata.uid
    return ""
