"""Which pods are bound to which node, kept up to date by the store's own events."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.sim.resources import PODS
from rollout.sim.store import Event, Key, Object, Store


class PodIndex:
    """Pods by node; one for all parts of a cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keys: dict[str, dict[Key, None]] = {}
        for pod in store.scan(PODS):
            self._add(pod)
        store.subscribe(PODS, self._follow)

    def on(self, node: str) -> Iterator[Object]:
        """Yield the pods that are bound to the node, in the order in which they came."""
        for key in tuple(self._keys.get(node, ())):
            pod = self._store.get(PODS, key)
            if pod is not None:
                yield pod

    def nodes(self) -> Iterator[str]:
        """Yield the names of the nodes that pods are bound to."""
        return iter(tuple(self._keys))

    def _follow(self, event: Event) -> None:
        before = event.old["spec"].get("nodeName") if event.old is not None else None
        after = event.object["spec"].get("nodeName")
        if event.type == "DELETED":
            after = None
        if before == after:
            return
        if before:
            keys = self._keys[before]
            keys.pop(event.key, None)
            if not keys:
                del self._keys[before]
        if after:
            self._keys.setdefault(after, {})[event.key] = None

    def _add(self, pod: Object) -> None:
        meta, node = pod["metadata"], pod["spec"].get("nodeName")
        if node:
            self._keys.setdefault(node, {})[(meta["namespace"], meta["name"])] = None
