"""The commands that are offered where a run ends: each can be copied as it stands."""

from __future__ import annotations

from typing import Any

from rollout.errors import ExitCode
from rollout.sim.fleetfile import default_fleet
from rollout.sim.resources import DAEMONSETS
from tests.simulation.faultworld import spec
from tests.simulation.virtual import Command, World

CANARY: list[dict[str, Any]] = [
    {"name": "canary", "size": 1, "pause": "approval"},
    {"name": "rest"},
]


def offered(command: Command) -> dict[str, str]:
    """Return the commands that are offered at the end, by their verbs."""
    lines = command.text.partition("Next:\n")[2].splitlines()
    return {line.split()[1]: line.split("#")[0].strip() for line in lines if "rollout" in line}


def test_what_is_offered_is_allowed_what_this_command_was() -> None:
    allow = ("--allow-host", "a.example", "--allow-host", "b.example", "--allow-commands")
    with World(default_fleet(4, 1)) as world:
        plan = world.save(world.plan(spec(waves=CANARY)))

        command = world.run("apply", plan, *allow)

        assert command.code == ExitCode.PAUSED, command.text
        named = offered(command)
        for verb in ("approve", "resume", "rollback"):
            assert named[verb].endswith(" ".join(allow)), named
        for verb in ("approve", "resume"):
            done = world.run(*named[verb].split()[1:])
            assert done.code == ExitCode.DONE, done.text


def test_what_is_offered_names_nothing_that_nobody_gave() -> None:
    with World(default_fleet(4, 1)) as world:
        command = world.run("apply", world.save(world.plan(spec(waves=CANARY))))
        assert command.code == ExitCode.PAUSED, command.text
        assert offered(command)["resume"] == "rollout resume sim -n logging"


def test_verify_judges_the_plan_of_a_stopped_run_as_apply_would() -> None:
    with World(default_fleet(4, 1)) as world:
        plan = world.save(world.plan(spec(waves=CANARY)))
        assert world.run("apply", plan).code == ExitCode.PAUSED

        found = world.run("verify", plan)
        assert found.code == ExitCode.DONE, found.text
        assert "the cluster is as a run of this plan has left it" in found.text

        theirs = {"spec": {"updateStrategy": {"type": "RollingUpdate"}}}
        world.patch(DAEMONSETS, "log-agent", theirs)
        drifted = world.run("verify", plan)
        assert drifted.code == ExitCode.STALE, drifted.text
        assert "was set back to RollingUpdate during the run" in drifted.text
        assert world.run("apply", plan).code == ExitCode.STALE


def test_verify_of_a_plan_that_was_carried_out_says_that_it_does_not_fit() -> None:
    with World(default_fleet(2, 1)) as world:
        plan = world.save(world.plan(spec()))
        assert world.run("apply", plan).code == ExitCode.DONE
        assert world.run("verify", plan).code == ExitCode.STALE
