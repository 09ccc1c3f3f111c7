"""One `apply`: run the plan between two writes of its record, and go back where that is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.identity import whoami
from rollout.errors import ClusterError, StaleError
from rollout.executor.closing import close
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Ask, Finish, Outcome
from rollout.executor.engine.gaterecord import carried_from
from rollout.executor.engine.state import IN_FLIGHT, StepState
from rollout.executor.fitting import DriftPolicy
from rollout.executor.holding import Held, held
from rollout.executor.inbox import Inbox
from rollout.executor.observer import Observer
from rollout.executor.oldtemplates import Templates, old_templates
from rollout.executor.planback import taken_away
from rollout.executor.record.planstore import Kept, keep_plan, read_kept_plan
from rollout.executor.record.record import AT_WORK, RunRecord
from rollout.executor.record.timerecord import StoredTimes, times_from
from rollout.executor.record.wishes import wishes_of
from rollout.executor.result import Result
from rollout.executor.run import Gatekeeping, Heed, Lasting, run_plan
from rollout.executor.saying import answered_at_prompt, speaker
from rollout.executor.session import Session
from rollout.executor.superseding import mark_others
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.executor.validity import require_valid
from rollout.executor.wayback import go_back, goes_back, wants_back
from rollout.gates.settings import Settings
from rollout.planner.plan import Plan
from rollout.signature import Signed

_SEEN = {*IN_FLIGHT, StepState.DONE, StepState.FAILED}  # of nodes that this process looked at
_AHEAD = {StepState.BLOCKED, StepState.READY}


@dataclass(frozen=True, slots=True)
class GateChoices:
    """What whoever applies a plan chooses for its gates.

    Attributes:
        settings: what they may do on this machine.
        ignore_windows: the run goes on outside of its windows.
        override: enters who wants that into the record; None where nobody does.
    """

    settings: Settings = field(default_factory=Settings)
    ignore_windows: bool = False
    override: Callable[[RunRecord], RunRecord] | None = None


def carry_out(
    client: Client,
    plan: Plan,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    on_drift: DriftPolicy = "fail",
    tuning: Tuning = DEFAULT_TUNING,
    stop_at: int = 0,
    ask: Callable[[Ask], None] | None = None,
    gates: GateChoices | None = None,
    begun: Callable[[Client], None] = lambda _client: None,
    ended: Callable[[Result], None] = lambda _result: None,
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
        tuning: how long the run's own parts may take.
        stop_at: nothing behind this wave (1-based) starts; 0: no such wave.
        ask: asks the person at the terminal about each node, and puts the answer into the inbox.
        gates: what is chosen for the gates of the plan.
        begun: called once the run has its lock, before anything is told; it gets the client whose
            writes ask the lock.
        ended: called at the end, while the lock is still held.

    Raises:
        LockedError: when another run works on one of the DaemonSets.
        PausedError: when a stop was asked for before the lock was held.
        StaleError: when the cluster is not what the plan was made for; nothing was written.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with held(client, session, inbox, observer, tuning, begun) as run:
        result = _to_its_end(run, plan, on_drift, stop_at, ask, gates or GateChoices())
        ended(result)
        return result


def _to_its_end(
    run: Held,
    plan: Plan,
    on_drift: DriftPolicy,
    stop_at: int,
    ask: Callable[[Ask], None] | None,
    gates: GateChoices,
) -> Result:
    """Carry the plan out, and take it back where that is to be."""
    record = run.session.record
    if goes_back(record):
        return go_back(run)
    result, ended = _run(run, plan, on_drift, stop_at, ask, gates)
    finish = result.finish
    failed = finish.by_release and plan.failure.on_failure == "rollback"
    failed = failed or finish.reaction == "rollback"
    wrote = ended is not None and not run.log.failed
    if wrote and (failed or wants_back(ended or record)):
        run.inbox.forget()
        back = go_back(run, taken_away(result))
        return replace(back, gates=result.gates, forward=result)
    return result


def _run(
    run: Held,
    plan: Plan,
    on_drift: DriftPolicy,
    stop_at: int,
    ask: Callable[[Ask], None] | None,
    gates: GateChoices,
) -> tuple[Result, RunRecord | None]:
    """Carry out one plan between two writes of the record.

    Returns:
        How it ended, and the record of that end; None when nothing has begun.
    """
    session = run.session
    first = session.record
    counts_from = first.counts_from if _was_killed(session) else run.now()
    started = run.stamped(lambda record: _begun(record, gates, counts_from, session.signed))
    if session.resumed:
        run.log.intend_record(started(first))
        first = session.keeper.update(first.run_id, started)

    early: list[ev.Decided] = []  # answers from before there was a record

    def decided(answer: ev.Decided) -> None:
        if session.keeper.found is None or session.keeper.found.run_id != first.run_id:
            early.append(answer)
        else:
            run.update(lambda record: _answered(record, [answer], run.now()))

    def start() -> None:
        if not session.resumed:
            _begin(run, plan, _answered(started(first), early, run.now()))
        elif not _is_kept(run, plan):  # killed in between, or what was in the way may be gone
            _keep(run, plan)

    result = run_plan(
        run.client,
        plan,
        run.inbox,
        run.observer,
        before_first_write=start,
        run_id=first.run_id,
        resumed=session.resumed,
        heed=Heed(wishes_of(first), wishes_of, run.say, run.lock.say, stop_at, ask, decided),
        gatekeeping=Gatekeeping(
            settings=gates.settings,
            carried=carried_from(first.gates, first.gate_wave, killed=_was_killed(session)),
            ignore_windows=gates.ignore_windows,
            keep=run.keep_gates,
            earlier=first.gates if session.resumed else (),
        ),
        lasting=Lasting(_times(first, counts_from), run.keep_times),
        cluster_uid=session.cluster_uid,
        on_drift=on_drift,
        saw_epoch=run.lock.outrun,
        tuning=run.tuning,
        log=run.log,
    )
    if not (result.wrote or session.resumed):
        return result, None
    states = {run.state for run in result.steps}
    if session.resumed and states & _AHEAD and not states & _SEEN:
        result = replace(result, unseen=True, earlier=first.counts)
    ended = close(run, result)
    if ended.phase == "aborted" and result.finish.outcome is not Outcome.ABORTED:
        result = replace(result, finish=Finish(Outcome.ABORTED, ended.message))
    return result, ended


def _begin(run: Held, plan: Plan, record: RunRecord) -> None:
    """Write the first record of a run, and what must be kept beside it."""
    require_valid(run.client, plan)  # it may have waited long: for a lock, a window, a gate
    run.log.intend_record(record)
    run.session.keeper.write(record)
    for sentence in mark_others(run.client, plan, record):
        run.observer.warning(sentence)
    _keep(run, plan)


def _times(first: RunRecord, counts_from: str) -> StoredTimes:
    return times_from(first.starts, counts_from, first.begun_since, first.word)


def _is_kept(run: Held, plan: Plan) -> bool:
    try:
        read_kept_plan(run.client, plan.namespace, run.session.record)
    except (ClusterError, StaleError):
        return False
    return True


def _keep(run: Held, plan: Plan) -> None:
    """Keep what the run needs to go on and to go back; warns why not: it goes on all the same."""
    signed, found = run.session.signed, Templates()
    try:
        found = old_templates(run.client, plan)
    except ClusterError as error:
        kept = Kept(str(error), way_back=False)
    else:
        templates = {digest: old.template for digest, old in found.items()}
        signature = signed.signature if signed is not None else b""
        kept = keep_plan(run.client, plan, templates, signature)
    if not kept.why_not:
        return
    run.observer.warning(
        f"the plan is not kept in the cluster ({kept.why_not}): keep its file, "
        "'rollout resume' will ask for it"
    )
    if not kept.way_back and _may_be_lost(plan, found):
        run.observer.warning(
            "neither is the way back kept: a rollback finds the template of before only while the "
            "history of its DaemonSet holds it (revisionHistoryLimit)"
        )


def _may_be_lost(plan: Plan, found: Templates) -> bool:
    """Whether a template that a rollback leads to is kept by no run."""
    kept = {digest for digest, old in found.items() if old.kept}
    aims = {
        ds.stable.template_digest
        for ds in plan.daemon_sets
        if ds.stable.template_digest != ds.target.template_digest
    }
    return not aims <= kept


def _answered(record: RunRecord, answers: list[ev.Decided], at: str) -> RunRecord:
    who = speaker(whoami(), at, "at the prompt of step")
    for answer in answers:
        record = answered_at_prompt(record, answer, who)
    return record


def _was_killed(session: Session) -> bool:
    """Whether an earlier process of the run has not come to its own end."""
    return session.resumed and session.record.phase in AT_WORK


def _begun(
    record: RunRecord, gates: GateChoices, counts_from: str, signed: Signed | None
) -> RunRecord:
    running = msgspec.structs.replace(
        _running(record),
        counts_from=counts_from,
        signed_by=str(signed) if signed is not None else record.signed_by,
    )
    return gates.override(running) if gates.override is not None else running


def _running(record: RunRecord) -> RunRecord:
    """Return the record of a run that begins, or goes on.

    A pause has been obeyed when the run ended with it; whoever applies the plan again wants it to
    go on. Where nodes were approved by name meanwhile, only those move, and the pause stays.
    """
    wish = record.wish
    obeyed = wish is not None and wish.verb == "pause" and record.phase == "paused"
    if obeyed and not record.approved_nodes:
        wish = None
    return msgspec.structs.replace(
        record,
        phase="running",
        message="",
        finished_at="",
        waits_for="",
        wish=wish,
        beside=(),  # this process has yet to hear of others
    )
