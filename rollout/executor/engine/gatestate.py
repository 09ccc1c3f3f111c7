"""Where the gates of a run stand: what the engine's book remembers of them.

Gates at preflight, around waves and after the run are vertices of the graph; those around a node
belong to its step, which holds its slot until they have passed; background gates are asked from
the first write to the end. A window that nodes must be begun in is a guard: while it is shut,
nothing new starts, and what is in flight finishes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rollout.executor.engine.gatebook import GateBook
from rollout.executor.engine.state import StepRun
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.verdict import Status
from rollout.gates.windows import judge_windows
from rollout.gatespec import Gate, WindowGate
from rollout.gatespec.base import Reaction, When
from rollout.planner.plan import Plan
from rollout.quantity import parse_duration

_BY_WEIGHT: tuple[Reaction, ...] = ("hold", "abort", "rollback")
_BY_GRAVITY = tuple(Status)


@dataclass(frozen=True, slots=True)
class Carried:
    """What an earlier process of this run has written down of its gates.

    Attributes:
        began: gate run -> when it was first asked, seconds.
        wave: the highest wave (1-based) that had begun; 0: none.
        open: the same as `began` of those that were being asked when that process was killed.
    """

    began: Mapping[str, float] = field(default_factory=dict)
    wave: int = 0
    open: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """A verdict that the run doesn't go on with."""

    status: Status
    reaction: Reaction
    text: str

    @property
    def weight(self) -> tuple[int, int]:
        """By which the worst is chosen: the verdict, then what follows from it."""
        return _BY_GRAVITY.index(self.status), _BY_WEIGHT.index(self.reaction)


@dataclass(slots=True, eq=False)
class Guard:
    """A window: nothing starts while it is shut."""

    gate: WindowGate
    said: Measurement | None = None  # holds until its `again_at`
    noted: Measurement | None = None  # what was told of, or needed no telling
    told: bool | None = None  # whether it was open when it was told last
    parked: list[StepRun] = field(default_factory=list)  # nodes that it keeps, where it is narrowed

    @property
    def for_all(self) -> bool:
        """Whether it is for every node."""
        return self.gate.when == When()

    def look(self, now: float) -> Measurement:
        """Return what the window says now."""
        said = self.said
        if said is None or (said.again_at is not None and now >= said.again_at):
            windows = [rule.window for rule in self.gate.windows]
            enough = parse_duration(self.gate.enough) if self.gate.enough is not None else 0.0
            self.said = said = judge_windows(windows, enough, now)
        return said

    def is_shut(self, now: float) -> bool:
        """Whether it keeps nodes from being begun."""
        return not self.gate.dry_run and self.look(now).outcome is not Outcome.PASSED


class Gating:
    """Where the gates of a run stand.

    Args:
        plan: of the run.
        gates: keeps those that are asked.
        carried: from an earlier process of this run.
        ignore_windows: somebody wants the run to go on outside of its windows.
    """

    def __init__(
        self, plan: Plan, gates: GateBook, carried: Carried, *, ignore_windows: bool
    ) -> None:
        self.gates = gates
        self.carried = carried
        self.open_before = dict(carried.open)
        self.ignore_windows = ignore_windows
        self.on_failure: Reaction = plan.failure.on_failure
        self.by_name = {gate.name: gate for gate in plan.gates}
        self.guards = {
            gate.name: Guard(gate)
            for gate in plan.gates
            if isinstance(gate, WindowGate)
            and gate.at in ("before-node", "background")
            and not ignore_windows
        }
        self.before_node = self._at(plan.gates, "before-node")
        self.after_node = self._at(plan.gates, "after-node")
        self.background = self._at(plan.gates, "background")
        self.to_ask: deque[StepRun] = deque()  # vertices whose turn has come
        self.to_prove: deque[StepRun] = deque()  # healthy nodes
        self.cleared: deque[StepRun] = deque()  # nodes whose pod may go
        self.missing: dict[str, set[str]] = {}  # step -> its gate runs that have not passed
        self.asking: dict[str, StepRun] = {}  # steps that hold a slot before their pod goes
        self.passed_before: set[str] = set()  # steps whose gates before the node have passed
        self.proven: set[str] = set()  # steps whose gates behind the node have passed
        self.rejected: set[str] = set()  # steps that a gate has failed
        self.vertices: dict[str, StepRun] = {}  # being asked
        self.again: set[str] = set()  # vertices that have passed and are asked once more
        self.too_old = False  # what has passed was measured before the lock was away, or a pause
        self.began_background = False
        self.updated_at: dict[int, float] = {}  # when all nodes of a wave were over
        self.stop: Stop | None = None

    def _at(self, gates: Iterable[Gate], at: str) -> tuple[Gate, ...]:
        """Return the gates of a place; windows there are guards, or are ignored."""
        return tuple(g for g in gates if g.at == at and not isinstance(g, WindowGate))

    # What the book asks

    def is_proven(self, run: StepRun) -> bool:
        """Whether no gate behind the node is missing."""
        return not self.after_node or run.step.id in self.proven

    def prove(self, run: StepRun) -> None:
        """Ask the gates behind a node that is healthy now."""
        if run.step.id not in self.missing and run.step.id not in self.rejected:
            self.missing[run.step.id] = set()
            self.to_prove.append(run)

    def leave(self, run: StepRun) -> None:
        """The step is over, or its node is not healthy any more: ask its gates no longer."""
        for run_id in self.missing.pop(run.step.id, ()):
            self.gates.end(run_id)
        self.asking.pop(run.step.id, None)
        self.proven.discard(run.step.id)

    def forget(self, run: StepRun) -> None:
        """The step begins anew: no verdict on it counts any longer."""
        self.leave(run)
        self.rejected.discard(run.step.id)
        self.passed_before.discard(run.step.id)

    def keep_waiting(self, now: float) -> bool:
        """Whether the run waits for a gate, which has a deadline of its own, or for a window."""
        asked = self.vertices or self.to_ask or self.missing or self.again
        return bool(asked) or any(
            guard.noted is None or guard.noted.outcome is not Outcome.PASSED or guard.is_shut(now)
            for guard in self.guards.values()
            if guard.for_all
        )

    # Windows

    def shut(self, now: float) -> Guard | None:
        """Return a window for all nodes that is shut; None when there is none."""
        guards = self.guards.values()
        return next((guard for guard in guards if guard.for_all and guard.is_shut(now)), None)

    def any_shut(self, now: float) -> bool:
        """Whether a window is shut, be it for all nodes or for some."""
        return any(guard.is_shut(now) for guard in self.guards.values())
