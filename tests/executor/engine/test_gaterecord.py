"""What the record keeps of gates: the last ten measurements; what tells least goes first."""

from __future__ import annotations

from typing import Any

import msgspec

from rollout.executor.engine.gaterecord import carried_from, never_asked, recorded_gates
from rollout.executor.engine.gatestate import Carried
from rollout.executor.record.recordedgates import MOST_GATES, with_earlier
from tests.simulation.gateworld import Script, World, gate


def test_the_last_ten_measurements_are_kept_with_their_reasons() -> None:
    world = World(1, gates=[gate("errors", "after-wave", count=13, failureLimit=12)])
    words = ["bad"] * 3 + ["ok"] * 9 + ["bad"]
    run = world.start(Script(errors=words))
    run.run()
    (kept,) = recorded_gates(run.engine.gates)
    assert (kept.status, kept.wave, kept.next_at) == ("passed", 1, "")
    assert [m.reason for m in kept.measurements] == words[-10:]
    assert [m.outcome for m in kept.measurements] == ["passed"] * 9 + ["failed"]
    assert kept.reason == "9 passed, 4 failed; last: bad"


def test_a_gate_that_goes_on_is_kept_with_when_it_is_measured_next() -> None:
    world = World(gates=[gate("errors", "after-wave")])
    script = Script(errors=["wait"])
    run = world.start(script)
    world.clock.run_until(lambda: len(script.seen["errors"]) == 2, 600.0)
    world.clock.advance(1.0)
    (kept,) = recorded_gates(run.engine.gates)
    assert (kept.status, len(kept.measurements)) == ("waiting", 2)
    assert kept.next_at > kept.measurements[-1].at


def test_the_next_process_waits_no_shorter_for_a_pause_than_the_plan_says() -> None:
    """The record knows whole seconds: what is cut off there would be missing from the pause."""
    world = World(gates=[gate("rest", "after-wave", "pause", duration="40s")])
    world.clock.advance(0.6)
    run = world.start(Script())
    world.clock.run_until(lambda: bool(run.engine.gates.open), 600.0)
    (asked,) = run.engine.gates.open.values()
    carried = carried_from(recorded_gates(run.engine.gates), 1, killed=False)

    assert asked.began % 1.0
    assert 0 <= carried.began[asked.id] - asked.began < 1


def test_gates_of_nodes_are_kept_while_there_is_room_and_the_bad_ones_longest() -> None:
    world = World(
        60,
        gates=[gate("well", "after-node", "node"), gate("all", "after-wave")],
        waves="fast",
        max_unavailable=10,
        failure={"maxFailures": 3},
    )
    seen: list[str] = []

    def judge(context: Any) -> str:
        node = context.node.metadata.name
        seen.append(node)
        return "bad" if node == seen[0] else "ok"

    run = world.start(Script(well=[judge], all=["ok"]))
    run.run()
    kept = recorded_gates(run.engine.gates)
    assert len(kept) == MOST_GATES
    assert [g.node for g in kept if g.status == "failed"] == [seen[0]]
    assert [g.gate for g in kept if not g.node] == ["all"]
    newest = list(run.engine.gates.results.values())[-3:]
    assert {g.id for g in newest} <= {g.id for g in kept}


def test_what_an_earlier_part_of_the_run_has_heard_stays_until_it_is_asked_again() -> None:
    world = World(gates=[gate("errors", "after-wave")])
    run = world.start(Script(errors=["ok"]))
    run.run()
    first, second = recorded_gates(run.engine.gates)
    older = msgspec.structs.replace(first, id="gate/preflight/first", gate="first")
    again = msgspec.structs.replace(first, status="failed")
    waiting = msgspec.structs.replace(first, id="gate/before-wave/1/slow", status="waiting")
    nothing = msgspec.structs.replace(first, id="gate/after-node/x", status="not measured")
    told = with_earlier((first, second), [older, again, waiting, nothing])
    assert [(g.id, g.status) for g in told] == [
        ("gate/preflight/first", "passed"),
        (first.id, "passed"),
        (second.id, "passed"),
    ]


def test_a_gate_behind_the_run_counts_as_asked_also_where_the_record_had_no_room_for_it() -> None:
    world = World(gates=[gate("ready", "preflight"), gate("well", "after-run")])
    run = world.resume(Script(well=["ok"]), Carried(wave=1))
    run.run()
    assert never_asked(world.plan, run.engine.gates, (), world.clock.now()) == ()
