"""A node of the plan that left and is back under its name.

What came back with the pod that it had is the same node to us (it was registered anew, or a list
lacked it for a moment): it counts in the budget again, and a step that its leaving ended has its
turn after all; else its old pod would outlive the run. A step that had taken its pod away goes on
with its successor: till then no other DaemonSet has its turn there. What came back without any pod
is a new node: the controller gives it the new template.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine.notices import Notice
from rollout.executor.engine.retrying import hold_back
from rollout.executor.engine.state import DaemonSetRun, Phase, StepRun, StepState
from rollout.fleet.revisions import template_digest

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

_CLOSED = (Phase.RESTORING, Phase.RESTORED)  # whatever is old then is the controller's


def node_joined(book: Book, name: str) -> None:
    """A node that the plan does not know joined: its pod is of the template that is there now."""
    book.joined.add(name)
    has_new = all(_has_new(ds) for ds in book.daemon_sets.values())
    which = "new template" if has_new else "old template: the new one is not set yet"
    book.tell(Notice("node-joined", node=name, message=f"the controller gives it the {which}"))


def _has_new(ds: DaemonSetRun) -> bool:
    """Whether the target template is what the DaemonSet has, as far as is known."""
    target = ds.planned.target.template_digest
    return ds.live is not None and template_digest(ds.live.spec.template) == target


def node_returned(book: Book, name: str, now: float) -> None:
    """A node that was gone is seen again."""
    book.gone_nodes.discard(name)
    sets = book.daemon_sets.values()
    kept = [ds for ds in sets if _is_live(ds, name)]
    if not kept:
        node_joined(book, name)
        return
    open_again: list[StepRun] = []
    for ds in sets:
        run = ds.steps.get(name)
        gone = run is not None and run.state is StepState.GONE
        if ds not in kept and not (gone and run is not None and run.asked_at):
            continue
        ds.node_is_back(name, now)
        if run is not None and gone and ds.phase not in _CLOSED:
            _begin_anew(book, ds, run, now)
            open_again += [run] if run.state is StepState.READY else []
    for run in open_again:  # one DaemonSet may wait there for the other (S7)
        hold_back(book, run)
    for run in open_again:
        if run.state is StepState.READY:
            book.enqueue(book.daemon_sets[run.step.daemon_set], run)


def _is_live(ds: DaemonSetRun, node: str) -> bool:
    """Whether a pod is there that may outlive the run: of the DaemonSet, or a released one."""
    released = ds.view.released.get(node)
    waits = released is not None and not released.terminating
    return waits or _has_pod(ds, node)


def _has_pod(ds: DaemonSetRun, node: str) -> bool:
    return any(not pod.terminating for pod in ds.view.on(node))


def _begin_anew(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """Let a step wait for its turn again, or begin where that has come already."""
    run.replaced_uid = "" if _has_pod(ds, run.node) else run.replaced_uid
    run.reason, run.lane = "", None
    run.asked_at, run.ended_at = 0.0, 0.0
    run.taken_back, run.left_beside, run.in_the_way_until = False, "", 0.0
    ds.control.note(run.node, touched=False)
    book.note("node-returned", ds, node=run.node, wave=run.step.wave)
    if not run.told:
        run.state = StepState.BLOCKED
        return
    book.gating.forget(run)
    run.state, run.ready_at = StepState.READY, now
    book.pending += 1
    book.retries.open[run.step.id] = run
