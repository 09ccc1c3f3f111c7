"""What gates keep waiting: nodes, the whole run, and people who shall answer."""

from __future__ import annotations

from rollout.executor.engine import actions, claiming
from rollout.executor.engine.actions import Finish
from rollout.executor.engine.book import Book
from rollout.executor.engine.gatestop import place_of
from rollout.executor.engine.state import StepRun, StepState


def is_idle(book: Book, run: StepRun) -> bool:
    """Whether a step holds a slot and waits for nothing but people."""
    missing = book.gating.missing.get(run.id)
    if not missing or run.state not in (StepState.ASKING, StepState.PROVING):
        return False
    return all(book.gates.open[run_id].waits_for_people for run_id in missing)


def waiting_for_people(book: Book) -> Finish | None:
    """Return how a run ends in which nothing but approvals of gates can change anything."""
    waiting = [run for run in book.gates.open.values() if run.waits_for_people]
    if not waiting:
        return None
    others = any(
        not run.waits_for_people and run.gate.at != "background" for run in book.gates.open.values()
    )
    if others or book.gating.to_ask or book.gating.to_prove or book.gating.cleared:
        return None
    ready = any(ds.waits for ds in book.daemon_sets.values())
    if not book.in_flight and (ready or claiming.waits(book)):
        return None
    first = waiting[0]
    more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
    return Finish(
        actions.Outcome.PAUSED,
        f"{place_of(book, first)}{more} waits for approval ({first.verdict.reason}): "
        f"'rollout approve {book.plan.name} --gate {first.gate.name} -n {book.plan.namespace}'",
    )


def sentence(book: Book, run: StepRun | None = None) -> str:
    """Return what is missing of a node's gates, or of all that are asked; "" when nothing is.

    Args:
        book: the book.
        run: a node in flight; None for the gates that keep the whole run waiting.
    """
    if run is not None:
        ids = book.gating.missing.get(run.step.id, set())
        runs = [book.gates.open[i] for i in sorted(ids) if i in book.gates.open]
    else:
        ids = {*book.gating.vertices, *book.gating.again}
        runs = [book.gates.open[i] for i in sorted(ids) if i in book.gates.open]
    if not runs:
        return ""
    more = f" and {len(runs) - 1} more" if len(runs) > 1 else ""
    return f"waiting for {place_of(book, runs[0])}{more}: {runs[0].verdict.reason}"
