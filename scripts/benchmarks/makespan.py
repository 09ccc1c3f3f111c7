"""How long an update takes against the shortest time possible, ours and the built-in one.

The shortest time is max(sum of the nodes' times / nodes in flight, longest of them); the times
are those of the very run, from the delete of a pod until its successor is ready. Which node is
slow is a property of the node; how slow it is this time is drawn anew. One cluster is updated
three times: by us when nothing is known of the nodes, by the built-in controller, and by us with
the start times that the pods of that update tell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Final

from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.store import Event
from scripts.benchmarks.fleets import uneven_fleet
from scripts.benchmarks.updates import (
    CONTAINER,
    DAEMON_SET,
    NAMESPACE,
    begin_builtin,
    is_ready,
    is_updated,
)
from tests.simulation.driver import VirtualRun, make_plan

MEDIAN_S: Final = 20.0  # of a pod's start
_LONGEST_S: Final = 86_400.0
_AGAIN: Final = {"constant": 0.0, "lognormal": 0.26, "stragglers": 0.1}  # sigma of each start


@dataclass(slots=True)
class Stopwatch:
    """Notes from the store alone when each node's pod was deleted and its successor ready."""

    cluster: Cluster
    began: dict[str, float]
    took: dict[str, float]
    last: float = 0.0

    def look(self, event: Event) -> None:
        """Take in a change of a pod."""
        if event.type != "MODIFIED" or event.old is None:
            return
        node, now = event.object["spec"].get("nodeName", ""), self.cluster.clock.now()
        deleted = "deletionTimestamp" in event.object["metadata"]
        if deleted and "deletionTimestamp" not in event.old["metadata"]:
            self.began[node] = now
        elif is_ready(event.object) and not is_ready(event.old) and not deleted:
            self.took[node] = now - self.began[node]
            self.last = now

    def ratio(self, limit: int) -> float:
        """Return the makespan over the lower bound."""
        bound = max(sum(self.took.values()) / limit, *self.took.values())
        return (self.last - min(self.began.values())) / bound


def compare(times: str, nodes: int, percent: int) -> dict[str, Any]:
    """Update one fleet three times.

    Args:
        times: `constant`, `lognormal` or `stragglers`.
        nodes: how many there are.
        percent: share of them that may be in flight.

    Returns:
        The makespan of each update over its own lower bound.
    """
    limit = max(1, nodes * percent // 100)
    clock = VirtualClock()
    settings = Settings(track_managers=False, events=False)
    cluster = Cluster(clock, uneven_fleet(times, nodes, MEDIAN_S, again=_AGAIN[times]), settings)
    cluster.start()
    return {
        "unknown": _ours(cluster, "log-agent:2.4", limit),
        "builtin": _builtin(cluster, clock, "log-agent:2.5", limit),
        "known": _ours(cluster, "log-agent:2.6", limit),
    }


def _ours(cluster: Cluster, image: str, limit: int) -> float:
    item = {
        "name": DAEMON_SET,
        "target": {"set": {"image": {CONTAINER: image}}},
        "strategy": {"maxUnavailable": limit},
    }
    body = {
        "daemonSets": [item],
        "waves": "fast",
        "health": {"soak": 0, "nodeTimeout": "1h"},
        "limits": {"replacementsPerSecond": 1000},
    }
    watch = Stopwatch(cluster, {}, {})
    stop = cluster.store.subscribe(PODS, watch.look)
    run = VirtualRun(cluster, make_plan(cluster, body, NAMESPACE), random.Random(1))  # noqa: S311 - repeatable, not secret
    run.start()
    run.run(_LONGEST_S)
    stop()
    return watch.ratio(limit)


def _builtin(cluster: Cluster, clock: VirtualClock, image: str, limit: int) -> float:
    watch = Stopwatch(cluster, {}, {})
    stop = cluster.store.subscribe(PODS, watch.look)
    begin_builtin(cluster, image, limit)

    def ended() -> bool:
        live = cluster.store.get(DAEMONSETS, (NAMESPACE, DAEMON_SET))
        return live is not None and is_updated(live)

    assert clock.run_until(ended, _LONGEST_S)
    stop()
    return watch.ratio(limit)
