"""The way back of a run: the old template, and the touched nodes only (S10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import msgspec

from rollout.cluster.client import Client
from rollout.errors import ClusterError, Forbidden, StaleError
from rollout.executor.byhand import commands_by_hand
from rollout.executor.closing import close
from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.handwork import refused
from rollout.executor.holding import Held, held
from rollout.executor.inbox import Inbox
from rollout.executor.notback import Place, left_over, missed
from rollout.executor.observer import Observer
from rollout.executor.planback import NOTHING, Gone, plan_back
from rollout.executor.record.record import RunPhase, RunRecord
from rollout.executor.record.timerecord import StoredTimes, times_from
from rollout.executor.record.wishes import NONE, wishes_on_the_way_back
from rollout.executor.result import Result
from rollout.executor.run import Gatekeeping, Heed, Lasting, run_plan
from rollout.executor.session import Session
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.planner.plan import Plan
from rollout.quantity import cut

_GOING_BACK: tuple[RunPhase, ...] = ("rolling back", "rollback incomplete")
_COMPLETE = (Outcome.DONE, Outcome.DEFERRED)
_MORE = 3  # ways back behind one on which a node was found astray
_REST_S = 2.0  # before each of them


def roll_back(
    client: Client,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    tuning: Tuning = DEFAULT_TUNING,
    begun: Callable[[Client], None] = lambda _client: None,
    ended: Callable[[Result], None] = lambda _result: None,
) -> Result:
    """Take a run back: the old template, and the touched nodes only (S10).

    Args:
        client: of the cluster.
        session: of the run.
        inbox: where a stop can be asked for.
        observer: who is told.
        tuning: how long the run's own parts may take.
        begun: called once the lock is held; it gets the client whose writes ask the lock.
        ended: called at the end, while the lock is still held.

    Raises:
        StaleError: when a DaemonSet is gone, or its history does not hold the old template.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with held(client, session, inbox, observer, tuning, begun) as run:
        result = go_back(run)
        ended(result)
        return result


def goes_back(record: RunRecord) -> bool:
    """Whether the run was on its way back already, or somebody wants it there."""
    return record.phase in _GOING_BACK or wants_back(record)


def wants_back(record: RunRecord) -> bool:
    """Whether somebody has said that the run shall go back."""
    return record.wish is not None and record.wish.verb == "rollback"


def go_back(run: Held, gone: Gone = NOTHING) -> Result:
    """Take a run back whose lock is held; its errors are those of `roll_back`.

    Args:
        run: the run.
        gone: pods that its way forward, in this process, has taken away.

    Raises:
        WayBackRefused: when it may not be begun, with the commands that do it by hand.
    """
    try:
        return _go_back(run, gone)
    except Forbidden as error:
        why = f"the way back may not be begun: {error}"
        with suppress(ClusterError, StaleError):
            run.update(lambda record: _stuck(record, why))
        raise refused(run.client, run.session, error) from None


def _go_back(run: Held, gone: Gone) -> Result:
    begins = run.now()

    def going_back(record: RunRecord) -> RunRecord:
        return _going_back(record, begins)

    run.log.intend_record(run.stamped(going_back)(run.session.record))
    run.update(going_back)
    result = _once(run, gone)
    for _ in range(_MORE):
        astray = missed(result)
        if not astray or result.finish.outcome not in _COMPLETE:
            break
        nodes = sorted({node for _, node in astray})
        run.observer.warning(f"not back although they looked so: {cut(nodes)}; once more")
        run.inbox.forget()
        if run.inbox.stopped_within(_REST_S):
            break
        result = _once(run, gone)
    result = replace(result, finish=_rolled_back(result))
    close(run, result)
    return result


def _once(run: Held, gone: Gone) -> Result:
    return _carry_out(run, _plan(run, gone))


def _plan(run: Held, gone: Gone) -> Plan:
    try:
        return plan_back(run.client, run.session, gone, run.inbox.stopped_within).plan
    except StaleError as error:  # there is no way back: the record must not say that it goes
        why = str(error)
        run.update(lambda record: _stuck(record, why))
        raise


def _carry_out(run: Held, plan: Plan) -> Result:
    return run_plan(
        run.client,
        plan,
        run.inbox,
        run.observer,
        before_first_write=lambda: None,
        run_id=run.session.record.run_id,
        resumed=True,
        heed=Heed(NONE, wishes_on_the_way_back, run.say, run.lock.say),
        gatekeeping=Gatekeeping(),
        lasting=Lasting(_earlier(run), run.keep_times),
        cluster_uid=run.session.cluster_uid,
        on_drift="ignore",
        saw_epoch=run.lock.outrun,
        tuning=run.tuning,
        log=run.log,
    )


def _stuck(record: RunRecord, why: str) -> RunRecord:
    return msgspec.structs.replace(record, phase="rollback incomplete", message=why)


def _going_back(record: RunRecord, begins: str) -> RunRecord:
    """Return the record of a run on its way back; the times of the way forward don't count there.

    Args:
        record: as it is.
        begins: now; a way back whose process was killed goes on with its own times.
    """
    going = msgspec.structs.replace(
        record, phase="rolling back", wish=None, finished_at="", beside=()
    )
    if record.phase == "rolling back":
        return going
    return msgspec.structs.replace(going, starts=(), begun_since="", counts_from=begins)


def _earlier(run: Held) -> StoredTimes:
    record = run.session.keeper.found
    assert record is not None
    return times_from(record.starts, record.counts_from, record.begun_since, record.word)


def _rolled_back(result: Result) -> Finish:
    """Say how the way back ended, with the commands that do the rest by hand."""
    sets, left = result.sets.values(), left_over(result)
    if result.finish.outcome in _COMPLETE and not left:
        deferred = {n.name for ds in sets for n in ds.planned.nodes if n.fate == "deferred"}
        down = f"; down, and without a pod of the release: {cut(sorted(deferred))}"
        back = "the touched nodes are back on the old revision"
        return Finish(Outcome.ROLLED_BACK, back + (down if deferred else ""))
    return Finish(
        Outcome.ROLLBACK_INCOMPLETE,
        f"not back yet: {_nodes(left) or 'the strategy'} ({result.finish.message})",
        by_hand=tuple(commands_by_hand(result.plan, sets, left)),
    )


def _nodes(places: Iterable[Place]) -> str:
    return ", ".join(sorted({node for _, node in places if node}))
