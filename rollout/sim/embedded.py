"""The embedded cluster on real time, behind its HTTP server: what `rollout sim start` runs."""

from __future__ import annotations

import secrets
import threading
from typing import Self

from rollout.sim.api import Api
from rollout.sim.audit import AuditLog
from rollout.sim.clock import RealClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.faultfile import Script
from rollout.sim.faults import Injector
from rollout.sim.fleetfile import Fleet
from rollout.sim.kubeconfigfile import kubeconfig
from rollout.sim.logs import scripted
from rollout.sim.metrics import used_by
from rollout.sim.rbac import ADMIN, User
from rollout.sim.server import Server
from rollout.sim.store import Object


class EmbeddedCluster:
    """A whole cluster in this process, reachable over loopback.

    Args:
        fleet: what it holds at the start.
        port: 0 takes a free one.
        audit: hears of every request, and of what the parts of the cluster write.
        settings: how the cluster is built.
        faults: what goes wrong, measured from the start on.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        port: int = 0,
        audit: AuditLog | None = None,
        settings: Settings | None = None,
        faults: Script | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.audit = audit or AuditLog()
        self._clock = RealClock(self.lock)
        self._token = secrets.token_urlsafe(24)
        self.cluster = Cluster(self._clock, fleet, settings, self.audit)
        tokens = {self._token: ADMIN}
        tokens.update({user.token: User(user.name, user.groups) for user in fleet.users})
        self.api = Api(
            self.cluster.registry,
            tokens=tokens,
            anonymous=ADMIN,  # kubectl sends no token over plain HTTP; this is loopback only
            audit=self.audit,
            seed=fleet.seed,
        )
        look_up = self.cluster.images.behaviour
        self.api.logs.script = scripted(lambda image, node: look_up(image, node).logs or ())
        if self.api.metrics is not None:
            self.api.metrics.rule = used_by(look_up)
        self.server = Server(self.api, self.lock, port=port)
        self._faults = faults
        self.injector: Injector | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Set controllers and kubelets to work and open the port.

        Raises:
            OSError: when the port is taken.
        """
        with self.lock:
            self.server.start()
            self.cluster.start()
            if self._faults is not None:
                self.injector = Injector(self.api, self._faults, self.cluster, self.server.restart)
                self.server.handler = self.injector
        self._clock.start()

    def stop(self) -> None:
        """Stop everything; no thread and no socket is left."""
        self.server.stop()
        with self.lock:
            self.cluster.stop()
        self._clock.stop()
        self.audit.close()

    def fault_report(self) -> list[str]:
        """Return a line for each fault of the script: how often it struck so far."""
        if self.injector is None:
            return []
        with self.lock:
            return [
                f"fault {name}: struck {counter.hits}, matching requests {counter.seen}"
                for name, counter in self.injector.counters.items()
            ]

    def kubeconfig(self, token: str = "") -> Object:
        """Return a kubeconfig for the administrator, or for the user with this token."""
        return kubeconfig(self.server.url, token or self._token)
