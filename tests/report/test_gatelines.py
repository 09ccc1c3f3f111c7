"""The gates that a live view shows, taken from runs on the virtual clock."""

from __future__ import annotations

import pytest

from rollout.report.gatelines import GateLine, gate_lines
from rollout.report.liveview import GATES_SHOWN, Viewer
from tests.simulation.gateworld import Script, World, gate


def lines_when(world: World, script: Script, name: str, measured: int) -> list[GateLine]:
    """Run until a gate has been measured so often and that has been heard; return all lines."""
    run = world.start(script)
    world.clock.run_until(lambda: len(script.seen[name]) == measured, 600.0)
    world.clock.advance(1.0)
    return gate_lines(run.engine)


def test_a_gate_shows_where_it_is_what_it_measured_and_when_it_is_measured_next() -> None:
    world = World(gates=[gate("errors", "after-wave", count=5, failureLimit=1)])
    (line,) = lines_when(world, Script(errors=["ok", "bad", "error"]), "errors", 2)
    assert (line.name, line.place) == ("errors", "after wave wave-1")
    assert (line.so_far, line.last) == ("1 passed, 1 failed of 5", "bad")
    assert line.next_at is not None
    assert line.next_at - world.clock.now() == pytest.approx(9.0, abs=1.0)
    assert not line.now


def test_a_gate_that_is_being_measured_says_so() -> None:
    world = World(gates=[gate("errors", "after-wave")])
    run = world.start(Script(errors=["wait"]))
    world.clock.run_until(
        lambda: any(m.asked_at is not None for m in run.engine.gates.meters.values()), 600.0
    )
    (line,) = gate_lines(run.engine)
    assert (line.now, line.so_far, line.last) == (True, "0 passed of 1", "")


def test_nodes_that_share_a_gate_share_its_line_and_come_last() -> None:
    gates = [gate("shared", "after-node"), gate("all", "background")]
    world = World(6, gates=gates, waves=["100%"], max_unavailable=3)
    script = Script(shared=["wait"], all=["ok"])
    lines = lines_when(world, script, "shared", 2)
    assert [(line.name, line.place) for line in lines] == [
        ("all", "background"),
        ("shared", "after 3 nodes"),
    ]


def test_what_people_are_waited_for_has_no_time_of_its_own() -> None:
    world = World(gates=[gate("people", "before-wave", "approval"), gate("slow", "before-wave")])
    lines = lines_when(world, Script(slow=["wait"]), "slow", 2)
    people = next(line for line in lines if line.name == "people")
    assert people.place == "before wave wave-1"
    assert people.last == "0 of 1: waits for 1 more of 1 approvals"


def test_of_many_gates_some_are_shown_and_the_others_counted() -> None:
    gates = [gate(f"g{number}", "before-wave") for number in range(GATES_SHOWN + 3)]
    world = World(gates=gates)
    script = Script(**{one["name"]: ["wait"] for one in gates})
    run = world.start(script)
    world.clock.run_until(lambda: len(script.seen["g0"]) == 1, 600.0)
    picture = Viewer().take(run.engine, world.clock.now())
    assert (len(picture.gates), picture.gates_hidden) == (GATES_SHOWN, 3)
