"""A run on a small virtual cluster, and hands to disturb it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

from rollout.executor.engine.actions import Finish
from rollout.executor.engine.state import StepRun
from rollout.executor.explain import explain
from rollout.executor.record.wishes import Wishes
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import Fleet, default_fleet, read_fault
from rollout.sim.registry import Caller, PatchType
from rollout.sim.resources import DAEMONSETS
from tests.simulation.driver import Oracle, VirtualRun, make_plan

SOMEBODY = Caller("somebody", ("system:masters",), "kubectl")
TARGET = {"set": {"image": {"agent": "log-agent:2.4"}}}


class World:
    """A run on a small virtual cluster, and hands to disturb it."""

    run: VirtualRun

    def __init__(
        self,
        size: int = 8,
        *,
        fleet: Fleet | None = None,
        before: Callable[[Cluster], None] | None = None,
        events: bool = False,
        **spec: Any,
    ) -> None:
        self.cluster = Cluster(
            VirtualClock(), fleet or default_fleet(size, 2), Settings(events=events)
        )
        self.cluster.start()
        if before is not None:
            before(self.cluster)
            self.advance(120.0)
        daemon_set = {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": 2}}
        body: dict[str, Any] = {
            "daemonSets": [daemon_set],
            "waves": "fast",
            "health": {"soak": 1, "nodeTimeout": "2m"},
            **spec,
        }
        self.body = body
        self.plan = make_plan(self.cluster, body)
        self.oracle = Oracle(self.cluster, self.plan)
        self.run: VirtualRun
        self.begin()

    def begin(self, *, resumed: bool = False, wishes: Wishes | None = None) -> None:
        """Start the process that carries the plan out, or one that goes on with it."""
        times = self.run.recorded if resumed else None
        self.run = VirtualRun(
            self.cluster,
            self.plan,
            random.Random(7),
            resumed=resumed,
            wishes=wishes,
            times=times,
        )
        self.run.start()

    def advance(self, seconds: float) -> None:
        clock = self.cluster.clock
        assert isinstance(clock, VirtualClock)
        clock.advance(seconds)

    def until_deletes(self, count: int) -> None:
        clock = self.cluster.clock
        assert isinstance(clock, VirtualClock)
        assert clock.run_until(lambda: len(self.oracle.order) >= count, 600.0)

    def patch(self, body: dict[str, Any]) -> None:
        registry = self.cluster.registry
        registry.patch(DAEMONSETS, "logging", "log-agent", body, PatchType.STRATEGIC, SOMEBODY)

    def break_release(self, kind: str, *nodes: str, **more: Any) -> None:
        """Make the new image bad, everywhere or on these nodes."""
        fault = read_fault({"kind": kind, **more})
        for key in [f"log-agent:2.4@{node}" for node in nodes] or ["log-agent:2.4"]:
            self.cluster.set_image_fault(key, fault)

    def until(self, condition: Callable[[], bool], timeout: float = 3600.0) -> None:
        clock = self.cluster.clock
        assert isinstance(clock, VirtualClock)
        assert clock.run_until(condition, timeout), explain(self.run.engine, clock.now())

    def again(self, image: str, *, behind_unfinished: bool = False) -> World:
        """Plan another image on the same cluster, and begin."""
        other = copy.copy(self)
        daemon_set = {**self.body["daemonSets"][0], "target": {"set": {"image": {"agent": image}}}}
        other.body = {**self.body, "daemonSets": [daemon_set]}
        other.plan = make_plan(self.cluster, other.body, behind_unfinished=behind_unfinished)
        other.oracle = Oracle(self.cluster, other.plan)
        other.begin()
        return other

    @property
    def now(self) -> float:
        return self.cluster.clock.now()

    def why(self) -> str:
        """Return what the run says that it waits for."""
        return explain(self.run.engine, self.now)

    def step(self, node: str) -> StepRun:
        return self.run.engine.daemon_sets["log-agent"].steps[node]

    def finish(self) -> Finish:
        return self.run.run()

    @property
    def live(self) -> dict[str, Any]:
        found = self.cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
        assert found is not None
        return found
