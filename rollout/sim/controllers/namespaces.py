"""Empties namespaces that are being deleted, then lets them go."""

from __future__ import annotations

from typing import Final

from rollout.sim.clock import Clock
from rollout.sim.controllers.workqueue import Informer, WorkQueue
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import NAMESPACES, RESOURCES
from rollout.sim.store import Event, Object

FINALIZER: Final = "kubernetes"
AGAIN: Final = 1.0  # seconds until a namespace that is not empty yet is looked at again


class NamespaceController:
    """Finishes the deletion of namespaces."""

    def __init__(self, registry: Registry, clock: Clock, caller: Caller, *, latency: float) -> None:
        self._registry = registry
        self._caller = caller
        self._contents = [r for r in RESOURCES if r.namespaced and "delete" in r.verbs]
        self._queue: WorkQueue[str] = WorkQueue(clock, self._sync)
        self._informer = Informer(registry.store, clock, (NAMESPACES,), latency, self._handle)

    def start(self) -> None:
        """Follow all namespaces."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        self._queue.stop()

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.type != "DELETED" and "deletionTimestamp" in event.object["metadata"]:
                self._queue.add(event.key[1])

    def _sync(self, name: str) -> bool:
        namespace = self._registry.store.get(NAMESPACES, ("", name))
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return True
        if self._delete_contents(name):
            self._queue.add_after(name, AGAIN)
            return True
        return self._finalize(namespace)

    def _delete_contents(self, name: str) -> bool:
        """Delete what is in the namespace; True when anything was."""
        found = False
        for resource in self._contents:
            for obj in tuple(self._registry.store.scan(resource, name)):
                found = True
                if "deletionTimestamp" in obj["metadata"]:
                    continue
                try:
                    self._registry.delete(resource, name, obj["metadata"]["name"], self._caller)
                except StatusError:
                    continue
        return found

    def _finalize(self, namespace: Object) -> bool:
        finalizers = [f for f in namespace["spec"].get("finalizers") or () if f != FINALIZER]
        spec = {**namespace["spec"], "finalizers": finalizers}
        try:
            self._registry.update(
                NAMESPACES,
                "",
                namespace["metadata"]["name"],
                {**namespace, "spec": spec},
                self._caller,
                subresource="finalize",
            )
        except StatusError:
            return False
        return True
