"""What a live view shows of a run, taken from the engine in one small picture.

Taken by the loop's thread, a few times a second at most and not at every event; its cost grows with
the nodes in flight and the waves, never with the fleet. Knows nothing of terminals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rollout.executor.engine import claiming
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.health import waiting_for
from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.explain import explain
from rollout.report.gatelines import GateLine, gate_lines

ROWS = 10  # nodes in flight that are shown
WAVES_SHOWN = 8
GATES_SHOWN = 6
_SOON_S = 1.0  # as long as a node is left, it takes some time

_PHASES = {
    StepState.ASKING: "gates before",
    StepState.DELETING: "asking",
    StepState.REPLACING: "replacing",
    StepState.SOAKING: "soaking",
    StepState.PROVING: "gates",
}


@dataclass(frozen=True, slots=True)
class WaveLine:
    """One wave: how many of its nodes are over, and where it stands."""

    name: str
    over: int
    nodes: int
    state: Literal["done", "running", "waiting"]


@dataclass(frozen=True, slots=True)
class Flying:
    """One node in flight."""

    node: str
    daemon_set: str
    phase: str
    since: float  # seconds since the epoch, by the run's clock
    lacks: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A run at one moment."""

    now: float
    done: int
    total: int
    failed: int
    failed_limit: str
    waves: tuple[WaveLine, ...]
    waves_hidden: int  # done ones that are not among `waves`
    flying: tuple[Flying, ...]
    flying_hidden: int
    gates: tuple[GateLine, ...]
    gates_hidden: int
    budgets: tuple[str, ...]
    why: str
    eta_s: float | None  # None: nothing is done yet that could tell


class Viewer:
    """Takes pictures of one run."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # when we looked first, and what was done
        self._last = (0.0, 0)  # when we saw the last node get done, and how many were then
        self._longest_s = 0.0  # between two nodes that got done

    def take(self, engine: Engine, now: float) -> Picture:
        """Return the run as it is now."""
        waves = _waves(engine)
        flying = engine.flying
        gates = gate_lines(engine)
        return Picture(
            now=now,
            done=engine.done_count,
            total=engine.plan.totals.update,
            failed=engine.failures.total + engine.failures.excused,
            failed_limit=engine.plan.failure.max_failures.text,
            waves=_around(waves),
            waves_hidden=len(waves) - len(_around(waves)),
            flying=tuple(_flying(engine, run, now) for run in flying[:ROWS]),
            flying_hidden=max(0, len(flying) - ROWS),
            gates=tuple(gates[:GATES_SHOWN]),
            gates_hidden=max(0, len(gates) - GATES_SHOWN),
            budgets=tuple(
                f"{ds.name}: {len(ds.view.used)} of {ds.budget_text} in use"
                for ds in engine.daemon_sets.values()
            ),
            why=explain(engine, now),
            eta_s=self._eta(engine, now),
        )

    def _eta(self, engine: Engine, now: float) -> float | None:
        """Go on as it went so far: what was done before we looked says nothing about the pace.

        The pace is taken when a node gets done, and counted down from there: nodes get done in
        bursts, and the time between two of them is no sign that the rest takes longer. It does
        not go on counting where it takes longer than ever: then nobody knows.
        """
        done = engine.done_count
        if self._began is None:
            self._began = self._last = now, done
        since, before = self._began
        if done > self._last[1]:
            self._longest_s = max(self._longest_s, now - self._last[0])
            self._last = now, done
        if done <= before or engine.stopping:
            return None
        left = engine.plan.totals.update - done - engine.failures.total
        if left <= 0:
            return 0.0
        pace_s = (self._last[0] - since) / (done - before)
        waited_s = min(now - self._last[0], self._longest_s)
        return max(_SOON_S, pace_s * left - waited_s)


def _waves(engine: Engine) -> list[WaveLine]:
    found = []
    for number, wave in enumerate(engine.plan.waves, start=1):
        results = engine.failures
        done, failed = results.done_in[number], results.failed_in[number]
        over = done + failed + results.excused_in[number]
        begun = number in engine.waves_begun
        state: Literal["done", "running", "waiting"] = "running" if begun else "waiting"
        found.append(WaveLine(wave.name, over, wave.nodes, "done" if over >= wave.nodes else state))
    return found


def _around(waves: list[WaveLine]) -> tuple[WaveLine, ...]:
    """Return the waves around the one that runs."""
    current = next((i for i, wave in enumerate(waves) if wave.state != "done"), len(waves))
    first = max(0, min(current - 2, len(waves) - WAVES_SHOWN))
    return tuple(waves[first : first + WAVES_SHOWN])


def _flying(engine: Engine, run: StepRun, now: float) -> Flying:
    ds = engine.daemon_sets[run.step.daemon_set]
    node = engine.nodes.get(run.node)
    phase, lacks = _PHASES.get(run.state, run.state.value), claiming.sentence_of(engine, run)
    if lacks:
        return Flying(run.node, ds.name, "claiming", run.started_at, lacks)
    lacks = waiting_for(run, ds, node, now, engine.plan.health)
    return Flying(run.node, ds.name, phase, run.started_at, lacks)
