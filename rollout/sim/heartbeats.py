"""The leases by which kubelets show that they live: only where somebody wants to see them.

Nothing in the embedded cluster looks at them (silence is announced, see `nodelifecycle`), and at
5,000 nodes they would be 500 writes a second. They are for clients that watch leases themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rollout.sim.clock import Clock
from rollout.sim.components import kubelet_caller
from rollout.sim.errors import StatusError
from rollout.sim.registry import Registry
from rollout.sim.resources import LEASES, NODES
from rollout.sim.store import Object
from rollout.sim.timestamps import rfc3339_micro

NAMESPACE: Final = "kube-node-lease"
PERIOD: Final = 10.0
DURATION: Final = 40


class Heartbeats:
    """Renews the lease of every node that is not silent."""

    def __init__(self, registry: Registry, clock: Clock, silent: Callable[[str], bool]) -> None:
        self._registry = registry
        self._clock = clock
        self._silent = silent

    def start(self) -> None:
        """Renew all leases now and every ten seconds."""
        for node in tuple(self._registry.store.scan(NODES)):
            if not self._silent(node["metadata"]["name"]):
                self._renew(node)
        self._clock.call_later(PERIOD, self.start)

    def _renew(self, node: Object) -> None:
        name = node["metadata"]["name"]
        caller = kubelet_caller(name)
        now = rfc3339_micro(self._clock.now())
        lease = self._registry.store.get(LEASES, (NAMESPACE, name))
        try:
            if lease is None:
                self._registry.create(LEASES, NAMESPACE, _lease(node, now), caller)
                return
            spec = {**lease["spec"], "renewTime": now}
            self._registry.update(LEASES, NAMESPACE, name, {**lease, "spec": spec}, caller)
        except StatusError:
            return  # the next beat is another try


def _lease(node: Object, now: str) -> Object:
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
    return {
        "metadata": {"name": name, "ownerReferences": [owner]},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": DURATION, "renewTime": now},
    }
