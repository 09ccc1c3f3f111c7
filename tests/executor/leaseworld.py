"""Locks over HTTP against the embedded cluster, on a clock that the test turns."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rollout.cluster.client import Client
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.leases import LeaseName, LeaseStore
from rollout.executor.lock.lock import Lock
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import default_fleet
from tests.cluster.world import talking_to

LEASE = LeaseName("logging", "log-agent")
OTHER = LeaseName("logging", "metrics-agent")
LEASES = "/apis/coordination.k8s.io/v1/namespaces/logging/leases"
ANN = Holder("run-a", "ann@laptop", "1.1")
BOB = Holder("run-b", "bob@ci", "2.2")


@dataclass
class Time:
    """Own clock and wall clock, and an alarm that does not wait but lets the time pass."""

    now: float = 0.0
    began: float = field(default_factory=time.time)
    looks: int = 0
    waited: list[float] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None  # happens at the end of every wait
    rung: bool = False

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        """Return a time that is later at each look, by far less than anything here counts."""
        self.looks += 1
        return self.began + self.now + self.looks * 1e-6

    def wait(self, timeout: float) -> bool:
        if not self.rung:
            self.waited.append(timeout)
            self.now += timeout
            self.meanwhile()
        return self.rung

    def set(self) -> None:
        """Nobody waits: all happens in one thread."""


class Turnstile:
    """An alarm for the thread that renews: it waits until the test lets it go on."""

    def __init__(self, now: Time) -> None:
        self.now = now
        self.waiting: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._go: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def wait(self, timeout: float) -> bool:
        self.waiting.put(timeout)
        return self._go.get(timeout=120)

    def set(self) -> None:
        self._go.put(True)

    def let_pass(self) -> float:
        """Let the thread's wait end in time; returns how long it was."""
        timeout = self.waiting.get(timeout=120)
        self.now.now += timeout
        self._go.put(False)
        return timeout


class Unhurried(Client):
    """Knows no real time, for the test has one of its own: each answer may take as long as it will.

    The server's clock, which tells real time, is not compared with the test's.
    """

    clock_skew_s = 0.0

    def urgent(self, total_s: float) -> Client:
        sender = self._sender.urgent(total_s)
        sender._timeout_s = None
        return Unhurried(sender, self.namespace)


@dataclass
class LeaseWorld:
    """A cluster, a client and a clock."""

    cluster: EmbeddedCluster
    client: Client
    time: Time = field(default_factory=Time)
    told: list[str] = field(default_factory=list)  # by on_change
    waits: list[str] = field(default_factory=list)  # by on_wait

    def lock(self, holder: Holder = ANN, *leases: LeaseName, **changes: Any) -> Lock:
        settings = {
            "clock": self.time.clock,
            "wall": self.time.wall,
            "alarm": self.time,
            "ended": lambda _process: False,
            "on_change": self.told.append,
            "on_wait": self.waits.append,
            **changes,
        }
        return Lock(self.client, leases or (LEASE,), holder, **settings)

    def held(self, holder: Holder = ANN, *leases: LeaseName, **changes: Any) -> Lock:
        lock = self.lock(holder, *leases, **changes)
        lock.acquire()
        return lock

    def store(self) -> LeaseStore:
        return LeaseStore(self.client, 15.0, 5.0, wall=self.time.wall)

    def lease(self, name: LeaseName = LEASE) -> dict[str, Any]:
        return self.client.get(f"{LEASES}/{name.name}", dict)

    def holder(self, name: LeaseName = LEASE) -> str | None:
        """Return the run that holds the lease, or None."""
        identity: str = self.lease(name)["spec"].get("holderIdentity") or ""
        return identity.partition(" ")[0] or None

    def epoch(self, name: LeaseName = LEASE) -> int:
        epoch: int = self.lease(name)["spec"]["leaseTransitions"]
        return epoch

    def delete(self, name: LeaseName = LEASE) -> None:
        self.client.delete(f"{LEASES}/{name.name}", uid=self.lease(name)["metadata"]["uid"])


@contextmanager
def lease_world(directory: Path, faults: str = "") -> Iterator[LeaseWorld]:
    """Run a cluster, with a fault script if need be."""
    script = read_faults(None, faults) if faults else None
    with EmbeddedCluster(default_fleet(nodes=1), faults=script) as cluster:
        user = cluster.kubeconfig()["users"][0]["user"]
        with talking_to(cluster.server.url, directory, user=user) as client:
            yield LeaseWorld(cluster, Unhurried(client._sender, client.namespace))
