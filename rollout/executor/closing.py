"""The end of a run, written into its journal and its record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_fleet, read_nodes
from rollout.errors import ClusterError, StaleError, Withheld
from rollout.executor.ending import ended_as_asked, ending
from rollout.executor.holding import Held, held
from rollout.executor.inbox import Inbox
from rollout.executor.lock.lock import RETRY_S
from rollout.executor.observer import Observer
from rollout.executor.record.earlier import went_well
from rollout.executor.record.planstore import forget_plan
from rollout.executor.record.record import ENDED, RunRecord
from rollout.executor.result import Result
from rollout.executor.session import Session
from rollout.executor.tuning import DEFAULT_TUNING, Tuning

_LAST_TRIES = 5  # at the last record, a second apart


def close(run: Held, result: Result) -> RunRecord:
    """Write the end into the record; how the run ended stays true where that cannot be done."""
    finish, number = result.finish, run.observer.sequence + 1  # of the event that tells the end
    now = run.now()
    told = run.log.conclude(event=number, outcome=finish.outcome.value, message=finish.message)
    if not told:
        run.observer.warning(f"the end of the run is not in its record: {run.log.failed}")
        return ending(run.session.record, result, now, number)
    try:
        record = _patiently(run, lambda record: ending(record, result, now, number))
    except (ClusterError, StaleError) as error:
        run.observer.warning(f"the end of the run could not be written into its record: {error}")
        return ending(run.session.record, result, now, number)
    if record.phase in ENDED:
        with suppress(ClusterError):  # a rest that the next run of this name overwrites
            back = record.phase == "aborted" or _has_failed_nodes(record)
            forget_plan(run.client, result.plan.namespace, record.name, way_back=back)
    return record


def _has_failed_nodes(record: RunRecord) -> bool:
    """Whether the next plan may have to lead back behind this run."""
    return record.phase == "complete" and not went_well(record)


def _patiently(run: Held, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
    """Change the record, waiting a little for a lock that may become valid again."""
    for _ in range(_LAST_TRIES):
        try:
            return run.update(change)
        except Withheld:
            if run.lock.lost or run.inbox.stopped_within(RETRY_S):
                break
    return run.update(change)


def end_now(
    client: Client,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    tuning: Tuning = DEFAULT_TUNING,
    begun: Callable[[Client], None] = lambda _client: None,
    ended: Callable[[RunRecord], None] = lambda _record: None,
) -> RunRecord:
    """End a run that nobody carries out, as its record asks: aborted, or held.

    Args:
        client: of the cluster.
        session: of the run.
        inbox: where a stop can be asked for.
        observer: who is told.
        tuning: how long the run's own parts may take.
        begun: called once the lock is held; it gets the client whose writes ask the lock.
        ended: called with the record after that, while the lock is still held.

    Returns:
        The record after that; of a run that has ended by itself meanwhile, as it was.

    Raises:
        LockedError: when somebody carries it out.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with held(client, session, inbox, observer, tuning, begun) as run:
        how_far = _how_far(client, session)
        now = run.now()

        def change(record: RunRecord) -> RunRecord:
            return ended_as_asked(record, how_far, now)

        run.log.intend_record(run.stamped(change)(session.record))
        record = run.update(change)
        ended(record)
        return record


def _how_far(client: Client, session: Session) -> str:
    """Say how far the fleet is, for a run that ends before its end (S11)."""
    nodes = read_nodes(client)
    parts = []
    for ds in session.record.daemon_sets:
        fleet = read_fleet(
            client, ds.namespace, ds.name, cluster_uid=session.cluster_uid, nodes=nodes
        )
        new = sum(any(map(fleet.is_current, pods)) for pods in fleet.pods.values())
        parts.append(
            f"DaemonSet {ds.name} is on the current revision on {new} of {len(fleet.pods)} nodes, "
            f"its strategy is {fleet.daemon_set.strategy_type}"
        )
    return f"half-updated: {'; '.join(parts)}"
