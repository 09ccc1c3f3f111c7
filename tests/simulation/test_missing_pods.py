"""S8 in whole runs: a new pod that is gone is missing data, never a smaller fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rollout.executor.engine.actions import Outcome
from rollout.gates.context import Bare
from rollout.sim.registry import DeleteOptions, PatchType
from rollout.sim.resources import NODES, PODS
from tests.simulation.driver import US, VirtualRun
from tests.simulation.gateworld import Script, World, gate

CANARY: list[Any] = [3, "100%"]


def until_done(world: World, run: VirtualRun, nodes: int) -> None:
    world.clock.run_until(lambda: run.engine.done_count == nodes, 600.0)


def take_pod(world: World, node: str) -> None:
    """Delete the pod of a node; nobody makes a new one while the controllers are away."""
    pod = next(p for p in world.cluster.store.scan(PODS) if p["spec"].get("nodeName") == node)
    meta = pod["metadata"]
    options = DeleteOptions(grace_period_seconds=0)
    world.cluster.registry.delete(PODS, meta["namespace"], meta["name"], US, options)


def vanish(world: World, node: str) -> None:
    world.cluster.stop_controllers()
    take_pod(world, node)


def leave(world: World, node: str) -> None:
    world.cluster.remove_node(node)


def refuse(world: World, node: str) -> None:
    """Make a node one on which the DaemonSet's pods must not run; the controller removes them."""
    taint = {"key": "example.com/repair", "effect": "NoExecute"}
    patch = {"spec": {"taints": [taint]}}
    world.cluster.registry.patch(NODES, "", node, patch, PatchType.MERGE, US)


@pytest.mark.parametrize(
    ("happens", "outcome", "said"),
    [
        (vanish, Outcome.HELD, "1 of 3 new pods are not well"),
        (leave, Outcome.DONE, ""),
        (refuse, Outcome.DONE, ""),
    ],
)
def test_a_node_counts_by_whether_it_should_have_a_new_pod(
    happens: Callable[[World, str], None], outcome: Outcome, said: str
) -> None:
    well = gate("well", "after-wave", controlGroup=False, initialDelay="2m")
    world = World(6, gates=[well], waves=CANARY, max_unavailable=2)
    run = world.start()
    until_done(world, run, 3)
    world.oracle.close()  # what others take away is not ours
    happens(world, world.oracle.order[0])
    finish = run.run()
    assert finish.outcome is outcome, finish
    assert said in finish.message


@pytest.mark.parametrize(("zone", "outcome"), [("zone-a", Outcome.HELD), ("zone-b", Outcome.DONE)])
def test_a_gate_looks_only_at_the_nodes_that_it_is_narrowed_to(zone: str, outcome: Outcome) -> None:
    well = gate("well", "after-wave", controlGroup=False, initialDelay="2m", when={"zones": [zone]})
    world = World(8, gates=[well], waves=[4, "100%"], max_unavailable=2)
    zones = {n.name: n.zone for n in world.plan.daemon_sets[0].nodes}
    run = world.start()
    until_done(world, run, 4)
    world.oracle.close()
    vanish(world, next(node for node in world.oracle.order if zones[node] == "zone-a"))
    world.clock.run_until(lambda: bool(run.engine.gates.results), 600.0)
    world.cluster.start_controllers()
    assert run.run().outcome is outcome


def test_the_control_group_is_of_the_zones_that_a_gate_is_narrowed_to() -> None:
    look = gate("look", "after-wave", when={"zones": ["zone-a"]})
    world = World(8, gates=[look], waves=[4, "100%"], max_unavailable=2)
    zones = {n.name: n.zone for n in world.plan.daemon_sets[0].nodes}
    script = Script(look=["ok"])
    world.start(script).run()
    first = script.seen["look"][0]
    assert {zones[pod.target_node] for pod in (*first.updated, *first.control)} == {"zone-a"}
    assert (len(first.updated), len(first.control)) == (2, 2)


def test_the_picture_names_the_nodes_whose_new_pod_is_gone() -> None:
    world = World(6, gates=[gate("look", "after-wave", interval="1m")], waves=CANARY)
    script = Script(look=["wait"])
    run = world.start(script)
    until_done(world, run, 3)
    world.clock.run_until(lambda: bool(script.seen["look"]), 600.0)
    lost = world.oracle.order[0]
    vanish(world, lost)
    world.clock.run_until(lambda: len(script.seen["look"]) == 2, 600.0)
    before, after = script.seen["look"]
    assert (before.bare, before.bare_before, len(before.updated)) == ((), (), 3)
    assert (after.bare, len(after.updated)) == ((Bare("log-agent", lost),), 2)
    assert set(after.updated_nodes) == set(before.updated_nodes)
    run.kill()


def test_a_node_without_an_old_pod_belongs_to_the_control_group() -> None:
    world = World(6, gates=[gate("look", "after-wave")], waves=CANARY)
    script = Script(look=["wait"])
    last = [step.node for step in world.plan.steps if step.wave == 2 and step.node][-1]
    run = world.start(script)
    until_done(world, run, 3)
    vanish(world, last)
    world.clock.run_until(lambda: len(script.seen["look"]) == 2, 600.0)
    assert script.seen["look"][-1].bare_before == (Bare("log-agent", last),)
    run.kill()


def test_a_background_gate_misses_a_pod_that_went_long_after_its_node_was_done() -> None:
    well = gate("well", "background", controlGroup=False)
    world = World(30, gates=[well], waves=[3, "100%"], max_unavailable=3)
    run = world.start()
    until_done(world, run, 5)
    world.oracle.close()
    vanish(world, world.oracle.order[0])
    finish = run.run()
    assert finish.outcome is Outcome.HELD
    assert f"{world.oracle.order[0]} has no pod" in finish.message
