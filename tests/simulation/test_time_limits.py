"""Deadlines, soaks and flaps: what time does to a run, also across a restart of ours."""

from __future__ import annotations

from typing import Any

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepState
from rollout.executor.exitcodes import exit_code
from rollout.executor.record.record import Wish
from rollout.executor.record.wishes import Wishes
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import read_fault
from rollout.sim.images import Behaviour, Timing
from tests.simulation.world import World


def item(limit: int) -> dict[str, Any]:
    return {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": limit},
    }


def restart(world: World, after: float) -> float:
    """Kill the run after so many seconds and begin again; return when."""
    world.advance(after)
    world.run.kill()
    world.begin(resumed=True)
    return world.now


def test_updates_02_a_run_on_which_nothing_gets_done_ends_at_its_deadline() -> None:
    world = World(
        5,
        daemonSets=[item(3)],
        health={"soak": 1, "nodeTimeout": "10m", "progressDeadline": "11m"},
        failure={"maxFailures": 5},
    )
    world.break_release("never-ready")
    began = world.now

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert finish.by_release
    assert exit_code(finish) is ExitCode.DEADLINE
    assert finish.message.startswith("no node got done for 11m (progressDeadline): ")
    assert len(world.oracle.deletes) == 3
    assert 660 <= world.now - began <= 680


def test_each_healthy_node_resets_the_deadline() -> None:
    world = World(
        6,
        daemonSets=[item(1)],
        health={"soak": 1, "nodeTimeout": "2m", "progressDeadline": "130s"},
    )
    world.cluster.set_image("log-agent:2.4", Behaviour(start=Timing(100.0)))
    began = world.now

    assert world.finish().outcome is Outcome.DONE
    assert world.now - began > 600


def test_a_bake_time_is_not_counted_against_the_deadline() -> None:
    waves = [{"name": "canary", "size": 1, "bake": "2h"}, {"name": "rest"}]
    health = {"soak": 1, "nodeTimeout": "2m", "progressDeadline": "3m"}
    world = World(6, waves=waves, health=health)

    assert world.run.run(timeout=20_000).outcome is Outcome.DONE


def test_a_restart_of_ours_gives_the_deadline_no_extra_time() -> None:
    world = World(
        5,
        daemonSets=[item(3)],
        health={"soak": 1, "nodeTimeout": "10m", "progressDeadline": "11m"},
        failure={"maxFailures": 5},
    )
    world.break_release("never-ready")
    began = world.now
    for _ in range(4):
        restart(world, after=120.0)

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert 655 <= world.now - began <= 680


def test_nodes_04_a_node_that_began_eight_minutes_ago_fails_two_minutes_after_a_restart() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.break_release("never-ready")
    world.until_deletes(1)
    restarted = restart(world, after=480.0)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert "not done after 10m" in finish.message
    assert 110 <= world.now - restarted <= 125
    assert set(world.oracle.deletes.values()) == {1}


def test_the_time_of_an_old_pod_that_terminates_counts_too_after_a_restart() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.cluster.set_image_fault("log-agent:2.3", read_fault("stuck-terminating"))
    world.until_deletes(1)
    restarted = restart(world, after=480.0)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert "is terminating" in finish.message
    assert 110 <= world.now - restarted <= 125


def test_commands_18_a_pod_that_flaps_while_it_soaks_starts_its_soak_afresh() -> None:
    world = World(4, daemonSets=[item(1)], health={"soak": "10s", "nodeTimeout": "5m"})
    world.break_release("flap", "node-000", after=8, lasts=2)
    world.until(lambda: world.step("node-000").state is StepState.SOAKING)
    world.advance(11.0)
    assert world.step("node-000").state is not StepState.DONE
    world.cluster.clear_image_faults()
    healed = world.now

    world.until(lambda: world.step("node-000").state is StepState.DONE)

    assert world.now - healed >= 8.0
    assert world.finish().outcome is Outcome.DONE


def test_faults_22_a_pod_that_flaps_too_often_has_failed() -> None:
    health = {"soak": "10s", "nodeTimeout": "5m", "maxFlaps": 2}
    world = World(4, daemonSets=[item(1)], health=health)
    world.break_release("flap", "node-000", after=5, lasts=1)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert "stopped being ready 3 times (maxFlaps)" in finish.message
    assert len(world.oracle.deletes) == 1


def test_nodes_53_a_pod_stuck_terminating_fails_its_node_and_says_what_holds_it() -> None:
    world = World(4, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "2m"})
    world.cluster.set_image_fault("log-agent:2.3", read_fault("stuck-terminating"))
    world.until_deletes(1)
    world.advance(60.0)
    assert "termination is stuck" in world.why()

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert "its termination is stuck, no finalizers: the kubelet is silent, grace" in finish.message
    assert "node-000" in world.run.engine.daemon_sets["log-agent"].view.unavailable


def test_commands_35_where_the_controller_never_observes_the_template_no_pod_is_deleted() -> None:
    world = World(6, health={"soak": 1, "nodeTimeout": "1m"}, failure={"onFailure": "rollback"})
    world.cluster.stop_controllers()
    world.advance(60.0)
    assert world.why() == (
        "waiting for the controller to observe the new template of DaemonSet log-agent"
    )

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert not finish.by_release
    assert finish.message.endswith(
        ": the controller has not observed the new template of DaemonSet log-agent"
    )
    assert world.oracle.order == []


def test_a_budget_that_others_use_up_for_ever_is_not_held_against_the_release() -> None:
    def break_pods(cluster: Cluster) -> None:
        for name in ("node-006", "node-007"):
            cluster.set_image_fault(f"*@{name}", read_fault("never-ready"))

    world = World(
        8,
        before=break_pods,
        nodes={"exclude": ["node-006", "node-007"]},
        health={"soak": 1, "nodeTimeout": "1m"},
        failure={"onFailure": "rollback"},
    )

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert not finish.by_release
    assert finish.message == (
        "no node got done for 2m (progressDeadline): the budget of DaemonSet log-agent "
        "(maxUnavailable 2) is used up by node-006, node-007"
    )
    assert world.oracle.order == []


def test_a_pause_is_not_counted_against_the_deadline() -> None:
    world = World(
        5,
        daemonSets=[item(2)],
        health={"soak": 1, "nodeTimeout": "10m", "progressDeadline": "11m"},
        failure={"maxFailures": 5},
    )
    world.break_release("never-ready")
    began = world.now
    world.advance(10.0)
    world.run.say(Wishes(stop=Wish("pause", "ann@host", "2026-01-01T00:00:00Z")))
    world.advance(570.0)
    world.run.say(Wishes())

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert 580 + 655 <= world.now - began <= 580 + 670
