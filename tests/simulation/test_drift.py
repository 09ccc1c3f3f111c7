"""What somebody else does to a DaemonSet right before our write, or behind our back (S9, S11)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, UpdateStrategy, default_fleet
from rollout.sim.resources import DAEMONSETS
from tests.simulation.faultworld import (
    NEW,
    THERE,
    AtTheFirst,
    after_deletes,
    begin,
    faults,
    hits,
    strike,
)
from tests.simulation.virtual import SOMEBODY, World

OTHER = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "x:1"}]}}}}
THEIRS = {"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 3}}}}
ROLLING = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
NOISE = {"metadata": {"annotations": {"team": "logging"}}}
REVISIONS = "faults: [{name: lost, match: {verbs: [patch], resources: [daemonsets]}, %s}]"


def marked(key: str, value: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": {key: value}}}


@pytest.mark.parametrize(
    ("change", "code"),
    [(NOISE, ExitCode.DONE), (OTHER, ExitCode.STALE), (THEIRS, ExitCode.STALE)],
    ids=["noise", "template", "strategy"],
)
def test_fault_01_what_changes_between_our_look_and_our_patch_is_looked_at_again(
    change: dict[str, Any], code: ExitCode
) -> None:
    with World(default_fleet(3, 1)) as world:
        edit = AtTheFirst(
            world, "PATCH", "/daemonsets/", lambda _: world.patch(DAEMONSETS, "log-agent", change)
        )
        command = begin(world)

        assert command.end() == code, command.text
        assert edit.struck == 1
        assert world.judge.deletes.total() == (3 if code == ExitCode.DONE else 0)
        if code == ExitCode.STALE:
            live = world.daemon_set()["spec"]
            assert live["updateStrategy"]["type"] == "RollingUpdate", "theirs was not overwritten"
            assert "since the plan was made" in command.text


def on_delete() -> Fleet:
    """Return a fleet whose owner has chosen OnDelete."""
    entry = DaemonSetEntry(
        name="log-agent",
        namespace="logging",
        image="log-agent:2.3",
        strategy=UpdateStrategy(type="OnDelete"),
    )
    return replace(default_fleet(3, 1), daemon_sets=(entry,))


@pytest.mark.parametrize("change", [OTHER, ROLLING], ids=["template", "strategy"])
def test_drift_under_the_last_node_of_an_on_delete_is_how_the_run_ends(
    change: dict[str, Any],
) -> None:
    """No last patch would meet it there."""
    with World(on_delete()) as world:
        command = begin(world)
        after_deletes(world, 3)
        world.advance(0.5)  # so that its successor is of our template
        world.patch(DAEMONSETS, "log-agent", change)

        assert command.end() == ExitCode.STALE, command.text
        assert "all nodes have had their turn" in command.text


def test_a_strategy_of_the_owner_that_changes_while_nobody_is_at_work_is_named() -> None:
    """Where the owner has chosen OnDelete there are no marks that tell our template from theirs."""
    with World(on_delete()) as world:
        command = begin(world)
        after_deletes(world, 1)
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        world.patch(DAEMONSETS, "log-agent", ROLLING)

        back = world.start("resume", "sim", *THERE)

        assert back.end() == ExitCode.STALE
        assert "the strategy of DaemonSet log-agent was set back to RollingUpdate" in back.text


def test_a_daemon_set_that_is_deleted_while_its_run_begins_ends_that_as_drift() -> None:
    with World(default_fleet(3, 1)) as world:
        key = ("logging", "log-agent")

        def delete(_: object) -> None:
            world.cluster.registry.delete(DAEMONSETS, *key, SOMEBODY)

        gone = AtTheFirst(world, "POST", "/configmaps", delete)
        command = begin(world)

        assert command.end() == ExitCode.STALE, command.text
        assert gone.struck == 1
        assert "the plan is not kept in the cluster (" in command.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (marked(marks.PLAN, "sha256:another"), "another run took over DaemonSet log-agent"),
        (marked(marks.PLAN, None), "the annotations of the run were taken from DaemonSet log-a"),
        (marked(marks.ORIGINAL_STRATEGY, None), "the annotations of the run were taken from"),
    ],
    ids=["another plan", "no plan", "no strategy"],
)
def test_fault_01_an_annotation_of_ours_that_somebody_changes_is_drift(
    change: dict[str, Any], said: str
) -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        strike(world, command, lambda: world.patch(DAEMONSETS, "log-agent", change))

        assert command.end() == ExitCode.STALE
        assert said in command.text
        assert world.judge.deletes.total() == 1


def test_the_way_back_knows_the_strategy_from_the_record_where_the_annotation_is_spoilt() -> None:
    with World(default_fleet(3, 1)) as world:
        before = world.daemon_set()["spec"]["updateStrategy"]
        command = begin(world)
        after_deletes(world, 1)
        command.kill()
        world.patch(DAEMONSETS, "log-agent", marked(marks.ORIGINAL_STRATEGY, "{type"))

        back = world.run("rollback", "sim", *THERE)

        assert back.code == ExitCode.ROLLED_BACK, back.text
        assert world.daemon_set()["spec"]["updateStrategy"] == before


def test_the_way_back_knows_the_strategy_from_the_record_where_the_annotation_is_gone() -> None:
    """S11: OnDelete is the run's own then, and not what the owner wrote."""
    with World(default_fleet(3, 1)) as world:
        before = world.daemon_set()["spec"]["updateStrategy"]
        command = begin(world)
        after_deletes(world, 1)
        world.patch(DAEMONSETS, "log-agent", marked(marks.ORIGINAL_STRATEGY, None))
        assert command.end() == ExitCode.STALE

        back = world.run("rollback", "sim", *THERE)

        assert back.code == ExitCode.ROLLED_BACK, back.text
        assert world.daemon_set()["spec"]["updateStrategy"] == before


@pytest.mark.parametrize(
    ("status", "code"), [(403, ExitCode.NOT_AUTHORISED), (422, ExitCode.ERROR)]
)
def test_fault_10_a_policy_that_refuses_the_patch_is_quoted_and_nothing_is_deleted(
    status: int, code: ExitCode
) -> None:
    with World(default_fleet(3, 1), faults=faults(REVISIONS % f"error: {status}")) as world:
        before = world.daemon_set()["spec"]
        command = begin(world)

        assert command.end() == code
        assert hits(world) == 1
        assert f"the patch of DaemonSet log-agent was refused: injected fault: {status}" in (
            command.text
        )
        assert world.judge.deletes.total() == 0
        assert world.daemon_set()["spec"] == before


@pytest.mark.parametrize("resource", ["nodes", "pods"])
def test_fault_13_a_list_that_is_suddenly_empty_stops_the_run_which_then_goes_on(
    resource: str,
) -> None:
    lists = f"match: {{verbs: [list], resources: [{resource}]}}"
    script = faults(
        "faults:\n- {name: outage, from: 5, restart: true, for: 3s}\n"
        f"- {{name: empty, {lists}, from: 5, until: 60, empty: true}}\n"
    )
    with World(default_fleet(12, 1), faults=script) as world:
        command = begin(world)

        assert command.end() == ExitCode.STALE, command.text
        assert world.injector.counters["empty"].hits > 0
        assert "lacks" in command.text
        assert 0 < world.judge.deletes.total() < 12
        world.advance(60.0)
        assert world.run(*command.arguments).code == ExitCode.DONE
        assert sorted(world.judge.deletes.values()) == [1] * 12


def test_fault_32_a_daemon_set_that_is_made_anew_is_left_alone() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)

        def recreate() -> None:
            old = deepcopy(world.daemon_set())
            registry = world.cluster.registry
            registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
            meta = {"name": "log-agent", "namespace": "logging"}
            body = {"metadata": meta, "spec": old["spec"]}

            def create() -> None:
                registry.create(DAEMONSETS, "logging", body, SOMEBODY)

            world.clock.call_later(2.0, create)

        strike(world, command, recreate)
        world.advance(10.0)
        deleted, theirs = world.judge.deletes.total(), world.daemon_set()

        assert command.end() == ExitCode.STALE
        back = world.run("rollback", "sim", *THERE)
        assert back.code not in (ExitCode.DONE, ExitCode.ROLLED_BACK)
        assert world.judge.deletes.total() == deleted
        assert world.daemon_set()["spec"] == theirs["spec"]


@pytest.mark.parametrize("word", ["abort", "rollback"])
def test_fault_53_a_word_during_the_way_back_is_taken_and_it_converges(word: str) -> None:
    with World(default_fleet(6, 1)) as world:
        command = begin(world)
        after_deletes(world, 4)
        command.interrupt()
        assert command.end() == ExitCode.PAUSED
        done = world.judge.deletes.total()
        back = world.start("rollback", "sim", *THERE)
        after_deletes(world, done + 1)
        assert not back.over
        said = world.run(word, "sim", *THERE)
        world.wait_until(lambda: back.over)

        assert said.code in (ExitCode.DONE, ExitCode.ROLLED_BACK)
        last = back if back.code == ExitCode.ROLLED_BACK else world.run("rollback", "sim", *THERE)
        assert last.code == ExitCode.ROLLED_BACK, last.text
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"log-agent:2.3"}
        again = world.run("rollback", "sim", *THERE)
        assert again.code in (ExitCode.DONE, ExitCode.ROLLED_BACK), again.text
        assert NEW not in str(world.daemon_set()["spec"])
