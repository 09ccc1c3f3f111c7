"""Makes bad what gates look at inside the cluster, when a story says so, and well again."""

from __future__ import annotations

from typing import Any

from rollout.sim import timestamps
from rollout.sim.fleetfile import read_fault
from rollout.sim.resources import DAEMONSETS, EVENTS, NODES
from tests.simulation.oracles import _node, _ready
from tests.simulation.outsideworld import Turn
from tests.simulation.virtual import SOMEBODY, World

SICK = {"key": "sick", "value": "yes", "effect": "PreferNoSchedule"}


def begin_turns(world: World, gates: list[dict[str, Any]], turns: tuple[Turn, ...]) -> None:
    """Let everything happen at its time, from now on."""
    kinds = {gate["name"]: gate["kind"] for gate in gates}
    world.machine.outside.turns = turns
    for turn in turns:
        makes = {"node": _Sick, "events": _Event, "logs": _Line, "pods": _Unready}.get(
            kinds[turn.gate]
        )
        if makes is not None:
            made = makes(world, turn.gate)
            world.clock.call_later(turn.at, made.begin)
            world.clock.call_later(turn.at + turn.lasts, made.end)


def end_turns(world: World, gates: list[dict[str, Any]]) -> None:
    """Mend everything at once: who repairs a run repairs what its gates complain of."""
    world.machine.outside.turns = ()
    for gate in gates:
        _Sick(world, gate["name"]).end()


class _Bad:
    def __init__(self, world: World, gate: str) -> None:
        self.world = world
        self.gate = gate

    def begin(self) -> None:
        """Make it bad."""

    def end(self) -> None:
        """Make it well, where that can be."""


class _Sick(_Bad):
    """The first node gets a taint that the gate does not want."""

    def begin(self) -> None:
        name = next((n for n in self.world.nodes() if n.startswith("n-")), "")
        if name and SICK not in (self.world.node(name)["spec"].get("taints") or ()):
            taints = self.world.node(name)["spec"].get("taints") or []
            self.world.patch(NODES, name, {"spec": {"taints": [*taints, SICK]}})
            self.world.judge.gates.sick[name] = self.world.clock.now()

    def end(self) -> None:
        for name in self.world.nodes():
            taints = self.world.node(name)["spec"].get("taints") or []
            if SICK in taints:
                left = [taint for taint in taints if taint != SICK]
                self.world.patch(NODES, name, {"spec": {"taints": left}})
        self.world.judge.gates.sick.clear()


class _Event(_Bad):
    """Somebody warns of the DaemonSet."""

    def begin(self) -> None:
        world = self.world
        ds = world.cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
        if ds is None:
            return
        at = timestamps.rfc3339(world.clock.now())
        about = {"kind": "DaemonSet", "name": "log-agent", "namespace": "logging"}
        body = {
            "metadata": {"name": f"warning-{self.gate}", "namespace": "logging"},
            "involvedObject": {**about, "uid": ds["metadata"]["uid"]},
            "type": "Warning",
            "reason": "Melted",
            "message": "it is too hot",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        world.cluster.registry.create(EVENTS, "logging", body, SOMEBODY)
        world.judge.gates.mark(self.gate)


class _Line(_Bad):
    """The pods that are ready now write a line that the gate does not want."""

    def begin(self) -> None:
        for pod in self.world.pods():
            if _ready(pod) and _node(pod).startswith("n-"):
                uid = pod["metadata"]["uid"]
                self.world.api.logs.write(uid, "agent", "panic: out of ideas")
                self.world.judge.gates.mark(self.gate, uid)


class _Unready(_Bad):
    """The new image does not get ready on the first node."""

    _KEY = "log-agent:2@n-000"

    def begin(self) -> None:
        self.world.cluster.set_image_fault(self._KEY, read_fault("never-ready"))

    def end(self) -> None:
        self.world.cluster.set_image_fault(self._KEY, None)
