"""Runs with gates under the virtual clock: what a gate measures is written down by the test."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rollout.executor.engine.gatestate import Carried
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gatespec import Gate
from rollout.planner.plan import Plan
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet
from tests.simulation.driver import Oracle, VirtualRun, make_plan

TARGET = {"set": {"image": {"agent": "log-agent:2.4"}}}
WORDS = {
    "ok": Outcome.PASSED,
    "bad": Outcome.FAILED,
    "unclear": Outcome.INCONCLUSIVE,
    "error": Outcome.ERROR,
    "nothing": Outcome.NO_DATA,
    "wait": Outcome.WAITING,
}
Answer = str | Callable[[Context], str]


class Script:
    """What each gate measures, one word a measurement; the last one is said for ever."""

    def __init__(self, **words: Sequence[Answer]) -> None:
        self.words = words
        self.seen: defaultdict[str, list[Context]] = defaultdict(list)

    def __call__(self, gate: Gate, context: Context) -> Measurement:
        if gate.name not in self.words:
            return measure(gate, context)
        said = self.words[gate.name]
        word = said[min(len(self.seen[gate.name]), len(said) - 1)]
        self.seen[gate.name].append(context)
        if not isinstance(word, str):
            word = word(context)
        return Measurement(WORDS[word], context.now, reason=word)

    def times(self, name: str) -> list[float]:
        """Return when a gate was measured."""
        return [context.now for context in self.seen[name]]


class World:
    """A small fleet, a plan with gates, and runs of it.

    Args:
        nodes: of the cluster.
        zones: over which they are spread.
        seed: of all chance.
        second: keys of another DaemonSet, `net-agent`, on the same nodes; None: there is none.
        body: keys of the spec.
    """

    def __init__(
        self,
        nodes: int = 5,
        *,
        zones: int = 2,
        seed: int = 1,
        second: dict[str, Any] | None = None,
        **body: Any,
    ) -> None:
        self.rng = random.Random(seed)
        fleet = default_fleet(nodes, zones, seed=seed)
        if second is not None:
            first = fleet.daemon_sets[0]
            other = msgspec.structs.replace(first, name="net-agent")
            fleet = msgspec.structs.replace(fleet, daemon_sets=(first, other))
        settings = Settings(track_managers=False, events=False)
        clock = VirtualClock()
        self.clock = clock
        self.cluster = Cluster(clock, fleet, settings)
        self.cluster.start()
        strategy = {"maxUnavailable": body.pop("max_unavailable", 1)}
        item = {"name": "log-agent", "target": TARGET, "strategy": strategy}
        items = [item] if second is None else [item, item | {"name": "net-agent"} | second]
        whole = {"daemonSets": items, "waves": [1, "100%"], "health": {"soak": 1}} | body
        self.plan: Plan = make_plan(self.cluster, whole)
        self.oracle = Oracle(self.cluster, self.plan)

    def start(self, script: Script | None = None, **more: Any) -> VirtualRun:
        """Start a process that carries the plan out."""
        run = VirtualRun(self.cluster, self.plan, self.rng, look=script or Script(), **more)
        run.start()
        return run

    def resume(self, script: Script, carried: Carried | None = None, **more: Any) -> VirtualRun:
        """Start a process that goes on where an earlier one was killed."""
        return self.start(script, resumed=True, carried=carried, **more)

    @property
    def deletes(self) -> int:
        """How many pods were deleted so far."""
        return sum(self.oracle.deletes.values())


def gate(name: str, at: str, kind: str = "pods", **more: Any) -> dict[str, Any]:
    """Return a gate of the spec; `pods` stands for any kind that isn't measured per node."""
    return {"name": name, "kind": kind, "at": at, "interval": "10s"} | more
