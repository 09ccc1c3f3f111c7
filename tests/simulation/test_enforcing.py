"""`--enforce-strategy`: OnDelete is set again, once, where somebody turns RollingUpdate back on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.sim.fleetfile import DaemonSetEntry, UpdateStrategy, default_fleet
from rollout.sim.resources import DAEMONSETS, LEASES
from tests.simulation.faultworld import (
    THERE,
    AtTheFirst,
    after_deletes,
    faults,
    hits,
    spec,
    strike,
)
from tests.simulation.virtual import SOMEBODY, Command, World

ROLLING = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
OTHER = {"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "x:1"}]}}}}
PATCHES = "match: {verbs: [patch], resources: [daemonsets]}"


def begin(world: World, *options: str) -> Command:
    path = world.save(world.plan(spec()))
    world.begin_faults()
    return world.start("apply", path, *options)


def turn_back(world: World, change: dict[str, Any] = ROLLING) -> None:
    world.patch(DAEMONSETS, "log-agent", change)


def replaced(world: World, command: Command) -> int:
    """Return how many pods are new in the end; a built-in update would replace all."""
    after_deletes(world, 1)
    strike(world, command, lambda: turn_back(world))
    assert command.end() == ExitCode.STALE, command.text
    world.advance(120.0)
    return sum("2.4" in pod["spec"]["containers"][0]["image"] for pod in world.pods())


def test_fault_27_the_strategy_is_enforced_once_and_the_run_holds() -> None:
    with World(default_fleet(8, 1)) as world:
        command = begin(world, "--enforce-strategy")

        assert replaced(world, command) <= 3
        assert "OnDelete is set again on DaemonSet log-agent (--enforce-strategy)" in command.text
        assert "set back to RollingUpdate during the run" in command.text
        assert world.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert world.judge.deletes.total() == 1, "no step forward behind a drift (S9)"

        again = world.run("apply", command.arguments[1])
        assert again.code == ExitCode.DONE, again.text
        assert world.daemon_set()["spec"]["updateStrategy"]["type"] == "RollingUpdate"


def test_fault_27_nothing_is_enforced_that_nobody_asked_for() -> None:
    with World(default_fleet(8, 1)) as world:
        command = begin(world)

        assert replaced(world, command) == 8, "the built-in controller has done it"
        assert "(--enforce-strategy)" not in command.text
        assert "set again on" not in command.text


def test_fault_27_who_insists_is_not_fought_with() -> None:
    with World(default_fleet(8, 1)) as world:
        command = begin(world, "--enforce-strategy")
        after_deletes(world, 1)
        strike(world, command, lambda: turn_back(world))
        world.wait_until(
            lambda: world.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
        )
        turn_back(world)

        assert command.end() == ExitCode.STALE
        world.advance(5.0)
        assert world.daemon_set()["spec"]["updateStrategy"]["type"] == "RollingUpdate"


@pytest.mark.parametrize("change", [OTHER, {"spec": {**OTHER["spec"], **ROLLING["spec"]}}])
def test_fault_27_a_template_that_somebody_edits_is_nothing_to_enforce(
    change: dict[str, Any],
) -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world, "--enforce-strategy")
        after_deletes(world, 1)
        strike(world, command, lambda: turn_back(world, change))
        theirs = world.daemon_set()["spec"]

        assert command.end() == ExitCode.STALE
        assert world.daemon_set()["spec"] == theirs


def test_fault_27_what_an_owner_chose_is_not_enforced() -> None:
    entry = DaemonSetEntry(
        name="log-agent",
        namespace="logging",
        image="log-agent:2.3",
        strategy=UpdateStrategy(type="OnDelete"),
    )
    with World(replace(default_fleet(4, 1), daemon_sets=(entry,))) as world:
        command = begin(world, "--enforce-strategy")
        after_deletes(world, 1)
        strike(world, command, lambda: turn_back(world))

        assert command.end() == ExitCode.STALE
        assert world.daemon_set()["spec"]["updateStrategy"]["type"] == "RollingUpdate"


@pytest.mark.parametrize("fault", ["lose: true", "error: 503", "error: 409"])
def test_fault_27_an_enforcement_whose_answer_is_lost_is_looked_into(fault: str) -> None:
    script = faults(f"faults: [{{name: patches, {PATCHES}, {fault}, after: 1, count: 1}}]")
    with World(default_fleet(8, 1), faults=script) as world:
        command = begin(world, "--enforce-strategy")

        assert replaced(world, command) <= 4
        assert hits(world) == 1
        assert world.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert "OnDelete is set again" in command.text


def test_fault_27_an_enforcement_that_is_never_answered_keeps_no_run_from_its_end() -> None:
    script = faults(f"faults: [{{name: patches, {PATCHES}, error: 503, after: 1}}]")
    with World(default_fleet(8, 1), faults=script) as world:
        command = begin(world, "--enforce-strategy")
        after_deletes(world, 1)
        strike(world, command, lambda: turn_back(world))
        began = world.clock.now()

        assert command.end() == ExitCode.STALE
        assert hits(world) >= 1
        assert world.clock.now() - began < 180.0
        assert "OnDelete could not be set again on DaemonSet log-agent" in command.text


def lose_lock(world: World) -> None:
    (lease,) = world.cluster.store.scan(LEASES, "logging")
    world.cluster.registry.delete(LEASES, "logging", lease["metadata"]["name"], SOMEBODY)


def test_fault_27_a_run_whose_lock_is_lost_meanwhile_gives_the_enforcement_up() -> None:
    match = "match: {verbs: [update], resources: [leases]}"
    script = faults(f"faults: [{{name: renewals, {match}, refuse: true, until: 14}}]")
    with World(default_fleet(8, 1), faults=script) as world:
        command = soaking(world)
        world.begin_faults()
        world.advance(12.0)  # by now it may write no more, but may get its lock back
        strike(world, command, lambda: turn_back(world))
        lose_lock(world)
        began = world.clock.now()

        assert command.end() == ExitCode.STALE
        assert world.clock.now() - began < 20.0
        assert hits(world) > 0
        assert "set again on DaemonSet log-agent: the lock is lost for good" in command.text


def test_fault_27_a_run_without_its_lock_enforces_nothing() -> None:
    with World(default_fleet(8, 1)) as world:
        command = soaking(world)
        lose_lock(world)
        world.advance(8.0)
        strike(world, command, lambda: turn_back(world))
        began = world.clock.now()

        assert command.end() == ExitCode.STALE
        assert world.clock.now() - began < 20.0
        assert "stopping: the lease of logging/log-agent was deleted" in command.text


def soaking(world: World) -> Command:
    """Return a run that watches its first node for a while."""
    path = world.save(world.plan(spec(health={"soak": 15, "nodeTimeout": "1m"})))
    command = world.start("apply", path, "--enforce-strategy")
    after_deletes(world, 1)
    return command


def enforced_in_doubt(script: str, deed: Callable[[World], None]) -> tuple[str, float]:
    """Return what is said where the answer of an enforcement is lost, and in how many seconds."""
    lost = f"{{name: patches, {PATCHES}, lose: true, count: 1}}"
    with World(default_fleet(8, 1), faults=faults(f"faults: [{lost}{script}]")) as world:
        path = world.save(world.plan(spec()))
        command = world.start("apply", path, "--enforce-strategy")
        after_deletes(world, 1)
        world.begin_faults()
        read = AtTheFirst(world, "GET", "/daemonsets/log-agent", lambda _: deed(world))
        strike(world, command, lambda: turn_back(world))
        began = world.clock.now()

        assert command.end() == ExitCode.STALE, command.text
        assert read.struck == 1
        return command.text, world.clock.now() - began


def test_fault_27_an_enforcement_in_a_daemon_set_that_is_deleted_is_not_waited_for() -> None:
    def delete(world: World) -> None:
        world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)

    text, seconds = enforced_in_doubt("", delete)
    assert seconds < 20.0
    assert "OnDelete could not be set again on DaemonSet log-agent: it was deleted" in text


def test_fault_27_an_enforcement_that_may_not_be_looked_into_is_not_waited_for() -> None:
    get = "{name: rights, match: {verbs: [get], resources: [daemonsets]}, revoke: true}"
    text, seconds = enforced_in_doubt(f", {get}", lambda _: None)
    assert seconds < 20.0
    assert "set back to RollingUpdate during the run" in text
    assert "log-agent: what became of that could not be read: " in text


def test_fault_27_a_run_that_goes_on_enforces_what_was_turned_back_meanwhile() -> None:
    with World(default_fleet(8, 1)) as world:
        first = begin(world)
        after_deletes(world, 1)
        strike(world, first, lambda: turn_back(world))
        first.kill()
        second = world.start("resume", "sim", *THERE, "--enforce-strategy")

        assert second.end() == ExitCode.STALE, second.text
        assert world.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
        assert "OnDelete is set again" in second.text


def next_verbs(command: Command) -> list[str]:
    """Return the first words of the commands that are offered at the end."""
    lines = command.text.partition("Next:\n")[2].splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("  rollout")]


def test_fault_27_the_way_on_is_offered_and_leads_to_the_end() -> None:
    with World(default_fleet(8, 1)) as world:
        first = begin(world)
        after_deletes(world, 1)
        strike(world, first, lambda: turn_back(world))
        assert first.end() == ExitCode.STALE, first.text
        offered = next_verbs(first)
        assert offered[0] == "rollout resume sim --enforce-strategy -n logging"

        second = world.run(*offered[0].split()[1:])
        assert second.code == ExitCode.STALE, second.text
        offered = next_verbs(second)
        assert offered[0] == "rollout resume sim -n logging"
        third = world.run(*offered[0].split()[1:])
        assert third.code == ExitCode.DONE, third.text


def test_fault_27_a_template_that_was_edited_as_well_is_not_to_be_enforced() -> None:
    with World(default_fleet(4, 1)) as world:
        command = begin(world)
        after_deletes(world, 1)
        both = {"spec": {**OTHER["spec"], **ROLLING["spec"]}}
        strike(world, command, lambda: turn_back(world, both))
        assert command.end() == ExitCode.STALE
        assert [line.split()[1] for line in next_verbs(command)] == ["plan", "abort", "rollback"]


def test_fault_27_what_was_not_looked_at_again_keeps_its_count() -> None:
    with World(default_fleet(8, 1)) as world:
        first = begin(world)
        after_deletes(world, 3)
        strike(world, first, lambda: turn_back(world))
        assert first.end() == ExitCode.STALE, first.text
        counts = world.run("runs", *THERE, "-o", "json").text
        updated = json.loads(counts)[0]["nodes"]["updated"]
        assert updated >= 2

        second = world.run("resume", "sim", *THERE)
        assert second.code == ExitCode.STALE, second.text
        assert f"Drift: {updated} of 8 nodes updated before, none of 8 looked at" in second.text
        assert "not reached" not in second.text
        after = world.run("runs", *THERE, "-o", "json").text
        assert json.loads(after)[0]["nodes"]["updated"] == updated


def test_fault_27_status_does_not_promise_a_strategy_that_is_there_already() -> None:
    with World(default_fleet(8, 1)) as world:
        first = begin(world)
        after_deletes(world, 1)
        strike(world, first, lambda: turn_back(world))
        assert first.end() == ExitCode.STALE, first.text

        said = world.run("status", "log-agent", *THERE).text
        assert "comes back" not in said
        assert "its strategy is RollingUpdate already" in said
