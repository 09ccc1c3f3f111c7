"""`rollout cleanup` while others write: what it decided by must still be so when it writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.sim.fleetfile import default_fleet
from rollout.sim.requests import Answer, Request
from rollout.sim.resources import DAEMONSETS
from tests.simulation.virtual import World

NAME = "log-agent"
HERE = ("-n", "logging")


class Beforehand:
    """The server, where somebody is quicker than the first patch of the DaemonSet."""

    def __init__(self, world: World, deed: Callable[[], None]) -> None:
        self._server, self._deeds = world.network.server, [deed]

    def handle(self, request: Request) -> Answer:
        if request.method == "PATCH" and request.path.endswith(f"/daemonsets/{NAME}"):
            while self._deeds:
                self._deeds.pop()()
        return self._server.handle(request)


def leave_flipped(world: World) -> None:
    """Kill a run whose nodes are all new, before its strategy is restored."""
    item = {
        "name": NAME,
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": 1},
    }
    path = world.save(world.plan({"daemonSets": [item], "health": {"soak": 300}}))
    command = world.start("apply", path)
    world.wait_until(lambda: world.judge.deletes.total() == 1)
    world.advance(60.0)
    command.kill()
    world.advance(60.0)


def spec(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.daemon_set()["spec"]
    return found


def our_marks(world: World) -> set[str]:
    return set(world.daemon_set()["metadata"].get("annotations", {})) & set(marks.ALL)


def test_a_strategy_that_somebody_changes_meanwhile_is_not_written_over() -> None:
    with World(default_fleet(1, 1)) as world:
        leave_flipped(world)
        theirs = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 7}}
        body = {"spec": {"updateStrategy": theirs}}
        world.network.server = Beforehand(world, lambda: world.patch(DAEMONSETS, NAME, body))

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.ERROR, done.text
        assert "was changed meanwhile" in done.text
        assert spec(world)["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 7
        assert our_marks(world)


def test_a_status_that_is_written_meanwhile_keeps_no_strategy_from_coming_back() -> None:
    with World(default_fleet(1, 1)) as world:
        before = spec(world)["updateStrategy"]
        leave_flipped(world)
        body = {"metadata": {"annotations": {"somebody": "was here"}}}
        world.network.server = Beforehand(world, lambda: world.patch(DAEMONSETS, NAME, body))

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.DONE, done.text
        assert spec(world)["updateStrategy"] == before
        assert not our_marks(world)
