"""Nodes whose pod is left as it is at its turn: the next run looks afresh.

A node may get a taint, or lose a label, between the plan and its turn. The built-in controller
deletes the old pod there and makes no new one; here the old one stays, and the run says why. The
same where another DaemonSet has to go first (`after`) and has not come up on that node. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.eligibility import compile_requirements, evaluate

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

# They come and go with the node's readiness, and `unreachable` waits for that.
_OF_READINESS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def why_left(book: Book, ds: DaemonSetRun, run: StepRun) -> str:
    """Return why a node's pod is not to be taken away; "" when it may go."""
    after = ds.planned.after
    first = book.daemon_sets[after.daemon_set].steps.get(run.node) if after is not None else None
    if first is not None and first.state in (StepState.FAILED, StepState.SKIPPED):
        return f"DaemonSet {first.step.daemon_set} goes first there, and {first.state.value}"
    why = _why_unfit(book, ds, run)
    return f"nothing would take its place ({why})" if why else ""


def _why_unfit(book: Book, ds: DaemonSetRun, run: StepRun) -> str:
    """Return why a node would get no new pod now; "" when it would, or needs none."""
    node = book.nodes.get(run.node)
    if node is None or ds.live is None or ds.to_take_back(run.node) is not None:
        return ""
    found = evaluate(
        compile_requirements(ds.live.spec.template),
        name=run.node,
        labels=node.metadata.labels,
        taints=[taint for taint in node.spec.taints if taint.key not in _OF_READINESS],
    )
    return "" if found.should_run else found.reason


def leave_out(book: Book, ds: DaemonSetRun, run: StepRun, why: str, now: float) -> None:
    """End the step of a node whose pod stays."""
    book.unfit.add(run.node)
    book.end(ds, run, StepState.SKIPPED, f"its pod was not touched: {why}", now)
    book.at(now, lambda _: None)  # what waited for this node alone may go on at once
