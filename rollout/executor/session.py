"""One `apply`: is the plan new, half done or done? Then run it, and keep the record true."""

from __future__ import annotations

import getpass
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes, read_released
from rollout.cluster.identity import cluster_user
from rollout.cluster.release import check_release
from rollout.errors import ClusterError, ExitCode, StaleError, Withheld
from rollout.executor import events as ev
from rollout.executor.actions import Ask, Finish, Outcome
from rollout.executor.byhand import commands_by_hand
from rollout.executor.ending import ended_as_asked, ending
from rollout.executor.gaterecord import RecordedGate, carried_from
from rollout.executor.inbox import Inbox
from rollout.executor.keeper import Keeper
from rollout.executor.leaseprotocol import Holder
from rollout.executor.leases import LeaseName
from rollout.executor.lock import RETRY_S, Lock
from rollout.executor.planstore import forget_plan, keep_plan
from rollout.executor.precheck import require_permissions
from rollout.executor.processes import this_process
from rollout.executor.record import (
    ENDED,
    RunPhase,
    RunRecord,
    new_record,
)
from rollout.executor.run import DriftPolicy, Gatekeeping, Heed, Observer, Result, run_plan
from rollout.executor.runlog import RunLog, open_log, told_before
from rollout.executor.saying import answered_at_prompt, speaker
from rollout.executor.superseding import in_place_of, mark_others, require_not_superseded
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.executor.wishes import NONE, wishes_of, wishes_on_the_way_back
from rollout.fleet.objects import format_time
from rollout.fleet.snapshot import Fleet
from rollout.gates.settings import Settings
from rollout.journal.place import Place
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before, rollback_plan

_EXIT_CODES = {
    Outcome.DONE: ExitCode.DONE,
    Outcome.DEFERRED: ExitCode.DEFERRED,
    Outcome.FAILED_NODES: ExitCode.HELD,
    Outcome.HELD: ExitCode.HELD,
    Outcome.ABORTED: ExitCode.HELD,
    Outcome.DEADLINE: ExitCode.DEADLINE,
    Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Outcome.PAUSED: ExitCode.PAUSED,
    Outcome.DRIFT: ExitCode.STALE,
    Outcome.ROLLED_BACK: ExitCode.ROLLED_BACK,
    Outcome.ROLLBACK_INCOMPLETE: ExitCode.ROLLBACK_INCOMPLETE,
}
_SKEW_S = 5.0  # of the two wall clocks, above which it is said
_LAST_TRIES = 5  # at the last record, a second apart
_GOING_BACK: tuple[RunPhase, ...] = ("rolling back", "rollback incomplete")


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


class AlreadyApplied(StaleError):
    """The plan was carried out before."""


@dataclass(frozen=True, slots=True)
class Session:
    """What `begin` found out."""

    keeper: Keeper
    record: RunRecord
    cluster_uid: str
    resumed: bool
    place: Place  # of the journal
    recover: bool  # from a journal that cannot be written on

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
        if found.phase in ("complete", "rolled back", "cleaned up"):
            verb = "applied" if found.phase == "complete" else found.phase
            raise AlreadyApplied(
                f"plan {plan.id} was already {verb} by run {found.run_id} "
                f"({found.started_by}, finished {found.finished_at}); make a new plan"
            )
        if found.phase in ENDED:
            raise StaleError(
                f"run {found.run_id} of plan {plan.id} is {found.phase} ({found.message}); make a "
                f"new plan, or take it back: rollout rollback {plan.name} -n {plan.namespace}"
            )
        require_permissions(client, plan)
        return Session(keeper, found, cluster_uid, resumed=True, place=place, recover=recover)
    require_not_superseded(found, plan)
    check_release(client, plan.cluster.version)
    require_permissions(client, plan)
    record = new_record(plan, secrets.token_hex(4), format_time(time.time()), whoami())
    record = in_place_of(found, record)
    return Session(keeper, record, cluster_uid, resumed=False, place=place, recover=recover)


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

    Raises:
        LockedError: when another run works on one of the DaemonSets.
        PausedError: when a stop was asked for before the lock was held.
        StaleError: when the cluster is not what the plan was made for; nothing was written.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with _held(client, session, inbox, observer, tuning) as run:
        if session.record.phase in _GOING_BACK:
            return _roll_back(run)
        if _wants_back(session.record):
            return _roll_back(run)
        result, ended = _run(run, plan, on_drift, stop_at, ask, gates or GateChoices())
        finish = result.finish
        failed = finish.by_release and plan.failure.on_failure == "rollback"
        failed = failed or finish.reaction == "rollback"
        begun = ended is not None and not run.log.failed
        if begun and (failed or _wants_back(ended or session.record)):
            inbox.forget()
            return replace(_roll_back(run), gates=result.gates)
        return result


def roll_back(
    client: Client,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    tuning: Tuning = DEFAULT_TUNING,
) -> Result:
    """Take a run back: the old template, and the touched nodes only (S10).

    Args:
        client: of the cluster.
        session: of the run.
        inbox: where a stop can be asked for.
        observer: who is told.
        tuning: how long the run's own parts may take.

    Raises:
        StaleError: when a DaemonSet is gone, or its history does not hold the old template.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with _held(client, session, inbox, observer, tuning) as run:
        return _roll_back(run)


def end_now(
    client: Client,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    tuning: Tuning = DEFAULT_TUNING,
) -> RunRecord:
    """End a run that nobody carries out, as its record asks: aborted, or held.

    Args:
        client: of the cluster.
        session: of the run.
        inbox: where a stop can be asked for.
        observer: who is told.
        tuning: how long the run's own parts may take.

    Returns:
        The record after that; of a run that has ended by itself meanwhile, as it was.

    Raises:
        LockedError: when somebody carries it out.
        ClusterError: when the cluster cannot be read, or the record not be written.
    """
    with _held(client, session, inbox, observer, tuning) as run:
        how_far = _how_far(client, session)
        now = format_time(time.time())
        change = _stamped(run.lock, lambda record: ended_as_asked(record, how_far, now))
        run.log.intend_record(change(session.record))
        return run.session.keeper.update(session.record.run_id, change)


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


def _warn_of_skew(client: Client, observer: Observer) -> None:
    """Say that our wall clock is wrong, or the cluster's; the run itself goes by neither."""
    skew_s = client.clock_skew_s or 0.0
    if abs(skew_s) > _SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        observer.warning(
            f"the clock of this machine is {abs(skew_s):.0f} s {side} the cluster's; the run goes "
            "by the cluster's time, but times that this machine writes are wrong"
        )


@dataclass(frozen=True, slots=True)
class _Held:
    """A session under its lock: whatever is written through it asks the lock first (S5).

    What it does stands in its journal.
    """

    client: Client
    session: Session
    inbox: Inbox
    observer: Observer
    lock: Lock
    tuning: Tuning
    log: RunLog

    def say(self, sentence: str) -> None:
        """Keep the record's sentence true while the run stops; others read it there."""
        if not self.log.intend_message(sentence):
            return
        change = _stamped(self.lock, lambda r: msgspec.structs.replace(r, message=sentence))
        with suppress(ClusterError, StaleError):  # it is a courtesy: the end is written anyhow
            self.session.keeper.update(self.session.record.run_id, change)

    def keep_gates(self, gates: tuple[RecordedGate, ...], wave: int) -> None:
        """Keep in the record what the gates say, for people and for the next process."""
        change = _stamped(
            self.lock, lambda r: msgspec.structs.replace(r, gates=gates, gate_wave=wave)
        )
        with suppress(ClusterError, StaleError):  # the end of the run writes it once more
            self.session.keeper.update(self.session.record.run_id, change)


@contextmanager
def _held(
    client: Client, session: Session, inbox: Inbox, observer: Observer, tuning: Tuning
) -> Iterator[_Held]:
    """Hold the lock of a run; the run hears of it when it stops being valid."""
    lock: Lock

    def changed(reason: str) -> None:
        if lock.lost:
            inbox.put(ev.LockLost(lock.lost))
        elif reason:
            inbox.put(ev.ViewLost("the lock", reason))
        else:
            inbox.put(ev.ViewBack("the lock"))

    found = session.keeper.found
    lock = Lock(
        client,
        [LeaseName(ds.namespace, ds.name) for ds in session.record.daemon_sets],
        Holder(session.record.run_id, whoami(), this_process()),
        above=found.epoch if found is not None else 0,
        duration_s=tuning.lease_s,
        pause=inbox.stopped_within,
        on_change=changed,
        on_wait=observer.waiting,
    )
    _warn_of_skew(client, observer)
    with lock, _log(session, observer) as log:
        guarded = replace(session, keeper=session.keeper.guarded(lock.objection))
        yield _Held(client.guarded(lock.objection), guarded, inbox, observer, lock, tuning, log)


@contextmanager
def _log(session: Session, observer: Observer) -> Iterator[RunLog]:
    """Open the journal for the length of a run; only whoever holds the lock may write it."""
    log = open_log(
        session.place,
        session.record,
        session.keeper.namespace,
        session.cluster_uid,
        resumed=session.resumed,
        recover=session.recover,
    )
    if log.found:
        observer.warning(log.found)
    log.note("begin", event=observer.sequence, resumed=session.resumed, who=whoami())
    try:
        yield log
    except BaseException as error:
        log.conclude(event=observer.sequence, message=str(error) or repr(error))
        raise
    finally:
        log.close()


def _run(
    run: _Held,
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
    started = _stamped(run.lock, lambda record: _begun(record, gates))
    if session.resumed:
        run.log.intend_record(started(first))
        first = session.keeper.update(first.run_id, started)

    early: list[ev.Decided] = []  # answers from before there was a record

    def decided(answer: ev.Decided) -> None:
        if session.keeper.found is None or session.keeper.found.run_id != first.run_id:
            early.append(answer)
        else:
            session.keeper.update(
                first.run_id, _stamped(run.lock, lambda record: _answered(record, [answer]))
            )

    def start() -> None:
        if session.resumed:
            return
        record = _answered(started(first), early)
        run.log.intend_record(record)
        session.keeper.write(record)
        for sentence in mark_others(run.client, plan, first):
            run.observer.warning(sentence)
        why = keep_plan(run.client, plan)
        if why:
            run.observer.warning(
                f"the plan is not kept in the cluster ({why}): keep its file, "
                "'rollout resume' will ask for it"
            )

    result = run_plan(
        run.client,
        plan,
        run.inbox,
        run.observer,
        before_first_write=start,
        run_id=first.run_id,
        resumed=session.resumed,
        heed=Heed(wishes_of(first), wishes_of, run.say, stop_at, ask, decided),
        gatekeeping=Gatekeeping(
            settings=gates.settings,
            carried=carried_from(first.gates, first.gate_wave),
            ignore_windows=gates.ignore_windows,
            keep=run.keep_gates,
        ),
        cluster_uid=session.cluster_uid,
        on_drift=on_drift,
        saw_epoch=run.lock.outrun,
        tuning=run.tuning,
        log=run.log,
    )
    if not (result.wrote or session.resumed):
        return result, None
    ended = _close(run, result)
    if ended.phase == "aborted" and result.finish.outcome is not Outcome.ABORTED:
        result = replace(result, finish=Finish(Outcome.ABORTED, ended.message))
    return result, ended


def _answered(record: RunRecord, answers: list[ev.Decided]) -> RunRecord:
    who = speaker(whoami(), format_time(time.time()), "at the prompt of step")
    for answer in answers:
        record = answered_at_prompt(record, answer, who)
    return record


def _begun(record: RunRecord, gates: GateChoices) -> RunRecord:
    running = _running(record)
    return gates.override(running) if gates.override is not None else running


def _wants_back(record: RunRecord) -> bool:
    return record.wish is not None and record.wish.verb == "rollback"


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
        record, phase="running", message="", finished_at="", waits_for="", wish=wish
    )


def _roll_back(run: _Held) -> Result:
    session, run_id = run.session, run.session.record.run_id
    back = _stamped(run.lock, _going_back)
    run.log.intend_record(back(session.record))
    session.keeper.update(run_id, back)
    try:
        plan = _way_back(run.client, session)
    except StaleError as error:  # there is no way back: the record must not say that it goes
        why = str(error)
        session.keeper.update(run_id, _stamped(run.lock, lambda r: _stuck(r, why)))
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
    _close(run, result)
    return result


def _stuck(record: RunRecord, why: str) -> RunRecord:
    return msgspec.structs.replace(record, phase="rollback incomplete", message=why)


def _going_back(record: RunRecord) -> RunRecord:
    return msgspec.structs.replace(record, phase="rolling back", wish=None, finished_at="")


def _stamped(
    lock: Lock, change: Callable[[RunRecord], RunRecord]
) -> Callable[[RunRecord], RunRecord]:
    """Return the change of a record under our epoch; a higher one in it is never overwritten."""

    def stamp(record: RunRecord) -> RunRecord:
        if record.epoch > lock.epoch:
            raise StaleError(
                f"run {record.run_id} was taken over under epoch {record.epoch}, ours is "
                f"{lock.epoch}; see 'rollout status'"
            )
        return msgspec.structs.replace(change(record), epoch=lock.epoch)

    return stamp


def _close(run: _Held, result: Result) -> RunRecord:
    """Write the end into the record; how the run ended stays true where that cannot be done."""
    finish, number = result.finish, run.observer.sequence + 1  # of the event that tells the end
    now = format_time(time.time())
    told = run.log.conclude(event=number, outcome=finish.outcome.value, message=finish.message)
    if not told:
        run.observer.warning(f"the end of the run is not in its record: {run.log.failed}")
        return ending(run.session.record, result, now, number)
    try:
        record = _patiently(run, _stamped(run.lock, lambda r: ending(r, result, now, number)))
    except (ClusterError, StaleError) as error:
        run.observer.warning(f"the end of the run could not be written into its record: {error}")
        return ending(run.session.record, result, now, number)
    if record.phase in ENDED:
        with suppress(ClusterError):  # a rest that the next run of this name overwrites
            forget_plan(run.client, result.plan.namespace, record.name)
    return record


def _patiently(run: _Held, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
    """Change the record, waiting a little for a lock that may become valid again."""
    keeper, run_id = run.session.keeper, run.session.record.run_id
    for _ in range(_LAST_TRIES):
        try:
            return keeper.update(run_id, change)
        except Withheld:
            if run.lock.lost or run.inbox.stopped_within(RETRY_S):
                break
    return keeper.update(run_id, change)


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


def _rolled_back(plan: Plan, result: Result) -> Finish:
    """Say how the way back ended, with the commands that do the rest by hand."""
    left = [run for run in result.steps if run.reason or not run.ended_at]
    names = {run.node for run in left}
    names |= {n.name for ds in plan.daemon_sets for n in ds.nodes if n.fate == "deferred"}
    if result.finish.outcome is Outcome.DONE and not names:
        return Finish(Outcome.ROLLED_BACK, "the touched nodes are back on the old revision")
    commands = [line for ds in result.sets.values() for line in commands_by_hand(ds, names)]
    return Finish(
        Outcome.ROLLBACK_INCOMPLETE,
        f"not back yet: {', '.join(sorted(names)) or 'the strategy'} ({result.finish.message}). "
        f"By hand: {'; '.join(commands) or 'rollout rollback again'}",
    )


def exit_code(finish: Finish) -> ExitCode:
    """Return the exit code of a run (README, "Exit codes")."""
    return _EXIT_CODES.get(finish.outcome, finish.refused)


def identity(client: Client) -> str:
    """Return who speaks where it matters that it is nobody else: plans and approvals.

    The cluster's own name for us; the local one, as `whoami`, only where it doesn't say.

    Raises:
        ClusterError: when the cluster cannot be asked.
    """
    return cluster_user(client) or whoami()


def whoami() -> str:
    """Return who runs this, for the record: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
