"""Processes that are killed again and again give no node, and no run, more time than one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.state import StepState
from rollout.executor.engine.storedtimes import SOON_S
from rollout.executor.record.record import RunRecord, Wish
from rollout.executor.record.timerecord import StoredTimes
from rollout.executor.record.wishes import Wishes
from rollout.fleet.objects import parse_time
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.registry import DeleteOptions
from rollout.sim.requests import Answer, Request
from rollout.sim.resources import CONFIG_MAPS, PODS
from tests.simulation import virtual
from tests.simulation.driver import VirtualRun
from tests.simulation.world import SOMEBODY, TARGET, World


def item(limit: int, **more: Any) -> dict[str, Any]:
    strategy = {"maxUnavailable": limit, **more}
    return {"name": "log-agent", "target": TARGET, "strategy": strategy}


def killed_every(world: World, seconds: float, end: Callable[[World], object]) -> int:
    """Kill the run so often, and begin again, until something is so; returns how often."""
    began = world.now
    for kills in range(10_000):
        world.advance(seconds)
        if end(world):
            return kills
        assert world.now < began + 3600, world.why()
        world.run.kill()
        world.begin(resumed=True)
    raise AssertionError("it never ended")


def is_over(world: World) -> bool:
    return world.run.finish is not None


def has_failed(world: World) -> bool:
    return any(run.state is StepState.FAILED for run in world.run.engine.steps.values())


def take_pods(world: World, node: str) -> None:
    for pod in [p for p in world.cluster.store.scan(PODS) if p["spec"].get("nodeName") == node]:
        meta = pod["metadata"]
        options = DeleteOptions(grace_period_seconds=0)
        world.cluster.registry.delete(PODS, meta["namespace"], meta["name"], SOMEBODY, options)


@pytest.mark.parametrize("every", [97.0, 31.0, 4.0])
def test_nodes_03_a_node_without_any_pod_fails_at_its_deadline_however_often_we_are_killed(
    every: float,
) -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.until_deletes(1)
    deleted = world.now
    world.cluster.stop_controllers()

    assert killed_every(world, every, has_failed) >= 6

    run = world.step(world.oracle.order[0])
    assert run.reason == "not done after 10m: the controller has not created the new pod"
    assert 599 <= run.ended_at - deleted <= 601 + SOON_S
    assert run.excused  # the controller is silent
    killed_every(world, every, is_over)
    assert 1199 <= world.now - deleted <= 1200 + every  # progressDeadline
    assert world.oracle.deletes.total() == 1


def test_a_node_that_nobody_serves_does_not_speak_against_the_release_behind_a_restart() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.until_deletes(1)
    world.cluster.stop_controllers()
    world.advance(595.0)
    world.run.kill()
    world.begin(resumed=True)

    world.until(lambda: world.step(world.oracle.order[0]).state is StepState.FAILED)

    assert world.step(world.oracle.order[0]).excused
    assert world.run.engine.failures.total == 0


def test_a_pod_that_is_made_anew_again_and_again_gives_its_node_no_more_time() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.break_release("never-ready")
    world.until_deletes(1)
    deleted, node = world.now, world.oracle.order[0]
    world.oracle.close()  # what somebody else takes away is not ours
    for _ in range(5):
        world.advance(100.0)
        take_pods(world, node)
        world.advance(5.0)
        world.run.kill()
        world.begin(resumed=True)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert world.step(node).reason.startswith("not done after 10m: pod log-agent-")
    assert 599 <= world.now - deleted <= 601


def test_what_was_not_written_down_yet_is_told_by_the_old_pod() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.cluster.set_image_fault("log-agent:2.3", read_fault("stuck-terminating"))
    world.until_deletes(1)
    deleted = world.now
    world.advance(5.0)
    world.run.kill()
    world.run.recorded = StoredTimes()
    world.advance(470.0)
    world.begin(resumed=True)

    world.finish()

    assert world.step(world.oracle.order[0]).state is StepState.FAILED
    assert 599 <= world.now - deleted <= 601


def test_a_handed_over_node_fails_at_its_deadline_behind_a_restart() -> None:
    world = World(
        5,
        daemonSets=[item(0, maxSurge=1)],
        health={"soak": 1, "nodeTimeout": "10m"},
    )
    world.until(lambda: world.run.engine.in_flight == 1)
    world.cluster.stop_controllers()
    began = world.now
    assert killed_every(world, 97.0, has_failed) >= 6
    (run,) = [r for r in world.run.engine.steps.values() if r.state is StepState.FAILED]
    # That no controller made its successor is held against it only from the progress deadline on.
    limit = 600 + world.run.engine.plan.health.progress_deadline_s
    assert limit - 1 <= run.ended_at - began <= limit + 1
    assert world.oracle.deletes.total() == 0


def test_a_node_that_has_failed_gets_no_second_turn_from_a_restart() -> None:
    world = World(
        6,
        daemonSets=[item(2)],
        health={"soak": 1, "nodeTimeout": "5m", "progressDeadline": "1h"},
        failure={"maxFailures": 5},
    )
    world.until_deletes(2)
    world.cluster.stop_controllers()
    first = world.oracle.order[0]
    world.until(lambda: world.step(first).state is StepState.FAILED)
    world.advance(12.0)
    world.run.kill()
    world.begin(resumed=True)

    world.advance(1.0)

    assert world.step(first).state is StepState.FAILED
    assert world.run.engine.in_flight == 0


def test_a_run_that_goes_on_behind_a_failed_node_begins_no_other_before_that_has_failed() -> None:
    """Else a job that is tried again and again rolls a bad release on, node by node (S6)."""
    world = World(20, health={"soak": 1, "nodeTimeout": "10s"})
    world.break_release("never-ready", "node-001")
    assert world.finish().outcome is Outcome.HELD
    deleted = len(world.oracle.order)
    assert deleted < 10

    for _ in range(3):
        world.begin(resumed=True)
        assert world.finish().outcome is Outcome.HELD

    assert len(world.oracle.order) == deleted


def test_a_retry_gives_a_node_its_whole_time_again_also_behind_a_restart() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    world.until_deletes(1)
    node = world.oracle.order[0]
    world.cluster.stop_controllers()
    world.until(lambda: world.step(node).state is StepState.FAILED)
    asked = Wishes(retried={node: float(int(world.now))})
    world.run.say(asked)
    again = world.now
    world.advance(0.5)  # too short a while for anything to be written down
    world.run.kill()
    world.begin(resumed=True, wishes=asked)
    world.advance(200.0)
    assert world.step(node).state is StepState.REPLACING
    world.run.kill()
    world.begin(resumed=True, wishes=asked)

    finish = world.finish()

    assert finish.message != ""
    assert 595 <= world.step(node).ended_at - again <= 615


@pytest.mark.parametrize("lived", [0.2, 0.5, 0.9, 1.1, 1.5, 2.3, 4.0, 8.0, 12.0, 15.0])
@pytest.mark.parametrize("away", [0.0, 300.0])
def test_nodes_03_a_first_process_loses_no_time_however_soon_it_is_killed(
    lived: float, away: float
) -> None:
    world = World(
        30,
        daemonSets=[item(6)],
        health={"soak": 1, "nodeTimeout": "10m"},
        limits={"replacementsPerSecond": 3},  # and three at once
    )
    world.until_deletes(4)
    world.cluster.stop_controllers()
    world.until_deletes(5)
    world.advance(lived)
    world.run.kill()
    world.advance(away)
    world.begin(resumed=True)
    world.until(lambda: has_failed(world))
    world.until(lambda: world.run.finish is not None)

    lost = [run for run in world.run.engine.steps.values() if run.state is StepState.FAILED]
    deletes = dict(zip(world.oracle.order, world.oracle.times, strict=True))
    assert len(lost) >= 2
    for run in lost:
        assert 598.0 <= run.ended_at - deletes[run.node] <= 600.5
        assert run.reason == "not done after 10m: the controller has not created the new pod"


def test_a_node_that_somebody_began_has_an_end_however_soon_each_process_is_killed() -> None:
    world = World(5, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "1m"})
    world.until(lambda: world.run.engine.in_flight == 1)
    world.run.kill()
    world.cluster.stop_controllers()
    world.oracle.close()  # what somebody else takes away is not ours
    world.run.recorded = StoredTimes()
    take_pods(world, "node-000")
    taken = world.now
    world.begin(resumed=True)

    assert killed_every(world, 0.7, has_failed) >= 60

    assert 59 <= world.now - taken <= 62


def test_a_pod_that_somebody_took_while_nobody_looked_gives_its_node_its_whole_time() -> None:
    world = World(
        5,
        daemonSets=[item(3)],
        health={"soak": 30, "nodeTimeout": "10m"},
        limits={"replacementsPerSecond": 0.1},
    )
    world.until_deletes(1)
    world.advance(5.0)
    world.run.kill()
    world.advance(500.0)
    world.cluster.stop_controllers()
    world.oracle.close()  # what somebody else takes away is not ours
    taken = world.now
    take_pods(world, "node-004")
    world.begin(resumed=True)
    world.until(lambda: world.step("node-004").state is StepState.FAILED)

    assert world.now - taken >= 600


def test_the_record_is_written_no_more_than_once_a_second() -> None:
    world = World(30, daemonSets=[item(3)])
    began = world.now

    assert world.finish().outcome is Outcome.DONE
    assert world.run.records <= world.now - began + 2


def test_the_starts_of_slow_nodes_go_into_the_record_together() -> None:
    world = World(40, daemonSets=[item(10)], health={"soak": "45s", "nodeTimeout": "10m"})

    assert world.finish().outcome is Outcome.DONE
    assert world.run.records <= 24


def restarts_without_a_node(world: World) -> float:
    """Kill a run that waits for room again and again; returns how long it took to its end."""
    began = world.now
    assert killed_every(world, 70.0, is_over) >= 5
    finish = world.run.finish
    assert finish is not None
    assert finish.outcome is Outcome.DEADLINE
    return world.now - began


def used_up(cluster: Cluster) -> None:
    for name in ("node-006", "node-007"):
        cluster.set_image_fault(f"*@{name}", read_fault("never-ready"))


def test_a_run_with_nothing_in_flight_ends_at_its_deadline_however_often_we_are_killed() -> None:
    world = World(
        8,
        before=used_up,
        nodes={"exclude": ["node-006", "node-007"]},
        health={"soak": 1, "nodeTimeout": "5m", "progressDeadline": "10m"},
    )
    assert 600 <= restarts_without_a_node(world) <= 680
    assert world.oracle.order == []


def test_a_run_whose_template_nobody_observes_ends_at_its_deadline_too() -> None:
    health = {"soak": 1, "nodeTimeout": "5m", "progressDeadline": "10m"}
    world = World(6, health=health)
    world.cluster.stop_controllers()
    assert 600 <= restarts_without_a_node(world) <= 680


def test_a_pause_is_not_counted_by_the_process_behind_it() -> None:
    world = World(
        8,
        before=used_up,
        nodes={"exclude": ["node-006", "node-007"]},
        health={"soak": 1, "nodeTimeout": "5m", "progressDeadline": "10m"},
    )
    pause = Wishes(stop=Wish("pause", "ann@host", "2026-01-01T00:00:00Z"))
    world.advance(300.0)
    world.run.say(pause)
    world.run.kill()
    world.begin(resumed=True, wishes=pause)
    world.advance(900.0)
    assert world.run.finish is not None  # paused: with nothing in flight it ends

    world.begin(resumed=True)
    went_on = world.now
    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert 600 <= world.now - went_on <= 612


def test_the_time_of_an_open_question_is_not_counted_not_even_by_the_process_behind_it() -> None:
    world = World(
        8,
        before=used_up,
        nodes={"exclude": ["node-006", "node-007"]},
        health={"soak": 1, "nodeTimeout": "5m", "progressDeadline": "10m"},
    )
    world.run.kill()
    world.run = VirtualRun(world.cluster, world.plan, random.Random(7), stepping=True)
    world.run.start()
    world.advance(60.0)
    world.run.answer(world.run.asked[0].node, "go")
    world.advance(60.0)
    world.run.kill()
    world.run = VirtualRun(
        world.cluster,
        world.plan,
        random.Random(7),
        resumed=True,
        stepping=True,
        times=world.run.recorded,
    )
    world.run.start()
    world.advance(3600.0)
    assert world.run.finish is None
    assert world.run.asked
    world.run.kill()
    world.begin(resumed=True)
    went_on = world.now

    assert world.finish().outcome is Outcome.DEADLINE
    assert 600 <= world.now - went_on <= 602


def test_a_bake_time_is_not_counted_by_the_process_behind_it() -> None:
    waves = [{"name": "canary", "size": 1, "bake": "2h"}, {"name": "rest"}]
    health = {"soak": 1, "nodeTimeout": "2m", "progressDeadline": "3m"}
    world = World(6, waves=waves, health=health)
    world.advance(3000.0)
    assert world.run.recorded.counts_from is None
    world.run.kill()
    world.begin(resumed=True)

    assert world.run.run(timeout=20_000).outcome is Outcome.DONE


# The whole program: what stands in its record


def record_of(world: virtual.World) -> RunRecord:
    (text,) = [
        c["data"]["record"]
        for c in world.cluster.store.scan(CONFIG_MAPS)
        if "record" in c.get("data", {})
    ]
    return msgspec.json.decode(text, type=RunRecord)


def kill_until_the_end(world: virtual.World, *arguments: str, every: float = 45.0) -> int | None:
    """Run a command, killing and repeating it, until it ends by itself; return its exit code."""
    for _ in range(100):
        command = world.start(*arguments)
        world.advance(every)
        if command.over:
            return command.code
        command.kill()
    raise AssertionError("it never ended")


def begun(world: virtual.World, limit: int = 1, **more: Any) -> str:
    """Apply until the first pod is deleted, and kill it there; returns the plan's path."""
    body = {
        "daemonSets": [item(limit)],
        "waves": [{"name": "all"}],
        "health": {"soak": 1, "nodeTimeout": "5m"},
        **more,
    }
    path = world.save(world.plan(body))
    command = world.start("apply", path)
    world.wait_until(lambda: world.judge.deletes.total() >= 1)
    world.cluster.stop_controllers()
    world.advance(1.0)
    command.kill()
    return path


def test_nodes_04_apply_killed_all_the_time_ends_at_the_deadline() -> None:
    with virtual.World(default_fleet(4, 1), seed=3) as world:
        path = begun(world)
        deleted = world.clock.now()

        code = kill_until_the_end(world, "apply", path)

        assert code == ExitCode.DEADLINE  # a controller that is down doesn't speak against it
        assert 595 <= world.clock.now() - deleted <= 650
        record = record_of(world)
        assert record.failed_count == 1
        assert (record.starts, record.counts_from) == ((), "")
        assert world.judge.deletes.total() == 1


class SlowRecord:
    """The server, where it takes its time before a record is stored."""

    def __init__(self, world: virtual.World, seconds: float) -> None:
        self._world, self._seconds = world, seconds
        self._server = world.network.server

    def handle(self, request: Request) -> Answer:
        if request.method == "PUT" and "/configmaps/" in request.path:
            self._world.machine.sleep(self._seconds)
        return self._server.handle(request)


@pytest.mark.parametrize("record_s", [0.0, 1.5], ids=["at once", "however long that takes"])
def test_the_record_names_a_node_before_its_pod_is_taken_away(record_s: float) -> None:
    with virtual.World(default_fleet(4, 1), seed=3) as world:
        world.network.server = SlowRecord(world, record_s)
        body = {"daemonSets": [item(1)], "waves": "fast", "health": {"soak": 1}}
        command = world.start("apply", world.save(world.plan(body)))
        named: list[tuple[str, ...]] = []
        world.cluster.store.subscribe(
            PODS,
            lambda event: (
                named.append(tuple(n for start in record_of(world).starts for n in start.nodes))
                if event.type == "MODIFIED" and "deletionTimestamp" in event.object["metadata"]
                else None
            ),
        )
        world.wait_until(lambda: world.judge.deletes.total() >= 1)
        command.kill()

        assert named[0] == tuple(node for _, node in world.judge.deletes)
        assert record_of(world).begun_since != ""


def test_the_record_says_when_nodes_in_flight_were_begun() -> None:
    with virtual.World(default_fleet(4, 1), seed=3) as world:
        path = begun(world)
        deleted = world.clock.now()
        world.start("apply", path)
        world.advance(20.0)

        (start,) = record_of(world).starts
        assert start.nodes == tuple(node for _, node in world.judge.deletes)
        assert abs(parse_time(start.at) - deleted) <= 20  # a delete that was never written down
        assert parse_time(record_of(world).counts_from) <= deleted


def test_a_way_back_whose_template_nobody_observes_ends_at_its_own_deadline() -> None:
    with virtual.World(default_fleet(4, 1), seed=3) as world:
        begun(world)
        world.advance(200.0)
        began = world.clock.now()

        code = kill_until_the_end(world, "rollback", "sim", "-n", "logging")

        assert code == ExitCode.ROLLBACK_INCOMPLETE
        assert 1200 <= world.clock.now() - began <= 1250  # its progressDeadline
        assert record_of(world).message.startswith("not back yet: node-000 (no node got done for ")


def test_a_node_on_the_way_back_fails_at_its_deadline_however_often_we_are_killed() -> None:
    with virtual.World(default_fleet(4, 1), seed=3) as world:
        world.cluster.set_image_fault("log-agent:2.4", read_fault("never-ready"))
        body = {"daemonSets": [item(1)], "waves": "fast", "health": {"soak": 1}}
        forward = world.start("apply", world.save(world.plan(body)))
        world.wait_until(lambda: world.judge.deletes.total() == 1)
        world.advance(100.0)
        forward.kill()
        back = world.start("rollback", "sim", "-n", "logging")
        world.wait_until(lambda: world.judge.deletes.total() == 2)
        world.cluster.stop_controllers()
        began = world.clock.now()
        world.advance(1.0)
        back.kill()

        code = kill_until_the_end(world, "rollback", "sim", "-n", "logging")

        assert code == ExitCode.ROLLBACK_INCOMPLETE
        assert 595 <= world.clock.now() - began <= 660
        record = record_of(world)
        assert record.phase == "rollback incomplete"
        assert record.message.startswith("not back yet: node-000 (")
        assert world.judge.deletes.total() == 2


@pytest.mark.parametrize("kind", [ev.PodsListed, ev.ReleasedListed, ev.NodesListed])
def test_nothing_begins_before_the_first_list_of_each_kind(kind: type[ev.Event]) -> None:
    """What is not listed yet would pass for what is not there: no pod, no node, no hand-over."""
    world = World(6)
    world.until_deletes(1)
    world.run.kill()
    begun = len(world.oracle.order)
    world.advance(30.0)
    late: list[ev.Event] = []
    run = VirtualRun(world.cluster, world.plan, random.Random(7), resumed=True)
    hear = run._take

    def listening(event: ev.Event) -> None:
        if isinstance(event, kind):
            late.append(event)
        else:
            hear(event)

    run._take = listening  # type: ignore[method-assign]
    run.start()
    world.advance(30.0)
    assert run.engine.daemon_sets["log-agent"].resolved
    assert (run.engine.in_flight, len(world.oracle.order)) == (0, begun)

    run._take = hear  # type: ignore[method-assign]
    for event in late:
        hear(event)
    assert run.run().outcome is Outcome.DONE
