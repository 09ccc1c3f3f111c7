"""Gates that look at the cluster itself, in whole runs of the real command over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rollout.sim.images import Behaviour, Fault, FaultKind, Timing
from rollout.sim.resources import JOBS
from tests.e2e.world import NEW, OLD, Done, World, fleet, world

SOON = {"interval": "200ms"}


def applied(world: World, *gates: dict[str, Any]) -> Done:
    spec = world.spec(waves=[1, "100%"], gates=[SOON | gate for gate in gates])
    return world.rollout("apply", world.plan(spec), "-o", "jsonl")


def kept(done: Done) -> dict[str, str]:
    """Return what each gate said in the end, by its name."""
    return {gate["gate"]: gate["status"] for gate in done.events[-1]["gates"]}


def test_pods_nodes_events_and_logs_let_a_good_release_pass_everywhere(tmp_path: Path) -> None:
    places = ("after-node", "after-wave", "background")
    kinds: list[dict[str, Any]] = [
        {"kind": "pods"},
        {"kind": "node"},
        {"kind": "events", "of": ["pods", "nodes", "daemonSets"]},
        {"kind": "logs", "pattern": "panic"},
    ]
    gates = [kind | {"name": f"{kind['kind']}-{at}", "at": at} for kind in kinds for at in places]
    with world(fleet(4), tmp_path) as w:
        done = applied(w, *gates)
        assert done.code == 0, done.out
        assert set(w.images().values()) == {NEW}
        assert {status for status in kept(done).values()} == {"passed"}


def test_a_background_gate_sees_the_last_node_before_the_run_ends(tmp_path: Path) -> None:
    alarm = {"name": "logs", "kind": "logs", "at": "background", "pattern": "panic"}
    with world(fleet(3), tmp_path) as w:
        done = applied(w, alarm | {"interval": "1h"})
        assert done.code == 0, done.out
        (gate,) = done.events[-1]["gates"]
        begun = max(e["time"] for e in done.events if e["type"] == "node-started")
        assert gate["measurements"][-1]["outcome"] == "passed"
        assert gate["measurements"][-1]["at"][:19] >= begun[:19]
