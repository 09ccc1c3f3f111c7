"""The time for which a wave is watched: from when it counts, and what may not be missed in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepState
from rollout.executor.record.wishes import Wishes
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_nodes
from tests.simulation.world import TARGET, World

WAVES = [{"name": "canary", "size": 2, "bake": "10m"}, {"name": "rest"}]


def test_a_wave_is_told_to_be_done_once_behind_all_of_its_daemon_sets() -> None:
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in ("one", "two")
    )
    one, two = (
        {"name": name, "target": {"set": {"image": {"agent": f"{name}:2"}}}}
        for name in ("one", "two")
    )
    world = World(
        fleet=Fleet(nodes=default_nodes(2, 1), daemon_sets=entries),
        daemonSets=[one, {**two, "after": {"daemonSet": "one", "scope": "wave"}}],
        waves=[1, "100%"],
    )

    assert world.finish().outcome is Outcome.DONE

    told = [line for line in world.run.log if "kind='wave-done'" in line]
    assert [line.partition("done=")[2] for line in told] == ["2)", "4)"]


def small_world(
    gates: Sequence[dict[str, Any]] = (), failure: dict[str, Any] | None = None, **health: Any
) -> World:
    item = {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": 2}}
    health = {"soak": "10s", "nodeTimeout": "2m", **health}
    return World(
        6, daemonSets=[item], waves=WAVES, health=health, gates=list(gates), failure=failure or {}
    )


def go_on(world: World) -> None:
    """Kill the process and begin another one that goes on."""
    world.run.kill()
    world.begin(resumed=True)


def third_delete(world: World, since: float) -> float:
    """Return how long it took until the second wave began."""
    world.until(lambda: len(world.oracle.order) > 2)
    return world.now - since


def test_updates_24_the_bake_time_counts_from_the_last_canary_and_a_restart_adds_nothing() -> None:
    world, killed = small_world(), small_world()
    begun = world.now
    quietly = third_delete(world, begun)
    killed.advance(400.0)

    go_on(killed)

    assert abs(third_delete(killed, begun) - quietly) < 2.0


def test_nodes_02_a_restart_in_a_later_wave_bakes_no_earlier_one_again() -> None:
    world = small_world()
    world.until_deletes(2)
    world.until(lambda: len(world.oracle.order) > 2)
    world.advance(1.0)

    go_on(world)
    resumed = world.now
    world.advance(5.0)

    assert world.why().startswith("waiting for node-00")
    assert world.finish().outcome is Outcome.DONE
    assert world.now - resumed < 60.0


def test_a_canary_that_crashes_while_its_wave_bakes_stops_the_run() -> None:
    world = small_world()
    world.break_release("crash", "node-000", after=60)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert finish.by_release
    assert finish.message == (
        "node-000 failed: container agent restarted once, last exit code 1 (Error), after the node "
        "was done; 1 node failed (maxFailures 0)"
    )
    assert len(world.oracle.order) == 2


def test_updates_26_a_gate_that_asks_for_a_quiet_time_bears_a_restart_before_it() -> None:
    quiet = {"name": "quiet", "kind": "pods", "at": "after-wave", "restartFree": "5m"}
    tolerant = {"maxRestarts": 1, "available": 1, "interval": "5s"}
    world = small_world(gates=[quiet | tolerant])
    world.break_release("crash", "node-000", after=540)
    begun = world.now

    minutes = third_delete(world, begun) / 60

    assert 14 <= minutes < 15


def test_restarts_that_are_tolerated_are_so_in_the_bake_time_too() -> None:
    world = small_world(maxRestarts=3, failFast=["ErrImagePull"])
    world.break_release("crash", "node-000", after=300)

    assert world.finish().outcome is Outcome.DONE


@pytest.mark.parametrize("heals", [True, False])
def test_a_node_that_is_down_behind_the_bake_time_is_waited_for(*, heals: bool) -> None:
    world = small_world()
    world.break_release("flap", "node-000", after=500, lasts=1000)
    world.until_deletes(2)
    world.advance(620.0)
    assert len(world.oracle.order) == 2
    assert world.why() == (
        "waiting for node-000: not available at the end of the bake time of wave canary (10m)"
    )
    if heals:
        world.cluster.clear_image_faults()

    finish = world.finish()

    assert finish.outcome is (Outcome.DONE if heals else Outcome.HELD)
    why = "node-000 failed: its new pod is not available after the bake time; "
    assert finish.message.startswith(why) is not heals


def without_a_view(seconds: float) -> World:
    """Return a world in which a canary crashes while its wave bakes and its pods are not seen."""
    world = small_world(progressDeadline="10m")
    world.break_release("crash", "node-000", after=500)
    world.until_deletes(2)
    world.advance(400.0)
    world.run.engine.observe(ev.ViewLost("pods/log-agent", "the line is cut"), world.now)
    world.advance(seconds)
    return world


def test_a_wave_that_bakes_is_judged_when_its_view_is_back() -> None:
    world = without_a_view(400.0)
    assert world.run.finish is None
    assert not any("kind='wave-done'" in line for line in world.run.log)
    world.run.engine.observe(ev.ViewBack("pods/log-agent"), world.now)

    assert world.finish().message.startswith("node-000 failed: container agent restarted")
    assert len(world.oracle.order) == 2


def test_a_wave_that_nobody_sees_any_more_does_not_bake_for_ever() -> None:
    finish = without_a_view(700.0).finish()

    assert finish.outcome is Outcome.DEADLINE
    assert finish.message.endswith(": no view of pods/log-agent (the line is cut)")


def test_a_node_that_is_tried_again_gets_the_bake_time_too() -> None:
    world = small_world(failure={"maxFailures": 1})
    world.break_release("never-ready", "node-000")
    world.until(lambda: world.step("node-000").state is StepState.FAILED)
    world.cluster.clear_image_faults()
    wishes = Wishes(retried={"node-000": world.now})
    world.run.engine.observe(ev.Said(wishes), world.now)
    world.until(lambda: world.step("node-000").state is StepState.DONE)
    done = world.now

    assert len(world.oracle.order) == 3  # the pod that had failed was one of them

    world.until(lambda: len(world.oracle.order) > 3)
    assert world.now - done >= 600.0
