"""One `apply`: is the plan new, half done or done? Then run it, and keep the record true."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes
from rollout.cluster.release import check_release
from rollout.errors import ExitCode, StaleError
from rollout.executor import events as ev
from rollout.executor.actions import Finish, Outcome
from rollout.executor.inbox import Inbox
from rollout.executor.keeper import Keeper
from rollout.executor.leaseprotocol import Holder
from rollout.executor.leases import LeaseName
from rollout.executor.lock import Lock
from rollout.executor.precheck import require_permissions
from rollout.executor.processes import this_process
from rollout.executor.record import (
    RunPhase,
    RunRecord,
    approved_waves,
    new_record,
    record_name,
)
from rollout.executor.run import DriftPolicy, Observer, Result, run_plan
from rollout.fleet.objects import format_time
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before, rollback_plan

_EXIT_CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.DEFERRED: ExitCode.DEFERRED,
    Outcome.FAILED_NODES: ExitCode.HELD,
    Outcome.HELD: ExitCode.HELD,
    Outcome.PAUSED: ExitCode.PAUSED,
    Outcome.DRIFT: ExitCode.STALE,
    Outcome.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Outcome.ROLLBACK_INCOMPLETE: ExitCode.ROLLBACK_INCOMPLETE,
}
_PHASES: dict[Outcome, RunPhase] = {
    Outcome.DONE: "complete",
    Outcome.DEFERRED: "complete",
    Outcome.FAILED_NODES: "complete",
    Outcome.HELD: "held",
    Outcome.PAUSED: "paused",
    Outcome.DRIFT: "drifted",
    Outcome.REFUSED: "refused",
    Outcome.ROLLED_BACK: "rolled back",
    Outcome.ROLLBACK_INCOMPLETE: "rollback incomplete",
}
_GOING_BACK: tuple[RunPhase, ...] = ("rolling back", "rollback incomplete")


class AlreadyApplied(StaleError):
    """The plan was carried out before."""


@dataclass(frozen=True, slots=True)
class Session:
    """What `begin` found out."""

    keeper: Keeper
    record: RunRecord
    cluster_uid: str
    resumed: bool


def begin(client: Client, plan: Plan) -> Session:
    """Look for an earlier run of this plan; nothing is written.

    Args:
        client: of the cluster.
        plan: the plan.

    Raises:
        AlreadyApplied: when a run has completed this plan, or rolled it back.
        StaleError: when the plan is for another cluster, or another release of Kubernetes.
        Forbidden: when a permission is missing that the run will need.
        ClusterError: when the cluster cannot be read.
    """
    cluster_uid = read_cluster_uid(client)
    if cluster_uid != plan.cluster.uid:
        raise StaleError(
            f"the plan was made for cluster {plan.cluster.uid}, but {client.server} is "
            f"{cluster_uid}; choose the right --context, or make a new plan"
        )
    keeper = Keeper(client, plan.namespace, plan.name)
    found = keeper.read()
    if found is not None and (found.plan_digest, found.plan_id) == (plan.digest, plan.id):
        if found.phase in ("complete", "rolled back"):
            verb = "applied" if found.phase == "complete" else "rolled back"
            raise AlreadyApplied(
                f"plan {plan.id} was already {verb} by run {found.run_id} "
                f"({found.started_by}, finished {found.finished_at}); make a new plan"
            )
        require_permissions(client, plan)
        return Session(keeper, found, cluster_uid, resumed=True)
    check_release(client, plan.cluster.version)
    require_permissions(client, plan)
    record = new_record(plan, secrets.token_hex(4), format_time(time.time()), whoami())
    return Session(keeper, record, cluster_uid, resumed=False)


def carry_out(
    client: Client,
    plan: Plan,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    on_drift: DriftPolicy = "fail",
) -> Result:
    """Run the plan, and roll it back where the plan or somebody says so.

    The record is written before what it describes (S4), and at the end.

    Args:
        client: of the cluster.
        plan: the plan.
        session: from `begin`.
        inbox: where a stop can be asked for.
        observer: who is told.
        on_drift: what to do about nodes and pods that changed since the plan was made.

    Raises:
        LockedError: when another run works on one of the DaemonSets.
        StaleError: when the cluster is not what the plan was made for; nothing was written.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with _lock(client, session.record, inbox, observer) as lock:
        if session.record.phase in _GOING_BACK:
            return _roll_back(client, session, inbox, observer, lock)
        result = _run(client, plan, session, inbox, observer, on_drift, lock)
        failed = result.finish.outcome is Outcome.HELD and plan.limits.on_failure == "rollback"
        begun = result.wrote or session.resumed
        if begun and (failed or result.wish == "rollback"):
            return _roll_back(client, session, Inbox(), observer, lock)
        return result


def _lock(client: Client, record: RunRecord, inbox: Inbox, observer: Observer) -> Lock:
    """Return the lock of a run; the run hears of it when it stops being valid (S5)."""
    lock: Lock

    def changed(reason: str) -> None:
        if lock.lost:
            inbox.put(ev.LockLost(lock.lost))
        elif reason:
            inbox.put(ev.ViewLost("the lock", reason))
        else:
            inbox.put(ev.ViewBack("the lock"))

    lock = Lock(
        client,
        [LeaseName(ds.namespace, ds.name) for ds in record.daemon_sets],
        Holder(record.run_id, whoami(), this_process()),
        on_change=changed,
        on_wait=observer.waiting,
    )
    return lock


def _run(
    client: Client,
    plan: Plan,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    on_drift: DriftPolicy,
    lock: Lock,
) -> Result:
    """Carry out one plan between two writes of the record."""
    first = session.record

    def start() -> None:
        record = msgspec.structs.replace(
            first, phase="running", message="", finished_at="", control=None
        )
        if session.resumed:
            session.keeper.update(first.run_id, lambda _: record)
        else:
            session.keeper.write(record)

    result = run_plan(
        client,
        plan,
        inbox,
        observer,
        before_first_write=start,
        run_id=first.run_id,
        resumed=session.resumed,
        approved=approved_waves(first),
        cluster_uid=session.cluster_uid,
        on_drift=on_drift,
        record=(plan.namespace, record_name(plan.name)),
        may_write=lock.valid,
    )
    if result.wrote or session.resumed:
        session.keeper.update(first.run_id, _ended(result.finish, observer))
    return result


def roll_back(client: Client, session: Session, inbox: Inbox, observer: Observer) -> Result:
    """Take a run back: the old template, and the touched nodes only (S10).

    Args:
        client: of the cluster.
        session: of the run.
        inbox: where a stop can be asked for.
        observer: who is told.

    Raises:
        StaleError: when a DaemonSet is gone, or its history does not hold the old template.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with _lock(client, session.record, inbox, observer) as lock:
        return _roll_back(client, session, inbox, observer, lock)


def _roll_back(
    client: Client, session: Session, inbox: Inbox, observer: Observer, lock: Lock
) -> Result:
    run_id = session.record.run_id
    session.keeper.update(
        run_id,
        lambda r: msgspec.structs.replace(r, phase="rolling back", control=None, finished_at=""),
    )
    plan = _way_back(client, session)
    result = run_plan(
        client,
        plan,
        inbox,
        observer,
        before_first_write=lambda: None,
        run_id=run_id,
        resumed=True,
        approved=frozenset(),
        cluster_uid=session.cluster_uid,
        on_drift="ignore",
        record=None,
        may_write=lock.valid,
    )
    finish = _rolled_back(plan, result)
    session.keeper.update(run_id, _ended(finish, observer))
    return replace(result, finish=finish)


def _way_back(client: Client, session: Session) -> Plan:
    nodes = read_nodes(client)
    fleets: dict[str, Fleet] = {}
    targets = {}
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
    surges = [ds.name for ds in session.record.daemon_sets if ds.surges]
    now = time.time() - (client.clock_skew_s or 0.0)
    version = client.server_version()[2]
    name = session.record.name
    return rollback_plan(name, list(fleets.values()), targets, version, now, surges)


def _rolled_back(plan: Plan, result: Result) -> Finish:
    """Say how the way back ended, with the commands that do the rest by hand."""
    left = [run for run in result.steps if run.reason or not run.ended_at]
    names = {run.node for run in left}
    names |= {n.name for ds in plan.daemon_sets for n in ds.nodes if n.fate == "deferred"}
    if result.finish.outcome is Outcome.DONE and not names:
        return Finish(Outcome.ROLLED_BACK, "the touched nodes are back on the old revision")
    pods = [
        f"kubectl delete pod -n {ds.namespace} {node.pod.name}"
        for ds in plan.daemon_sets
        for node in ds.nodes
        if node.name in names and node.pod is not None
    ]
    commands = "; ".join(pods)
    return Finish(
        Outcome.ROLLBACK_INCOMPLETE,
        f"not back yet: {', '.join(sorted(names)) or 'the strategy'} "
        f"({result.finish.message}). By hand: {commands or 'apply the plan again'}",
    )


def _ended(finish: Finish, observer: Observer) -> Callable[[RunRecord], RunRecord]:
    def change(record: RunRecord) -> RunRecord:
        return msgspec.structs.replace(
            record,
            phase=_PHASES[finish.outcome],
            message=finish.message,
            finished_at=format_time(time.time()),
            sequence=observer.sequence + 1,  # the last event, which tells of this end, follows
            control=None,  # what was asked for is done; the next part of the run starts afresh
        )

    return change


def exit_code(finish: Finish) -> ExitCode:
    """Return the exit code of a run (README, "Exit codes")."""
    return _EXIT_CODES.get(finish.outcome, finish.refused)


def whoami() -> str:
    """Return who runs this, for the record: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
