"""The way back of a run: the old template, and the touched nodes only (S10)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_fleet, read_nodes, read_released
from rollout.errors import StaleError
from rollout.executor.actions import Finish, Outcome
from rollout.executor.byhand import commands_by_hand
from rollout.executor.closing import close
from rollout.executor.holding import Held, held
from rollout.executor.inbox import Inbox
from rollout.executor.observer import Observer
from rollout.executor.record import RunPhase, RunRecord
from rollout.executor.result import Result
from rollout.executor.run import Gatekeeping, Heed, run_plan
from rollout.executor.session import Session
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.executor.wishes import NONE, wishes_on_the_way_back
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before, rollback_plan

_GOING_BACK: tuple[RunPhase, ...] = ("rolling back", "rollback incomplete")


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


def go_back(run: Held) -> Result:
    """Take a run back whose lock is held; its arguments and errors are those of `roll_back`."""
    session, run_id = run.session, run.session.record.run_id
    run.log.intend_record(run.stamped(_going_back)(session.record))
    run.update(_going_back)
    try:
        plan = _way_back(run.client, session)
    except StaleError as error:  # there is no way back: the record must not say that it goes
        why = str(error)
        run.update(lambda record: _stuck(record, why))
        raise
    result = run_plan(
        run.client,
        plan,
        run.inbox,
        run.observer,
        before_first_write=lambda: None,
        run_id=run_id,
        resumed=True,
        heed=Heed(NONE, wishes_on_the_way_back, run.say),
        gatekeeping=Gatekeeping(),
        cluster_uid=session.cluster_uid,
        on_drift="ignore",
        saw_epoch=run.lock.outrun,
        tuning=run.tuning,
        log=run.log,
    )
    result = replace(result, finish=_rolled_back(plan, result))
    close(run, result)
    return result


def _stuck(record: RunRecord, why: str) -> RunRecord:
    return msgspec.structs.replace(record, phase="rollback incomplete", message=why)


def _going_back(record: RunRecord) -> RunRecord:
    return msgspec.structs.replace(record, phase="rolling back", wish=None, finished_at="")


def _way_back(client: Client, session: Session) -> Plan:
    nodes = read_nodes(client)
    fleets: dict[str, Fleet] = {}
    targets = {}
    unfinished: dict[str, frozenset[str]] = {}
    for ds in session.record.daemon_sets:
        fleet = read_fleet(
            client, ds.namespace, ds.name, cluster_uid=session.cluster_uid, nodes=nodes
        )
        if fleet.daemon_set.metadata.uid != ds.uid:
            raise StaleError(
                f"DaemonSet {ds.namespace}/{ds.name} was recreated during the run; it is left alone"
            )
        fleets[ds.name] = fleet
        targets[ds.name] = revision_before(ds.previous_digest, fleet)
        released = read_released(client, ds.namespace, ds.uid)
        unfinished[ds.name] = frozenset(pod.node for pod in released)
    surges = [ds.name for ds in session.record.daemon_sets if ds.surges]
    now = time.time() - (client.clock_skew_s or 0.0)
    version = client.server_version()[2]
    name = session.record.name
    return rollback_plan(name, list(fleets.values()), targets, version, now, surges, unfinished)


def _overlooked(result: Result) -> set[str]:
    """Return nodes that are not back, and were not in the list that the way back was planned by.

    A list that lacks a node is believed, for nodes do leave; what is seen there later is not
    passed over (L1).
    """
    found: set[str] = set()
    for ds in result.sets.values():
        planned = {node.name for node in ds.planned.nodes}
        found |= ds.view.released.keys() - planned
        for node in result.joined if ds.resolved else ():
            pods = [pod for pod in ds.view.on(node) if not pod.terminating]
            found |= {node for pod in pods if node not in planned and not ds.is_target(pod)}
    return found


def _rolled_back(plan: Plan, result: Result) -> Finish:
    """Say how the way back ended, with the commands that do the rest by hand."""
    left = [run for run in result.steps if run.reason or not run.ended_at]
    names = {run.node for run in left}
    names |= {n.name for ds in plan.daemon_sets for n in ds.nodes if n.fate == "deferred"}
    names |= _overlooked(result)
    if result.finish.outcome is Outcome.DONE and not names:
        return Finish(Outcome.ROLLED_BACK, "the touched nodes are back on the old revision")
    commands = [line for ds in result.sets.values() for line in commands_by_hand(ds, names)]
    return Finish(
        Outcome.ROLLBACK_INCOMPLETE,
        f"not back yet: {', '.join(sorted(names)) or 'the strategy'} ({result.finish.message}). "
        f"By hand: {'; '.join(commands) or 'rollout rollback again'}",
    )
