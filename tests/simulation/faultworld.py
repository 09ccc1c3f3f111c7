"""What the tests of numbered faults have in common: a small world, and proofs that one struck."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from rollout.sim.faultfile import Script, read_faults
from rollout.sim.requests import Request
from rollout.sim.resources import PODS
from rollout.sim.store import Object
from tests.simulation.oracles import _node
from tests.simulation.threads import Process
from tests.simulation.virtual import Command, World

NEW = "log-agent:2.4"
THERE = ("-n", "logging")


def faults(text: str) -> Script:
    return read_faults(None, text)


def item(limit: object = 1, **more: Any) -> dict[str, Any]:
    target = {"set": {"image": {"agent": NEW}}}
    return {
        "name": "log-agent",
        "target": target,
        "strategy": {"maxUnavailable": limit},
        **more,
    }


def spec(limit: object = 1, **more: Any) -> dict[str, Any]:
    health = {"soak": 1, "nodeTimeout": "1m"}
    return {"daemonSets": [item(limit)], "waves": [{"name": "all"}], "health": health, **more}


def begin(world: World, body: dict[str, Any] | None = None) -> Command:
    path = world.save(world.plan(body or spec()))
    world.begin_faults()
    return world.start("apply", path)


def hits(world: World) -> int:
    return sum(counter.hits for counter in world.injector.counters.values())


def after_deletes(world: World, count: int) -> None:
    world.wait_until(lambda: world.judge.deletes.total() >= count)


def pod_on(world: World, node: str) -> dict[str, Any]:
    return next(pod for pod in world.pods() if _node(pod) == node)


class AtTheFirst:
    """Does something right before the first request of a kind is served.

    Args:
        world: whose server it is.
        method: of the request.
        part: of its path.
        deed: what is done.
    """

    def __init__(
        self, world: World, method: str, part: str, deed: Callable[[Request], None]
    ) -> None:
        self.struck = 0
        self._world, self._deed = world, deed
        self._method, self._part = method, part
        world.network.witness = self

    def before(self, process: Process, request: Request) -> None:
        if request.method == self._method and self._part in request.path and not self.struck:
            self.struck += 1
            self._deed(request)
        self._world.judge.before(process, request)

    def after(self, process: Process, request: Request, status: int) -> None:
        self._world.judge.after(process, request, status)


class AtTheFirstDelete(AtTheFirst):
    """Does something to a pod, right before our first delete of one is served."""

    def __init__(self, world: World, deed: Callable[[World, Object], None]) -> None:
        super().__init__(world, "DELETE", "/pods/", self._to_pod)
        self.node = ""
        self._to = deed

    def _to_pod(self, request: Request) -> None:
        pod = self._world.cluster.store.get(PODS, ("logging", request.path.rpartition("/")[2]))
        assert pod is not None
        self.node = _node(pod)
        self._to(self._world, copy.deepcopy(pod))


def strike(world: World, command: Command, deed: Callable[[], object]) -> None:
    """Do something to the cluster while a command is at work; it must have had an effect."""
    before = world.cluster.store.version
    assert not command.over, "it is too late for the fault"
    deed()
    assert world.cluster.store.version > before, "the fault struck nothing"
