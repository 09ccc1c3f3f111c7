"""The record of a run that ends: how far it came, and which words still wait to be heard. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.state import OVER, StepState
from rollout.executor.engine.storedtimes import left_behind
from rollout.executor.record.record import ENDED, Counts, RunPhase, RunRecord, Wish
from rollout.executor.record.timerecord import recorded_starts
from rollout.executor.result import Result

MOST_MESSAGE = 4000  # characters; what is shown at the end of a run is whole
MOST_FAILED = 100  # failed nodes that are named; all are counted

_PHASES: dict[Outcome, RunPhase] = {
    Outcome.DONE: "complete",
    Outcome.DEFERRED: "complete",
    Outcome.FAILED_NODES: "complete",
    Outcome.HELD: "held",
    Outcome.INCONCLUSIVE: "held",
    Outcome.DEADLINE: "held",
    Outcome.PAUSED: "paused",
    Outcome.DRIFT: "drifted",
    Outcome.REFUSED: "refused",
    Outcome.ABORTED: "aborted",
    Outcome.ROLLED_BACK: "rolled back",
    Outcome.ROLLBACK_INCOMPLETE: "rollback incomplete",
}
_UNFINISHED = (
    Outcome.PAUSED,
    Outcome.HELD,
    Outcome.INCONCLUSIVE,
    Outcome.DEADLINE,
    Outcome.DRIFT,
    Outcome.REFUSED,
)


def ending(record: RunRecord, result: Result, now: str, sequence: int) -> RunRecord:
    """Return the record of a run at its end.

    Args:
        record: as it is, with what others have said meanwhile.
        result: how the run ended.
        now: as Kubernetes writes times.
        sequence: number of the last event that will be told.
    """
    finish = _unless_aborted(record, result)
    failed = [run.node for run in result.steps if run.state is StepState.FAILED]
    over = {run.node for run in result.steps if run.state in OVER}
    waits = result.plan.wave_word(result.unapproved) if result.unapproved else ""
    if not result.unseen:  # else what an earlier process has counted is all that is known
        record = replace(
            record,
            failed=tuple(failed[:MOST_FAILED]),
            failed_count=len(failed),
            counts=Counts(
                updated=sum(run.state is StepState.DONE for run in result.steps),
                failed=len(failed),
                deferred=result.plan.totals.deferred,
                total=len(result.steps),
                skipped=sum(run.state is StepState.SKIPPED for run in result.steps),
            ),
        )
    return replace(
        record,
        phase=_PHASES[finish.outcome],
        message=finish.text[:MOST_MESSAGE],
        finished_at=now,
        sequence=sequence,
        waits_for=waits,
        gates=result.gates or record.gates,
        gate_wave=result.wave or record.gate_wave,
        last_wave_done=max(result.last_wave_done, record.last_wave_done),
        starts=recorded_starts(left_behind(result.steps)),
        begun_since="",
        counts_from="",
        approved_nodes=tuple(node for node in record.approved_nodes if node not in over),
        wish=_still_wanted(record.wish, finish.outcome),
    )


def _unless_aborted(record: RunRecord, result: Result) -> Finish:
    """Heed an abort that came after the run had come to its end."""
    wish, finish = record.wish, result.finish
    if wish is not None and wish.verb == "abort" and finish.outcome in _UNFINISHED:
        return Finish(Outcome.ABORTED, f"{wish}; before: {finish.message}")
    return finish


def _still_wanted(wish: Wish | None, outcome: Outcome) -> Wish | None:
    """Return what the next part of the run must still do: go back, or stay held."""
    gone_back = outcome in (Outcome.ROLLED_BACK, Outcome.ROLLBACK_INCOMPLETE)
    if wish is None or gone_back or outcome in (Outcome.DONE, Outcome.DEFERRED, Outcome.ABORTED):
        return wish if wish is not None and wish.verb == "rollback" and not gone_back else None
    return wish if wish.verb in ("rollback", "hold") else None


def ended_as_asked(record: RunRecord, how_far: str, now: str) -> RunRecord:
    """Return the record of a stopped run that nobody carries out, ended as somebody asked.

    Args:
        record: as it is.
        how_far: what the fleet looks like.
        now: as Kubernetes writes times.
    """
    wish = record.wish
    if wish is None or record.phase in ENDED:
        return record
    if wish.verb == "abort":
        message = f"{wish}; {how_far}"
        return replace(record, phase="aborted", message=message, finished_at=now, wish=None)
    if wish.verb == "hold":
        return replace(record, phase="held", message=str(wish), finished_at=now)
    return record
