"""What a run does about nodes that fail: limits, pauses, and what onFailure says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepState
from rollout.executor.exitcodes import exit_code
from rollout.executor.record.wishes import Wishes
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    default_fleet,
    default_nodes,
    read_fault,
)
from rollout.sim.images import Behaviour, Timing
from tests.simulation.world import World

HEALTH = {"soak": 1, "nodeTimeout": "1m"}


def test_nodes_31_with_a_budget_of_one_the_second_failure_stops_and_flying_nodes_finish() -> None:
    world = World(10, health=HEALTH, failure={"maxFailures": 1})
    world.break_release("unpullable", "node-002", "node-004")

    finish = world.finish()

    failed = [s.node for s in world.run.engine.steps.values() if s.state is StepState.FAILED]
    assert finish.outcome is Outcome.HELD
    assert exit_code(finish) is ExitCode.HELD
    assert sorted(failed) == ["node-002", "node-004"]
    assert finish.message.startswith("node-004 failed: container agent: ErrImagePull")
    assert finish.message.endswith("2 nodes failed (maxFailures 1)")
    assert len(world.oracle.order) <= 6
    assert world.run.engine.in_flight == 0


def test_nodes_that_fail_while_a_held_run_awaits_them_are_counted_at_its_end() -> None:
    world = World(6, health=HEALTH)
    world.break_release("unpullable", "node-000", "node-001")

    finish = world.finish()

    failed = [s.node for s in world.run.engine.steps.values() if s.state is StepState.FAILED]
    assert len(failed) == 2
    assert "1 node failed (maxFailures 0)" in finish.message  # what stopped it
    assert finish.message.endswith("; by the end 2 nodes have failed: node-000, node-001")


def test_updates_53_what_the_release_broke_in_an_unfinished_run_is_no_excuse_in_the_next() -> None:
    world = World(6, health=HEALTH, waves=[1, 5])
    world.break_release("never-ready", "node-000")
    assert world.finish().outcome is Outcome.HELD
    again, began = world.again("log-agent:2.4", behind_unfinished=True), world.now

    finish = again.finish()

    assert finish.outcome is Outcome.HELD
    assert again.step("node-000").state is StepState.FAILED
    assert "1 node failed (maxFailures 0)" in finish.message  # it counts
    assert again.now - began >= 60.0  # the cause may have been mended: it has its whole time
    assert again.oracle.order == []  # and its pod is not taken away


def test_updates_53_a_node_that_gets_well_meanwhile_is_done_when_it_has_been_seen_well() -> None:
    world = World(6, health=HEALTH, waves=[1, 5])
    world.break_release("never-ready", "node-000")
    assert world.finish().outcome is Outcome.HELD
    again = world.again("log-agent:2.4", behind_unfinished=True)
    again.cluster.clear_image_faults()

    assert again.finish().outcome is Outcome.DONE
    assert again.oracle.deletes["log-agent", "node-000"] == 0
    assert len(again.oracle.order) == 5


def test_updates_39_within_the_budget_the_run_goes_on_and_ends_as_complete_with_failures() -> None:
    world = World(10, daemonSets=[item(4)], health=HEALTH, failure={"maxFailures": 2})
    world.break_release("unpullable", "node-002", "node-004")

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert finish.message == "2 nodes failed"
    assert len(world.oracle.order) == 10


def test_a_percentage_of_each_wave_stops_in_the_wave_that_breaks_it() -> None:
    failure = {"maxFailures": "100%", "maxFailuresPerWave": "20%"}
    world = World(15, daemonSets=[item(6)], health=HEALTH, waves=[5, 10], failure=failure)
    world.break_release("unpullable", "node-001", "node-006", "node-007", "node-009")

    finish = world.finish()

    assert [w.max_failures.text for w in world.plan.waves if w.max_failures] == [
        "20% of 5 = 1",
        "20% of 10 = 2",
    ]
    assert finish.outcome is Outcome.HELD
    assert "wave wave-2: 3 nodes failed (maxFailuresPerWave 20% of 10 = 2)" in finish.message


def test_failures_one_after_the_other_stop_and_a_success_between_them_starts_afresh() -> None:
    failure = {"maxFailures": "100%", "maxConsecutive": 1}
    one: dict[str, Any] = {
        "daemonSets": [item(4)],
        "health": HEALTH,
        "failure": failure,
        "limits": {"maxNodesInFlight": 1},
    }
    apart = World(10, **one)
    apart.break_release("unpullable", "node-002", "node-004", "node-006")
    together = World(10, **one)
    together.break_release("unpullable", "node-002", "node-003")

    assert apart.finish().outcome is Outcome.FAILED_NODES
    finish = together.finish()

    assert finish.outcome is Outcome.HELD
    assert "2 nodes failed one after the other (maxConsecutive 1)" in finish.message
    assert len(together.oracle.order) == 4


def item(limit: int | str, name: str = "log-agent", image: str = "log-agent:2.4") -> dict[str, Any]:
    return {
        "name": name,
        "target": {"set": {"image": {"agent": image}}},
        "strategy": {"maxUnavailable": limit},
    }


@pytest.mark.parametrize("asked", [True, False])
def test_the_sequential_test_stops_a_bad_release_that_every_limit_would_bear(
    *, asked: bool
) -> None:
    failure = {"maxFailures": "60%", "sequentialTest": asked}
    world = World(100, daemonSets=[item(40)], health=HEALTH, failure=failure)
    bad = [f"node-{n:03}" for n in range(0, 100, 4)]  # a quarter of them
    world.break_release("unpullable", *bad)

    finish = world.finish()

    if asked:
        assert finish.outcome is Outcome.HELD
        assert "the release is bad: 5 of" in finish.message
        assert len(world.oracle.order) < 50
    else:
        assert finish.outcome is Outcome.FAILED_NODES


def test_the_sequential_test_is_not_asked_in_waves_too_small_to_prove_anything() -> None:
    world = World(72, daemonSets=[item(40)], health=HEALTH, failure={"maxFailures": "60%"})
    world.break_release("unpullable", *[f"node-{n:03}" for n in range(0, 72, 4)])

    assert world.finish().outcome is Outcome.FAILED_NODES


def test_abort_leaves_all_as_it_is_and_awaits_nothing() -> None:
    world = World(10, failure={"onFailure": "abort"})
    world.break_release("unpullable", "node-000")
    world.break_release("never-ready", "node-001")

    finish = world.finish()

    states = {s.node: s.state for s in world.run.engine.steps.values() if s.node}
    assert finish.outcome is Outcome.ABORTED
    assert exit_code(finish) is ExitCode.HELD
    assert states["node-000"] is StepState.FAILED
    assert states["node-001"] is StepState.REPLACING
    assert world.live["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert len(world.oracle.order) == 2
    began = world.run.engine.daemon_sets["log-agent"].steps["node-001"].started_at
    assert world.now - began < 60.0


def test_more_failures_than_pause_after_pause_the_run_which_goes_on_when_it_is_resumed() -> None:
    failure = {"maxFailures": 3, "pauseAfter": 1}
    world = World(10, daemonSets=[item(4)], health=HEALTH, failure=failure)
    world.break_release("unpullable", "node-002", "node-004")

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert exit_code(finish) is ExitCode.PAUSED
    assert "2 nodes failed (pauseAfter 1)" in finish.message
    world.begin(resumed=True)
    again = world.finish()
    assert again.outcome is Outcome.FAILED_NODES
    assert again.message == "2 nodes failed"
    assert set(world.oracle.deletes.values()) == {1}


def test_commands_19_a_container_that_restarts_pauses_the_run_with_its_last_exit_code() -> None:
    health = {"soak": "20s", "nodeTimeout": "5m", "maxRestarts": 5, "pauseRestarts": 1}
    world = World(10, health={**health, "failFast": []})
    world.break_release("crash", "node-003", after=2, exitCode=7)

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert finish.message.startswith(
        "node-003: container agent restarted 2 times, last exit code 7"
    )


def test_nodes_27_restarts_while_it_soaks_fail_the_step_with_the_reason_of_the_last_end() -> None:
    health = {"soak": "5s", "nodeTimeout": "10m", "maxRestarts": 2, "failFast": []}
    entry = DaemonSetEntry(
        name="log-agent", namespace="logging", image="log-agent:2.3", min_ready_seconds=60
    )
    fleet = msgspec.structs.replace(default_fleet(6, 2), daemon_sets=(entry,))
    world = World(fleet=fleet, health=health)
    world.break_release("crash", "node-001", after=5, exitCode=9)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert "node-001 failed: container agent restarted 3 times, last exit code 9" in finish.message


def test_with_too_many_nodes_in_trouble_nothing_starts_and_the_run_says_why() -> None:
    health = {"soak": 1, "nodeTimeout": "10m", "startGrace": "5m"}
    world = World(
        12, daemonSets=[item(6)], health=health, failure={"maxInTrouble": 1, "maxFailures": 12}
    )
    world.break_release("unpullable", "node-000", "node-001")
    world.until(lambda: world.run.engine.in_trouble == 2)
    begun = len(world.oracle.order)

    world.advance(60.0)

    assert len(world.oracle.order) == begun < 12
    assert "2 nodes are in trouble (maxInTrouble 1): node-000, node-001" in world.why()
    world.cluster.clear_image_faults()
    assert world.finish().outcome is Outcome.DONE


def test_a_node_that_fails_again_is_no_wave_without_a_success_while_others_wait() -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 1}
    target = {"set": {"image": {"agent": "log-agent:2.4"}}}
    world = World(
        4,
        daemonSets=[{"name": "log-agent", "target": target, "strategy": strategy}],
        failure={"maxFailures": 3},
        health={"soak": 1, "nodeTimeout": "30s", "progressDeadline": "10m"},
    )
    world.break_release("never-ready", "node-000")
    world.until(lambda: world.run.engine.failures.total == 1)
    world.run.say(Wishes(retried={"node-000": world.now}))
    world.until(lambda: world.run.engine.failures.total == 0)
    world.until(lambda: world.run.engine.failures.total == 1)

    assert world.why() == "the budget of DaemonSet log-agent (maxSurge 1) is used up by node-000"
    world.cluster.clear_image_faults()
    assert world.finish().outcome is Outcome.DONE


@pytest.mark.parametrize("scope", ["node", "wave", "all"])
def test_where_the_first_daemon_set_fails_the_one_after_it_leaves_the_node_alone(
    scope: str,
) -> None:
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1")
        for name in ("driver", "plugin")
    )
    after = {"daemonSet": "driver", "scope": scope}
    world = World(
        fleet=Fleet(nodes=default_nodes(4, 2), daemon_sets=entries),
        daemonSets=[
            item(3, "driver", "driver:2"),
            {**item(3, "plugin", "plugin:2"), "after": after},
        ],
        failure={"maxFailures": 1},
        health={"soak": 1, "nodeTimeout": "30s"},
    )
    world.cluster.set_image_fault("driver:2@node-002", read_fault("never-ready"))

    assert world.finish().outcome is Outcome.FAILED_NODES

    assert world.oracle.deletes["driver", "node-002"] == 1
    assert world.oracle.deletes["plugin", "node-002"] == 0
    assert world.oracle.deletes.total() == 7
    left = world.run.engine.daemon_sets["plugin"]
    assert left.steps["node-002"].state is StepState.SKIPPED
    assert left.steps["node-002"].reason == (
        "its pod was not touched: DaemonSet driver goes first there, and failed"
    )
    assert left.live is not None
    assert left.live.strategy_type == "OnDelete"  # else the controller would replace it at once


def test_a_wave_waits_for_a_node_of_it_that_is_tried_again() -> None:
    world = World(
        6,
        waves=[4, "100%"],
        daemonSets=[item(4)],
        failure={"maxFailures": 1},
        health={"soak": "10s", "nodeTimeout": "1m"},
    )
    world.break_release("crash", "node-000")
    world.until(lambda: world.run.engine.failures.total == 1)
    world.cluster.clear_image_faults()
    world.run.say(Wishes(retried={"node-000": world.now}))
    world.until(lambda: world.run.engine.done_count == 3)

    assert world.run.engine.steps["barrier/1"].state is StepState.BLOCKED
    assert world.finish().outcome is Outcome.DONE


def test_a_daemon_set_waits_for_another_try_of_the_one_that_goes_first() -> None:
    names = ("driver", "plugin")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1") for name in names
    )
    after = {"daemonSet": "driver", "scope": "node"}
    world = World(
        fleet=Fleet(nodes=default_nodes(4, 2), daemon_sets=entries),
        daemonSets=[
            item(4, "driver", "driver:2"),
            {**item(1, "plugin", "plugin:2"), "after": after},
        ],
        failure={"maxFailures": 3},
    )
    world.cluster.set_image_fault("driver:2@node-000", read_fault("crash"))
    world.until(lambda: world.run.engine.failures.total == 1)
    steps = world.run.engine.daemon_sets["plugin"].steps
    assert steps["node-000"].state is StepState.READY  # another node uses up its budget

    world.cluster.clear_image_faults()
    world.run.say(Wishes(retried={"node-000": world.now}))

    assert steps["node-000"].blockers == 1
    assert world.finish().outcome is Outcome.DONE
    of_node = [name for name, node in world.oracle.history if node == "node-000"]
    assert of_node == ["driver", "driver", "plugin"]


def test_nodes_32_a_node_broken_before_the_run_uses_no_failure_budget() -> None:
    world = broken_before(failure={"maxFailures": 0})

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert finish.message == "1 node failed (1 of them through no fault of the release)"
    assert world.oracle.deletes["log-agent", "node-003"] == 1
    assert len(world.oracle.deletes) == 8


def broken_before(**spec: Any) -> World:
    """A world in which node-003 is broken whatever runs on it, since before the run."""

    def break_node(cluster: Cluster) -> None:
        cluster.set_image_fault("*@node-003", read_fault("never-ready"))

    return World(8, before=break_node, health=HEALTH, **spec)


def test_updates_35_a_held_run_whose_cause_has_cleared_says_so_and_waits() -> None:
    world = World(8, health={"soak": 1, "nodeTimeout": "2m"})
    world.cluster.set_image("log-agent:2.4@node-001", Behaviour(start=Timing(40.0)))
    world.break_release("unpullable", "node-000")
    world.until(lambda: bool(world.run.engine.hold_why))
    begun = len(world.oracle.order)
    world.cluster.set_image_fault("log-agent:2.4@node-000", None)

    finish = world.finish()

    assert any("cause-cleared" in line for line in world.run.log)
    assert finish.outcome is Outcome.HELD
    assert finish.message.endswith("; the cause has cleared: apply the plan again to go on")
    assert len(world.oracle.order) == begun
    world.begin(resumed=True)
    assert world.finish().outcome is Outcome.DONE


@pytest.mark.parametrize("failing", [True, False])
def test_nodes_36_behind_a_wave_with_a_failure_the_next_one_does_not_grow(*, failing: bool) -> None:
    failure = {"maxFailures": 3}
    world = World(16, daemonSets=[item(12)], waves=[1, 3, "100%"], health=HEALTH, failure=failure)
    if failing:
        world.break_release("unpullable", "node-002")
    most = 0

    def watched() -> bool:
        nonlocal most
        most = max(most, world.run.engine.in_flight)
        return world.run.finish is not None

    world.until(watched)

    expected = Outcome.FAILED_NODES if failing else Outcome.DONE
    assert world.finish().outcome is expected
    assert most == 3 if failing else most > 3
