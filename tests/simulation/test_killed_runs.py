"""What people say to a run whose process was killed: its record calls it running for ever."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.sim.fleetfile import default_fleet
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS
from tests.simulation.virtual import World

HERE = ("sim", "-n", "logging")


def killed(world: World, *, nodes: int = 1) -> str:
    """Let a run take away so many pods, and kill it; returns the path of its plan."""
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": nodes},
    }
    path = world.save(world.plan({"daemonSets": [item], "waves": ["100%"], "health": {"soak": 1}}))
    first = world.start("apply", path)
    world.wait_until(lambda: world.judge.deletes.total() == nodes)
    first.kill()
    return path


def record(world: World) -> dict[str, Any]:
    found = world.cluster.store.get(CONFIG_MAPS, ("logging", "rollout-sim"))
    assert found is not None
    read: dict[str, Any] = msgspec.json.decode(found["data"]["record"])
    return read


def test_nodes_57_only_an_approved_node_of_a_killed_run_moves_and_this_command_moves_it() -> None:
    with World(default_fleet(6, 1)) as world:
        killed(world)
        world.advance(60.0)
        world.judge.let_go.add("node-004")

        done = world.run("approve", *HERE, "--node", "node-004")

        assert done.code == 0, done.text
        assert world.judge.deletes.total() == 2
        assert record(world)["phase"] == "paused"
        assert world.run("resume", *HERE).code == 0
        assert world.judge.deletes.total() == 6


@pytest.mark.parametrize(
    "word",
    [
        ("pause", *HERE),
        ("approve", *HERE, "--wave", "1"),
        ("retry", *HERE),
        ("skip", *HERE, "node-004", "--reason", "disk"),
    ],
)
def test_nobody_is_told_that_a_killed_run_hears_a_word_by_itself(word: tuple[str, ...]) -> None:
    with World(default_fleet(6, 1)) as world:
        killed(world)
        world.advance(60.0)

        said = world.run(*word)

        assert said.code == 0, said.text
        assert "'rollout resume sim -n logging' (or 'apply' of its plan)" in said.text
        assert "does so now" not in said.text
        assert "by itself" not in said.text
        assert "starts nothing new and ends" not in said.text


@pytest.mark.parametrize("by_choice", [True, False])
def test_status_says_that_nobody_carries_a_killed_run_out(*, by_choice: bool) -> None:
    """Also where the strategy is OnDelete by choice, and nothing on the object names the run."""
    with World(default_fleet(6, 1)) as world:
        if by_choice:
            strategy = {"type": "OnDelete", "rollingUpdate": None}
            world.patch(DAEMONSETS, "log-agent", {"spec": {"updateStrategy": strategy}})
            world.advance(1.0)
        killed(world)
        world.advance(60.0)

        said = world.run("status", "log-agent", "-n", "logging").text

        assert "of rollout sim" in said
        assert "is interrupted, nobody carries it out: half-updated, 1 of 6 nodes" in said
        assert "'rollout resume sim -n logging' goes on" in said
        assert world.run("resume", *HERE, "--stop-at", "1").code == 0
        assert "interrupted" not in world.run("status", "log-agent", "-n", "logging").text
