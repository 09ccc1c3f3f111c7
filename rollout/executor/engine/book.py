"""The engine's book: where every step and every DaemonSet of a run stands, and how a step ends.

The graph's order is kept by counting predecessors, so that a step that ends costs O(successors).
What happened is entered by `observing` and `answering`, what may begin is decided in `starting`,
how what is in flight moves on in `advancing`; all of them work on this one state, and nothing here
looks at anything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from rollout.errors import ExitCode
from rollout.executor.engine import (
    advancing,
    baking,
    deadlines,
    guarding,
    sight,
    storedtimes,
    unreachable,
    weighing,
)
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, Finish, Outcome
from rollout.executor.engine.claiming import begin_claiming
from rollout.executor.engine.failing import Failures
from rollout.executor.engine.gatebook import GateBook
from rollout.executor.engine.gatestate import Carried, Gating
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.pacing import Pace
from rollout.executor.engine.retrying import Retries, let_go, reopen, was_asked_before
from rollout.executor.engine.state import (
    BEFORE,
    IN_FLIGHT,
    OVER,
    DaemonSetRun,
    Lane,
    StepRun,
    StepState,
)
from rollout.executor.engine.stepping import Stepping
from rollout.executor.engine.storedtimes import TimeStore
from rollout.executor.engine.timers import Timers
from rollout.executor.record.record import Wish
from rollout.executor.record.timerecord import StoredTimes
from rollout.executor.record.wishes import NONE, Wishes
from rollout.fleet.objects import Node
from rollout.planner.plan import Plan, Step
from rollout.quantity import cut

GRACE_S = 600.0  # for what is in flight when a run shall stop; the default of a node's deadline
BLIND_S = 15.0  # the same without a view of the cluster; restarts of API servers are shorter
_TOLD_AS = {
    StepState.DONE: "node-done",
    StepState.FAILED: "node-failed",
    StepState.GONE: "node-gone",
    StepState.SKIPPED: "node-skipped",
}


class Book:
    """The state of one run.

    Args:
        plan: what to do.
        resumed: an earlier process has begun this run; its patches may be there already.
        wishes: what people have said to this run before it began, or began anew.
        stop_at: nothing behind this wave (1-based) starts; 0: no such wave.
        stepping: each node is asked for.
        grace_s: how long what is in flight is awaited after somebody wants the run to stop.
        blind_s: the same, while nothing of the cluster can be seen.
        carried: what an earlier process of this run has written down of its gates.
        times: the same of its nodes and deadlines.
        ignore_windows: somebody wants the run to go on outside of its windows.
        enforces_strategy: OnDelete is set again, once, where somebody turns it back.
        joins: it is told of its own record and of other runs (`claims`); else it is alone.
    """

    decisions = 0  # how often `decide` was asked, where the rules are checked
    interrupted = False  # by a signal
    hold_code = ExitCode.ERROR  # why the server refused, where it did
    by_release = False  # whether that is the release's fault
    cause_cleared = False  # what stopped the run is over
    skipped = 0  # nodes that were left out while the run went
    nodes_listed = False
    in_trouble = 0  # of the nodes in flight
    bounded_for: Wish | None = None  # the abort whose wait has an end
    failed_then = 0  # nodes that had failed when the run stopped
    last_wave_done = 0  # the highest wave (1-based) of which that was told

    def __init__(
        self,
        plan: Plan,
        *,
        resumed: bool = False,
        wishes: Wishes = NONE,
        stop_at: int = 0,
        stepping: bool = False,
        grace_s: float = GRACE_S,
        blind_s: float = BLIND_S,
        carried: Carried | None = None,
        times: StoredTimes | None = None,
        ignore_windows: bool = False,
        enforces_strategy: bool = False,
        joins: bool = False,
    ) -> None:
        self.plan = plan
        self.nodes: dict[str, Node] = {}
        self.gone_nodes: set[str] = set()
        self.grace_s, self.blind_s, self.enforces_strategy = grace_s, blind_s, enforces_strategy
        self.stop_why = ""  # why the run pauses: the user's wish, mostly; or ""
        self.pause_why = ""  # the same where the run itself wished it
        self.hold_why = ""  # why the run has failed, or ""
        self.hold_outcome = Outcome.HELD  # how it then ends
        # What somebody else changed that we rely on, or ""; whether the run may go on all the same.
        self.drift_why, self.drift_resumes = "", False
        self.lost_views: dict[str, str] = {}
        self.sight = sight.Sight()
        self.finished: Finish | None = None
        self.notices: deque[Notice] = deque()
        self.actions: deque[Action] = deque()
        self.timers = Timers()
        self.at = self.timers.at
        self.blocks: list[tuple[float, str]] = []  # since when, and what keeps nodes from starting
        gates = GateBook(self.at, self.actions.append, self.tell)
        self.gating = Gating(plan, gates, carried or Carried(), ignore_windows=ignore_windows)
        self.pace = Pace(plan.limits.replacements_per_second)
        self.busy_nodes: dict[str, StepRun] = {}
        self.parked: dict[str, list[StepRun]] = {}
        self.zone_load: dict[str, int] = {}
        self.in_flight = 0
        self.asked_back: set[str] = set()  # steps whose old pod is being taken back (`settling`)
        self.failures = Failures(plan)
        self.done_count = 0  # nodes that are done
        self.waves_begun: set[int] = set()
        self.resumed, self.wishes = resumed, wishes
        self.retries = Retries(dict(wishes.retried))
        self.stop_at, self.stepping = stop_at, Stepping(stepping)
        self.guards = {ds.name: guarding.Guard() for ds in plan.daemon_sets}
        self.progress = deadlines.Progress()
        self.times = TimeStore(times or StoredTimes(), plan.health.node_timeout_s)
        self.claiming = begin_claiming(plan, self.times.stored.word, joins=joins)
        self.unreachable = unreachable.Unreachable()
        self.unfit: set[str] = set()  # nodes whose pod nothing would have replaced at their turn
        self.unapproved: StepRun | None = None  # the approval that the run waits for
        self.joined: set[str] = set()
        self.daemon_sets = {
            ds.name: DaemonSetRun(ds, plan.digest, self._wake_node(ds.name))
            for ds in plan.daemon_sets
        }
        most = plan.limits.max_broken_zones
        zones_there = {zone for ds in self.daemon_sets.values() for zone in ds.zones.values()}
        cap = plan.limits.max_per_zone is not None
        self._zones_matter = cap or (most is not None and len(zones_there) > most)
        self.planned_nodes = {node.name for ds in plan.daemon_sets for node in ds.nodes}
        self.steps = {step.id: self._step_run(step, rank) for rank, step in enumerate(plan.steps)}
        for step in plan.steps:
            for before in step.after:
                self.steps[before].successors.append(self.steps[step.id])
        self.pending = len(self.steps)
        for run in self.steps.values():
            if not run.blockers:
                self.unblock(run, BEFORE)

    @property
    def gates(self) -> GateBook:
        """The gates that are being asked."""
        return self.gating.gates

    @property
    def flying(self) -> list[StepRun]:
        """The steps that hold a slot, longest first."""
        flying = [run for run in self.busy_nodes.values() if run.state in IN_FLIGHT]
        return sorted(flying, key=lambda run: (run.started_at, run.rank))

    @property
    def stopping(self) -> bool:
        """Whether no forward step may start any more."""
        return bool(self.stop_why or self.hold_why or self.drift_why or self.wishes.stop)

    def _step_run(self, step: Step, rank: int) -> StepRun:
        if step.kind != "update":
            return StepRun(step, rank, "", blockers=len(step.after))
        ds = self.daemon_sets[step.daemon_set]
        run = StepRun(step, rank, ds.zones[step.node], blockers=len(step.after))
        ds.steps[step.node] = run
        return run

    def enqueue(self, ds: DaemonSetRun, run: StepRun) -> None:
        """Put a ready step where it waits; a node that cannot be updated now is set aside.

        Zones wait apart only where a rule can close some of them.
        """
        ds.control.note(run.node, touched=False)
        if ds.lane_of(run) is not Lane.VERIFY and unreachable.must_wait(self, ds, run):
            run.lane = None
            unreachable.set_aside(self, ds, run)
            return
        unreachable.take_up(self, run)
        ds.enqueue(run, run.zone if self._zones_matter else "")

    def unblock(self, run: StepRun, now: float) -> None:
        """All predecessors are observed done (S7)."""
        run.ready_at = now
        assert not run.blockers, run
        if run.state in OVER:  # its node left, or was to be skipped, before its turn
            self.finish_step(run, now)
            return
        ds = self.daemon_sets.get(run.step.daemon_set)
        match run.step.kind:
            case "prepare":
                assert ds is not None
                run.state = StepState.READY
                if ds.is_patched:  # by an earlier process of this run
                    self.finish_step(run, now)
            case "update":
                assert ds is not None
                self._let_wait(ds, run, now)
            case "join":
                baking.note_updated(self, run, now)
                self.finish_step(run, now)
            case "gate":
                run.state = StepState.READY
                self.gating.to_ask.append(run)
            case "barrier":
                baking.bake(self, run, now)
            case "approval":
                self._ask_for_approval(run, now)
            case "restore":
                run.state = StepState.READY

    def finish_step(self, run: StepRun, now: float) -> None:
        """A step is over: those that waited for it may go on."""
        if run.state not in OVER:
            run.state = StepState.DONE
        run.ended_at = run.ended_at or max(now, 0.0)
        self.pending -= 1
        run.told = True
        ends_wave = run.step.kind == "barrier" and not run.step.daemon_set
        if ends_wave and run.step.wave in self.waves_begun:
            self.tell(Notice("wave-done", wave=run.step.wave))
            if not self.failures.without_success(run.step.wave):
                self.last_wave_done = max(self.last_wave_done, run.step.wave)
            weighing.require_a_success(self, run.step.wave)
        for successor in run.successors:
            if not (run.step.kind == "approval" and successor.let_through):
                successor.blockers -= 1
                if not successor.blockers:
                    self.unblock(successor, now)

    def let_through(self, approval: StepRun, now: float) -> None:
        """Let nodes that were approved by name pass an approval that nobody has given yet."""
        for successor in approval.successors:
            if successor.node in self.wishes.nodes and not successor.let_through:
                successor.let_through = True
                successor.blockers -= 1
                if not successor.blockers:
                    self.unblock(successor, now)

    def _ask_for_approval(self, run: StepRun, now: float) -> None:
        if run.step.wave in self.wishes.waves or self.stepping.on:
            self.finish_step(run, now)
        else:
            self.unapproved = run
            self.let_through(run, now)

    def _let_wait(self, ds: DaemonSetRun, run: StepRun, now: float) -> None:
        """Let an update wait for its turn, unless its node, or its wave, is to be left out."""
        run.state, run.lane = StepState.READY, None
        if run.node in self.wishes.skipped:
            self.end(ds, run, StepState.SKIPPED, self.wishes.skipped[run.node], now)
            return
        self.enqueue(ds, run)
        if self.stop_at and run.step.wave > self.stop_at and not self.stop_why:
            name = self.plan.waves[self.stop_at - 1].name
            self.stop_why = f"stopped behind wave {name}, as was asked for"

    def end(
        self, ds: DaemonSetRun, run: StepRun, state: StepState, reason: str, now: float
    ) -> None:
        """Give the slot back and say how the node ended."""
        if state is StepState.FAILED and run.node in self.wishes.skipped:
            state, reason = StepState.SKIPPED, f"{self.wishes.skipped[run.node]} ({reason})"
        healed = run.state is StepState.FAILED
        held = run.state in IN_FLIGHT
        self.gating.leave(run)
        unreachable.take_up(self, run)
        run.state, run.reason, run.ended_at = state, reason, now
        ds.control.note(run.node, touched=state is not StepState.SKIPPED)
        storedtimes.over(self, run, now)
        if state is StepState.FAILED:
            weighing.find_fault(self, ds, run, now)
        if held:
            self.release(ds, run)
        if state is StepState.FAILED and was_asked_before(self, ds, run):
            reopen(self, ds, run, now)
            return
        self.done_count += state is StepState.DONE
        self.note(_TOLD_AS[state], ds, node=run.node, wave=run.step.wave, message=run.reason)
        if healed:
            self.failures.healed(run.step.wave, excused=run.excused)
        if state is StepState.FAILED:
            weighing.weigh_failure(self, run)
        elif state is StepState.DONE:
            self.failures.succeeded(run.step.wave)
            deadlines.got_done(self, run, now)
        elif state is StepState.SKIPPED:
            self.skipped += 1
        if healed:
            weighing.weigh_healing(self)
        self._pass_on(run, now)

    def _pass_on(self, run: StepRun, now: float) -> None:
        """Tell those that wait for an update that it is over; once, however often it is tried."""
        retried = self.retries.open.pop(run.step.id, None) is not None
        if not run.told:
            if not run.blockers:  # else its turn has not come: S7 holds for what follows it
                self.finish_step(run, now)
        elif retried:
            self.pending -= 1
            baking.note_retried(self, run, now)
            let_go(self, run, now)
            weighing.require_a_success(self, run.step.wave)

    def with_its_end(self, why: str) -> str:
        """Return why the run stopped, what has failed since, and whether the cause is gone."""
        failed = [run.node for run in self.steps.values() if run.state is StepState.FAILED]
        if len(failed) > self.failed_then:
            nodes = "1 node has" if len(failed) == 1 else f"{len(failed)} nodes have"
            why += f"; by the end {nodes} failed: {cut(sorted({*failed}))}"
        if not self.cause_cleared:
            return why
        return f"{why}; the cause has cleared: apply the plan again to go on"

    def hold(
        self,
        why: str,
        *,
        outcome: Outcome = Outcome.HELD,
        by_release: bool = False,
        code: ExitCode = ExitCode.ERROR,
    ) -> None:
        """Start nothing more and end as failed; the first reason stays.

        Args:
            why: in one sentence.
            outcome: how the run ends. HELD waits for what is in flight, ABORTED and DEADLINE only
                for the answers of the API server.
            by_release: the release itself is bad: what `onFailure` answers.
            code: with REFUSED: why the server refused.
        """
        if self.hold_why:
            return
        self.hold_code, self.failed_then = code, self.failures.total + self.failures.excused
        aborts = by_release and self.plan.failure.on_failure == "abort"
        self.hold_why, self.by_release = why, by_release
        self.hold_outcome = Outcome.ABORTED if aborts and outcome is Outcome.HELD else outcome
        ends_at_once = self.hold_outcome in (Outcome.ABORTED, Outcome.DEADLINE)
        self.tell(Notice(self.hold_outcome.value if ends_at_once else "held", message=why))

    def go_on(self) -> None:
        """Take back that failures stopped the run: somebody has dealt with them."""
        if self.by_release:
            self.hold_why, self.by_release, self.hold_outcome = "", False, Outcome.HELD
        if self.pause_why:
            self.stop_why = "" if self.stop_why == self.pause_why else self.stop_why
            self.pause_why = ""
        self.cause_cleared = False

    def pause(self, why: str) -> None:
        """Start nothing more and end as paused, which is no failure."""
        if not self.stop_why:
            self.stop_why = self.pause_why = why
            self.failed_then = self.failures.total + self.failures.excused
            self.tell(Notice("paused", message=why))

    def release(self, ds: DaemonSetRun, run: StepRun) -> None:
        """Give the slot of a step back; steps that waited for its node may go on."""
        guarding.slot_given_back(self, ds, run.node)
        self.claiming.claims.give_up(run.node)
        ds.view.release(run.node, failed=run.state is StepState.FAILED)
        self.in_flight -= 1
        self.in_trouble -= run.in_trouble
        run.in_trouble = False
        self.zone_load[run.zone] -= 1
        del self.busy_nodes[run.node]
        for waiting in self.parked.pop(run.node, ()):
            self.enqueue(self.daemon_sets[waiting.step.daemon_set], waiting)

    def stop_for_drift(self, what: str, *, resumes: bool = False) -> None:
        """Stop forward steps: somebody else changed what the plan relies on (S9).

        Args:
            what: was changed, in a sentence.
            resumes: it is nothing of the DaemonSets: another process may go on.
        """
        if not self.drift_why:
            self.drift_why, self.drift_resumes = what, resumes
            self.tell(Notice("drift", message=what))

    def refuse(self, message: str, event: ev.Answered) -> None:
        """End the run: the server will not do what it needs."""
        self.finished = Finish(Outcome.REFUSED, message, event.exit_code)
        self.actions.append(self.finished)

    def _wake_node(self, name: str) -> Callable[[float, str], None]:
        def wake(when: float, node: str) -> None:
            def look(now: float) -> None:
                ds = self.daemon_sets[name]
                ds.view.reassess(node, now)
                self.node_changed(ds, node, now)

            self.at(when, look)

        return wake

    def note(
        self, kind: str, ds: DaemonSetRun, *, node: str = "", wave: int = 0, message: str = ""
    ) -> None:
        """Tell something about a DaemonSet."""
        self.tell(Notice(kind, daemon_set=ds.name, node=node, wave=wave, message=message))

    def tell(self, notice: Notice) -> None:
        """Tell something, with how many nodes are done by now."""
        self.notices.append(replace(notice, done=self.done_count))

    def node_changed(self, ds: DaemonSetRun, node: str, now: float) -> None:
        """Something about a node or its pods is different: queue its step anew, or move it on."""
        step = ds.steps.get(node)
        if step is None:
            return
        if step.state is StepState.READY:
            self.enqueue(ds, step)
        elif step.state in IN_FLIGHT or step.state is StepState.FAILED:
            advancing.advance(self, ds, step, now)
        elif step.state is StepState.DONE and sight.can_judge(self, now):
            weighing.look_again(self, ds, step, now)
