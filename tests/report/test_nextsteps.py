"""Which commands are named where a run ends early, and that each of them exists."""

from __future__ import annotations

import shlex
from dataclasses import replace

import click
import pytest
from msgspec.structs import replace as changed

from rollout.cli.main import cli
from rollout.executor.ending import MOST_MESSAGE
from rollout.executor.engine.accounting import Account
from rollout.executor.engine.actions import Finish, Outcome
from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.result import Result
from rollout.planner.plan import WAY_BACK, Plan
from rollout.report.nextsteps import next_steps
from tests.planner.worlds import plan_of

WHERE = "-n logging --context prod"
PLAN = plan_of()
BACK = changed(PLAN, daemon_sets=tuple(changed(d, target_kind=WAY_BACK) for d in PLAN.daemon_sets))


def result(outcome: Outcome, *gates: RecordedGate, unapproved: int = 0) -> Result:
    return Result(
        finish=Finish(outcome, "why"),
        steps=(),
        joined=(),
        plan=PLAN,
        strategies={},
        duration_s=1.0,
        unapproved=unapproved,
        interrupted=False,
        troubled=False,
        wrote=True,
        sets={},
        account=Account(1.0, 1.0, 1.0, 1, 1.0),
        gates=gates,
    )


def commands(found: Result, plan: Plan = PLAN, *, begun: bool = True) -> list[str]:
    return [step.command for step in next_steps(plan, found, WHERE, begun=begun)]


def verbs(outcome: Outcome, plan: Plan = PLAN, *, begun: bool = True) -> list[str]:
    return [command.split()[1] for command in commands(result(outcome), plan, begun=begun)]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.DONE, []),
        (Outcome.DEFERRED, []),
        (Outcome.ROLLED_BACK, []),
        (Outcome.FAILED_NODES, ["plan"]),
        (Outcome.HELD, ["resume", "rollback"]),
        (Outcome.INCONCLUSIVE, ["resume", "rollback"]),
        (Outcome.DEADLINE, ["resume", "rollback"]),
        (Outcome.REFUSED, ["resume", "rollback"]),
        (Outcome.PAUSED, ["resume", "rollback"]),
        (Outcome.ABORTED, ["plan", "rollback"]),
    ],
)
def test_what_leads_on_depends_on_how_the_run_ended(outcome: Outcome, expected: list[str]) -> None:
    assert verbs(outcome) == expected


def test_commands_34_a_change_by_somebody_else_offers_a_new_plan_and_an_abort() -> None:
    assert verbs(Outcome.DRIFT) == ["plan", "abort", "rollback"]
    nothing = replace(result(Outcome.DRIFT), wrote=False)
    assert [c.split()[1] for c in commands(nothing, begun=False)] == ["plan"]


def test_a_run_that_lost_its_lock_goes_on_for_the_cluster_is_what_it_was_planned_for() -> None:
    lost = replace(result(Outcome.DRIFT), finish=Finish(Outcome.DRIFT, "why", resumes=True))
    assert [c.split()[1] for c in commands(lost)] == ["resume", "rollback"]


def test_a_run_that_failed_nodes_have_paused_offers_another_try_of_them() -> None:
    step = next(step for step in PLAN.steps if step.kind == "update")
    failed = StepRun(step, rank=0, zone="", blockers=0, state=StepState.FAILED)
    paused = replace(result(Outcome.PAUSED), steps=(failed,))
    assert [c.split()[1] for c in commands(paused)] == ["retry", "resume", "rollback"]


def test_commands_32_a_walk_node_by_node_is_never_led_on_without_its_questions() -> None:
    walk = "rollout step plan.json"
    for outcome in (Outcome.PAUSED, Outcome.HELD):
        steps = next_steps(PLAN, result(outcome), WHERE, begun=True, walk=walk)
        assert steps[0].command == f"{walk} {WHERE}"
        assert not any("resume" in step.command for step in steps)


def test_where_nothing_has_begun_there_is_no_run_to_speak_to() -> None:
    assert commands(replace(result(Outcome.HELD), wrote=False), begun=False) == []


def test_where_the_record_was_deleted_no_command_is_named_that_needs_it() -> None:
    assert verbs(Outcome.PAUSED, begun=False) == ["plan", "undo"]
    assert verbs(Outcome.DONE, begun=False) == []


def test_what_waits_for_people_is_named_with_the_words_that_let_it_pass() -> None:
    gate = RecordedGate("g/desk", "desk", "approval", "before-wave", "waiting", "", "")
    passed = changed(gate, gate="passed", status="passed")
    found = commands(result(Outcome.PAUSED, gate, passed, unapproved=1))
    wave = PLAN.waves[0].name
    assert found[:2] == [
        f"rollout approve {PLAN.name} --wave {wave} {WHERE}",
        f"rollout approve {PLAN.name} --gate desk {WHERE}",
    ]
    assert [command.split()[1] for command in found[2:]] == ["resume", "rollback"]


def test_an_incomplete_way_back_is_tried_again_and_a_stopped_undo_goes_on() -> None:
    assert verbs(Outcome.ROLLBACK_INCOMPLETE, BACK) == ["rollback"]
    assert verbs(Outcome.PAUSED, BACK) == ["resume"]
    assert verbs(Outcome.DONE, BACK) == []


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("plan", [PLAN, BACK], ids=["on", "back"])
def test_every_command_that_is_named_exists_with_its_options(outcome: Outcome, plan: Plan) -> None:
    for line in commands(result(outcome), plan):
        program, verb, *words = shlex.split(line)
        command = cli.get_command(click.Context(cli), verb)
        assert program == "rollout"
        assert command is not None
        options = {name for param in command.params for name in param.opts}
        assert {word for word in words if word.startswith("-")} <= options


def test_a_record_names_only_whole_commands_of_those_that_do_the_rest_by_hand() -> None:
    few = Finish(
        Outcome.ROLLBACK_INCOMPLETE, "not back yet: n1", by_hand=("kubectl a", "kubectl b")
    )
    many = replace(few, by_hand=tuple(f"kubectl delete pod agent-{n:04}" for n in range(500)))

    assert few.text == "not back yet: n1. By hand: kubectl a; kubectl b"
    listed, rest = many.text.split("; and ")
    assert listed.endswith(tuple(many.by_hand))
    assert rest == f"{500 - listed.count('kubectl')} more that 'rollout rollback' shows"
    assert len(many.text) <= MOST_MESSAGE


def test_every_failed_node_of_a_held_run_is_named_to_be_skipped_within_bounds() -> None:
    step = next(step for step in PLAN.steps if step.kind == "update")

    def held(count: int) -> list[str]:
        steps = tuple(
            StepRun(changed(step, node=f"n{n}"), 0, "", 0, state=StepState.FAILED)
            for n in range(count)
        )
        found = replace(result(Outcome.HELD), steps=steps)
        return next(shlex.split(c) for c in commands(found) if c.split()[1] == "skip")

    assert held(3)[3:] == ["n0", "n1", "n2", "--reason", "WHY", *WHERE.split()]
    assert len(held(500)) == len(held(20)) < 30
