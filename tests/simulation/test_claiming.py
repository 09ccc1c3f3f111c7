"""A run beside others, of which a test tells: what it claims, whom it waits for, what it says."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.claims import OtherRun
from rollout.executor.explain import explain
from rollout.executor.record.record import Wish
from rollout.executor.record.wishes import Wishes
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet
from tests.simulation.driver import Oracle, VirtualRun, make_plan
from tests.simulation.world import TARGET

THEIRS = "logging/theirs"


def other(*nodes: str, knows_us: bool = True, version: str = "1") -> ev.OtherSeen:
    """Return the news of another run that claims nodes."""
    beside = frozenset({"ours/1"} if knows_us else ())
    run = OtherRun(
        THEIRS, "r2", 1, (("logging", "metrics-agent"),), frozenset(nodes), beside, version
    )
    return ev.OtherSeen(THEIRS, run)


class Beside:
    """A run on six nodes that has its record, and is told of others."""

    def __init__(self, **spec: Any) -> None:
        clock = VirtualClock()
        self.cluster = Cluster(clock, default_fleet(6, 2), Settings(events=False))
        self.cluster.start()
        self.clock = clock
        daemon_set = {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": 2}}
        body = {
            "daemonSets": [daemon_set],
            "waves": ["100%"],
            "health": {"soak": 1, "nodeTimeout": "2m", "progressDeadline": "10m"},
            **spec,
        }
        plan = make_plan(self.cluster, body)
        self.oracle = Oracle(self.cluster, plan)
        self.run = VirtualRun(self.cluster, plan, random.Random(5), joins=True)

    def begin(self, *news: ev.Event) -> None:
        for event in news:
            self.run.hear(event)
        self.run.start()
        self.run.tell()

    def alive(self, *, alive: bool | None = True, version: str = "1") -> None:
        self.run.hear(ev.OtherLooked(THEIRS, version, alive))

    def says(self) -> str:
        return explain(self.run.engine, self.clock.now())


def test_a_run_alone_claims_nothing() -> None:
    world = Beside()
    world.begin()

    assert world.run.run().outcome is Outcome.DONE
    assert world.run.claims == []
    assert not world.run.recorded.claims


def test_each_node_is_claimed_before_its_pod_goes_while_another_run_is_at_work() -> None:
    world = Beside()
    world.begin(other())
    world.alive()
    named = set[str]()
    while world.run.finish is None:
        world.clock.advance(0.005)
        named |= set(world.run.recorded.claims)
        assert set(world.oracle.order) <= named
    assert world.run.finish.outcome is Outcome.DONE
    assert world.run.claims[0].beside == ("r2/1",)


def test_nothing_goes_before_a_run_that_was_there_has_said_that_it_knows_of_us() -> None:
    world = Beside()
    world.begin(other(knows_us=False))
    world.alive()
    world.clock.advance(30.0)
    assert world.oracle.order == []
    assert "waits for a word of run r2 of rollout logging/theirs" in world.says()

    world.run.hear(other())
    assert world.run.run().outcome is Outcome.DONE


def test_a_node_that_another_run_has_waits_and_the_others_go_on() -> None:
    world = Beside()
    world.begin(other("node-000"))
    world.alive()
    world.clock.advance(60.0)

    assert sorted(world.oracle.order) == [f"node-00{i}" for i in range(1, 6)]
    said = "node node-000 is worked on by run r2 of rollout logging/theirs"
    assert said in world.says()
    assert "(DaemonSet logging/metrics-agent)" in world.says()
    world.run.hear(ev.OtherSeen(THEIRS, None))
    assert world.run.run().outcome is Outcome.DONE


def test_what_is_claimed_by_another_run_first_is_withdrawn_and_had_later() -> None:
    world = Beside()
    world.begin(other())
    world.alive()
    world.clock.advance(0.03)  # the first lists
    world.run.tells = False
    world.clock.run_until(lambda: "node-000" in world.run.recorded.claims, 60.0)
    word = world.run.recorded.word
    world.run.hear(other("node-000", version="2"))  # stored before ours
    world.run.tells = True
    world.run.tell(word)
    world.clock.advance(20.0)

    assert "node-000" not in world.oracle.order
    assert "node-000" not in world.run.recorded.claims
    world.run.hear(other(version="3"))
    assert world.run.run().outcome is Outcome.DONE


@pytest.mark.parametrize("limits", [{"maxNodesInFlight": 2}, {"maxPerZone": 1}])
def test_a_limit_counts_what_was_claimed_by_another_run_first(limits: dict[str, int]) -> None:
    world = Beside(limits=limits)
    world.begin(other())
    world.alive()
    world.clock.advance(0.03)
    world.run.tells = False
    world.clock.run_until(lambda: len(world.run.recorded.claims) == 2, 60.0)
    zones = {run.node: run.zone for run in world.run.engine.steps.values() if run.node}
    first, second = world.run.recorded.claims
    assert zones[first] != zones[second]
    theirs = min(n for n in zones if zones[n] == zones[second] and n != second)
    world.run.hear(other(theirs, version="2"))
    world.run.tell(world.run.recorded.word)
    world.clock.advance(0.5)

    assert world.oracle.order == [first]
    world.run.tells = True
    world.run.hear(ev.OtherSeen(THEIRS, None))
    world.run.tell(world.run.recorded.word)
    assert world.run.run().outcome is Outcome.DONE


def test_a_wait_for_another_run_ends_with_the_progress_deadline_and_names_it() -> None:
    world = Beside()
    nodes = [f"node-00{i}" for i in range(6)]
    world.begin(other(*nodes))
    world.alive()
    finish = world.run.run()

    assert finish.outcome is Outcome.DEADLINE
    assert "node node-000 is worked on by run r2 of rollout logging/theirs" in finish.message
    assert not finish.by_release
    assert world.oracle.order == []


def test_whoever_keeps_a_run_waiting_is_looked_at_again_and_if_dead_keeps_it_no_longer() -> None:
    world = Beside()
    world.begin(other("node-000"))
    world.alive()
    world.clock.advance(40.0)
    assert len(world.run.looked) >= 3
    world.alive(alive=False)
    assert world.run.run().outcome is Outcome.DONE


def test_a_pause_lets_go_of_what_is_claimed_only() -> None:
    world = Beside()
    world.begin(other(knows_us=False))
    world.alive()
    world.clock.run_until(lambda: bool(world.run.recorded.claims), 60.0)
    world.run.say(Wishes(stop=Wish("pause", "ann", "2026-01-01T00:00:00Z")))

    assert world.run.run().outcome is Outcome.PAUSED
    assert world.oracle.order == []


def test_a_claim_that_could_not_be_written_is_written_again() -> None:
    world = Beside()
    world.begin(other())
    world.alive()
    world.clock.advance(0.03)
    world.run.tells = False
    world.clock.run_until(lambda: bool(world.run.recorded.claims), 60.0)
    world.run.hear(ev.TimesNotStored())
    world.run.tells = True

    assert world.run.run().outcome is Outcome.DONE


def test_after_its_lock_has_lapsed_a_run_claims_before_it_goes_on_although_it_sees_nobody() -> None:
    world = Beside()
    world.begin()
    world.clock.run_until(lambda: bool(world.oracle.order), 60.0)
    assert world.run.claims == []
    world.run.hear(ev.ViewLost(ev.LOCK, "asleep"))
    world.run.hear(ev.ViewBack(ev.LOCK))

    assert world.run.run().outcome is Outcome.DONE
    assert len(world.run.claims) >= 1


def test_a_run_that_says_nothing_and_whose_lease_may_not_be_read_is_not_waited_for_for_ever() -> (
    None
):
    world = Beside()
    world.begin(other(knows_us=False))
    for _ in range(8):
        world.alive(alive=None)
        world.clock.advance(14.0)
    assert world.oracle.order == []
    assert world.run.claims[0].beside == ("r2/1",)
    world.clock.advance(10.0)
    world.alive(alive=None)
    assert world.run.run().outcome is Outcome.DONE


def test_nothing_is_claimed_while_the_lock_is_in_doubt() -> None:
    """Nothing may be written, and what was claimed before that is to be claimed anew."""
    world = Beside()
    world.begin(other())
    world.run.hear(ev.ViewLost(ev.LOCK, "not renewed for 20 s"))
    world.alive()
    world.clock.advance(10.0)
    assert world.run.claims == []

    world.run.hear(ev.ViewBack(ev.LOCK))
    world.clock.advance(10.0)
    assert world.run.claims
