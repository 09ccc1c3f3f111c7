"""Nodes and zones that go down while a run goes: whose fault it is, and what goes on."""

from __future__ import annotations

from typing import Any

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.record.wishes import Wishes
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.resources import PODS
from tests.simulation import virtual
from tests.simulation.oracles import _node
from tests.simulation.world import World


def item(limit: int) -> dict[str, Any]:
    return {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": limit},
    }


HEALTH = {"soak": 1, "nodeTimeout": "5m"}


def test_commands_20_a_node_that_turns_not_ready_before_its_turn_is_skipped() -> None:
    failure = {"maxFailures": 1, "maxUnreachable": 1}
    world = World(10, daemonSets=[item(4)], health=HEALTH, failure=failure, waves=[1, "100%"])
    slowly(world)
    world.until_deletes(1)
    world.cluster.lose_node("node-009")  # its turn would come last
    world.until(lambda: "node-009" in world.run.engine.unreachable.since)
    updated = world.oracle.order[0]

    finish = world.finish()

    skipped = world.step("node-009")
    assert finish.outcome is Outcome.DEFERRED
    assert finish.message == "complete with 1 skipped"
    assert skipped.state is StepState.SKIPPED
    assert skipped.reason == (
        "the node turned not ready before its update and was not back after 5m"
    )
    assert world.oracle.deletes["log-agent", "node-009"] == 0
    assert world.step(updated).state is StepState.DONE
    assert world.run.engine.failures.total == 0


def test_nodes_49_a_node_that_comes_back_in_time_is_updated_in_the_end() -> None:
    world = World(8, daemonSets=[item(2)], health=HEALTH, failure={"maxUnreachable": 1})
    slowly(world)
    world.until_deletes(1)
    world.oracle.close()  # a node that dies beside ours is not ours to keep within the budget
    world.cluster.lose_node("node-007")
    world.until(lambda: bool(world.run.engine.unreachable.waiting))
    world.until(lambda: world.run.engine.done_count == 7)
    assert world.why().startswith("waiting for node-007: not ready; left out in ")
    world.cluster.restore_node("node-007")

    assert world.finish().outcome is Outcome.DONE
    assert world.step("node-007").replaced_uid


def test_a_node_that_somebody_skips_while_it_is_not_ready_is_not_waited_for() -> None:
    wave = {"name": "all", "bake": "10m"}
    world = World(8, daemonSets=[item(2)], health=HEALTH, waves=[wave])
    slowly(world)
    world.until_deletes(1)
    world.oracle.close()  # a node that dies beside ours is not ours to keep within the budget
    world.cluster.lose_node("node-007")
    world.until(lambda: bool(world.run.engine.unreachable.waiting))

    world.run.say(Wishes(skipped={"node-007": "skipped by alice"}))
    world.until(lambda: world.run.engine.done_count == 7)

    assert not world.run.engine.unreachable.waiting
    assert world.why() == "waiting for the bake time of wave all (10m)"


def test_more_nodes_that_turn_not_ready_than_allowed_hold_the_run_without_blame() -> None:
    world = World(
        12,
        daemonSets=[item(3)],
        health={"soak": "60s", "nodeTimeout": "5m"},
        failure={"maxUnreachable": 1, "onFailure": "rollback"},
    )
    world.until_deletes(1)
    for name in ("node-010", "node-011"):
        world.cluster.lose_node(name)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert not finish.by_release  # so nothing is rolled back
    assert finish.message == (
        "2 nodes turned not ready before their update (maxUnreachable 1): node-010, node-011"
    )


def test_faults_31_pods_that_others_take_down_make_the_run_wait_and_not_fail() -> None:
    world = World(10, daemonSets=[item(2)], health=HEALTH)
    world.until_deletes(2)
    world.oracle.close()  # what others take down is not ours to keep within the budget
    for name in ("node-008", "node-009"):
        world.cluster.set_image_fault(f"log-agent:2.3@{name}", read_fault("never-ready"))

    finish = world.finish()

    steps = sorted(world.run.engine.daemon_sets["log-agent"].steps.values(), key=began)
    assert finish.outcome is Outcome.DONE
    assert {step.node for step in steps[2:4]} == {"node-008", "node-009"}
    assert world.run.engine.failures.total == 0


def began(step: StepRun) -> float:
    return step.started_at


def slowly(world: World) -> None:
    """Give nodes the time to be found not ready (40 s) before their turn comes."""
    world.cluster.set_image("log-agent:2.4", Behaviour(start=Timing(50.0)))


def test_faults_37_a_zone_that_goes_down_is_not_held_against_the_release() -> None:
    world = World(
        fleet=default_fleet(12, 2),
        daemonSets=[item(4)],
        health={"soak": "30s", "nodeTimeout": "4m"},
        failure={"maxUnreachable": "100%"},
        limits={"maxNodesInFlight": 4},
    )
    world.until_deletes(4)
    world.oracle.close()  # a zone without power is not ours to keep within the budget
    zones = world.run.engine.daemon_sets["log-agent"].zones
    zone = zones[world.oracle.order[0]]
    struck = [n for n in world.oracle.order if zones[n] == zone]
    world.cluster.lose_zone(zone)

    finish = world.finish()

    engine = world.run.engine
    assert struck
    for node in struck:
        step = world.step(node)
        assert step.state is StepState.FAILED
        assert step.excused
        assert f"zone {zone} is down: " in step.reason
    assert engine.failures.total == 0
    assert finish.outcome is Outcome.FAILED_NODES
    assert f"{engine.failures.excused} of them through no fault of the release" in finish.message
    done = {s.node for s in engine.steps.values() if s.state is StepState.DONE and s.node}
    assert done == {n for n, z in zones.items() if z != zone}


def test_a_node_that_goes_down_with_few_others_of_its_zone_speaks_against_the_release() -> None:
    world = World(
        fleet=default_fleet(12, 2),
        daemonSets=[item(1)],
        health={"soak": "2m", "nodeTimeout": "10m"},
        failure={"maxUnreachable": "100%"},
    )
    world.until_deletes(1)
    world.oracle.close()  # the other node is not ours to keep within the budget
    zones = world.run.engine.daemon_sets["log-agent"].zones
    (struck,) = world.oracle.order
    other = next(n for n in reversed(zones) if zones[n] == zones[struck] and n != struck)
    world.cluster.lose_node(other)  # one of five that were not updated
    world.cluster.lose_node(struck)
    world.until(lambda: world.step(struck).state is StepState.FAILED)

    assert not world.step(struck).excused
    assert world.finish().outcome is Outcome.HELD


def test_commands_20_a_node_that_turns_not_ready_after_its_update_has_failed() -> None:
    world = World(6, daemonSets=[item(1)], health={"soak": "30s", "nodeTimeout": "2m"})
    world.break_release("kills-node", "node-000", after=5)  # found not ready when it has soaked

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert finish.by_release
    assert finish.message.startswith("node-000 failed: the node turned not ready after its update")


def test_nodes_40_with_two_zones_that_hold_unavailable_pods_nothing_starts_in_a_third() -> None:
    fleet = default_fleet(12, 3)

    def break_two_zones(cluster: Cluster) -> None:
        for name in ("node-000", "node-001"):  # zones a and b
            cluster.set_image_fault(f"*@{name}", read_fault("never-ready"))

    world = World(
        fleet=fleet,
        before=break_two_zones,
        daemonSets=[item(4)],
        nodes={"exclude": ["node-000", "node-001"]},
        health=HEALTH,
    )
    zones = world.run.engine.daemon_sets["log-agent"].zones
    third = ({*zones.values()} - {zones["node-000"], zones["node-001"]}).pop()
    world.advance(300.0)

    touched = {zones[node] for node in world.oracle.order}
    assert touched == {zones["node-000"], zones["node-001"]}
    assert "hold unavailable pods of DaemonSet log-agent; nothing starts in " + third in world.why()
    world.cluster.clear_image_faults()
    assert world.finish().outcome is Outcome.DEFERRED
    assert {zones[node] for node in world.oracle.order} == set(zones.values())


def test_updates_06_the_nodes_that_a_bad_release_broke_are_mended_before_any_healthy_one() -> None:
    world = World(10, daemonSets=[item(2)], health={"soak": 1, "nodeTimeout": "30s"})
    world.break_release("never-ready")
    assert world.finish().outcome is Outcome.HELD
    broken = set(world.oracle.order)
    assert len(broken) == 2
    world.oracle.close()

    mended = world.again(image="log-agent:2.5")
    finish = mended.finish()

    assert finish.outcome is Outcome.DONE
    assert set(mended.oracle.order[:2]) == broken
    assert len(mended.oracle.order) == 10


def test_a_node_that_is_down_and_has_no_pod_of_the_release_is_no_rest_of_a_way_back() -> None:
    with virtual.World(default_fleet(4, 1), seed=5) as world:
        world.cluster.set_image_fault("log-agent:2.4", read_fault("never-ready"))
        health = {"soak": 1, "nodeTimeout": "1m"}
        body = {"daemonSets": [item(1)], "waves": "fast", "health": health}
        assert world.run("apply", world.save(world.plan(body))).code == ExitCode.HELD
        world.cluster.lose_node("node-003")
        world.advance(60.0)
        (name,) = [p["metadata"]["name"] for p in world.pods() if _node(p) == "node-003"]
        world.cluster.registry.delete(PODS, "logging", name, virtual.SOMEBODY)

        back = world.run("rollback", "sim", "-n", "logging")

        assert back.code == ExitCode.ROLLED_BACK, back.text
        assert "; down, and without a pod of the release: node-003" in back.text
        world.judge.check_strategy(restored=True)
