"""The process behind `servers.served_cluster`: an embedded cluster that takes orders.

Orders come on standard input, a line each; every one is answered by a line of JSON.

    touch COUNT         change that many pods, as fast as it goes
    builtin IMAGE LIMIT let the built-in controller update; answers with its seconds
    watch               note from now on when pods are deleted and become ready, and requests
    noted               what was noted since `watch`
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from rollout.sim.audit import Entry
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.fleetfile import User, default_fleet
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Event, Object
from scripts.benchmarks.updates import DAEMON_SET, NAMESPACE, begin_builtin, is_ready, is_updated

TOKEN: Final = "bench"  # noqa: S105 - of a cluster that lives for minutes, on loopback
USER: Final = User("bench", TOKEN, ("system:masters",))
SIGMA: Final = 0.6  # of the logarithm of the seconds that pods take to start
_LOOK_S: Final = 0.05


class Notes:
    """When pods were deleted and became ready, by the cluster's clock."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster
        self.began = time.time()
        self.deleted: list[float] = []
        self.ready: list[float] = []
        with cluster.lock:
            self.stop = cluster.cluster.store.subscribe(PODS, self._look)

    def _look(self, event: Event) -> None:
        if event.type != "MODIFIED" or event.old is None:
            return
        if _deleted(event.object) and not _deleted(event.old):
            self.deleted.append(time.time())
        elif is_ready(event.object) and not is_ready(event.old):
            self.ready.append(time.time())

    def requests(self) -> dict[str, int]:
        """Return how often the benchmark's user has done what to which kind."""
        return Counter(f"{entry.verb} {_kind(entry.path)}" for entry in self._entries())

    def lists(self) -> dict[str, int]:
        """Return how often the benchmark's user has begun each list."""
        listed = (entry.path for entry in self._entries() if entry.verb == "list")
        return Counter(path for path in listed if "continue=" not in path)

    def _entries(self) -> list[Entry]:
        entries = tuple(self._cluster.audit.entries)
        return [e for e in entries if e.user == USER.name and e.time >= self.began]


def _deleted(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _kind(path: str) -> str:
    """Return the plural that a request path names; "" for none."""
    parts = path.partition("?")[0].strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:  # noqa: PLR2004 - namespaces/NAME/plural
        rest = rest[2:]
    return rest[0] if rest else ""


def touch(cluster: EmbeddedCluster, count: int) -> float:
    """Change pods one after the other and return the seconds that it took."""
    with cluster.lock:
        names = [pod["metadata"]["name"] for pod in cluster.cluster.store.scan(PODS, NAMESPACE)]
    began = time.perf_counter()
    for number, name in enumerate(islice(cycle(names), count)):
        body = {"metadata": {"annotations": {"touched": f"{began}/{number}"}}}
        with cluster.lock:
            cluster.cluster.registry.patch(PODS, NAMESPACE, name, body, PatchType.MERGE, ADMIN)
    return time.perf_counter() - began


def builtin(cluster: EmbeddedCluster, image: str, limit: int) -> float:
    """Let the built-in controller update everything; returns its seconds."""
    began = time.perf_counter()
    with cluster.lock:
        begin_builtin(cluster.cluster, image, limit)
    while True:
        with cluster.lock:
            live = cluster.cluster.store.get(DAEMONSETS, (NAMESPACE, DAEMON_SET))
        if live is not None and is_updated(live):
            return time.perf_counter() - began
        time.sleep(_LOOK_S)


def _answer(cluster: EmbeddedCluster, notes: list[Notes], words: list[str]) -> Any:  # noqa: ANN401
    match words:
        case ["touch", count]:
            return touch(cluster, int(count))
        case ["builtin", image, limit]:
            return builtin(cluster, image, int(limit))
        case ["watch"]:
            notes.append(Notes(cluster))
            return True
        case ["noted"]:
            noted = notes.pop()
            noted.stop()
            return {
                "deleted": noted.deleted,
                "ready": noted.ready,
                "requests": noted.requests(),
                "lists": noted.lists(),
            }
    raise ValueError(f"no order: {words}")


def main() -> None:
    """Serve until SIGTERM."""
    nodes, start_s, kubeconfig = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    fleet = default_fleet(nodes, seed=1)
    behaviour = Behaviour(start=Timing(start_s, sigma=SIGMA)).over(fleet.default_behaviour)
    fleet = msgspec.structs.replace(fleet, users=(USER,), default_behaviour=behaviour)
    with EmbeddedCluster(fleet) as cluster:
        kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig(TOKEN)))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print(json.dumps(cluster.server.url), flush=True)
        notes: list[Notes] = []
        for line in sys.stdin:
            print(json.dumps(_answer(cluster, notes, line.split())), flush=True)


if __name__ == "__main__":
    main()
