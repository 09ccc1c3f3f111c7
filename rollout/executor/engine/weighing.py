"""What the end of a node's step means for the run: whose fault it is, and whether it is too much.

`failing` counts and knows the limits; here the book is asked what speaks for an excuse, and told to
hold or to pause. A failure that gets well is taken back, and where it was what stopped the run, the
run says that the cause has cleared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.executor.engine import guarding, zones
from rollout.executor.engine.health import relapse
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import OVER, DaemonSetRun, StepRun, StepState
from rollout.gatespec.inside import PodsGate
from rollout.quantity import parse_duration

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book


def find_fault(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """Say whether a failure speaks against the release."""
    zone_down = zones.went_down(book, ds, run)
    unserved = guarding.is_unserved(book, ds, run, now)
    run.excused = bool(zone_down) or unserved or run.node in ds.broken_before
    run.reason = "; ".join(text for text in (run.reason, zone_down) if text)


def look_again(book: Book, ds: DaemonSetRun, run: StepRun, now: float) -> None:
    """See whether a node that was done has turned bad: a release may well need a while for that.

    Its pod counts until its wave is over, for that is how long the wave is watched. Where a gate
    asks for a time without restarts, it is the one to judge them.
    """
    if run.node in book.unreachable.since:
        lapse(book, ds, run, "the node turned not ready after its update", now)
    elif book.steps[f"barrier/{run.step.wave}"].state not in OVER and not _is_gated(book, run):
        why = relapse(run, ds, now, book.plan.health)
        if why:
            lapse(book, ds, run, f"{why}, after the node was done", now)


def _is_gated(book: Book, run: StepRun) -> bool:
    """Whether a gate behind the wave of a step bears restarts that have been over for a while."""
    return any(
        isinstance(gate, PodsGate)
        and parse_duration(gate.restart_free) > 0
        and f"gate/after-wave/{run.step.wave}/{gate.name}" in book.steps
        for gate in book.plan.gates
    )


def lapse(book: Book, ds: DaemonSetRun, run: StepRun, why: str, now: float) -> None:
    """A node that was done has failed after all.

    Args:
        book: of the run.
        ds: whose pod it was about.
        run: the step.
        why: in half a sentence.
        now: seconds, by the clock of the run.
    """
    run.state, run.ended_at = StepState.FAILED, now
    run.reason = why
    book.done_count -= 1
    book.failures.lapsed(run.step.wave)
    find_fault(book, ds, run, now)
    book.note("node-failed", ds, node=run.node, wave=run.step.wave, message=run.reason)
    weigh_failure(book, run)


def weigh_failure(book: Book, run: StepRun) -> None:
    """Enter a failure, and stop where it is one too many."""
    wave = run.step.wave
    book.failures.failed(wave, excused=run.excused, new=not run.inherited)
    why = book.failures.too_many(wave)
    if why:
        book.hold(f"{run.node} failed: {run.reason}; {why}", by_release=True)
    elif pause := book.failures.pauses():
        book.pause(f"{run.node} failed: {run.reason}; {pause}")


def weigh_healing(book: Book) -> None:
    """Say so when what stopped the run is over; going on is for the user to say."""
    stopped = book.hold_why if book.by_release else book.pause_why
    if stopped and not book.cause_cleared and not book.failures.still_too_many():
        book.cause_cleared = True
        book.tell(Notice("cause-cleared", message=f"{stopped}; apply the plan again to go on"))


def require_a_success(book: Book, wave: int) -> None:
    """Hold behind a wave without a single success, whatever the limits would still bear."""
    is_over = book.steps[f"barrier/{wave}"].state in OVER  # else a node of it may yet succeed
    if is_over and book.failures.without_success(wave):
        name = book.plan.waves[wave - 1].name
        book.hold(f"no node of wave {name} succeeded", by_release=True)
