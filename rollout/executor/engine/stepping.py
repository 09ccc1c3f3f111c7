"""Step by step: one node, then a question, whatever the plan's waves are.

What is done already (by an earlier process, or because somebody deleted the pod by hand) is only
looked at. A question names the node that comes next and stays open until it is answered; nothing
but a clear answer lets that node go.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rollout.executor.engine.actions import Ask
from rollout.executor.engine.state import Lane, StepRun, StepState

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book
    from rollout.executor.record.wishes import Wishes


@dataclass(slots=True)
class Stepping:
    """Where the walk stands.

    Attributes:
        on: whether each node is asked for.
        asked: the step whose question is open.
        let_go: nodes that somebody said yes to.
        cursor: position in the plan before which every update is over.
    """

    on: bool = False
    asked: StepRun | None = None
    let_go: set[str] = field(default_factory=set)
    cursor: int = 0


def may_start(book: Book, run: StepRun) -> bool:
    """Whether a step may begin: it only looks, or somebody said yes to its node."""
    if not book.stepping.on or run.node in book.stepping.let_go:
        return True
    ds = book.daemon_sets[run.step.daemon_set]
    return run.lane is Lane.VERIFY and ds.to_take_back(run.node) is None


def may_patch(book: Book) -> bool:
    """Whether the first patch may go out; else its first node is asked for."""
    if not book.stepping.on:
        return True
    run = _first_left(book)
    if run is None or run.node in book.stepping.let_go:
        return True
    _ask(book, run)
    return False


def ask_next(book: Book) -> None:
    """Ask for the node that comes next, when nothing is under way."""
    walk = book.stepping
    if not walk.on or walk.asked is not None or book.in_flight or book.stopping:
        return
    found = [
        run
        for ds in book.daemon_sets.values()
        if ds.resolved and ds.listed and ds.released_listed and book.nodes_listed
        if (run := ds.first(lambda run: run.lane is not Lane.VERIFY)) is not None
    ]
    if found and not any(run.node in walk.let_go for run in found):
        _ask(book, min(found, key=lambda run: (run.lane or 0, run.rank)))


def heard(book: Book, node: str, word: str) -> Wishes:
    """Take in the answer to a question; returns all that is wished for by now."""
    walk = book.stepping
    walk.asked = None
    match word:
        case "go":
            walk.let_go.add(node)
        case "skip":
            skipped = {**book.wishes.skipped, node: "skipped at the prompt"}
            return replace(book.wishes, skipped=skipped)
        case "all":
            walk.on = False
            return replace(book.wishes, waves=frozenset(range(1, len(book.plan.waves) + 1)))
        case _:
            book.stop_why = book.stop_why or f"stopped at {node}; 'rollout step' goes on there"
    return book.wishes


def _ask(book: Book, run: StepRun) -> None:
    if book.stepping.asked is None:
        book.stepping.asked = run
        book.actions.append(Ask(run.step.daemon_set, run.node, run.step.wave))


def _first_left(book: Book) -> StepRun | None:
    """Return the first update of the plan that is not over and not to be skipped."""
    walk, steps = book.stepping, book.plan.steps
    while walk.cursor < len(steps):
        run = book.steps[steps[walk.cursor].id]
        over = run.state not in (StepState.BLOCKED, StepState.READY)
        if run.node and not over and run.node not in book.wishes.skipped:
            return run
        walk.cursor += 1
    return None
