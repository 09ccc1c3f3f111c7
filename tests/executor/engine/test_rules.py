"""The assertions on the book find what they are there for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rollout.executor.engine import rules
from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.state import StepState
from tests.simulation.world import World


def world_in_flight() -> World:
    world = World(8)
    world.until_deletes(2)
    rules.check(world.run.engine)
    return world


def forget_a_slot(world: World) -> None:
    world.run.engine.in_flight -= 1


def forget_a_charge(world: World) -> None:
    view = world.run.engine.daemon_sets["log-agent"].view
    view.used.discard(next(iter(view.held)))


def take_a_dead_node_for_a_working_one(world: World) -> None:
    view = world.run.engine.daemon_sets["log-agent"].view
    node = next(iter(view.held))
    view.unavailable.discard(node)
    for pod in list(view.by_node.get(node, ())):
        view.pods.pop(pod)
    view.by_node.pop(node, None)


def begin_before_its_turn(world: World) -> None:
    engine = world.run.engine
    engine.steps["restore/log-agent"].state = StepState.READY


def count_a_node_twice(world: World) -> None:
    world.run.engine.done_count += 1


def end_too_early(world: World) -> None:
    world.run.engine.finished = Finish(Outcome.DONE, "")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (forget_a_slot, "slots"),
        (forget_a_charge, "S1"),
        (take_a_dead_node_for_a_working_one, "S1"),
        (begin_before_its_turn, "S7"),
        (count_a_node_twice, "nodes done"),
        (end_too_early, "S11"),
    ],
)
def test_a_spoilt_book_is_found_out(spoil: Callable[[World], None], rule: str) -> None:
    world = world_in_flight()
    spoil(world)
    with pytest.raises(AssertionError, match=rule):
        rules.check(world.run.engine)


def test_the_rules_are_checked_in_tests_and_cost_nothing_elsewhere() -> None:
    world = world_in_flight()
    assert type(world.run.engine).checked
    before = world.run.engine.decisions
    world.run.engine.decide(world.now)
    assert world.run.engine.decisions == before + 1
