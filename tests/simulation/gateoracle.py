"""Judges the gates of a run from outside: S8, what follows from a gate that failed, and S10.

What a gate has measured is heard as the engine hears it, and held against what is known of the
thing that it looked at: the answers of servers, taints, events, log lines, people's voices, the
clock. Whether a node may begin is reckoned here anew, from these measurements and the deletes that
the store saw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    Action,
    Ask,
    DeletePod,
    Finish,
    Measure,
    Outcome,
    ReleasePod,
)
from rollout.executor.engine.gatebook import GateRun, Meter
from rollout.executor.engine.state import StepRun, StepState
from rollout.gates.measurement import Outcome as Measured
from rollout.gatespec import Gate, WindowGate, per_node
from rollout.planner.gateplaces import holds
from rollout.quantity import parse_duration
from tests.simulation.storygates import OUTSIDE

if TYPE_CHECKING:
    from rollout.executor.engine.engine import Engine

WAY_BACK = ("rolling back", "rollback incomplete")  # phases of a record
WARNED = "log-agent"  # the DaemonSet that the warnings of stories are about
HEARD_S = 3.0  # after which everybody knows of a taint, if nothing hides it
ROUNDED_S = 2.0  # to whole seconds: the times of events, and of log lines that are asked for
_WEIGHTS = ("hold", "abort", "rollback")


class GateJudge:
    """Hears every measurement of every process.

    Args:
        now: the time.
        complain: takes a broken rule.
        answered: when a server has given a process a good answer about a gate.
    """

    def __init__(
        self,
        now: Callable[[], float],
        complain: Callable[[str], None],
        answered: Callable[[str, str], list[float]],
    ) -> None:
        self.late_until = 0.0  # until then a fault may keep news from the program
        self.voices: set[str] = set()  # approval gates that somebody has approved
        self.sick: dict[str, float] = {}  # node -> since when it has the taint
        self.marks: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)  # see `mark`
        self.failed: dict[str, list[Gate]] = {}  # process -> its gates that have failed
        self.measured: Counter[str] = Counter()  # kind of gate -> measurements
        self._now, self._complain, self._answered = now, complain, answered
        self._passed: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        self._failures: Counter[tuple[str, str, float]] = Counter()
        self._asked: dict[tuple[str, str, int], float] = {}  # process, meter, round: since when
        self._first: dict[tuple[str, str], float] = {}  # plan, gate run -> first asked
        self.changes: dict[tuple[str, str], float] = {}  # UID, node -> our last delete or release

    @property
    def views_are_late(self) -> bool:
        """Whether a fault keeps news from the program."""
        return self._now() < self.late_until

    def mark(self, gate: str, pod_uid: str = "") -> None:
        """Note that from now on something speaks against a gate: an event, or a line of a log."""
        self.marks[gate].append((self._now(), pod_uid))

    def changed(self, uid: str, node: str) -> None:
        """Note that we have made place for the new pod of a node."""
        self.changes[uid, node] = self._now()

    # Measurements

    def hear(self, process: str, engine: Engine, event: ev.Measured) -> None:
        """Look at a measurement before the engine takes it in."""
        meter = engine.gates.meters.get(event.meter)
        if meter is None or meter.round != event.round or meter.asked_at is None:
            return  # it came too late, and counts for nothing
        found, gate = event.measurement, meter.gate
        since = self._asked[process, event.meter, event.round]
        self.measured[gate.kind] += 1
        blind = found.outcome is Measured.PASSED and engine.lost_views
        for run in meter.runs.values():
            if found.outcome is Measured.PASSED and not blind and found.at >= run.tally.since:
                self._passed[engine.plan.digest, run.id].append(since)
                self._check_truth(process, engine, run, since)
            if found.outcome is Measured.FAILED and found.at >= run.tally.since:
                self._count_failure(process, meter, run)

    def _count_failure(self, process: str, meter: Meter, run: GateRun) -> None:
        gate, key = run.gate, (process, run.id, run.tally.since)
        self._failures[key] += 1
        decides = not gate.dry_run and gate.consecutive_success_limit is None
        of_node = per_node(gate) and bool(run.node) and gate.on_failure is None
        if decides and not of_node and self._failures[key] > gate.failure_limit >= 0:
            self.failed.setdefault(process, []).append(meter.gate)

    def _check_truth(self, process: str, engine: Engine, run: GateRun, since: float) -> None:
        """S8: what has passed was so while it was measured."""
        why = self._untrue(process, engine, run, since)
        if why:
            self._complain(f"S8: {run.id} passes although {why}")

    def _untrue(self, process: str, engine: Engine, run: GateRun, since: float) -> str:
        gate = run.gate
        match gate.kind:
            case kind if kind in OUTSIDE:
                good = self._answered(process, gate.name)
                return "" if any(at >= since for at in good) else "no server said so"
            case "approval":
                return "" if gate.name in self.voices else "nobody approved"
            case "pause":
                first = self._first.get((engine.plan.digest, run.id), self._now())
                short = self._now() - first < parse_duration(getattr(gate, "duration", 0)) - 0.01
                return "its time is not over" if short else ""
            case "window":
                return "" if _is_open(gate, since) else "it is shut"
            case "node" if run.node in self.sick and not self.views_are_late:
                settled = since - self.sick[run.node] > HEARD_S
                return "the node is sick" if settled else ""
            case "events" if run.daemon_set in ("", WARNED):
                spoken = any(
                    run.change + ROUNDED_S <= at < since - ROUNDED_S
                    for at, _ in self.marks[gate.name]
                )
                return "an event speaks against it" if spoken and run.change else ""
        return ""

    # Decisions

    def check_decision(
        self, process: str, engine: Engine, actions: Iterable[Action], flying: Container[str]
    ) -> None:
        """Look at what an engine on the way forward wants to do; `flying` nodes have begun."""
        for action in actions:
            match action:
                case Measure(meter, number):
                    self._asked[process, meter, number] = self._now()
                    for run_id in engine.gates.meters[meter].runs:
                        self._first.setdefault((engine.plan.digest, run_id), self._now())
                case DeletePod() | ReleasePod():
                    step = engine.daemon_sets[action.daemon_set].steps[action.node]
                    if step.node in flying or step.inherited:  # what is in flight finishes
                        continue
                    self._check_begin(process, engine, step)
                case Finish():
                    self._check_reaction(process, engine, action)

    def check_way_back(self, process: str, engine: Engine, actions: Iterable[Action]) -> None:
        """S10: the way back asks no gate and nobody, and has no pauses, bakes or windows."""
        plan = engine.plan
        waits = [wave.name for wave in plan.waves if wave.pause or wave.bake_s]
        kinds = {step.kind for step in plan.steps} & {"gate", "approval"}
        if plan.gates or waits or kinds:
            self._complain(
                f"S10: the way back has {[g.name for g in plan.gates]}, {waits}, {kinds}"
            )
        for action in actions:
            if isinstance(action, Measure | Ask):
                self._complain(f"S10: {process} asks {action} on the way back")
            if isinstance(action, Finish) and action.outcome is Outcome.INCONCLUSIVE:
                self._complain(f"S10: the way back ends with {action}")

    def _check_begin(self, process: str, engine: Engine, step: StepRun) -> None:
        """S8: every gate that stands before a node has passed since the change."""
        for gate in engine.plan.gates:
            if gate.dry_run:
                continue
            if isinstance(gate, WindowGate) and gate.at in ("before-node", "background"):
                if not _is_open(gate, self._now()) and not engine.gating.ignore_windows:
                    self._complain(f"S8: {step.node} begins while {gate.name} is shut")
                continue
            for run_id, since in self._missing(engine, gate, step):
                passed = self._passed[engine.plan.digest, run_id]
                if not any(at >= since for at in passed):
                    self._complain(f"S8: {step.node} begins, and {run_id} has not passed")
        failed = self.failed.get(process)
        if failed:
            names = [gate.name for gate in failed]
            self._complain(f"S6: {step.node} begins, and {names} have failed")

    def _missing(self, engine: Engine, gate: Gate, step: StepRun) -> list[tuple[str, float]]:
        """Return the gate runs that must have passed before a step, and since when."""
        wave, found = step.step.wave, []
        for vertex in engine.plan.steps:
            if vertex.kind != "gate" or vertex.gate != gate.name:
                continue
            before_us = gate.at == "before-wave" and vertex.wave <= wave
            if gate.at == "preflight" or before_us:
                found.append((vertex.id, 0.0))
            elif gate.at == "after-wave" and vertex.wave < wave:
                found.append((vertex.id, self._last_change(engine, vertex.wave)))
        if gate.at == "before-node" and self._concerns(engine, gate, step):
            found.append((_of_node(gate, step), 0.0))
        if gate.at == "after-node":
            found += [
                (_of_node(gate, before), self._change(engine, before))
                for before in engine.steps.values()
                if before.node
                and before.step.wave < wave
                and before.state is StepState.DONE
                and self._change(engine, before)
                and self._concerns(engine, gate, before)
            ]
        return found

    def _concerns(self, engine: Engine, gate: Gate, step: StepRun) -> bool:
        node = engine.nodes.get(step.node)
        labels = node.metadata.labels if node is not None else {}
        zone = engine.daemon_sets[step.step.daemon_set].zones.get(step.node, "")
        return holds(gate.when, engine.plan.waves[step.step.wave - 1].name, zone, labels)

    def _change(self, engine: Engine, step: StepRun) -> float:
        uid = engine.daemon_sets[step.step.daemon_set].planned.uid
        return self.changes.get((uid, step.node), 0.0)

    def _last_change(self, engine: Engine, wave: int) -> float:
        steps = (s for s in engine.steps.values() if s.node and s.step.wave == wave)
        return max((self._change(engine, step) for step in steps), default=0.0)

    # What follows

    def _check_reaction(self, process: str, engine: Engine, finish: Finish) -> None:
        """A gate that failed: the run does not go on, and does what the gate says."""
        failed = self.failed.get(process)
        if not failed:
            return
        if finish.outcome in (Outcome.DONE, Outcome.DEFERRED):
            self._complain(f"S8: {finish} although {[g.name for g in failed]} failed")
        wanted = {g.on_failure or engine.plan.failure.on_failure for g in failed}
        heaviest = max(wanted, key=_WEIGHTS.index)
        stopped = finish.outcome in (Outcome.HELD, Outcome.ABORTED, Outcome.INCONCLUSIVE)
        if stopped and finish.reaction and finish.reaction != heaviest:
            self._complain(f"{[g.name for g in failed]} want {heaviest}, and it ends with {finish}")


def _of_node(gate: Gate, step: StepRun) -> str:
    return f"gate/{gate.at}/{gate.name}/{step.step.daemon_set}/{step.node}"


def _is_open(gate: Gate, at: float) -> bool:
    """Whether a window is open by any clock that is as right as the server's `Date` tells it."""
    return any(_is_open_at(gate, moment) for moment in (at - ROUNDED_S, at, at + ROUNDED_S))


def _is_open_at(gate: Gate, at: float) -> bool:
    """Reckon the windows of stories: `*/N * * * *` for some minutes, in UTC."""
    assert isinstance(gate, WindowGate)
    allowed, denied, allows = False, False, False
    for rule in gate.windows:
        cron = rule.allow or rule.deny or ""
        every = 60.0 * int(cron.split()[0].removeprefix("*/"))
        inside = at % 3600.0 % every < parse_duration(rule.for_)
        allows = allows or rule.allow is not None
        allowed = allowed or (inside and rule.allow is not None)
        denied = denied or (inside and rule.deny is not None)
    return (allowed or not allows) and not denied
