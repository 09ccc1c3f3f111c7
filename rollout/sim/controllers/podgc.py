"""Pod garbage collection: pods whose node is gone or given up (behaviour.md 6.4).

The real one looks at all pods every 20 s. This one keeps the few nodes that can matter and wakes at
the same instants, but only when there is something to look at.
"""

from __future__ import annotations

import math
from typing import Final

from rollout.sim.clock import Clock, Timer
from rollout.sim.controllers.workqueue import Informer
from rollout.sim.errors import StatusError
from rollout.sim.nodestatus import condition_status
from rollout.sim.podindex import PodIndex
from rollout.sim.registry import Caller, DeleteOptions, Registry
from rollout.sim.resources import NODES, PODS
from rollout.sim.store import Event, Key, Object
from rollout.sim.timestamps import rfc3339

PERIOD: Final = 20.0
QUARANTINE: Final = 40.0
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
_TERMINAL: Final = ("Failed", "Succeeded")


class PodGC:
    """Ends the pods that nobody else can end."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        caller: Caller,
        index: PodIndex,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._caller = caller
        self._index = index
        self._started = 0.0
        self._timer: Timer | None = None
        self._missing: dict[str, float | None] = {}  # nodes; since when in quarantine
        self._given_up: set[str] = set()
        self._unbound: dict[Key, None] = {}  # terminating, never scheduled
        self._informer = Informer(registry.store, clock, (NODES, PODS), latency, self._handle)

    def start(self) -> None:
        """Look at all nodes and pods, and follow their changes."""
        self._started = self._clock.now()
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        if self._timer is not None:
            self._timer.cancel()

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.resource is NODES:
                self._on_node(event)
            else:
                self._on_pod(event)
        self._wake()

    def _on_node(self, event: Event) -> None:
        name = event.key[1]
        if event.type == "DELETED":
            self._given_up.discard(name)
            self._missing.setdefault(name, None)
            return
        self._missing.pop(name, None)
        given_up = any(t["key"] == OUT_OF_SERVICE for t in _taints(event.object))
        (self._given_up.add if given_up else self._given_up.discard)(name)

    def _on_pod(self, event: Event) -> None:
        pod = event.object
        node = pod["spec"].get("nodeName")
        if event.type == "DELETED":
            self._unbound.pop(event.key, None)
        elif not node and "deletionTimestamp" in pod["metadata"]:
            self._unbound[event.key] = None
        elif node and self._registry.store.get(NODES, ("", node)) is None:
            self._missing.setdefault(node, None)

    def _wake(self) -> None:
        """Be called at the next round, if there is anything to look at."""
        if self._timer is not None or not (self._missing or self._given_up or self._unbound):
            return
        passed = self._clock.now() - self._started
        rounds = math.floor(passed / PERIOD) + 1
        self._timer = self._clock.call_later(rounds * PERIOD - passed, self._round)

    def _round(self) -> None:
        self._timer = None
        for node in sorted(self._given_up):
            self._collect_given_up(node)
        for key in tuple(self._unbound):
            self._force_delete(key)
        for node in tuple(self._missing):
            self._collect_missing(node)
        self._wake()

    def _collect_given_up(self, name: str) -> None:
        node = self._registry.store.get(NODES, ("", name))
        if node is None or condition_status(node, "Ready") == "True":
            return
        for pod in self._index.on(name):
            if "deletionTimestamp" in pod["metadata"]:
                self._end(pod, "PodGC: node is out of service")

    def _collect_missing(self, name: str) -> None:
        if self._registry.store.get(NODES, ("", name)) is not None:
            del self._missing[name]
            return
        now, since = self._clock.now(), self._missing[name]
        if since is None:
            self._missing[name] = now
        elif now - since >= QUARANTINE:
            del self._missing[name]
            for pod in self._index.on(name):
                self._end(pod, "PodGC: node no longer exists")

    def _end(self, pod: Object, message: str) -> None:
        """Mark the pod Failed, then force its deletion."""
        meta = pod["metadata"]
        key = (meta["namespace"], meta["name"])
        if pod["status"].get("phase") not in _TERMINAL:
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": rfc3339(self._clock.now()),
                "reason": "DeletionByPodGC",
                "message": message,
            }
            others = [
                c for c in pod["status"].get("conditions") or () if c["type"] != condition["type"]
            ]
            status = {**pod["status"], "phase": "Failed", "conditions": [*others, condition]}
            try:
                self._registry.update_status(PODS, pod, status, self._caller)
            except StatusError:
                return
        self._force_delete(key)

    def _force_delete(self, key: Key) -> None:
        self._unbound.pop(key, None)
        try:
            self._registry.delete(PODS, *key, self._caller, DeleteOptions(grace_period_seconds=0))
        except StatusError:
            return


def _taints(node: Object) -> list[Object]:
    taints: list[Object] = (node.get("spec") or {}).get("taints") or []
    return taints
