"""`scripts/bench apply`: how fast a plan is carried out, and what it asks of the API server."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from scripts.benchmarks.processes import ROLLOUT, Usage, child, measured
from scripts.benchmarks.servers import ServedCluster, served_cluster
from scripts.benchmarks.sizes import Sizes
from scripts.benchmarks.table import Row, at_most, plain

PAUSED: Final = 6  # exit code
TIMES: Final = ("constant", "lognormal", "stragglers")
TARGETS: Final = {1: 1.05, 5: 1.10, 10: 1.20}  # makespan over lower bound, by percent in flight
_READS: Final = ("get", "list", "watch")
_WRITES: Final = ("create", "update", "patch", "delete")
_UNLIMITED: Final = 1000  # replacements per second


def rows(sizes: Sizes) -> list[Row]:
    """Measure and return the rows."""
    return [*_reaction(sizes), *_races(sizes), *_makespans(sizes)]


def _spec(image: str, limit: int, waves: object) -> dict[str, Any]:
    """Return a spec; JSON is YAML."""
    item = {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": image}}},
        "strategy": {"maxUnavailable": limit},
    }
    return {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": "bench", "namespace": "logging"},
        "spec": {
            "daemonSets": [item],
            "waves": waves,
            "health": {"soak": 0},
            "limits": {"replacementsPerSecond": _UNLIMITED},
        },
    }


def _applied(cluster: ServedCluster, directory: Path, spec: Mapping[str, Any]) -> Usage:
    """Plan, then apply the saved plan; returns what `apply` used."""
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(directory)}
    file, plan = directory / "spec.yaml", directory / "plan.json"
    file.write_text(json.dumps(spec))
    measured([ROLLOUT, "plan", "-f", str(file), "--out", str(plan)], environment)
    cluster.order("watch")
    command = [ROLLOUT, "apply", str(plan), "-o", "jsonl"]
    return measured(command, environment, expected=(0, PAUSED))


def _reaction(sizes: Sizes) -> list[Row]:
    """Replace the first nodes of a large cluster; then the run pauses."""
    first = {"name": "first", "size": sizes.replaced, "pause": "approval"}
    spec = _spec("log-agent:2.4", sizes.flying, [first, {"name": "rest"}])
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(sizes.served, sizes.start_s, Path(name)) as cluster,
    ):
        usage = _applied(cluster, Path(name), spec)
        noted = cluster.order("noted")
    where = f"{sizes.replaced:,} of {sizes.served:,} nodes, {sizes.flying} in flight"
    return [
        *_reaction_rows(where, noted, sizes.flying),
        *_request_rows(noted["requests"], len(noted["deleted"])),
        at_most("  lists of one collection", max(noted["lists"].values()), 1, digits=0),
        plain("  peak memory of apply", f"{usage.peak_mb:.0f} MB"),
        plain("  CPU time of apply per node", f"{usage.cpu_s * 1000 / sizes.replaced:.1f} ms"),
    ]


def _reaction_rows(where: str, noted: Mapping[str, Any], flying: int) -> list[Row]:
    """Compare, by the server's clock alone, when a slot came free and when it was used again.

    The k-th pod that gets ready lets the (k + in flight)-th delete begin. Stricter than what is
    promised: the way of the news to us and of the delete to the server count, too.
    """
    deleted, ready = sorted(noted["deleted"]), sorted(noted["ready"])
    waits = [1000 * (d - r) for r, d in zip(ready, deleted[flying:], strict=False)]
    hundredth = quantiles(waits, n=100, method="inclusive")
    return [
        at_most(f"pod ready to next delete, p50; {where}", median(waits), 50, "ms", digits=0),
        at_most("  p99", hundredth[98], 500, "ms", digits=0),
        plain("  longest", f"{max(waits):.0f} ms"),
    ]


def _request_rows(requests: Mapping[str, int], nodes: int) -> list[Row]:
    def total(verbs: tuple[str, ...], plural: str = "") -> int:
        return sum(
            count
            for key, count in requests.items()
            if key.split(" ")[0] in verbs and key.endswith(f" {plural}" if plural else "")
        )

    pods = total(_WRITES, "pods")
    reads = ", ".join(f"{total((verb,))} {verb}" for verb in _READS)
    return [
        at_most("  writes of pods per node", pods / nodes, 1.05),
        plain("  other writes (DaemonSet, record, lease)", str(total(_WRITES) - pods)),
        plain("  reads in the whole run (pages of lists)", reads),
    ]


def _races(sizes: Sizes) -> list[Row]:
    found = []
    for nodes, flying in sizes.races:
        builtin, ours = _race(nodes, flying, sizes.start_s)
        found += [
            plain(
                f"built-in update, {nodes:,} nodes, {flying} in flight, real", f"{builtin:.1f} s"
            ),
            plain("  rollout apply, whole process", f"{ours:.1f} s"),
            at_most("  over the built-in one", ours / builtin, 1.0),
        ]
    return found


def _race(nodes: int, flying: int, start_s: float) -> tuple[float, float]:
    """Update a cluster with the built-in controller, then with a plan; returns the seconds."""
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(nodes, start_s, Path(name)) as cluster,
    ):
        builtin = cluster.order("builtin", "log-agent:2.4", flying)
        spec = _spec("log-agent:2.5", flying, "fast")
        ours = _applied(cluster, Path(name), spec).wall_s
        return builtin, ours


def _makespans(sizes: Sizes) -> list[Row]:
    found = []
    for times in TIMES:
        for percent in sizes.shares:
            ratios, _ = child("makespan", times, sizes.paced, percent)
            found += _makespan_rows(times, sizes.paced, percent, ratios)
    return found


def _makespan_rows(times: str, nodes: int, percent: int, ratios: Mapping[str, float]) -> list[Row]:
    known, builtin = ratios["known"], ratios["builtin"]
    limit = min(TARGETS[percent], round(builtin, 2))
    return [
        at_most(
            f"makespan over lower bound: {times} times, {nodes:,} nodes, {percent}% in flight",
            round(known, 2),
            limit,
        ),
        plain("  built-in controller", f"{builtin:.2f}"),
        plain("  nothing known of the nodes yet", f"{ratios['unknown']:.2f}"),
    ]
