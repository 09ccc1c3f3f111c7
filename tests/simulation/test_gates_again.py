"""A gate is measured again after the lock or a pause, unless what it stands before has begun."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.gatestate import Carried
from rollout.executor.engine.state import Phase, StepState
from rollout.executor.explain import explain
from rollout.executor.record.record import Wish
from rollout.executor.record.wishes import NONE, Wishes
from rollout.sim.fleetfile import read_fault
from tests.simulation.driver import VirtualRun
from tests.simulation.gateworld import Script, World, gate
from tests.simulation.test_missing_pods import take_pod

PAUSE = Wishes(stop=Wish("pause", "ann", "2027-01-15T08:00:00Z"))
AWAY = ev.ViewLost(ev.LOCK, "not renewed for 20 s")
BACK = ev.ViewBack(ev.LOCK)
SECOND = {"waves": ["wave-2"]}


def between(at: str, quiet: list[str], slow: list[str]) -> tuple[World, Script, VirtualRun]:
    """Return a run in which gate `quiet` has passed once, and `slow` has not."""
    world = World(gates=[gate("quiet", at, when=SECOND), gate("slow", at, when=SECOND)])
    script = Script(quiet=quiet, slow=slow)
    run = world.start(script)
    world.clock.run_until(lambda: f"gate/{at}/2/quiet" in run.engine.gates.results, 600.0)
    return world, script, run


def lock_away(world: World, run: VirtualRun) -> None:
    run._take(AWAY)
    world.clock.advance(10 * 60.0)
    run._take(BACK)


def pause_taken_back(world: World, run: VirtualRun) -> None:
    now = world.clock.now()
    run.engine.observe(ev.Said(PAUSE), now)
    run.engine.observe(ev.Said(NONE), now)


@pytest.mark.parametrize("happens", [lock_away, pause_taken_back])
def test_a_gate_that_has_passed_before_is_measured_again(
    happens: Callable[[World, VirtualRun], None],
) -> None:
    quiet, slow = ["ok", "wait", "wait", "ok"], ["wait", "wait", "ok"]
    world, script, run = between("before-wave", quiet, slow)
    happens(world, run)
    world.clock.run_until(lambda: len(script.seen["quiet"]) == 3, 600.0)
    assert world.deletes == 1, "nothing begins on a verdict from before"
    assert "waiting for gate quiet before wave wave-2" in explain(run.engine, world.clock.now())
    assert run.run().outcome is Outcome.DONE
    assert len(script.seen["quiet"]) == 4


def test_a_gate_that_does_not_pass_again_stops_the_run() -> None:
    world, _, run = between("before-wave", ["ok", "bad"], ["wait", "ok"])
    lock_away(world, run)
    finish = run.run()
    assert finish.outcome is Outcome.HELD
    assert "gate quiet before wave wave-2 failed" in finish.message
    assert world.deletes == 1


def test_a_gate_behind_which_something_has_begun_is_asked_no_more() -> None:
    world = World(gates=[gate("first", "preflight"), gate("quiet", "before-wave")])
    script = Script(first=["ok"], quiet=["ok"])
    run = world.start(script)
    world.clock.run_until(lambda: world.deletes == 2, 600.0)
    run._take(AWAY)
    world.clock.advance(60.0)
    run._take(BACK)
    assert run.run().outcome is Outcome.DONE
    assert (len(script.seen["first"]), len(script.seen["quiet"])) == (1, 2)


def test_a_node_that_had_no_room_when_its_gates_had_passed_is_asked_anew() -> None:
    world = World(gates=[gate("free", "before-node", "node", interval="1m")], waves="fast")
    world.oracle.close()  # what others take away is not ours
    script = Script(free=["wait", "ok"])
    run = world.start(script)
    world.clock.run_until(lambda: len(script.seen["free"]) == 1, 600.0)
    first, *_, last = (step.node for step in world.plan.steps if step.kind == "update")
    world.cluster.stop_controllers()
    take_pod(world, last)
    world.clock.run_until(lambda: bool(run.engine.gating.passed_before), 600.0)
    world.clock.advance(5.0)
    assert run.engine.steps[f"update/log-agent/{first}"].state is StepState.READY
    lock_away(world, run)
    world.cluster.start_controllers()
    assert run.run().outcome is Outcome.DONE
    asked = [c.now for c in script.seen["free"] if c.node and c.node.metadata.name == first]
    assert len(asked) == 3
    assert asked[2] - asked[1] > 10 * 60.0


def test_the_process_that_goes_on_after_a_pause_measures_again() -> None:
    world, script, first = between("before-wave", ["ok"], ["wait"])
    first.say(PAUSE)
    assert first.run().outcome is Outcome.PAUSED
    assert len(script.seen["quiet"]) == 1
    again = Script(quiet=["ok"], slow=["ok"])
    assert world.resume(again, Carried(wave=1)).run().outcome is Outcome.DONE
    assert len(again.seen["quiet"]) == 1


def test_nothing_passes_while_the_lock_is_in_doubt() -> None:
    """A measurement from the time in which writes were withheld lets nothing begin."""
    world = World(gates=[gate("quiet", "before-wave", when=SECOND)])
    script = Script(quiet=["wait", "ok"])
    run = world.start(script)
    world.clock.run_until(lambda: len(script.seen["quiet"]) == 1, 600.0)
    run._take(AWAY)
    world.clock.advance(600.0)
    assert len(script.seen["quiet"]) > 10
    assert world.deletes == 1
    run._take(BACK)
    assert run.run().outcome is Outcome.DONE


def test_no_strategy_comes_back_while_a_node_is_tried_again() -> None:
    """The controller would take pods away beside us (S1)."""
    world = World(
        2,
        zones=1,
        waves="fast",
        max_unavailable=2,
        gates=[gate("all", "background")],
        failure={"maxFailures": 1},
        health={"soak": "1m", "nodeTimeout": "5m"},
    )
    world.cluster.set_image_fault("log-agent:2.4@node-001", read_fault("unpullable"))
    healed: list[float] = []
    run = world.start(Script(all=[lambda _: "ok" if healed else "wait"]))
    (ds,) = run.engine.daemon_sets.values()
    restore = run.engine.steps["restore/log-agent"]
    world.clock.run_until(lambda: restore.state is StepState.READY, 600.0)
    assert run.engine.failures.total == 1

    world.cluster.clear_image_faults()
    healed.append(world.clock.now())
    run.say(Wishes(retried={"node-001": world.clock.now()}))
    world.clock.run_until(lambda: ds.phase is not Phase.OPEN, 600.0)

    assert ds.steps["node-001"].state is StepState.DONE
    assert run.run().outcome is Outcome.DONE


@pytest.mark.parametrize("kind", [ev.PodsListed, ev.NodesListed, ev.DaemonSetSeen])
def test_no_gate_is_asked_before_the_first_lists_are_there(kind: type[ev.Event]) -> None:
    """A picture of what is not listed yet is one of a cluster that has nothing (S8)."""
    world = World(gates=[gate("first", "preflight")])
    script = Script(first=["ok"])
    run = VirtualRun(world.cluster, world.plan, world.rng, look=script)
    hear, late = run._take, list[ev.Event]()

    def listening(event: ev.Event) -> None:
        if isinstance(event, kind):
            late.append(event)
        else:
            hear(event)

    run._take = listening  # type: ignore[method-assign]
    run.start()
    world.clock.advance(30.0)
    assert not script.seen

    run._take = hear  # type: ignore[method-assign]
    for event in late:
        hear(event)
    assert run.run().outcome is Outcome.DONE
