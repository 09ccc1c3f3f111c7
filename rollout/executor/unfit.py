"""Nodes on which nothing would come up in the place of a pod that is taken away: left as they are.

A node may get a taint, or lose a label, between the plan and its turn. The built-in controller
deletes the old pod there and makes no new one; here the old one stays, and the run says why. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.eligibility import compile_requirements, evaluate

if TYPE_CHECKING:
    from rollout.executor.book import Book

# They come and go with the node's readiness, and `unreachable` waits for that.
_OF_READINESS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def why_unfit(book: Book, ds: DaemonSetRun, run: StepRun) -> str:
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
    """End the step of a node whose pod nothing would replace; the next run looks afresh."""
    book.unfit.add(run.node)
    reason = f"its pod was not touched: nothing would take its place ({why})"
    book.end(ds, run, StepState.SKIPPED, reason, now)
    book.at(now, lambda _: None)  # what waited for this node alone may go on at once
