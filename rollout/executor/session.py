"""Is a plan new, half done or done? What is known of its run before anything is written."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid
from rollout.cluster.identity import whoami
from rollout.cluster.release import check_release
from rollout.errors import ExitCode, StaleError
from rollout.executor.oldtemplates import require_way_back
from rollout.executor.precheck import require_permissions
from rollout.executor.record.earlier import went_well
from rollout.executor.record.keeper import Keeper
from rollout.executor.record.record import ENDED, RunRecord, new_record
from rollout.executor.runlog import told_before
from rollout.executor.superseding import (
    in_place_of,
    require_no_open_question,
    require_not_superseded,
)
from rollout.executor.validity import require_valid
from rollout.fleet.objects import format_time
from rollout.journal.place import Place
from rollout.planner.plan import Plan
from rollout.signature import Signed


class AlreadyApplied(StaleError):
    """The plan was carried out before, and it went well.

    Args:
        message: what is wrong, where, and what next.
        code: with which that run ended.
    """

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Session:
    """What `begin` found out."""

    keeper: Keeper
    record: RunRecord
    cluster_uid: str
    resumed: bool
    place: Place  # of the journal
    recover: bool  # from a journal that cannot be written on
    signed: Signed | None = None  # whose signature of the plan was checked; None: it needs none

    @property
    def told(self) -> int:
        """Number of the last event that an earlier process of this run has told.

        Raises:
            DocumentError: when its journal cannot be read.
        """
        if not self.resumed:
            return 0
        if self.recover:
            return self.record.sequence
        return told_before(self.place, self.record, self.keeper.namespace, self.cluster_uid)


def begin(client: Client, plan: Plan, place: Place, *, recover: bool = False) -> Session:
    """Look for an earlier run of this plan; nothing is written.

    Args:
        client: of the cluster.
        plan: the plan.
        place: where the journal shall be.
        recover: a journal that cannot be written on is left, and another one begun.

    Raises:
        AlreadyApplied: when a run has completed this plan.
        StaleError: when a run has ended it in another way, when it would pass over what another run
            has not got past, when its rollback has lost its aim, when it has expired, or is for
            another cluster, or another release of Kubernetes.
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
        if found.phase in ("complete", "rolled back", "cleaned up"):
            verb = _ended_word(found)
            text = (
                f"plan {plan.id} was already {verb} by run {found.run_id} "
                f"({found.started_by}, finished {found.finished_at}); make a new plan"
            )
            if not went_well(found):
                raise StaleError(text)
            raise AlreadyApplied(text, ExitCode.DEFERRED if _left_out(found) else ExitCode.DONE)
        if found.phase in ENDED:
            back = f", or take it back: rollout rollback {plan.name} -n {plan.namespace}"
            raise StaleError(
                f"run {found.run_id} of plan {plan.id} is {found.phase} ({found.message}); make a "
                f"new plan{'' if found.phase == 'superseded' else back}"
            )
        require_permissions(client, plan)
        return Session(keeper, found, cluster_uid, resumed=True, place=place, recover=recover)
    require_not_superseded(found, plan)
    require_valid(client, plan)
    require_no_open_question(client, found, plan)
    check_release(client, plan.cluster.version)
    require_permissions(client, plan)
    require_way_back(client, plan)
    record = new_record(plan, secrets.token_hex(4), format_time(client.server_time()), whoami())
    record = in_place_of(found, record)
    return Session(keeper, record, cluster_uid, resumed=False, place=place, recover=recover)


def _ended_word(record: RunRecord) -> str:
    if record.phase != "complete":
        return record.phase
    if not went_well(record):
        return "applied, with failed nodes,"
    left_out = _left_out(record)
    return f"applied, with {left_out} nodes deferred or skipped," if left_out else "applied"


def _left_out(record: RunRecord) -> int:
    counts = record.counts
    return counts.deferred + counts.skipped if counts is not None else 0
