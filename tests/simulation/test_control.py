"""What people say to a run while it goes, or between two of its processes, on the virtual clock."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Finish, Outcome, Prepare
from rollout.executor.engine.book import GRACE_S
from rollout.executor.engine.state import StepState
from rollout.executor.engine.timekeeping import account_of
from rollout.executor.explain import explain
from rollout.executor.record.record import Wish
from rollout.executor.record.wishes import Wishes
from rollout.fleet import marks
from rollout.sim.clock import VirtualClock
from rollout.sim.fleetfile import read_fault
from rollout.sim.registry import PatchType
from rollout.sim.resources import NODES, PODS
from tests.simulation.driver import VirtualRun, read_fleet
from tests.simulation.world import SOMEBODY, TARGET, World

NEW = "log-agent:2.4"
CANARY = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
THREE = [{"name": "one", "size": 1}, {"name": "two", "size": 1}, {"name": "rest"}]


def wish(verb: Literal["pause", "hold", "abort", "rollback"]) -> Wishes:
    return Wishes(stop=Wish(verb, "ann@host", "2026-01-01T00:00:00Z", "a look"))


def nodes_in(world: World, wave: int) -> list[str]:
    return [s.node for s in world.plan.steps if s.kind == "update" and s.wave == wave]


def go_on(world: World, wishes: Wishes, **more: Any) -> VirtualRun:
    run = VirtualRun(
        world.cluster, world.plan, random.Random(9), resumed=True, wishes=wishes, **more
    )
    run.start()
    return run


def now(world: World) -> float:
    assert isinstance(world.cluster.clock, VirtualClock)
    return world.cluster.clock.now()


def outcome_of(run: VirtualRun, node: str) -> StepState:
    return run.engine.daemon_sets["log-agent"].steps[node].state


def test_updates_54_a_paused_run_finishes_what_is_in_flight_and_starts_nothing() -> None:
    world = World()
    world.until_deletes(2)
    world.run.say(wish("pause"))

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert "paused by ann@host: a look" in finish.message
    assert len(world.oracle.order) == 2
    assert world.run.engine.done_count == 2


def test_a_run_that_is_still_pausing_goes_on_when_the_pause_is_taken_back() -> None:
    world = World()
    world.until_deletes(2)
    world.run.say(wish("pause"))
    world.advance(0.1)
    world.run.say(Wishes())

    assert world.finish().outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}


def test_an_approval_given_ahead_lets_the_run_pass() -> None:
    world = World(waves=CANARY)
    world.until_deletes(1)
    world.run.say(Wishes(waves=frozenset({1})))

    assert world.finish().outcome is Outcome.DONE


def test_nodes_57_in_a_paused_run_only_the_approved_node_moves() -> None:
    world = World()
    world.until_deletes(1)
    world.run.say(wish("pause"))
    world.finish()
    touched = list(world.oracle.order)
    wanted = next(n for n in reversed(nodes_in(world, 1)) if n not in touched)
    stop = wish("pause").stop

    finish = go_on(world, Wishes(stop=stop, nodes=frozenset({wanted}))).run()

    assert finish.outcome is Outcome.PAUSED
    assert world.oracle.order == [*touched, wanted]


def test_nodes_57_an_approved_node_passes_an_approval_that_nobody_gave() -> None:
    world = World(waves=CANARY)
    wanted = nodes_in(world, 2)[-1]
    world.run.say(Wishes(nodes=frozenset({wanted})))

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert world.oracle.order == [*nodes_in(world, 1), wanted]
    assert go_on(world, Wishes(waves=frozenset({1}))).run().outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}


def test_an_approved_node_waits_for_a_window_as_well() -> None:
    world = World(windows=[{"deny": "15 14 * * *", "for": "20h"}])  # from 100 s behind the start
    world.until_deletes(1)
    world.run.say(wish("pause"))
    world.finish()
    touched = list(world.oracle.order)
    wanted = next(n for n in reversed(nodes_in(world, 1)) if n not in touched)
    world.advance(120.0)
    stop = wish("pause").stop

    run = go_on(world, Wishes(stop=stop, nodes=frozenset({wanted})))
    world.advance(60.0)
    assert world.oracle.order == touched
    assert explain(run.engine, world.now).startswith(
        f"paused by ann@host: a look; {wanted}: waiting for windows: closed by deny "
    )

    world.advance(20 * 3600.0)

    assert run.finish is not None
    assert run.finish.outcome is Outcome.PAUSED
    assert world.oracle.order == [*touched, wanted]


def test_an_approved_node_keeps_a_pod_that_nothing_would_replace() -> None:
    world = World()
    world.until_deletes(1)
    world.run.say(wish("pause"))
    world.finish()
    wanted = next(n for n in reversed(nodes_in(world, 1)) if n not in world.oracle.order)
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    registry, stop = world.cluster.registry, wish("pause").stop
    registry.patch(NODES, "", wanted, {"spec": {"taints": [taint]}}, PatchType.MERGE, SOMEBODY)

    run = go_on(world, Wishes(stop=stop, nodes=frozenset({wanted})))
    run.run()

    assert wanted not in world.oracle.order
    assert outcome_of(run, wanted) is StepState.SKIPPED


def test_an_approved_node_waits_for_the_waves_before_its_own() -> None:
    world = World(waves=THREE)
    last = nodes_in(world, 3)[-1]
    stop = wish("pause").stop
    world.run.say(Wishes(stop=stop, nodes=frozenset({last})))

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert world.oracle.order == []
    assert last in finish.message


def test_a_node_skipped_before_its_turn_is_not_touched_and_the_strategy_stays() -> None:
    world = World(waves=THREE)
    (canary,), last = nodes_in(world, 1), nodes_in(world, 3)[-1]
    world.run.say(Wishes(skipped={canary: "skipped by ann", last: "skipped by ann"}))

    finish = world.finish()

    assert finish == Finish(Outcome.DEFERRED, "complete with 2 skipped")
    assert {("log-agent", canary), ("log-agent", last)}.isdisjoint(world.oracle.deletes)
    assert len(world.oracle.order) == world.plan.totals.update - 2
    assert world.live["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert marks.ORIGINAL_STRATEGY in world.live["metadata"]["annotations"]


def test_a_wave_that_is_skipped_whole_does_not_let_the_next_one_begin_early() -> None:
    world = World(waves=THREE)
    (second,) = nodes_in(world, 2)
    world.run.say(Wishes(skipped={second: "skipped by ann"}))

    world.finish()

    assert world.oracle.order[0] == nodes_in(world, 1)[0]
    assert second not in world.oracle.order


def test_a_wave_whose_node_leaves_before_its_turn_does_not_let_the_next_one_begin_early() -> None:
    world = World(waves=THREE)
    (second,) = nodes_in(world, 2)
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    world.until_deletes(1)
    world.oracle.close()  # the node that leaves takes its pod along
    world.cluster.remove_node(second)
    world.advance(60.0)
    assert {outcome_of(world.run, n) for n in nodes_in(world, 3)} == {StepState.BLOCKED}
    world.cluster.set_image_fault(NEW, None)

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert outcome_of(world.run, second) is StepState.GONE


def test_a_failed_node_that_is_skipped_lets_the_run_go_on() -> None:
    world = World(8, waves=[1, 7])
    (canary,) = nodes_in(world, 1)
    world.cluster.set_image_fault(f"{NEW}@{canary}", read_fault("crash"))
    assert world.finish().outcome is Outcome.HELD
    assert world.oracle.order == [canary]

    run = go_on(world, Wishes(skipped={canary: "skipped by ann: bad disk"}))
    finish = run.run()

    assert finish == Finish(Outcome.DEFERRED, "complete with 1 skipped")
    assert len(world.oracle.order) == 8
    assert world.live["spec"]["updateStrategy"]["type"] == "RollingUpdate"  # its pod is a new one


def test_a_failed_node_is_tried_again_by_one_more_delete() -> None:
    world = World(6, waves=[1, 5])
    (canary,) = nodes_in(world, 1)
    world.cluster.set_image_fault(f"{NEW}@{canary}", read_fault("crash"))
    assert world.finish().outcome is Outcome.HELD
    world.advance(5.0)
    world.cluster.set_image_fault(f"{NEW}@{canary}", None)

    finish = go_on(world, Wishes(retried={"": now(world)})).run()

    assert finish.outcome is Outcome.DONE
    assert world.oracle.deletes["log-agent", canary] == 2
    assert sum(world.oracle.deletes.values()) == 7


def test_no_later_wave_begins_while_a_node_of_an_earlier_one_is_tried_again() -> None:
    world = World(6, waves=[1, 5])
    (canary,) = nodes_in(world, 1)
    world.cluster.set_image_fault(NEW, read_fault("crash"))
    assert world.finish().outcome is Outcome.HELD
    world.advance(5.0)

    finish = go_on(world, Wishes(retried={"": now(world)})).run()

    assert finish.outcome is Outcome.HELD
    assert world.oracle.order == [canary, canary]


@pytest.mark.parametrize("seed", range(6))
def test_another_try_is_made_once_however_often_the_process_is_killed(seed: int) -> None:
    rng = random.Random(seed)
    world = World(4, waves=[1, 3])
    (canary,) = nodes_in(world, 1)
    world.cluster.set_image_fault(f"{NEW}@{canary}", read_fault("crash"))
    assert world.finish().outcome is Outcome.HELD
    world.advance(5.0)
    wishes = Wishes(retried={canary: now(world)})
    for _ in range(4):
        killed = go_on(world, wishes)
        world.advance(rng.uniform(0.05, 8.0))
        killed.kill()
    world.advance(5.0)

    assert go_on(world, wishes).run().outcome is Outcome.HELD
    assert world.oracle.deletes["log-agent", canary] == 2


def test_a_node_that_is_healthy_by_now_is_only_looked_at_again() -> None:
    world = World(4, waves=[1, 3], health={"soak": 1, "nodeTimeout": "20s"})
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    assert world.finish().outcome is Outcome.HELD
    world.cluster.set_image_fault(NEW, None)
    world.advance(30.0)
    fleet = read_fleet(world.cluster, "logging", "log-agent")
    assert all(pod.ready for pods in fleet.pods.values() for pod in pods)

    finish = go_on(world, Wishes(retried={"": now(world)})).run()

    assert finish.outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}


def test_an_abort_watches_what_is_in_flight_and_leaves_the_fleet_half_updated() -> None:
    world = World()
    world.until_deletes(2)
    world.run.say(wish("abort"))

    finish = world.finish()

    assert finish.outcome is Outcome.ABORTED
    assert "half-updated: 2 of 8 nodes are done" in finish.message
    assert "the strategy of log-agent stays OnDelete" in finish.message
    assert len(world.oracle.order) == 2


def test_l2_an_abort_ends_although_a_node_never_gets_ready() -> None:
    world = World()
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    world.until_deletes(2)
    world.run.say(wish("abort"))

    assert world.finish().outcome is Outcome.ABORTED


def test_a_rejected_approval_holds() -> None:
    world = World(waves=CANARY)
    world.until_deletes(1)
    world.run.say(wish("hold"))

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert len(world.oracle.order) == 1


def test_a_run_stops_behind_the_wave_that_was_chosen() -> None:
    world = World(waves=THREE)
    world.run.kill()
    run = VirtualRun(world.cluster, world.plan, random.Random(3), stop_at=2)
    run.start()

    finish = run.run()

    assert finish == Finish(Outcome.PAUSED, "stopped behind wave two, as was asked for")
    assert world.oracle.order == [*nodes_in(world, 1), *nodes_in(world, 2)]
    assert go_on(world, Wishes(), stop_at=3).run().outcome is Outcome.DONE


def test_all_that_is_said_again_and_again_changes_nothing() -> None:
    world = World(waves=CANARY)
    wishes = Wishes(waves=frozenset({1}), skipped={nodes_in(world, 2)[0]: "skipped by ann"})
    for count in range(1, 8):
        world.until_deletes(count)
        world.run.say(wishes)

    assert world.finish() == Finish(Outcome.DEFERRED, "complete with 1 skipped")
    assert set(world.oracle.deletes.values()) == {1}
    assert len(list(world.cluster.store.scan(NODES))) == 8


class Walk:
    """A run that asks before each node, and what it has asked for."""

    def __init__(self, world: World, *, resumed: bool = False) -> None:
        world.run.kill()
        self.world = world
        self.run = VirtualRun(
            world.cluster, world.plan, random.Random(5), resumed=resumed, stepping=True
        )
        self.run.start()

    def question(self) -> str:
        clock = self.world.cluster.clock
        assert isinstance(clock, VirtualClock)
        assert clock.run_until(lambda: bool(self.run.asked), 600.0)
        (ask,) = self.run.asked
        self.run.asked.clear()
        return ask.node

    def answer(self, word: Literal["go", "skip", "all", "stop"]) -> str:
        node = self.question()
        self.run.answer(node, word)
        return node


def test_nodes_55_one_node_a_question_and_nothing_before_the_first_answer() -> None:
    world = World(4, waves="fast")
    walk = Walk(world)
    first = walk.question()
    world.advance(120.0)
    assert world.oracle.order == []
    assert world.live["metadata"]["generation"] == 1
    walk.run.answer(first, "go")
    second = walk.question()
    assert world.oracle.order == [first]
    walk.run.answer(second, "stop")

    finish = walk.run.run()

    assert finish.outcome is Outcome.PAUSED
    assert second in finish.message
    assert world.oracle.order == [first]


def test_nodes_56_a_walk_goes_on_with_the_node_where_it_stopped() -> None:
    world = World(4, waves=THREE)
    walk = Walk(world)
    first = walk.answer("go")
    stopped_at = walk.answer("stop")
    walk.run.run()

    tomorrow = Walk(world, resumed=True)

    assert tomorrow.answer("all") == stopped_at
    assert tomorrow.run.run().outcome is Outcome.DONE
    assert world.oracle.order[0] == first
    assert set(world.oracle.deletes.values()) == {1}


def test_a_node_that_is_skipped_at_the_prompt_is_left_alone() -> None:
    world = World(3, waves="fast")
    walk = Walk(world)
    walk.answer("go")
    skipped = walk.answer("skip")
    last = walk.answer("go")

    finish = walk.run.run()

    assert finish == Finish(Outcome.DEFERRED, "complete with 1 skipped")
    assert skipped not in world.oracle.order
    assert world.oracle.order[-1] == last
    assert world.live["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_faults_54_a_pod_that_somebody_deletes_by_hand_counts_as_done() -> None:
    world = World(3, waves="fast")
    walk = Walk(world)
    walk.answer("go")
    asked = walk.question()
    pod = read_fleet(world.cluster, "logging", "log-agent").pods[asked][0].metadata.name
    world.cluster.registry.delete(PODS, "logging", pod, SOMEBODY)
    world.advance(60.0)
    walk.run.answer(asked, "go")
    walk.answer("go")

    assert walk.run.run().outcome is Outcome.DONE
    assert world.oracle.deletes["log-agent", asked] == 1
    told = [line for line in walk.run.log if "node-by-others" in line]
    assert [asked in line and "as asked for" in line for line in told] == [True]


def test_faults_54_another_pod_that_somebody_deletes_is_reported_as_out_of_plan() -> None:
    world = World(4, waves=THREE)
    walk = Walk(world)
    walk.answer("go")
    asked = walk.question()
    other = nodes_in(world, 3)[-1]
    pod = read_fleet(world.cluster, "logging", "log-agent").pods[other][0].metadata.name
    world.cluster.registry.delete(PODS, "logging", pod, SOMEBODY)
    world.advance(60.0)
    walk.run.answer(asked, "all")

    assert walk.run.run().outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}
    told = [line for line in walk.run.log if "node-by-others" in line]
    assert [other in line and "out of plan" in line for line in told] == [True]


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [("pause", Outcome.PAUSED), ("abort", Outcome.ABORTED), ("hold", Outcome.HELD)],
)
@pytest.mark.parametrize("after_s", [0.05, 0.5, 3.0])
def test_what_a_killed_process_left_in_flight_is_watched_before_an_unheard_word_ends_the_run(
    verb: Literal["pause", "hold", "abort"], outcome: Outcome, after_s: float
) -> None:
    world = World()
    world.until_deletes(2)
    world.run.kill()
    world.advance(after_s)
    run = go_on(world, wish(verb))

    finish = run.run()

    assert finish.outcome is outcome, finish
    assert [outcome_of(run, node) for node in world.oracle.order] == [StepState.DONE] * 2
    assert len(world.oracle.order) == 2


def test_l2_an_abort_that_a_killed_process_did_not_hear_ends_although_a_node_never_gets_ready() -> (
    None
):
    world = World(health={"soak": 1, "nodeTimeout": "10h"})
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    world.until_deletes(2)
    world.run.kill()
    began = now(world)

    finish = go_on(world, wish("abort")).run()

    assert finish.outcome is Outcome.ABORTED
    assert now(world) - began < GRACE_S + 1.0


def test_a_bad_pod_that_a_killed_process_left_is_seen_to_fail_behind_an_unheard_pause() -> None:
    world = World(failure={"maxFailures": 0, "onFailure": "hold"})
    world.cluster.set_image_fault(NEW, read_fault("crash"))
    world.until_deletes(1)
    world.run.kill()

    finish = go_on(world, wish("pause")).run()

    assert finish.outcome is Outcome.HELD, finish
    assert len(world.oracle.order) <= 2


def test_s10_a_rollback_waits_for_no_node_in_flight() -> None:
    world = World(health={"soak": 1, "nodeTimeout": "10h"})
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    world.until_deletes(2)
    world.advance(5.0)
    asked = now(world)
    world.run.say(wish("rollback"))

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED  # the way back is a plan of its own
    assert now(world) - asked < 5.0


def test_s10_a_release_that_fails_goes_back_without_waiting_for_the_others_in_flight() -> None:
    world = World(
        waves=["100%"],
        health={"soak": 1, "nodeTimeout": "10h"},
        failure={"maxFailures": 0, "onFailure": "rollback"},
    )
    world.cluster.set_image_fault(NEW, read_fault("never-ready"))
    first = nodes_in(world, 1)[0]
    world.cluster.set_image_fault(f"{NEW}@{first}", read_fault("crash"))
    began = now(world)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert finish.by_release
    assert now(world) - began < 600.0


def test_a_hand_over_that_was_left_overnight_is_finished_where_its_new_pod_is_well() -> None:
    surging = {"name": "log-agent", "target": TARGET}
    world = World(
        4, daemonSets=[surging | {"strategy": {"maxUnavailable": 0, "maxSurge": 1}}], waves="fast"
    )
    world.until(lambda: any("node-started" in line for line in world.run.log))
    world.run.kill()
    world.advance(12 * 3600.0)

    finish = go_on(world, Wishes()).run()

    assert finish.outcome is Outcome.DONE, finish


def test_the_time_in_which_a_person_is_asked_is_lost_to_the_answers() -> None:
    world = World(2, waves="fast")
    walk = Walk(world)
    began = world.now
    for _ in range(2):
        node = walk.question()
        world.advance(60.0)
        walk.run.answer(node, "go")
    assert walk.run.run().outcome is Outcome.DONE

    lost = account_of(walk.run.engine, began, world.now, 0.0).lost

    assert lost["answers"] == pytest.approx(120.0, abs=1.0)
    assert sum(lost.get(why, 0.0) for why in ("prepare", "limits")) < 5.0


def test_a_run_that_is_paused_ends_only_when_it_knows_what_became_of_its_patch() -> None:
    """Else nobody could say under which strategy it has left the DaemonSet (S11)."""
    world = World()
    take = world.run._take

    def late(event: ev.Event) -> None:
        if isinstance(event, ev.Answered) and isinstance(event.action, Prepare):
            world.cluster.clock.call_later(30.0, lambda: take(event))
        else:
            take(event)

    world.run._take = late  # type: ignore[method-assign]
    world.until(lambda: world.live["spec"]["updateStrategy"]["type"] == "OnDelete")
    world.run.say(wish("pause"))
    world.advance(20.0)
    assert world.run.finish is None

    assert world.finish().outcome is Outcome.PAUSED


def test_a_way_back_that_a_drift_forbids_takes_no_patience_from_what_is_in_flight() -> None:
    world = World(4, health={"soak": 20, "nodeTimeout": "2m"})
    world.until_deletes(1)
    world.run.hear(ev.LockLost("the lease was taken over"))
    world.run.say(wish("rollback"))
    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT, finish.message
    assert not world.run.engine.busy_nodes
