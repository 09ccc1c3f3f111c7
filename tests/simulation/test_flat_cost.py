"""An event costs the engine as much in a large fleet as in a small one.

Counted in steps of the interpreter, not in seconds, so that no machine is too slow for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import msgspec
import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.state import StepState
from rollout.fleet.objects import Condition, Node, NodeStatus
from rollout.sim.fleetfile import default_fleet
from tests.simulation.world import TARGET, World

SMALL, LARGE = 24, 480
MORE = 1.2  # by which a larger fleet may cost more: heaps are deeper


def steps_of(work: Callable[[], object]) -> int:
    """Return how many instructions of the interpreter some work takes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def cost_of_an_outage(size: int, share_done: float) -> float:
    """Return the steps for each node of a zone that goes down, on average."""
    world = World(
        fleet=default_fleet(size, 2),
        daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": 4}}],
        waves=[{"name": "all"}],
        failure={"maxFailures": "100%", "maxUnreachable": "100%", "sequentialTest": False},
    )
    engine = world.run.engine
    world.until(lambda: bool(engine.in_flight) and engine.done_count >= share_done * size)
    world.run.kill()
    zones = engine.daemon_sets["log-agent"].zones
    lost = [node for node in engine.nodes.values() if zones[node.metadata.name] == "zone-a"]
    assert len(lost) == size // 2
    steps = sum(steps_of(partial(tell, engine, node, world.now)) for node in lost)
    states = [engine.daemon_sets["log-agent"].steps[n.metadata.name].state for n in lost]
    assert states.count(StepState.FAILED) >= size * share_done // 2 - 4
    assert len(engine.unreachable.waiting) >= size * (1 - share_done) // 2 - 4
    return steps / len(lost)


def cost_with_gates_open(size: int, at: str) -> float:
    """Return the steps for news of a pod while a gate is asked for a third of the nodes."""
    gate = {"name": "well", "kind": "pods", "at": at, "interval": "1h", "count": 2}
    limit = {"maxUnavailable": size // 3}
    world = World(
        fleet=default_fleet(size, 2),
        daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": limit}],
        waves=[{"name": "all"}],
        limits={"replacementsPerSecond": size},
        gates=[gate],
    )
    engine = world.run.engine
    world.until(lambda: len(engine.gates.open) == size // 3)
    world.run.kill()
    view = engine.daemon_sets["log-agent"].view
    news = [ev.PodSeen("log-agent", pod) for pod in list(view.pods.values())[:8]]
    return sum(steps_of(partial(hear, engine, event, world.now)) for event in news) / len(news)


@pytest.mark.parametrize("at", ["before-node", "after-node"])
def test_gates_that_are_asked_for_many_nodes_make_no_event_dearer(at: str) -> None:
    assert cost_with_gates_open(LARGE, at) < MORE * cost_with_gates_open(SMALL, at)


def tell(engine: Engine, node: Node, now: float) -> None:
    down = Condition("Ready", "Unknown")
    lost = msgspec.structs.replace(node, status=NodeStatus(conditions=(down,)))
    hear(engine, ev.NodeSeen(lost), now)


def hear(engine: Engine, event: ev.Event, now: float) -> None:
    engine.checked = False  # type: ignore[misc]  # the rules look at the whole book
    engine.observe(event, now)
    engine.decide(now)


def test_a_zone_that_goes_down_half_updated_costs_each_node_the_same() -> None:
    assert cost_of_an_outage(LARGE, 0.5) < MORE * cost_of_an_outage(SMALL, 0.5)


def test_a_zone_that_goes_down_before_its_turn_costs_each_node_the_same() -> None:
    assert cost_of_an_outage(LARGE, 0.0) < MORE * cost_of_an_outage(SMALL, 0.0)
