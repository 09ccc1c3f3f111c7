"""An embedded cluster on virtual time, and the real command beside it, any number of times.

`rollout apply`, `pause`, `rollback` and the others run whole, from the command line to the bytes
of every request; only the sockets, the threads and the clock are not the system's.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rollout.cli.main import run
from rollout.cluster.client import Client
from rollout.planner.plan import Plan, encode
from rollout.sim.api import Api
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.faultfile import Script
from rollout.sim.faults import Injector
from rollout.sim.fleetfile import Fleet
from rollout.sim.rbac import User
from rollout.sim.registry import Caller, PatchType
from rollout.sim.resources import DAEMONSETS, NODES, PODS, Resource
from rollout.sim.store import Object
from tests.simulation.driver import make_plan
from tests.simulation.network import TOKEN, Network
from tests.simulation.oracles import Judge
from tests.simulation.outsideworld import CONFIG
from tests.simulation.threads import Machine, Process

US = User("rollout", ("system:masters",))
SOMEBODY = Caller("somebody", ("system:masters",), "kubectl")
NO_FAULTS = Script()
# Journals are synced to the disk all the time; in memory that costs nothing, and proves no less.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a random name in it
LONG_S = 1800.0  # of virtual time: nothing takes longer but what hangs


class Command:
    """One command line in a process of its own."""

    def __init__(
        self, world: World, arguments: Sequence[str], answers: Sequence[str] | None = None
    ) -> None:
        self.arguments = tuple(arguments)
        self.process: Process = world.machine.process()
        self.process.answers = None if answers is None else deque(answers)
        self.code: int | None = None
        self._world = world
        world.machine.spawn(self.process, self._live)

    def _live(self) -> None:
        self.code = run(self.arguments)

    @property
    def over(self) -> bool:
        """Whether it has ended, by itself or killed."""
        return self.code is not None or self.process.dead

    @property
    def text(self) -> str:
        """What it has printed."""
        return "".join(self.process.screen)

    def kill(self) -> None:
        """SIGKILL."""
        self._world.machine.kill(self.process)

    def interrupt(self) -> None:
        """Press Ctrl-C once, if it listens."""
        if self.process.inbox is not None:
            self.process.inbox.stop("stopped by SIGINT")
            now = self._world.clock.now()
            self._world.judge.starts.interrupted.setdefault(self.process.name, now)

    def end(self, timeout: float = LONG_S) -> int:
        """Wait for its end and return its exit code."""
        self._world.wait_until(lambda: self.over, timeout)
        assert self.code is not None, self.text
        return self.code


class World:
    """A cluster, its faults, a machine for commands, and a judge who watches.

    Args:
        fleet: what the cluster holds.
        seed: of all chance but the fleet's.
        faults: what goes wrong, from now on.
        settings: how the cluster is built.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        seed: int = 0,
        faults: Script = NO_FAULTS,
        settings: Settings | None = None,
    ) -> None:
        self.clock = VirtualClock()
        settings = settings or Settings(track_managers=False, events=False)
        self.cluster = Cluster(self.clock, fleet, settings)
        self.cluster.start()
        self.api = Api(self.cluster.registry, tokens={TOKEN: US}, seed=seed)
        rng = random.Random(seed)
        self.machine = Machine(self.clock, rng, self._dial)
        self.judge = Judge(self.cluster, self.machine)
        self.injector = Injector(self.api, NO_FAULTS, self.cluster)
        self.network = Network(self.machine, self.injector, self.judge)
        self._faults = faults
        self._directory = tempfile.TemporaryDirectory(dir=MEMORY)
        self._installed = self.machine.installed()
        self._environment = dict(os.environ)

    def __enter__(self) -> Self:
        """Let the program run here."""
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "HOME"):
            os.environ[name] = self._directory.name
        configured = Path(self._directory.name) / "config" / "rollout"
        configured.mkdir(parents=True)
        os.environ["XDG_CONFIG_HOME"] = str(configured.parent)
        os.environ["TZ"] = "UTC"  # times are shown in the time zone of the machine
        time.tzset()
        (configured / "config.yaml").write_text(CONFIG)
        self._installed.__enter__()
        self.judge.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes and give the system's threads and clock back."""
        try:
            for process in self.machine.processes.values():
                self.machine.kill(process)
            self.clock.advance(0.0)
        finally:
            self.judge.__exit__(kind, error, trace)
            self._installed.__exit__(kind, error, trace)
            os.environ.clear()
            os.environ.update(self._environment)
            time.tzset()
            self._directory.cleanup()

    def _dial(self, process: Process) -> Client:
        return self.network.client(process)

    # The program

    def plan(self, body: dict[str, Any], namespace: str = "logging", *, name: str = "sim") -> Plan:
        """Plan a spec against the cluster as it is."""
        return make_plan(self.cluster, body, namespace, name=name)

    def save(self, plan: Plan, name: str = "plan.json") -> str:
        """Write a plan to a file; returns its path."""
        path = self.path(name)
        Path(path).write_bytes(encode(plan))
        return path

    def path(self, name: str) -> str:
        """Return where a plan is saved."""
        return str(Path(self._directory.name) / name)

    def begin_faults(self) -> None:
        """Let the fault script loose, from now on."""
        self.machine.outside.began = self.clock.now()
        self.injector = Injector(self.api, self._faults, self.cluster, self.network.go_down)
        self.network.server = self.injector

    def start(self, *arguments: str, answers: Sequence[str] | None = None) -> Command:
        """Start a command; at a terminal, if somebody gives answers there."""
        return Command(self, arguments, answers)

    def run(self, *arguments: str) -> Command:
        """Run a command to its end."""
        command = Command(self, arguments)
        command.end()
        return command

    def wait_until(self, condition: Callable[[], bool], timeout: float = LONG_S) -> None:
        """Let time pass until something is so."""
        judge = self.judge
        done = self.clock.run_until(lambda: bool(judge.complaints) or condition(), timeout)
        judge.rule()
        assert done, f"not so after {timeout} s; {judge.story()}"

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.clock.advance(seconds)
        self.judge.rule()

    # The cluster

    def daemon_set(self, name: str = "log-agent", namespace: str = "logging") -> Object:
        """Return a DaemonSet."""
        found = self.cluster.store.get(DAEMONSETS, (namespace, name))
        assert found is not None
        return found

    def node(self, name: str) -> Object:
        """Return a node."""
        found = self.cluster.store.get(NODES, ("", name))
        assert found is not None
        return found

    def pods(self) -> list[Object]:
        """Return all pods."""
        return list(self.cluster.store.scan(PODS))

    def nodes(self) -> list[str]:
        """Return the names of all nodes."""
        return sorted(node["metadata"]["name"] for node in self.cluster.store.scan(NODES))

    def patch(
        self, resource: Resource, name: str, body: dict[str, Any], namespace: str = "logging"
    ) -> None:
        """Change an object as somebody else does."""
        space = namespace if resource.namespaced else ""
        kind = PatchType.MERGE if resource is not DAEMONSETS else PatchType.STRATEGIC
        self.cluster.registry.patch(resource, space, name, body, kind, SOMEBODY)
