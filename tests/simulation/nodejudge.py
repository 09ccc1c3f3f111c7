"""Which DaemonSets are down on which nodes, by the store alone, after each change of a pod."""

from __future__ import annotations

import msgspec

from rollout.fleet.objects import Pod
from rollout.sim.resources import PODS
from rollout.sim.store import Event, Object, Store


class NodeJudge:
    """Looks which DaemonSets are down on which nodes."""

    def __init__(self, store: Store) -> None:
        self.down: dict[str, set[str]] = {}  # node -> DaemonSets that lack a ready pod there
        self.shared: list[str] = []  # nodes on which two were down at once
        self.most = 0
        self._ready: dict[tuple[str, str], set[str]] = {}
        for pod in store.scan(PODS):
            self._count(pod, gone=False)
        store.subscribe(PODS, self._look)

    def down_by(self, name: str) -> set[str]:
        """Return the nodes on which a DaemonSet is down."""
        return {node for node, sets in self.down.items() if name in sets}

    def _look(self, event: Event) -> None:
        self._count(event.object, gone=event.type == "DELETED")

    def _count(self, raw: Object, *, gone: bool) -> None:
        pod = msgspec.convert(raw, Pod)
        name = (pod.metadata.labels or {}).get("app", "")
        place = (name, pod.target_node)
        ready = self._ready.setdefault(place, set())
        if pod.ready and not pod.terminating and not gone:
            ready.add(pod.metadata.uid)
        else:
            ready.discard(pod.metadata.uid)
        sets = self.down.setdefault(pod.target_node, set())
        (sets.discard if ready else sets.add)(name)
        if len(sets) > 1:
            self.shared.append(pod.target_node)
        self.most = max(self.most, sum(bool(down) for down in self.down.values()))
