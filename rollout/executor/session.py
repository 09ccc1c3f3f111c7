"""One `apply`: is the plan new, half done or done? Then run it, and keep the record true."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from dataclasses import dataclass

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid
from rollout.cluster.release import check_release
from rollout.errors import ExitCode, StaleError
from rollout.executor.actions import Finish, Outcome
from rollout.executor.keeper import Keeper
from rollout.executor.precheck import require_permissions
from rollout.executor.record import RunPhase, RunRecord, approved_waves, new_record
from rollout.executor.run import DriftPolicy, Inbox, Observer, Result, run_plan
from rollout.fleet.objects import format_time
from rollout.planner.plan import Plan

_EXIT_CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.DEFERRED: ExitCode.DEFERRED,
    Outcome.FAILED_NODES: ExitCode.HELD,
    Outcome.HELD: ExitCode.HELD,
    Outcome.PAUSED: ExitCode.PAUSED,
    Outcome.DRIFT: ExitCode.STALE,
}
_PHASES: dict[Outcome, RunPhase] = {
    Outcome.DONE: "complete",
    Outcome.DEFERRED: "complete",
    Outcome.FAILED_NODES: "complete",
    Outcome.HELD: "held",
    Outcome.PAUSED: "paused",
    Outcome.DRIFT: "drifted",
    Outcome.REFUSED: "refused",
}


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
        AlreadyApplied: when a run has completed this plan.
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
    require_permissions(client, plan)
    if found is not None and (found.plan_digest, found.plan_id) == (plan.digest, plan.id):
        if found.phase == "complete":
            raise AlreadyApplied(
                f"plan {plan.id} was already applied by run {found.run_id} "
                f"({found.started_by}, finished {found.finished_at}); make a new plan"
            )
        return Session(keeper, found, cluster_uid, resumed=True)
    check_release(client, plan.cluster.version)
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
    """Run the plan; the record is written before what it describes (S4), and at the end.

    Args:
        client: of the cluster.
        plan: the plan.
        session: from `begin`.
        inbox: where a stop can be asked for.
        observer: who is told.
        on_drift: what to do about nodes and pods that changed since the plan was made.

    Raises:
        StaleError: when the cluster is not what the plan was made for; nothing was written.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """

    def record(phase: RunPhase, message: str = "", finished_at: str = "") -> None:
        session.keeper.write(
            msgspec.structs.replace(
                session.record,
                phase=phase,
                message=message,
                finished_at=finished_at,
                sequence=observer.sequence,
            )
        )

    result = run_plan(
        client,
        plan,
        inbox,
        observer,
        before_first_write=lambda: record("running"),
        run_id=session.record.run_id,
        resumed=session.resumed,
        approved=approved_waves(session.record),
        cluster_uid=session.cluster_uid,
        on_drift=on_drift,
    )
    if result.wrote or session.resumed:
        finish = result.finish
        record(_PHASES[finish.outcome], finish.message, format_time(time.time()))
    return result


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
