"""The only loop: carries out what the engine asks for and tells it what came of that.

Reflectors and writers are threads that put what they learn into one queue; the loop takes it out,
asks the engine, and hands the actions on. It waits for events, never polls, and decides nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from rollout.cluster.client import Client
from rollout.cluster.fleet import APPS, CORE, daemon_set_path
from rollout.cluster.paths import resource_path
from rollout.cluster.watch import (
    Broken,
    Listed,
    Reflector,
)
from rollout.errors import ExitCode, StaleError
from rollout.executor import events as ev
from rollout.executor.accounting import Account
from rollout.executor.actions import (
    Action,
    Ask,
    Finish,
    Measure,
    PodWrite,
    Prepare,
    Restore,
)
from rollout.executor.engine import Engine
from rollout.executor.explain import explain
from rollout.executor.gaterecord import RecordedGate, recorded_gates
from rollout.executor.gatestate import Carried
from rollout.executor.inbox import Inbox
from rollout.executor.measurer import Measurer
from rollout.executor.notices import Notice
from rollout.executor.picture import Surroundings
from rollout.executor.record import ConfigMap, RunRecord, record_name
from rollout.executor.runlog import WRITES, RunLog
from rollout.executor.state import DaemonSetRun, StepRun
from rollout.executor.steadyclock import steady_clock
from rollout.executor.timekeeping import account_of
from rollout.executor.translating import Translator
from rollout.executor.tuning import DEFAULT_TUNING, Tuning
from rollout.executor.wishes import Wishes
from rollout.executor.writing import Writer
from rollout.fleet import marks
from rollout.fleet.objects import ClusterEvent, ControllerRevision, DaemonSet, Node, Pod
from rollout.fleet.selectors import selector_of
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.gates.settings import Settings
from rollout.gates.verdict import Status
from rollout.gatespec import JobGate
from rollout.planner.drift import Drift, compare
from rollout.planner.plan import Plan
from rollout.planner.reconcile import reconcile

ASSERTIONS = "ROLLOUT_ASSERTIONS"  # environment variable that switches the safety rules on
DriftPolicy: TypeAlias = Literal["fail", "reconcile", "ignore"]
_GOODBYE_S = 0.5  # for a watch that hangs; it is a daemon thread
_WAITED_FOR = ("approval-wanted", "gate-waiting")
_KEPT = (*_WAITED_FOR, "wave-started", *(f"gate-{s.value.replace(' ', '-')}" for s in Status))
WRITERS = 8  # threads for API writes; more do not make one core faster (libraries.md)


class Observer(Protocol):
    """Who is told about the run while it goes."""

    @property
    def sequence(self) -> int:
        """Number of the last thing that was told."""

    def notice(self, told: Notice, engine: Engine) -> None:
        """Something happened."""

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Nothing happened for a while; `why` says what the run waits for."""

    def look(self, engine: Engine, now: float) -> float:
        """The state may be another one; returns when it wants to look again at the latest."""

    def waiting(self, why: str) -> None:
        """The run has not begun yet; `why` says what it waits for."""

    def warning(self, text: str) -> None:
        """Something is not as it should be; the run goes on, or has ended all the same."""


@dataclass(frozen=True, slots=True)
class Heed:
    """How a part of a run listens to people.

    Attributes:
        first: what they have said before it began.
        wishes_of: what the record asks of this part.
        say: writes one sentence into the record, while the run stops.
        ask: asks the person at the terminal about a node, and puts the answer into the inbox; None:
            nobody is asked.
        decided: keeps an answer in the record, before it is followed.
        stop_at: nothing behind this wave (1-based) starts; 0: no such wave.
    """

    first: Wishes
    wishes_of: Callable[[RunRecord], Wishes]
    say: Callable[[str], None]
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
    """

    settings: Settings = field(default_factory=Settings)
    carried: Carried = field(default_factory=Carried)
    ignore_windows: bool = False
    keep: Callable[[tuple[RecordedGate, ...], int], None] = lambda _gates, _wave: None


@dataclass(frozen=True, slots=True)
class Result:
    """How the run ended, node by node."""

    finish: Finish
    steps: tuple[StepRun, ...]  # the updates, in the order of the plan
    joined: tuple[str, ...]
    plan: Plan  # as it was carried out: reconciled, where that was asked for
    strategies: Mapping[str, str]  # DaemonSet -> type of the strategy it has now
    duration_s: float
    unapproved: int  # the wave (1-based) behind which the run waits for an approval; 0: none
    interrupted: bool  # a signal stopped it
    wrote: bool  # whether anything was written to the cluster
    sets: Mapping[str, DaemonSetRun]  # the DaemonSets as they were seen last
    account: Account  # where the time went
    gates: tuple[RecordedGate, ...] = ()  # what the gates said
    wave: int = 0  # the highest (1-based) that has begun, where there are gates


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
        self.tuning = tuning
        self.engine: Engine  # made when the plan is known to fit, and so is its writer
        self.writer: Writer
        self.measurer: Measurer | None = None
        self.writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self.scribe = ThreadPoolExecutor(1, thread_name_prefix="scribe")
        self.said: int | None = None  # how many nodes were in flight when the record heard of it
        self.reflectors: list[Reflector[Any]] = []
        self.lists: dict[str, list[Any]] = {}
        self.wrote = False
        uids = {ds.name: ds.uid for ds in plan.daemon_sets}
        self.news = Translator(uids, run_id, saw_epoch, heed.wishes_of)
        self._anchor = time.time() - (client.clock_skew_s or 0.0) - steady_clock()
        self._told_failed = False
        self._began = self.now()

    def now(self) -> float:
        """Seconds since the epoch by the server's clock; never jumps (own steady clock)."""
        return self._anchor + steady_clock()

    # Start and end

    def open(
        self,
        cluster_uid: str,
        on_drift: DriftPolicy,
    ) -> None:
        """Start the watches and check the plan against their first lists."""
        for name, namespace, uid, selector in self._subjects():
            pods = resource_path(CORE, "pods", namespace=namespace)
            revisions = resource_path(APPS, "controllerrevisions", namespace=namespace)
            daemon_sets = resource_path(APPS, "daemonsets", namespace=namespace)
            self._reflect(f"pods/{name}", pods, Pod, label_selector=selector)
            released = f"{marks.RELEASED_FROM}={uid}"
            self._reflect(f"released/{name}", pods, Pod, label_selector=released)
            self._reflect(
                f"revisions/{name}", revisions, ControllerRevision, label_selector=selector
            )
            self._reflect(
                f"daemonsets/{name}",
                daemon_sets,
                DaemonSet,
                field_selector=f"metadata.name={name}",
            )
        self._reflect("nodes", resource_path(CORE, "nodes"), Node)
        config_maps = resource_path(CORE, "configmaps", namespace=self.plan.namespace)
        at = f"metadata.name={record_name(self.plan.name)}"
        self._reflect("record", config_maps, ConfigMap, field_selector=at)
        first = self._await_lists()
        if not self.resumed:
            self._check_drift(self._fleets(cluster_uid), on_drift)
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
            ignore_windows=self.gatekeeping.ignore_windows,
        )
        around = Surroundings(self.run_id, self.client, self.gatekeeping.settings)
        self.measurer = Measurer(self.engine, self.inbox.put, around)
        self.writer = Writer(self.client, self.plan, self.engine, self.run_id, self.inbox.put)
        for item in first:
            self._observe(item)
        self._reflect_events()

    def _reflect_events(self) -> None:
        """Follow the events about the DaemonSets, where that is allowed: they only explain."""
        for ds in self.plan.daemon_sets:
            space = ds.namespace
            asked = (
                self.client.review_access(v, "", "events", namespace=space)
                for v in ("list", "watch")
            )
            if all(asked):
                events = resource_path(CORE, "events", namespace=space)
                about = f"involvedObject.uid={ds.uid}"
                self._reflect(f"events/{ds.name}", events, ClusterEvent, field_selector=about)

    def _check_drift(self, fleets: dict[str, Fleet], on_drift: DriftPolicy) -> None:
        """Refuse hard drift, and deal with soft drift as the user chose."""
        drift = compare(self.plan, fleets, self.now())
        if drift.hard or (drift.soft and on_drift == "fail"):
            raise StaleError(drift_text(drift))
        if drift.soft and on_drift == "reconcile":
            self.plan = reconcile(self.plan, fleets, self.now())

    def close(self) -> None:
        """End all threads that this loop started."""
        for reflector in self.reflectors:
            reflector.stop(0.0)
        for reflector in self.reflectors:
            reflector.stop(_GOODBYE_S)
        if self.measurer is not None:
            self.measurer.close()
        # A write in flight must have ended before the lock is given back (S5).
        self.writers.shutdown(wait=True, cancel_futures=True)
        self.scribe.shutdown(wait=True, cancel_futures=True)

    def run(self) -> Result:
        """Loop until the engine says that nothing is left to do."""
        heartbeat = self.now() + self.tuning.heartbeat_s
        while True:
            for action in self._written_down(self.engine.decide(self.now())):
                self._carry_out(action)
            self._tell()
            self._say()
            if self.engine.finished is not None:
                return self._result(self.engine.finished)
            look_at = self.observer.look(self.engine, self.now())
            wake = min(heartbeat, look_at, self.engine.next_wake() or heartbeat)
            for item in self.inbox.take(wake - self.now()):
                self._observe(item)
            if self.now() >= heartbeat:
                self._beat()
                heartbeat = self.now() + self.tuning.heartbeat_s

    def _beat(self) -> None:
        if self.engine.stepping.asked is not None:
            return  # nothing is written over a question
        why = explain(self.engine, self.now())
        self.log.note("heartbeat", event=self.observer.sequence + 1, message=why)
        self.observer.heartbeat(why, self.engine)

    def _subjects(self) -> list[tuple[str, str, str, str]]:
        subjects = []
        for ds in self.plan.daemon_sets:
            path = daemon_set_path(ds.namespace, ds.name)
            live = self.client.get_or_none(path, DaemonSet)
            if live is None:
                raise StaleError(f"DaemonSet {ds.key} does not exist any more; nothing was changed")
            selector = str(selector_of(live.spec.selector))
            subjects.append((ds.name, ds.namespace, ds.uid, selector))
        return subjects

    def _reflect(
        self,
        source: str,
        path: str,
        type_: type[Any],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        reflector = Reflector(
            self.client,
            source,
            path,
            type_,
            self.inbox.put,
            label_selector=label_selector,
            field_selector=field_selector,
            timing=self.tuning.watch,
        )
        self.reflectors.append(reflector)
        self.lists[source] = []
        reflector.start()

    def _await_lists(self) -> list[Any]:
        """Wait for the first list of every watch; one that cannot begin ends the command.

        Returns:
            All that came until then, in its order.
        """
        missing = set(self.lists)
        later: list[Any] = []
        while missing:
            for item in self._news_or_heartbeat(missing):
                match item:
                    case Listed(source, items) if source in missing:
                        missing.discard(source)
                        self.lists[source] = items
                    case Broken(source, error) if source in missing:
                        raise error
                later.append(item)
        return later

    def _news_or_heartbeat(self, missing: set[str]) -> list[Any]:
        items = self.inbox.take(self.tuning.heartbeat_s)
        if not items:
            self.observer.waiting(f"waiting for the first list of {', '.join(sorted(missing))}")
        return items

    def _fleets(self, cluster_uid: str) -> dict[str, Fleet]:
        fleets = {}
        for ds in self.plan.daemon_sets:
            found: list[DaemonSet] = self.lists[f"daemonsets/{ds.name}"]
            if not found:
                raise StaleError(f"DaemonSet {ds.key} was deleted; nothing was changed")
            fleets[ds.name] = build_fleet(
                cluster_uid,
                found[0],
                {},
                self.lists[f"revisions/{ds.name}"],
                self.lists["nodes"],
                self.lists[f"pods/{ds.name}"],
            )
        return fleets

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
                again = isinstance(action, Prepare | Restore)
                answer = ev.Answer.REFUSED if again else ev.Answer.NOT_DONE
                why = self.log.failed
                self.inbox.put(ev.Answered(action, answer, why, exit_code=ExitCode.HELD))
        return [action for action in actions if not isinstance(action, WRITES)]

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Finish):
            return
        if isinstance(action, Ask):
            if self.heed.ask is not None:
                self.heed.ask(action)
            return
        if isinstance(action, Measure):
            self._measure(action)
            return
        if isinstance(action, Prepare | Restore | PodWrite):
            self._open_record()
        self.writers.submit(self.writer.perform, action)

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
            if told.kind in _WAITED_FOR and self.engine.finished is None:
                self._open_record()  # people answer through it, and their time runs from now on
            keeps = keeps or told.kind in _KEPT
        if keeps and self.plan.gates and (self.wrote or self.resumed):
            gates, wave = recorded_gates(self.engine.gates), self._highest_wave()
            self.scribe.submit(self.gatekeeping.keep, gates, wave)

    def _highest_wave(self) -> int:
        return max([self.gatekeeping.carried.wave, *self.engine.waves_begun])

    def _say(self) -> None:
        """Keep the record's sentence true while the run stops: others read it there."""
        if not self.engine.stopping or self.engine.finished or not (self.wrote or self.resumed):
            self.said = self.said if self.engine.stopping else None
            return
        if self.engine.in_flight != self.said:
            self.said = self.engine.in_flight
            self.scribe.submit(self.heed.say, explain(self.engine, self.now()))

    def _result(self, finish: Finish) -> Result:
        order = [step.id for step in self.plan.steps if step.kind == "update"]
        strategies = {
            name: ds.live.strategy_type if ds.live is not None else "unknown"
            for name, ds in self.engine.daemon_sets.items()
        }
        waits = self.engine.unapproved
        return Result(
            finish=finish,
            plan=self.plan,
            steps=tuple(self.engine.steps[step_id] for step_id in order),
            joined=tuple(sorted(self.engine.joined)),
            strategies=strategies,
            duration_s=self.now() - self._began,
            unapproved=waits.step.wave if waits is not None else 0,
            interrupted=self.engine.interrupted,
            wrote=self.wrote,
            gates=recorded_gates(self.engine.gates),
            wave=self._highest_wave() if self.plan.gates else 0,
            sets=self.engine.daemon_sets,
            account=account_of(self.engine, self._began, self.now(), self.client.held_back_s),
        )


def drift_text(drift: Drift) -> str:
    """Return drift as a message: a line for each difference, and what to do."""
    lines = [f"  {c.what}: {c.old} -> {c.new}" for c in (*drift.hard, *drift.soft)][:20]
    more = len(drift.hard) + len(drift.soft) - len(lines)
    if more:
        lines.append(f"  and {more} more")
    listing = "\n".join(lines)
    cure = "make a new plan with 'rollout plan'"
    if not drift.hard:
        cure += ", or go on with --on-drift reconcile (or ignore)"
    return f"the cluster is not what the plan was made for:\n{listing}\nnothing was changed; {cure}"
