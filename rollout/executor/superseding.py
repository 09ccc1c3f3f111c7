"""What becomes of a run that is not over when another plan takes its place.

Its record says so ("superseded"), and so does the record of the run that took its place: its plan
can't be carried out any more, because the DaemonSet is no longer what it was made for.
"""

from __future__ import annotations

from msgspec.structs import replace

from rollout.cluster.client import Client
from rollout.cluster.fleet import daemon_set_path
from rollout.errors import ClusterError, StaleError
from rollout.executor.engine.state import ON_DELETE
from rollout.executor.record.keeper import Keeper
from rollout.executor.record.record import ENDED, RecordedDaemonSet, RunRecord, Superseded
from rollout.executor.record.recordedgates import RecordedGate
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet
from rollout.fleet.revisions import template_digest
from rollout.gates.verdict import Status
from rollout.planner.plan import Plan

MOST_KEPT = 10  # runs whose place was taken, one after the other


def open_question(found: RunRecord | None, plan: Plan) -> str:
    """Return what a run has not got past that a new plan would pass over; "" for nothing.

    That is an approval that it waits for, a no, or a gate that has not passed. A plan that leads
    where the run leads takes the nodes that are done for current, and begins behind all of these.

    Args:
        found: the record of the rollout that is there.
        plan: a new plan of the same rollout.
    """
    if found is None or found.phase not in ("running", "paused", "held"):
        return ""
    aims = {(ds.uid, ds.target_digest) for ds in found.daemon_sets}
    if aims != {(ds.uid, ds.target.template_digest) for ds in plan.daemon_sets}:
        return ""
    refused = found.wish is not None and found.wish.verb == "hold"
    gates = [gate for gate in found.gates if _is_open(gate)]
    if found.waits_for or refused or any(gate.kind == "approval" for gate in gates):
        return "waits for somebody's word"
    if not found.gate_wave:
        return ""  # nothing has begun: a new plan asks the gates before anything does
    return f"has not got past gate {gates[0].gate} ({gates[0].status})" if gates else ""


def _is_open(gate: RecordedGate) -> bool:
    """Whether a gate was asked and has not passed."""
    asked = gate.status != Status.NOT_MEASURED.value or gate.wave or gate.node
    return bool(asked) and gate.status != Status.PASSED.value and not gate.dry_run


def require_no_open_question(client: Client, found: RunRecord | None, plan: Plan) -> None:
    """Refuse a new plan that would pass over what a stopped run has not got past.

    Args:
        client: of the cluster.
        found: the record of the rollout that is there, of another plan.
        plan: that shall take its place.

    Raises:
        StaleError: with the ways on: the run's own plan, or the end of that run.
        ClusterError: a DaemonSet cannot be read.
    """
    question = open_question(found, plan)
    if found is None or not question or not still_stands(client, found):
        return
    name = f"{plan.name} -n {plan.namespace}"
    raise StaleError(
        f"run {found.run_id} of plan {found.plan_id} {question}, and plan {plan.id} would pass "
        f"over that: 'rollout resume {name}' goes on with the run; 'rollout abort {name}' ends it, "
        "and another plan may take its place"
    )


def still_stands(client: Client, found: RunRecord) -> bool:
    """Whether the DaemonSets are as a stopped run left them: else its plan is good for nothing.

    Args:
        client: of the cluster.
        found: the record of the run.

    Raises:
        ClusterError: a DaemonSet cannot be read.
    """
    return all(
        _is_as_left(
            client.get_or_none(daemon_set_path(ds.namespace, ds.name), DaemonSet), ds, found
        )
        for ds in found.daemon_sets
    )


def _is_as_left(live: DaemonSet | None, ds: RecordedDaemonSet, found: RunRecord) -> bool:
    if live is None or live.metadata.uid != ds.uid:
        return False
    template = template_digest(live.spec.template)
    by_owner = ds.original_strategy.get("type") == ON_DELETE
    run = live.metadata.annotations.get(marks.RUN, "")
    flipped = live.strategy_type == ON_DELETE and run == found.run_id
    if template == ds.target_digest:
        return by_owner or flipped
    return template == ds.previous_digest and not run  # its turn had not come


def in_place_of(found: RunRecord | None, record: RunRecord) -> RunRecord:
    """Return the record of a new run that remembers whose place it takes.

    Args:
        found: the record of this rollout that is there, of another plan.
        record: of the run that begins.
    """
    if found is None:
        return record
    before = found.superseded
    if found.phase not in ENDED:
        old = Superseded(found.run_id, found.plan_id, found.phase, found.started_by)
        before = (*before, old)[-MOST_KEPT:]
    return replace(record, superseded=before)


def require_not_superseded(found: RunRecord | None, plan: Plan) -> None:
    """Refuse a plan whose run had to make place for another one.

    Raises:
        StaleError: with the run that took its place.
    """
    for old in found.superseded if found is not None else ():
        if found is not None and old.plan_id == plan.id:
            raise StaleError(
                f"plan {plan.id} was superseded: its run {old.run_id} was {old.phase} when run "
                f"{found.run_id} of plan {found.plan_id} took its place ({found.started_by}, "
                f"{found.started_at}); make a new plan"
            )


def mark_others(client: Client, plan: Plan, record: RunRecord) -> list[str]:
    """Mark the runs of other rollouts superseded that are not over on these DaemonSets.

    Args:
        client: of the cluster; the caller holds the locks of all DaemonSets of the plan.
        plan: that begins.
        record: of its run.

    Returns:
        A sentence for each run whose place is taken, those of this rollout included.
    """
    told = [
        f"takes the place of run {old.run_id} of plan {old.plan_id}, which was {old.phase}"
        for old in record.superseded[-1:]
    ]
    for ds in plan.daemon_sets:
        live = client.get_or_none(daemon_set_path(ds.namespace, ds.name), DaemonSet)
        where = live.metadata.annotations.get(marks.ROLLOUT, "") if live is not None else ""
        namespace, _, name = where.partition("/")
        if name and (namespace, name) != (plan.namespace, plan.name):
            told += _mark(Keeper(client, namespace, name), record, where)
    return list(dict.fromkeys(told))


def _mark(keeper: Keeper, by: RunRecord, where: str) -> list[str]:
    try:
        old = keeper.read()
        if old is None or old.phase in ENDED:
            return []
        message = f"run {by.run_id} of plan {by.plan_id} took its place; it was {old.phase}"
        keeper.update(
            old.run_id, lambda r: replace(r, phase="superseded", message=message, wish=None)
        )
    except (ClusterError, StaleError) as error:
        return [f"the record of rollout {where} could not be marked superseded: {error}"]
    return [f"takes the place of run {old.run_id} of rollout {where}, which was {old.phase}"]
