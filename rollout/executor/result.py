"""How a run ended: all that its record, its report and its exit code are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollout.executor.engine.accounting import Account
from rollout.executor.engine.actions import Finish
from rollout.executor.engine.state import DaemonSetRun, StepRun
from rollout.executor.record.record import Counts
from rollout.executor.record.recordedgates import RecordedGate
from rollout.planner.plan import Plan

GONE = "gone"  # the strategy of a DaemonSet that does not exist any more


@dataclass(frozen=True, slots=True)
class Result:
    """How the run ended, node by node."""

    finish: Finish
    steps: tuple[StepRun, ...]  # the updates, in the order of the plan
    joined: tuple[str, ...]
    plan: Plan  # as it was carried out: reconciled, where that was asked for
    strategies: Mapping[str, str]  # DaemonSet -> type of the strategy it has now, or `GONE`
    duration_s: float
    unapproved: int  # the wave (1-based) behind which the run waits for an approval; 0: none
    interrupted: bool  # a signal stopped it
    troubled: bool  # new pods fail: it paused by `pauseAfter` or `pauseRestarts`
    wrote: bool  # whether anything was written to the cluster
    sets: Mapping[str, DaemonSetRun]  # the DaemonSets as they were seen last
    account: Account  # where the time went
    gates: tuple[RecordedGate, ...] = ()  # what the gates said
    last_wave_done: int = 0  # the highest (1-based) of which that was told
    forward: Result | None = None  # how the way forward ended that this is the way back of
    wave: int = 0  # the highest (1-based) that has begun, where there are gates
    unseen: bool = False  # it goes on with a run, and ended before it had looked at any node
    earlier: Counts | None = None  # how far the run had come before; only where it is unseen

    @property
    def joined_too_early(self) -> tuple[str, ...]:
        """Nodes that joined before the new template was set: their pods are of the old one."""
        sets = [ds for ds in self.sets.values() if ds.resolved]
        return tuple(
            node
            for node in self.joined
            if any(not ds.is_target(pod) for ds in sets for pod in ds.view.on(node))
        )

    @property
    def cause(self) -> str:
        """Why the run went back, where it did so by itself in this process; else ""."""
        return self.forward.finish.text if self.forward is not None else ""

    @property
    def gate_waves(self) -> list[str]:
        """Names of the waves that the gates stand at: those of the way forward."""
        plan = self.plan if self.forward is None else self.forward.plan
        return [wave.name for wave in plan.waves]
