"""The process behind `servers.served_cluster`: an embedded cluster that takes orders.

Orders come on standard input, a line each; every one is answered by a line of JSON.

    touch COUNT         change that many pods, as fast as it goes
    builtin IMAGE LIMIT let the built-in controller update everything
    watch               note from now on when pods are deleted and become ready, and requests
    noted               what was noted since `watch`
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import yaml

from rollout.sim.audit import Entry
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.errors import StatusError
from rollout.sim.fleetfile import User
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Event, Object
from scripts.benchmarks.fleets import uneven_fleet
from scripts.benchmarks.updates import DAEMON_SET, NAMESPACE, begin_builtin, is_ready, is_updated

TOKEN: Final = "bench"  # noqa: S105 - of a cluster that lives for minutes, on loopback
USER: Final = User("bench", TOKEN, ("system:masters",))
_LOOK_S: Final = 0.05


class Notes:
    """When pods were deleted and became ready, by the cluster's clock."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster
        self.began = time.time()
        self.changed = 0.0  # when the template was
        self.deleted: list[float] = []
        self.ready: list[float] = []
        with cluster.lock:
            store = cluster.cluster.store
            self._stops = (
                store.subscribe(PODS, self._look),
                store.subscribe(DAEMONSETS, self._look_at_daemon_set),
            )

    def stop(self) -> None:
        """Note no more."""
        with self._cluster.lock:
            for stop in self._stops:
                stop()

    def _look_at_daemon_set(self, event: Event) -> None:
        old = event.old or event.object
        if event.object["spec"]["template"] != old["spec"]["template"]:
            self.changed = time.time()

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
        with cluster.lock, suppress(StatusError):  # a run may have taken it away
            cluster.cluster.registry.patch(PODS, NAMESPACE, name, body, PatchType.MERGE, ADMIN)
    return time.perf_counter() - began


def builtin(cluster: EmbeddedCluster, image: str, limit: int) -> None:
    """Let the built-in controller update everything, and wait for its end."""
    with cluster.lock:
        begin_builtin(cluster.cluster, image, limit)
    while True:
        with cluster.lock:
            live = cluster.cluster.store.get(DAEMONSETS, (NAMESPACE, DAEMON_SET))
        if live is not None and is_updated(live):
            return
        time.sleep(_LOOK_S)


def _answer(cluster: EmbeddedCluster, notes: list[Notes], words: list[str]) -> Any:  # noqa: ANN401 - any JSON
    match words:
        case ["touch", count]:
            return touch(cluster, int(count))
        case ["builtin", image, limit]:
            builtin(cluster, image, int(limit))
            return True
        case ["watch"]:
            notes.append(Notes(cluster))
            return True
        case ["noted"]:
            noted = notes.pop()
            noted.stop()
            return {
                "changed": noted.changed,
                "deleted": noted.deleted,
                "ready": noted.ready,
                "requests": noted.requests(),
                "lists": noted.lists(),
            }
    raise ValueError(f"no order: {words}")


def main() -> None:
    """Serve until SIGTERM."""
    nodes, start_s, kubeconfig = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    again, seed = float(sys.argv[4]), int(sys.argv[5])
    fleet = uneven_fleet("lognormal", nodes, start_s, again=again, seed=seed, users=(USER,))
    with EmbeddedCluster(fleet) as cluster:
        kubeconfig.write_text(yaml.safe_dump(cluster.kubeconfig(TOKEN)))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        print(json.dumps(cluster.server.url), flush=True)
        notes: list[Notes] = []
        for line in sys.stdin:
            print(json.dumps(_answer(cluster, notes, line.split())), flush=True)


if __name__ == "__main__":
    main()
