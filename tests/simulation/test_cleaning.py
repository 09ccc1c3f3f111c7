"""`rollout cleanup` while others write: what it decided by must still be so when it writes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from rollout.errors import ExitCode
from rollout.fleet import marks
from rollout.sim.fleetfile import default_fleet
from rollout.sim.requests import Answer, Request
from rollout.sim.resources import CONFIG_MAPS, DAEMONSETS, LEASES
from tests.simulation.virtual import World
from tests.simulation.world import SOMEBODY

NAME = "log-agent"
HERE = ("-n", "logging")


class Beforehand:
    """The server, where somebody is quicker than the first write of one kind."""

    def __init__(self, world: World, write: str, deed: Callable[[], None]) -> None:
        self._server, self._write, self._deeds = world.network.server, write, [deed]

    def handle(self, request: Request) -> Answer:
        if request.method in ("PATCH", "PUT") and self._write in request.path:
            while self._deeds:
                self._deeds.pop()()
        return self._server.handle(request)


class Sluggish:
    """The server, where each read of the DaemonSet outlasts a lease that is not renewed."""

    def __init__(self, world: World) -> None:
        self._world, self._server = world, world.network.server
        self._held = False

    def handle(self, request: Request) -> Answer:
        renews = self._held and request.method == "PUT" and "/leases/" in request.path
        reads = self._held and request.method == "GET" and request.path.endswith(f"/{NAME}")
        if renews or reads:
            self._world.machine.sleep(60.0 if renews else 20.0)
        self._held = self._held or ("/leases" in request.path and request.method != "GET")
        return self._server.handle(request)


def meanwhile(world: World, write: str, body: dict[str, Any]) -> None:
    """Let somebody patch the DaemonSet right before the first write of one kind."""
    patch = partial(world.patch, DAEMONSETS, NAME, body)
    world.network.server = Beforehand(world, write, patch)


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
        meanwhile(world, "/daemonsets/", body)

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
        meanwhile(world, "/daemonsets/", body)

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.DONE, done.text
        assert spec(world)["updateStrategy"] == before
        assert not our_marks(world)


def test_all_is_looked_at_again_once_the_lock_is_held() -> None:
    """A strategy that comes back under a template of just now replaces all pods at once."""
    with World(default_fleet(1, 1)) as world:
        leave_flipped(world)
        containers = [{"name": "agent", "image": "log-agent:9"}]
        meanwhile(world, "/leases/", {"spec": {"template": {"spec": {"containers": containers}}}})

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.HELD, done.text
        assert "would at once replace the pods" in done.text
        assert spec(world)["updateStrategy"]["type"] == "OnDelete"


def test_nothing_is_written_when_the_lock_has_run_out() -> None:
    with World(default_fleet(1, 1)) as world:
        leave_flipped(world)
        world.network.server = Sluggish(world)

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.ERROR, done.text
        assert "the lock was not renewed" in done.text
        assert spec(world)["updateStrategy"]["type"] == "OnDelete"


def test_a_cleanup_writes_under_an_epoch_above_all_that_a_record_names() -> None:
    """Also where the lease is gone: a process that wakes up must know that its run is over."""
    with World(default_fleet(1, 1)) as world:
        leave_flipped(world)
        world.cluster.registry.delete(LEASES, HERE[1], "rollout-log-agent", SOMEBODY)

        done = world.run("cleanup", "sim", *HERE, "--yes")

        assert done.code == ExitCode.DONE, done.text
        (record,) = (
            msgspec.json.decode(found["data"]["record"])
            for found in world.cluster.store.scan(CONFIG_MAPS, HERE[1])
            if "record" in found["data"]
        )
        assert (record["phase"], record["epoch"]) == ("cleaned up", 2)
