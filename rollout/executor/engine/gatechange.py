"""When that was changed which a gate judges: measurements from before that say nothing."""

from __future__ import annotations

from rollout.executor.engine.book import Book
from rollout.gatespec import Gate, adds_up


def changed_at(book: Book, gate: Gate, wave: int, now: float) -> float:
    """Return when what a gate judges was changed.

    What adds up (events, log lines) counts from the first change on; a sample of how things are
    must be newer than the last one. In the background, where changes don't end, the first counts;
    before it, that is now.
    """
    if gate.precedes:
        return 0.0
    times = [
        run.started_at
        for run in book.steps.values()
        if run.node and run.started_at and wave in (0, run.step.wave)
    ]
    if gate.at == "background":
        return min(times, default=now)
    return min(times, default=0.0) if adds_up(gate) else max(times, default=0.0)
