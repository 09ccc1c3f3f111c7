"""The safety rules as assertions on the engine's whole book: switched on in every test.

Where a rule can be stated at the one place that could break it, it stands there and is always on:
S2, S3, S6 and S7 before each delete (`starting`), S1 with them, S4 in the loop (the record and the
journal are written first), S5 in the writer and the lock, S8 in `gates`, S10 in the plan of a way
back, which has no gates and bears all failures. Here the book is counted anew from its steps and
pods, which costs O(nodes), so a run for people does without (`Engine.checked`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import IN_FLIGHT, OVER, DaemonSetRun, StepRun, StepState
from rollout.executor.engine.view import PodView

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book

_UNTOUCHED = (StepState.BLOCKED, StepState.READY, StepState.SKIPPED)
_LOOKS = 50  # steps that are looked at on average, so that a large run stays fast


def check(book: Book) -> None:
    """Assert all that must hold after each decision; large books are looked at now and then."""
    book.decisions += 1
    if book.decisions % max(1, len(book.steps) // _LOOKS) and book.finished is None:
        return
    for ds in book.daemon_sets.values():
        _budget(ds)
        _one_delete_a_node(ds)
        _control_group(book, ds)
    _order(book)
    _counts(book)
    _end(book)


def _budget(ds: DaemonSetRun) -> None:
    """S1: a node that works is known to work, and every other one is charged."""
    view = ds.view
    flying = {node for node, run in ds.steps.items() if run.state in IN_FLIGHT}
    assert view.held == flying, f"S1: slots {view.held ^ flying}"
    charged = view.unavailable | view.held | view.doubled
    assert view.used == charged, "S1: the budget's charge"
    assert view.doubled <= view.released.keys(), "S1: nodes with two pods"
    for node in view.budget_nodes - view.unavailable:
        assert _works(view, node), f"S1: {node} has no ready pod and is not charged"


def _works(view: PodView, node: str) -> bool:
    for pod in view.by_node.get(node, {}).values():
        if pod.ready and not pod.terminating:
            return True
    released = view.released.get(node)
    return released is not None and released.ready and not released.terminating


def _one_delete_a_node(ds: DaemonSetRun) -> None:
    """S3: what the run took away was never of the target revision, but for another try."""
    for run in ds.steps.values():
        pod = ds.view.pods.get(run.replaced_uid)
        again = run.reopened and run.replaced_uid == run.retry_uid
        assert pod is None or again or not ds.is_target(pod), f"S3: {run.node}"


def _control_group(book: Book, ds: DaemonSetRun) -> None:
    """Whose fault a failure is, is told by nodes that the run has not touched."""
    left = [
        (zone, node in book.unreachable.since)
        for node, zone in ds.zones.items()
        if node not in ds.steps or ds.steps[node].state in _UNTOUCHED
    ]
    assert +ds.control.size == Counter(zone for zone, _ in left), "untouched nodes"
    assert +ds.control.down == Counter(zone for zone, down in left if down), "those not ready"


def _order(book: Book) -> None:
    """S7: nothing begins before all that it waits for is over."""
    for run in book.steps.values():
        if run.state in IN_FLIGHT or run.state in (StepState.READY, StepState.DONE):
            for before in run.step.after:
                awaited = book.steps[before]
                passed = awaited.state in OVER or _passed(run, awaited)
                passed = passed or _begun_before(book, run, awaited)
                assert passed, f"S7: {run.id} before {before}"


def _passed(run: StepRun, before: StepRun) -> bool:
    """Whether somebody approved a node by name, and so let it pass its wave's approval."""
    return run.let_through and before.step.kind == "approval"


def _begun_before(book: Book, run: StepRun, before: StepRun) -> bool:
    """Whether a step began when what it waits for was over, which is tried again since."""
    return before.step.id in book.retries.open and run.state is not StepState.READY


def _counts(book: Book) -> None:
    """The counters that decisions are made by are what the steps say."""
    updates = [run for run in book.steps.values() if run.node]
    states = Counter(run.state for run in updates)
    flying = [run for run in updates if run.state in IN_FLIGHT]
    assert book.in_flight == len(flying) == len(book.busy_nodes), "slots"
    assert book.in_trouble == sum(run.in_trouble for run in flying), "nodes in trouble"
    assert +Counter(book.zone_load) == Counter(run.zone for run in flying), "slots by zone"
    assert book.done_count == states[StepState.DONE], "nodes done"
    assert book.skipped == states[StepState.SKIPPED], "nodes skipped"
    failed = book.failures.total + book.failures.excused
    assert failed == states[StepState.FAILED], "failed nodes"
    assert all(_waits_for_its_node(book, run) for run in book.unreachable.waiting.values())
    assert book.stopping or not (book.drift_why or book.hold_why or book.stop_why), "S6, S9"


def _waits_for_its_node(book: Book, run: StepRun) -> bool:
    return run.lane is None and run.node in book.unreachable.since


def _end(book: Book) -> None:
    """S11: a run that says it is complete has put every strategy back, or said why not."""
    if book.finished is None or book.finished.outcome is not Outcome.DONE:
        return
    left = [run.id for run in book.steps.values() if run.state not in OVER]
    assert not left, f"S11: complete, but {left}"
