"""What people have said to a run, for `status`: who, when, why, and what still counts."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.executor.record.record import RunRecord, stopped_text
from rollout.report.table import text_table

_SHOWN = 10  # words in a table for people
_STOPPED = ("paused", "held", "aborted", "drifted", "refused", "superseded")


@dataclass(frozen=True, slots=True)
class WordState:
    """One thing that somebody said."""

    number: int
    verb: str
    about: str
    by: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunState:
    """Where a run stands, as its record says."""

    run: str
    plan: str
    signed_by: str  # whose signature of the plan was checked last; "": nobody's
    phase: str
    message: str
    why: str  # what it waits for at this moment, one sentence; "" when it is not at work
    waits_for: str  # the wave whose approval it waits for
    wish: str  # how somebody wants it to stop; "" when nobody does
    approved_waves: tuple[tuple[int, int], ...]
    approved_nodes: tuple[str, ...]
    skipped: tuple[str, ...]
    failed: tuple[str, ...]
    failed_count: int
    superseded: tuple[str, ...]  # ids of the runs whose place it took
    said: tuple[WordState, ...]
    said_count: int  # of all words, those that are not kept any more included


def run_state(record: RunRecord, why: str, *, interrupted: bool) -> RunState:
    """Return where a run stands.

    Args:
        record: of the run.
        why: what it waits for at this moment, as its lock says; "" when it says nothing.
        interrupted: nobody carries it out, although its record calls it at work.
    """
    return RunState(
        run=record.run_id,
        plan=record.plan_id,
        signed_by=record.signed_by,
        phase="interrupted" if interrupted else record.phase,
        message=record.message,
        why=why,
        waits_for=record.waits_for,
        wish=str(record.wish) if record.wish is not None else "",
        approved_waves=record.approved_waves,
        approved_nodes=record.approved_nodes,
        skipped=tuple(word.node for word in record.skips),
        failed=record.failed,
        failed_count=record.failed_count,
        superseded=tuple(old.run_id for old in record.superseded),
        said=tuple(WordState(w.number, w.verb, w.about, w.by, w.at, w.reason) for w in record.said),
        said_count=record.said_count,
    )


def doing(record: RunRecord, progress: str, why: str, *, interrupted: bool) -> str:
    """Return what a run does, for a sentence: at work what it waits for, else what it told last."""
    if interrupted:
        name = f"{record.name} -n {record.daemon_sets[0].namespace}"
        on = f"'rollout resume {name}' goes on, 'rollout rollback {name}' back"
        return f"interrupted, nobody carries it out: half-updated, {progress}; {on}"
    if record.phase in ("running", "rolling back") and record.wish is not None and record.message:
        return record.message
    said = why or record.message
    half = "half-updated, " if record.phase in _STOPPED and "half-updated" not in said else ""
    return f"{stopped_text(record.phase, said)}; {half}{progress}"


def words_text(state: RunState) -> str:
    """Return the newest words as a table; "" when nothing was said."""
    if not state.said:
        return ""
    rows = [(w.at, w.by, f"{w.verb} {w.about}".strip(), w.reason) for w in state.said[-_SHOWN:]]
    more = state.said_count - len(rows)
    before = f"\n(and {more} before)" if more else ""
    return f"\n\n{text_table(('WHEN', 'WHO', 'SAID', 'WHY'), rows)}{before}"
