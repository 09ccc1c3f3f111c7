"""The embedded cluster on the virtual clock: its pace and its memory."""

from __future__ import annotations

import gc
import time
from typing import Any, Final

import msgspec

from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet
from rollout.sim.images import Behaviour, Timing
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from scripts.benchmarks.processes import resident_mb
from scripts.benchmarks.updates import DAEMON_SET, NAMESPACE, begin_builtin, is_updated

START: Final = Timing(15.0, sigma=0.3)  # seconds; 100 turns of it are half an hour
TURNS: Final = 100


def store(nodes: int) -> dict[str, Any]:
    """Build and start a cluster as `rollout sim start` does; returns seconds and MiB."""
    gc.collect()
    before = resident_mb()
    began = time.perf_counter()
    cluster = Cluster(VirtualClock(), default_fleet(nodes, seed=1))
    cluster.start()
    built = time.perf_counter() - began
    counted = cluster.store.count(NODES) + cluster.store.count(PODS)
    return {"built_s": built, "grown_mb": resident_mb() - before, "objects": counted}


def update(nodes: int) -> dict[str, Any]:
    """Let the built-in controller update every node in about half an hour of virtual time."""
    fleet = default_fleet(nodes, seed=1)
    behaviour = Behaviour(start=START).over(fleet.default_behaviour)
    fleet = msgspec.structs.replace(fleet, default_behaviour=behaviour)
    before = resident_mb()
    clock = VirtualClock()
    cluster = Cluster(clock, fleet, Settings(track_managers=False, events=False))
    cluster.start()
    version, start = cluster.store.version, clock.now()
    began = time.perf_counter()
    begin_builtin(cluster, "log-agent:2.4", max(1, nodes // TURNS))

    def ended() -> bool:
        live = cluster.store.get(DAEMONSETS, (NAMESPACE, DAEMON_SET))
        return live is not None and is_updated(live)

    assert clock.run_until(ended, 86_400.0)
    return {
        "real_s": time.perf_counter() - began,
        "virtual_s": clock.now() - start,
        "events": clock.executed,
        "changes": cluster.store.version - version,
        "grown_mb": resident_mb() - before,
    }
