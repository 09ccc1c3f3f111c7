"""The gates that are being asked: when each is measured, and what its measurements add up to.

A `Meter` is what is measured, a `GateRun` what is decided. Most meters serve one gate run. A gate
that is asked for many nodes and isn't measured for each of them has one meter for all: one
measurement an interval, entered into the run of every node that waits, so that a fleet of 5,000
nodes costs no more than one of 5. Pure: measurements are asked for by an action and come back as
an event; one that doesn't come back in its time is an error, so that no gate waits for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rollout.executor.engine.actions import Action, Measure
from rollout.executor.engine.notices import Notice
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.verdict import (
    Rules,
    Status,
    Tally,
    Verdict,
    add,
    assess,
    conclude,
    rules_of,
)
from rollout.gatespec import ApprovalGate, Gate, PauseGate, WindowGate
from rollout.quantity import format_duration, parse_duration

AT_ONCE = 64  # measurements under way; more wait for their turn
LATE_S = 5.0  # seconds beyond a measurement's own timeout after which nobody waits for it
SOONEST_S = 1.0  # seconds between two measurements of one meter, whatever a gate asks for
KEPT_NODES = 100  # results of single nodes that are kept; the bad ones longest
_SILENT = (ApprovalGate, PauseGate, WindowGate)  # their waiting is told once, not each time


@dataclass(slots=True, eq=False)
class GateRun:
    """One gate at one place: what it has measured there, and what it says."""

    id: str  # gate/after-wave/1/errors, gate/after-node/NAME/DAEMONSET/NODE
    gate: Gate
    rules: Rules
    began: float
    change: float  # when what it judges was changed
    meter: str
    listener: Callable[[GateRun, float], None]  # told once, of the final verdict
    tally: Tally
    verdict: Verdict
    wave: int = 0
    node: str = ""
    daemon_set: str = ""

    @property
    def waits_for_people(self) -> bool:
        """Whether nothing but somebody's approval is missing."""
        return isinstance(self.gate, ApprovalGate) and self.verdict.status is Status.WAITING


@dataclass(slots=True, eq=False)
class Meter:
    """What is measured for one gate run, or for many that share it."""

    id: str
    gate: Gate
    rules: Rules
    shared: bool
    runs: dict[str, GateRun] = field(default_factory=dict)
    round: int = 0
    asked_at: float | None = None  # a measurement is under way, or waits for its turn, since then
    last: Measurement | None = None
    due: float | None = None
    overtaken: bool = False  # news has come since the measurement under way began


class GateBook:
    """All gates of one run.

    Args:
        at: sets a timer.
        act: takes an action.
        tell: takes a notice.
    """

    def __init__(
        self,
        at: Callable[[float, Callable[[float], None]], None],
        act: Callable[[Action], None],
        tell: Callable[[Notice], None],
    ) -> None:
        self.open: dict[str, GateRun] = {}
        self.results: dict[str, GateRun] = {}  # final ones, in the order of their verdicts
        self.asked: set[str] = set()  # names of gates; also what is behind us (S7)
        self.meters: dict[str, Meter] = {}
        self._at = at
        self._act = act
        self._tell = tell
        self._under_way = 0
        self._queue: deque[Meter] = deque()
        self._told_waiting: set[str] = set()

    def begin(
        self,
        run_id: str,
        gate: Gate,
        listener: Callable[[GateRun, float], None],
        now: float,
        *,
        began: float | None = None,
        change: float = 0.0,
        meter: str = "",
        wave: int = 0,
        node: str = "",
        daemon_set: str = "",
    ) -> GateRun:
        """Ask a gate.

        Args:
            run_id: of the gate run; one that is open already is asked afresh.
            gate: from the plan.
            listener: told of the final verdict.
            now: seconds, by the clock of the run.
            began: when it was asked first, where an earlier process did; None: now.
            change: when what it judges was changed.
            meter: what it shares its measurements with; "": it has its own.
            wave: number (1-based) of its wave; 0: none.
            node: that it is asked for.
            daemon_set: that it is asked for.
        """
        self.end(run_id)
        rules = rules_of(gate)
        first = now if began is None else began
        found = self.meters.get(meter or run_id)
        if found is None:
            found = Meter(meter or run_id, gate, rules, shared=bool(meter))
            self.meters[found.id] = found
        run = GateRun(
            id=run_id,
            gate=gate,
            rules=rules,
            began=first,
            change=change,
            meter=found.id,
            listener=listener,
            tally=Tally(since=max(now, first + rules.initial_delay)),
            verdict=assess(rules, Tally(), first, now),
            wave=wave,
            node=node,
            daemon_set=daemon_set,
        )
        self.open[run_id] = run
        self.asked.add(gate.name)
        found.runs[run_id] = run
        self._schedule(found, [run], now)
        return run

    def end(self, run_id: str) -> None:
        """Ask a gate no more; nothing is decided."""
        run = self.open.pop(run_id, None)
        if run is not None:
            self._leave(run)

    def conclude(self, run_id: str, now: float) -> Status:
        """Judge a background gate that is measured no more; returns what it says then."""
        run = self.open[run_id]
        run.verdict = conclude(run.rules, run.tally)
        self._finish(run, now)
        return run.verdict.status

    def measured(self, meter_id: str, round_: int, measurement: Measurement, now: float) -> None:
        """Take in a measurement; one that came too late for its round is dropped."""
        meter = self.meters.get(meter_id)
        if meter is None or meter.round != round_ or meter.asked_at is None:
            return
        meter.asked_at = None
        meter.last = measurement
        self._under_way -= 1
        self._tell_measured(meter, measurement)
        for run in list(meter.runs.values()):
            run.tally = add(run.rules, run.tally, measurement)
        self._settle(meter, now)
        if not meter.runs and not meter.shared:
            self.meters.pop(meter.id, None)
        if meter.overtaken and meter.runs and meter.asked_at is None:
            self._ask(meter, now)
        while self._queue and self._under_way < AT_ONCE:
            self._send(self._queue.popleft(), now)

    def look_again(self, wanted: Callable[[GateRun], bool], now: float) -> None:
        """Measure at once what news has come for."""
        for run in list(self.open.values()):
            meter = self.meters[run.meter]
            if wanted(run) and meter.asked_at is None:
                self._ask(meter, now)
            elif wanted(run):
                meter.overtaken = True

    def is_older(self, run: GateRun, changed: float) -> bool:
        """Whether its newest measurement, or the one under way, began before a change."""
        meter = self.meters[run.meter]
        if meter.asked_at is not None:
            return meter.asked_at < changed
        return meter.last is None or meter.last.at < changed

    # Measuring

    def _schedule(self, meter: Meter, runs: Iterable[GateRun], now: float) -> None:
        """Set the time of the next look for these; an earlier one that is set already stays."""
        if meter.asked_at is not None or not meter.runs:
            return
        times = [run.verdict.next_at for run in runs if run.verdict.next_at is not None]
        due = max(min(times, default=now), self._soonest(meter))
        if meter.due is not None and meter.due <= due:
            return
        if due <= now:
            self._ask(meter, now)
            return
        meter.due = due
        self._at(due, lambda at: self._look(meter, due, at))

    def _soonest(self, meter: Meter) -> float:
        """Keep the interval also where a new run joins a shared meter between two looks."""
        last = meter.last
        if last is None:
            return float("-inf")
        if not meter.shared or last.again_at is not None:
            return last.at + SOONEST_S
        pause = meter.rules.retry if last.outcome is Outcome.ERROR else meter.rules.interval
        return last.at + pause

    def _look(self, meter: Meter, due: float, now: float) -> None:
        if meter.due != due:
            return
        meter.due = None
        self._settle(meter, now, schedule=False)
        if meter.runs and meter.asked_at is None:
            self._ask(meter, now)

    def _ask(self, meter: Meter, now: float) -> None:
        meter.due = None
        meter.asked_at = now
        meter.overtaken = False
        meter.round += 1
        if self._under_way < AT_ONCE:
            self._send(meter, now)
        else:
            self._queue.append(meter)

    def _send(self, meter: Meter, now: float) -> None:
        if not meter.runs:  # ended while it waited for its turn
            meter.asked_at = None
            return
        self._under_way += 1
        meter.asked_at = now
        round_, timeout = meter.round, parse_duration(meter.gate.timeout)
        self._act(Measure(meter.id, round_))
        self._at(now + timeout + LATE_S, lambda at: self._late(meter, round_, at))

    def _late(self, meter: Meter, round_: int, now: float) -> None:
        if meter.round == round_ and meter.asked_at is not None:
            limit = format_duration(parse_duration(meter.gate.timeout))
            lost = Measurement(Outcome.ERROR, meter.asked_at, reason=f"no answer within {limit}")
            self.measured(meter.id, round_, lost, now)

    # Judging

    def _settle(self, meter: Meter, now: float, *, schedule: bool = True) -> None:
        """Judge all runs of a meter anew, and say when to look again."""
        for run in list(meter.runs.values()):
            run.verdict = _judge(run, now)
            if run.verdict.status.final:
                self._finish(run, now)
            elif run.verdict.status is Status.WAITING and isinstance(run.gate, _SILENT):
                self._tell_waiting(run)
        if schedule:
            self._schedule(meter, meter.runs.values(), now)

    def _tell_waiting(self, run: GateRun) -> None:
        if run.id not in self._told_waiting:
            self._told_waiting.add(run.id)
            kind = "approval-wanted" if run.waits_for_people else "gate-waiting"
            self._tell(_notice(kind, run, run.verdict.reason))

    def _finish(self, run: GateRun, now: float) -> None:
        self.open.pop(run.id, None)
        self._leave(run)
        self._keep(run)
        status = run.verdict.status
        if not (run.node and status is Status.PASSED):  # its node's own line says so
            kind = f"gate-{status.value.replace(' ', '-')}"
            self._tell(_notice(kind, run, run.verdict.reason))
        run.listener(run, now)

    def _leave(self, run: GateRun) -> None:
        meter = self.meters[run.meter]
        meter.runs.pop(run.id, None)
        if not meter.runs and not meter.shared and meter.asked_at is None:
            del self.meters[meter.id]

    def _keep(self, run: GateRun) -> None:
        """Keep the result, but not those of all nodes of a large fleet: the good ones go first."""
        self.results.pop(run.id, None)
        self.results[run.id] = run
        of_nodes = [r for r in self.results.values() if r.node]
        if len(of_nodes) > KEPT_NODES:
            good = (r for r in of_nodes if r.verdict.status is Status.PASSED)
            del self.results[next(good, of_nodes[0]).id]

    def _tell_measured(self, meter: Meter, measurement: Measurement) -> None:
        silent = isinstance(meter.gate, _SILENT) and measurement.outcome is Outcome.WAITING
        run = next(iter(meter.runs.values()), None)
        if silent or run is None:
            return
        text = measurement.reason or measurement.value
        told = _notice("gate-measured", run, text)
        self._tell(
            Notice(
                told.kind,
                daemon_set="" if meter.shared else told.daemon_set,
                node="" if meter.shared else told.node,
                wave=told.wave,
                message=text,
                gate=told.gate,
                outcome=measurement.outcome.value,
                value=measurement.value,
            )
        )


def _judge(run: GateRun, now: float) -> Verdict:
    """Judge a gate; an approval that nobody gave in time is a no, not an open question."""
    verdict = assess(run.rules, run.tally, run.began, now)
    undecided = verdict.status in (Status.INCONCLUSIVE, Status.NOT_MEASURED)
    late = now >= run.began + run.rules.deadline
    if isinstance(run.gate, ApprovalGate) and undecided and late:
        limit = format_duration(run.rules.deadline)
        return Verdict(Status.FAILED, f"not approved within {limit}; {verdict.reason}")
    return verdict


def _notice(kind: str, run: GateRun, message: str) -> Notice:
    return Notice(
        kind,
        daemon_set=run.daemon_set,
        node=run.node,
        wave=run.wave,
        message=message,
        gate=run.gate.name,
        outcome=run.verdict.status.value,
    )
