"""The only loop: carries out what the engine asks for and tells it what came of that.

Watches and writers are threads that put what they learn into one queue; the loop takes it out,
asks the engine, and hands the actions on. It waits for events, never polls, and decides nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from rollout.cluster.client import Client
from rollout.errors import ExitCode
from rollout.executor.announcing import Scribe, announce_all, keep_times
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    Action,
    Ask,
    Claim,
    DeletePod,
    Finish,
    LookFor,
    Measure,
    Outcome,
    PodWrite,
    Prepare,
    Reassert,
    ReleasePod,
    Restore,
)
from rollout.executor.engine.claims import OtherRun
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.gaterecord import never_asked, recorded_gates
from rollout.executor.engine.gatestate import Carried
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import DaemonSetRun
from rollout.executor.engine.timekeeping import account_of
from rollout.executor.explain import explain
from rollout.executor.fitting import DriftPolicy, fitted
from rollout.executor.inbox import Inbox
from rollout.executor.lock.steadyclock import steady_clock
from rollout.executor.measurer import Measurer
from rollout.executor.observer import Observer
from rollout.executor.picture import Surroundings
from rollout.executor.record.record import RunRecord
from rollout.executor.record.recordedgates import RecordedGate, with_earlier
from rollout.executor.record.timerecord import StoredTimes
from rollout.executor.record.wishes import Wishes
from rollout.executor.result import GONE, Result
from rollout.executor.runlog import WRITES, RunLog
from rollout.executor.runs import is_carried_out
from rollout.executor.translating import Translator
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.executor.watches import Watches
from rollout.executor.writing import Writer
from rollout.gates.settings import Settings
from rollout.gates.verdict import Status
from rollout.gatespec import JobGate
from rollout.planner.plan import Plan

ASSERTIONS = "ROLLOUT_ASSERTIONS"  # environment variable that switches the safety rules on
_WAITED_FOR = ("approval-wanted", "gate-waiting")
_KEPT = (*_WAITED_FOR, "wave-started", *(f"gate-{s.value.replace(' ', '-')}" for s in Status))
WAITS_EVERY_S = 2.0  # what it waits for is worked out for others, who get it with a renewal
KEEP_EVERY_S = 10.0  # measurements get into the record, for `status`, at most so often
_STOPPERS = ("gate-failed", "gate-inconclusive", "gate-error", "gate-not-measured")
WRITERS = 8  # threads for API writes; more do not make one core faster (libraries.md)


@dataclass(frozen=True, slots=True)
class Heed:
    """How a part of a run listens to people.

    Attributes:
        first: what they have said before it began.
        wishes_of: what the record asks of this part.
        say: writes one sentence into the record, while the run stops.
        waits: keeps the sentence on what the run waits for, where `status` reads it (L3).
        ask: asks the person at the terminal about a node, and puts the answer into the inbox; None:
            nobody is asked.
        decided: keeps an answer in the record, before it is followed.
        stop_at: nothing behind this wave (1-based) starts; 0: no such wave.
    """

    first: Wishes
    wishes_of: Callable[[RunRecord], Wishes]
    say: Callable[[str], None]
    waits: Callable[[str], None]
    stop_at: int = 0
    ask: Callable[[Ask], None] | None = None
    decided: Callable[[ev.Decided], None] | None = None


@dataclass(frozen=True, slots=True)
class Gatekeeping:
    """How a part of a run deals with gates.

    Attributes:
        settings: what the caller lets them do.
        carried: what an earlier process of the run has written down of them.
        ignore_windows: somebody wants the run to go on outside of its windows.
        keep: writes down what they say, and the highest wave (1-based) that has begun.
        earlier: what earlier parts of the run have written down, for people.
    """

    settings: Settings = field(default_factory=Settings)
    carried: Carried = field(default_factory=Carried)
    ignore_windows: bool = False
    keep: Callable[[tuple[RecordedGate, ...], int], None] = lambda _gates, _wave: None
    earlier: tuple[RecordedGate, ...] = ()


@dataclass(frozen=True, slots=True)
class Lasting:
    """Times of a part of a run that outlast its process.

    Attributes:
        earlier: what the record says of them.
        keep: writes them into the record; raises what the cluster says against it.
    """

    earlier: StoredTimes
    keep: Callable[[StoredTimes], None]


def run_plan(
    client: Client,
    plan: Plan,
    inbox: Inbox,
    observer: Observer,
    *,
    before_first_write: Callable[[], None],
    run_id: str,
    resumed: bool,
    heed: Heed,
    gatekeeping: Gatekeeping,
    lasting: Lasting,
    cluster_uid: str,
    on_drift: DriftPolicy,
    saw_epoch: Callable[[int, str], None],
    tuning: Tuning = DEFAULT_TUNING,
    log: RunLog,
) -> Result:
    """Carry a plan out.

    Args:
        client: of the cluster; its guard keeps writes back while the lock is not held (S5).
        plan: what to do.
        inbox: where a stop can be asked for.
        observer: who is told.
        before_first_write: keeps the record; raising stops the run with nothing changed.
        run_id: id of this run.
        resumed: an earlier process has begun this run; then pods may differ from the plan.
        heed: what people say to the run, and who hears how it stops.
        gatekeeping: what gates may do, and who writes down what they say.
        lasting: times that a restart must not forget.
        cluster_uid: of the cluster that the client talks to.
        on_drift: what to do about soft drift at the start.
        saw_epoch: told the epoch of each record that is seen, and whose it is (S9).
        tuning: how long its own parts may take.
        log: the journal.

    Raises:
        StaleError: when the cluster is not what the plan was made for; nothing was written.
        ClusterError: when the cluster cannot be read at the start.
    """
    loop = _Loop(
        client,
        plan,
        inbox,
        observer,
        before_first_write,
        saw_epoch,
        log,
        run_id=run_id,
        resumed=resumed,
        heed=heed,
        gatekeeping=gatekeeping,
        lasting=lasting,
        tuning=tuning,
    )
    try:
        loop.open(cluster_uid, on_drift)
        return loop.run()
    finally:
        loop.close()


class _Loop:
    def __init__(
        self,
        client: Client,
        plan: Plan,
        inbox: Inbox,
        observer: Observer,
        before_first_write: Callable[[], None],
        saw_epoch: Callable[[int, str], None],
        log: RunLog,
        *,
        run_id: str,
        resumed: bool,
        heed: Heed,
        gatekeeping: Gatekeeping,
        lasting: Lasting,
        tuning: Tuning,
    ) -> None:
        self.client = client
        self.plan = plan
        self.inbox = inbox
        self.observer = observer
        self.before_first_write = before_first_write
        self.log = log
        self.run_id = run_id
        self.resumed = resumed
        self.heed = heed
        self.gatekeeping = gatekeeping
        self.lasting = lasting
        self.tuning = tuning
        self.engine: Engine  # made when the plan is known to fit, and so is its writer
        self.writer: Writer
        self.measurer: Measurer | None = None
        self.writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        scribes = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self.scribe = Scribe(scribes, lasting.keep, inbox.put)
        self.announcement: Future[None] = Future()  # nothing is sent before it is over
        self.kept_at = 0.0  # when a measurement was written into the record for its own sake
        self.said: int | None = None  # how many nodes were in flight when the record heard of it
        self.watches = Watches(client, plan, inbox.put, tuning.watch)
        self.wrote = False
        uids = {ds.name: ds.uid for ds in plan.daemon_sets}
        where = f"{plan.namespace}/{plan.name}"
        self.news = Translator(uids, where, run_id, saw_epoch, heed.wishes_of)
        self._anchor = client.server_time() - steady_clock()
        self._told_failed = False
        self._began = self.now()

    def now(self) -> float:
        """Seconds since the epoch by the server's clock; never jumps (own steady clock)."""
        return self._anchor + steady_clock()

    # Start and end

    def open(self, cluster_uid: str, on_drift: DriftPolicy) -> None:
        """Start the watches and check the plan against their first lists."""
        first = self.watches.open(self.inbox, self._waiting, self.tuning.heartbeat_s)
        if not self.resumed:
            fleets = self.watches.fleets(cluster_uid)
            self.plan = fitted(self.plan, fleets, self.now(), on_drift)
        Engine.checked = Engine.checked or ASSERTIONS in os.environ
        self.engine = Engine(
            self.plan,
            resumed=self.resumed,
            wishes=self.heed.first,
            stop_at=self.heed.stop_at,
            stepping=self.heed.ask is not None,
            grace_s=self.tuning.grace_s,
            blind_s=self.tuning.blind_s,
            carried=self.gatekeeping.carried,
            times=self.lasting.earlier,
            ignore_windows=self.gatekeeping.ignore_windows,
            enforces_strategy=self.tuning.enforces_strategy,
            joins=True,
        )
        if self.watches.is_narrow:
            self.observer.waiting(
                f"ConfigMaps may be read in namespace {self.plan.namespace} only: runs of other "
                "namespaces are not seen, and may work on the same nodes at the same time"
            )
        around = Surroundings(
            self.run_id, self.client, self.gatekeeping.settings, self.log.intend_job
        )
        self.measurer = Measurer(self.engine, self.inbox.put, around)
        self.writer = Writer(self.client, self.plan, self.engine, self.run_id, self.inbox.put)
        for item in first:
            self._observe(item)
        self.writers.submit(self.watches.explain)

    def _waiting(self, missing: str) -> None:
        self.observer.waiting(f"waiting for the first list of {missing}")

    def close(self) -> None:
        """End all threads that this loop started."""
        self.watches.close()
        if self.measurer is not None:
            self.measurer.close()
        # A write in flight must have ended before the lock is given back (S5).
        self.writers.shutdown(wait=True, cancel_futures=True)
        self.scribe.thread.shutdown(wait=True, cancel_futures=True)

    def run(self) -> Result:
        """Loop until the engine says that nothing is left to do."""
        heartbeat = self.now() + self.tuning.heartbeat_s
        waits = self.now() + WAITS_EVERY_S  # when to work out next what the run waits for
        while True:
            actions = self._written_down(self.engine.decide(self.now()))
            for action in actions:
                self._carry_out(action)
            self._tell()
            self._ask(actions)  # behind the news, which would be written over the question
            self._say()
            self._keep_times()
            if self.engine.finished is not None:
                return self._result(self.engine.finished)
            look_at = self.observer.look(self.engine, self.now())
            wake = min(heartbeat, waits, look_at, self.engine.next_wake() or heartbeat)
            news = self.inbox.take(wake - self.now())
            for item in news:
                self._observe(item)
            if self.now() >= waits:
                self.heed.waits(explain(self.engine, self.now()))
                waits = math.inf
            if news:
                waits = min(waits, self.now() + WAITS_EVERY_S)
            if self.now() >= heartbeat:
                self._beat()
                heartbeat = self.now() + self.tuning.heartbeat_s

    def _beat(self) -> None:
        if self.engine.stepping.asked is not None:
            return  # nothing is written over a question
        why = explain(self.engine, self.now())
        self.heed.waits(why)
        self.log.note("heartbeat", event=self.observer.sequence + 1, message=why)
        self.observer.heartbeat(why, self.engine)

    # Events in

    def _observe(self, item: Any) -> None:  # noqa: ANN401 - news of any type of object
        now = self.now()
        for event in self.news.translate(item):
            self.log.heard(event)
            if isinstance(event, ev.Decided) and self.heed.decided is not None:
                self.heed.decided(event)
            self.engine.observe(event, now)

    # Actions out

    def _written_down(self, actions: list[Action]) -> list[Action]:
        """Return what may be carried out: no write goes out before its line is on the disk."""
        kept = self.log.intend(actions)
        if self.log.failed and not self._told_failed:
            self._told_failed = True
            self.inbox.put(ev.JournalLost(self.log.failed))
        if kept:
            return actions
        for action in actions:
            if isinstance(action, WRITES):
                again = isinstance(action, Prepare | Restore | Reassert)
                answer = ev.Answer.REFUSED if again else ev.Answer.NOT_DONE
                why = self.log.failed
                self.inbox.put(ev.Answered(action, answer, why, exit_code=ExitCode.HELD))
        return [action for action in actions if not isinstance(action, WRITES)]

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Finish | Ask):
            return
        if isinstance(action, Measure):
            self._measure(action)
            return
        if isinstance(action, LookFor):
            self.writers.submit(self._look_for, action.other)
            return
        if isinstance(action, Prepare | Restore | Reassert | PodWrite | Claim):
            self._open_record()
        if isinstance(action, Claim):
            self.announcement = announce_all(self.scribe, self.engine, self.now())
            return
        if isinstance(action, DeletePod | ReleasePod):
            decided = steady_clock() if self.engine.claiming.claims.are_needed else None
            explained = self._announced().result
            self.writers.submit(self.writer.perform, action, explained, decided)
        else:
            self.writers.submit(self.writer.perform, action)

    def _ask(self, actions: Iterable[Action]) -> None:
        if self.heed.ask is not None:
            for action in actions:
                if isinstance(action, Ask):
                    self.heed.ask(action)

    def _measure(self, action: Measure) -> None:
        assert self.measurer is not None
        meter = self.engine.gates.meters.get(action.meter)
        if meter is not None and isinstance(meter.gate, JobGate):
            self._open_record()  # a Job is written to the cluster (S4)
        self.measurer.begin(action, self.now())

    def _open_record(self) -> None:
        """Write the record before the first thing that it explains."""
        if not self.wrote:
            self.before_first_write()
            self.wrote = True

    # Told

    def _tell(self) -> None:
        notices = self.engine.notices
        keeps = False
        while notices:
            told = notices.popleft()
            self.log.told(told, self.observer.sequence + 1)
            self.observer.notice(told, self.engine)
            if told.kind in _WAITED_FOR and self._is_to_be_answered():
                self._open_record()  # people answer through it, and their time runs from now on
            elif told.kind in _STOPPERS:
                self._open_record()  # it says why nothing was changed
            keeps = keeps or told.kind in _KEPT or self._has_its_turn(told)
        if keeps and self.plan.gates and (self.wrote or self.resumed):
            gates, wave = self._gates(), self._highest_wave()
            self.scribe.thread.submit(self.gatekeeping.keep, gates, wave)

    def _gates(self) -> tuple[RecordedGate, ...]:
        return with_earlier(recorded_gates(self.engine.gates), self.gatekeeping.earlier)

    def _has_its_turn(self, told: Notice) -> bool:
        """Whether a measurement gets into the record at once; the others come with the next."""
        if told.kind != "gate-measured" or self.now() < self.kept_at + KEEP_EVERY_S:
            return False
        self.kept_at = self.now()
        return True

    def _is_to_be_answered(self) -> bool:
        """Whether what waits for somebody still matters: the run goes on, or ends to wait."""
        finished = self.engine.finished
        return finished is None or finished.outcome is Outcome.PAUSED

    def _highest_wave(self) -> int:
        return max([self.gatekeeping.carried.wave, *self.engine.waves_begun])

    def _say(self) -> None:
        """Keep the record's sentence true while the run stops: others read it there."""
        if not self.engine.stopping or self.engine.finished or not (self.wrote or self.resumed):
            self.said = self.said if self.engine.stopping else None
            return
        if self.engine.in_flight != self.said:
            self.said = self.engine.in_flight
            self.scribe.thread.submit(self.heed.say, explain(self.engine, self.now()))

    def _keep_times(self) -> None:
        """Write down what a restart must not forget, once there is a record to write it into."""
        if self.wrote or self.resumed:
            keep_times(self.scribe, self.engine)

    def _announced(self) -> Future[None]:
        """Return what is over when the record says that pods are taken away from now on (S4)."""
        now = self.now()
        if self.engine.times.must_announce(now):
            self.announcement = announce_all(self.scribe, self.engine, now)
        return self.announcement

    def _look_for(self, other: OtherRun) -> None:
        """Run in a writer's thread: tell whether another run lives."""
        alive = is_carried_out(self.client, other.run_id, other.daemon_sets)
        self.inbox.put(ev.OtherLooked(other.where, other.version, alive))

    def _result(self, finish: Finish) -> Result:
        order = [step.id for step in self.plan.steps if step.kind == "update"]
        strategies = {name: _strategy(ds) for name, ds in self.engine.daemon_sets.items()}
        waits = self.engine.unapproved
        said = self._gates()
        return Result(
            finish=finish,
            plan=self.plan,
            steps=tuple(self.engine.steps[step_id] for step_id in order),
            joined=tuple(sorted(self.engine.joined)),
            strategies=strategies,
            duration_s=self.now() - self._began,
            unapproved=waits.step.wave if waits is not None else 0,
            interrupted=self.engine.interrupted,
            troubled=bool(self.engine.pause_why),
            wrote=self.wrote,
            gates=(*said, *never_asked(self.plan, self.engine.gates, said, self.now())),
            wave=self._highest_wave() if self.plan.gates else 0,
            last_wave_done=0 if self.plan.goes_back else self.engine.last_wave_done,
            sets=self.engine.daemon_sets,
            account=account_of(self.engine, self._began, self.now(), self.client.held_back_s),
        )


def _strategy(ds: DaemonSetRun) -> str:
    if ds.gone:
        return GONE
    return ds.live.strategy_type if ds.live is not None else "unknown"
