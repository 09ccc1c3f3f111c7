"""A new plan passes over nothing that a stopped run has not got past, and over nothing else."""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from rollout.errors import ExitCode
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS
from tests.simulation.virtual import Command, World
from tests.simulation.world import SOMEBODY

HERE = ("sim", "-n", "logging")
APPROVAL = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
CHECK = {"name": "check", "image": "smoke:1"}
SMOKE = {
    "name": "smoke",
    "kind": "job",
    "at": "after-wave",
    "job": {"template": {"spec": {"containers": [CHECK]}}},
}


def plan(world: World, image: str = "log-agent:2.4", **more: Any) -> str:
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": image}}},
        "strategy": {"maxUnavailable": 1},
    }
    return world.save(world.plan({"daemonSets": [item], "health": {"soak": 1}, **more}))


def wait_for_approval(world: World) -> None:
    done = world.run("apply", plan(world, waves=APPROVAL))
    assert done.code == ExitCode.PAUSED, done.text


def phase(world: World, record: str) -> str:
    found = world.cluster.store.get(CONFIG_MAPS, ("logging", record))
    assert found is not None
    return str(msgspec.json.decode(found["data"]["record"])["phase"])


def was_refused(done: Command) -> bool:
    return done.code == ExitCode.STALE and "would pass over that" in done.text


def test_nobody_gets_past_an_open_approval_by_another_plan() -> None:
    with World(default_fleet(3, 1)) as world:
        wait_for_approval(world)

        assert was_refused(world.run("apply", plan(world, waves="fast")))
        assert world.judge.deletes.total() == 1


def test_another_release_may_take_the_place_of_one_that_waits() -> None:
    with World(default_fleet(3, 1)) as world:
        wait_for_approval(world)

        done = world.run("apply", plan(world, "log-agent:2.5", waves="fast"))

        assert done.code == ExitCode.DONE, done.text


def test_nobody_gets_past_a_no_by_another_plan() -> None:
    """Also one that was said before the run had come to where it would have asked."""
    second = {"name": "second", "size": 1, "pause": "approval"}
    with World(default_fleet(3, 1)) as world:
        command = world.start("apply", plan(world, waves=[1, second, {"name": "rest"}]))
        world.wait_until(lambda: world.judge.deletes.total() == 1)
        said = world.run("reject", *HERE, "--wave", "second", "--reason", "not today")
        assert said.code == ExitCode.DONE, said.text
        assert command.end() == ExitCode.HELD, command.text

        assert was_refused(world.run("apply", plan(world, waves="fast")))


def test_nobody_gets_past_a_gate_that_failed_by_another_plan() -> None:
    with World(default_fleet(3, 1)) as world:
        world.cluster.set_image_fault("smoke:1", read_fault({"kind": "exits", "exitCode": 1}))
        done = world.run("apply", plan(world, waves=[1, "100%"], gates=[SMOKE]))
        assert done.code == ExitCode.HELD, done.text

        assert was_refused(world.run("apply", plan(world, waves="fast")))
        assert world.judge.deletes.total() == 1


def test_what_a_daemon_set_waited_for_that_was_made_anew_counts_no_longer() -> None:
    with World(default_fleet(3, 1)) as world:
        before = copy.deepcopy(world.daemon_set())
        wait_for_approval(world)
        world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
        world.advance(60.0)
        anew = {"name": "log-agent", "namespace": "logging", "labels": {}}
        body = {k: before[k] for k in ("apiVersion", "kind", "spec")} | {"metadata": anew}
        world.cluster.registry.create(DAEMONSETS, "logging", body, SOMEBODY)
        world.advance(60.0)

        done = world.run("apply", plan(world, waves="fast"))

        assert done.code == ExitCode.DONE, done.text


def test_a_run_that_has_ended_is_not_called_superseded_by_one_of_another_name() -> None:
    with World(default_fleet(3, 1)) as world:
        wait_for_approval(world)
        assert world.run("abort", *HERE).code == ExitCode.DONE
        world.run("resume", *HERE)
        ended = phase(world, "rollout-sim")
        assert ended == "aborted"
        item = {"name": "log-agent", "target": {"set": {"image": {"agent": "log-agent:2.5"}}}}
        other = world.plan({"daemonSets": [item], "health": {"soak": 1}}, name="other")

        done = world.run("apply", world.save(other))

        assert done.code == ExitCode.DONE, done.text
        assert phase(world, "rollout-sim") == ended
