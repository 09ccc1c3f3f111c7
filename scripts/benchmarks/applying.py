"""`scripts/bench apply`: how fast a plan is carried out, and what it asks of the API server."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from scripts.benchmarks.processes import ROLLOUT, Usage, child, measured
from scripts.benchmarks.servers import ServedCluster, served_cluster
from scripts.benchmarks.sizes import Sizes
from scripts.benchmarks.specs import write_spec
from scripts.benchmarks.table import Row, at_most, plain

PAUSED: Final = 6  # exit code
TIMES: Final = ("constant", "lognormal", "stragglers")
TARGETS: Final = {1: 1.05, 5: 1.10, 10: 1.20}  # makespan over lower bound, by percent in flight
_WRITES: Final = ("create", "update", "patch", "delete")


def rows(sizes: Sizes) -> list[Row]:
    """Measure and return the rows."""
    return [
        *_reaction(sizes),
        *_hand_over(sizes),
        *_long_run(sizes),
        *_races(sizes),
        *_makespans(sizes),
    ]


def _applied(
    cluster: ServedCluster,
    directory: Path,
    image: str,
    limit: int,
    waves: object,
    *,
    hands_over: bool = False,
) -> Usage:
    """Plan, then apply the saved plan; returns what `apply` used."""
    environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": str(directory)}
    spec = write_spec(directory, image, limit, waves, hands_over=hands_over)
    plan = directory / "plan.json"
    measured([ROLLOUT, "plan", "-f", str(spec), "--out", str(plan)], environment)
    cluster.order("watch")
    command = [ROLLOUT, "apply", str(plan), "-o", "jsonl"]
    return measured(command, environment, expected=(0, PAUSED))


def _reaction(sizes: Sizes) -> list[Row]:
    """Replace the first nodes of a large cluster; then the run pauses."""
    first = {"name": "first", "size": sizes.replaced, "pause": "approval"}
    waves = [first, {"name": "rest"}]
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(sizes.served, sizes.start_s, Path(name)) as cluster,
    ):
        usage = _applied(cluster, Path(name), "log-agent:2.4", sizes.flying, waves)
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


def _hand_over(sizes: Sizes) -> list[Row]:
    """Count what a node costs whose new pod comes before the old one goes."""
    nodes, flying = sizes.handed_over
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(nodes, sizes.start_s, Path(name)) as cluster,
    ):
        _applied(cluster, Path(name), "log-agent:2.4", flying, "fast", hands_over=True)
        noted = cluster.order("noted")
    assert len(noted["deleted"]) == nodes
    writes = _writes(noted["requests"])
    what = f"writes per node beyond the record in a hand-over, {nodes:,} nodes, {flying} in flight"
    return [at_most(what, _beyond_the_record(writes) / nodes, 1.05 + 2)]


def _long_run(sizes: Sizes) -> list[Row]:
    """Let a run wait behind its first node while pods change again and again, as in many days."""
    first = {"name": "first", "size": 1, "bake": f"{sizes.churn_s}s"}
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(sizes.churned, sizes.start_s / 10, Path(name)) as cluster,
        ThreadPoolExecutor(1) as pool,
    ):
        waves = [first, {"name": "rest"}]
        limit = max(1, sizes.churned // 10)
        environment = {"KUBECONFIG": str(cluster.kubeconfig), "HOME": name}
        spec, plan = write_spec(Path(name), "log-agent:2.4", limit, waves), Path(name, "plan.json")
        measured([ROLLOUT, "plan", "-f", str(spec), "--out", str(plan)], environment)
        command = [ROLLOUT, "apply", str(plan), "-o", "jsonl"]
        running = pool.submit(measured, command, environment)
        cluster.order("touch", sizes.churn)
        usage = running.result()
    what = f"memory of a run over {sizes.churn:,} changes of {sizes.churned:,} pods"
    early = usage.memory_mb[len(usage.memory_mb) // 4]
    return [
        plain(what, f"{early:.0f} MB after a quarter, {usage.memory_mb[-1]:.0f} MB at the end"),
        at_most("  the end over the quarter", usage.memory_mb[-1] / early, 1.25),
    ]


def _request_rows(requests: Mapping[str, int], nodes: int) -> list[Row]:
    """Say what was asked of the server; the keys are `VERB KIND`."""
    writes = _writes(requests)
    reads: Counter[str] = Counter()
    for key, count in requests.items():
        verb, _, kind = key.partition(" ")
        if kind.endswith("reviews"):
            reads[kind] += count
        elif verb not in _WRITES:
            reads[verb] += count
    return [
        at_most("  writes per node beyond the record", _beyond_the_record(writes) / nodes, 1.05),
        plain("  writes in the whole run", _counts(writes)),
        plain("  reads in the whole run (pages of lists)", _counts(reads)),
    ]


def _writes(requests: Mapping[str, int]) -> Counter[str]:
    """Return how often each kind was written."""
    writes: Counter[str] = Counter()
    for key, count in requests.items():
        verb, _, kind = key.partition(" ")
        if verb in _WRITES and not kind.endswith("reviews"):
            writes[kind] += count
    return writes


def _beyond_the_record(writes: Mapping[str, int]) -> int:
    """Return all writes but those of the run record and the plan that is kept beside it."""
    return sum(count for kind, count in writes.items() if kind != "configmaps")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _races(sizes: Sizes) -> list[Row]:
    """Let both update the same nodes, of which each takes the same time again and again."""
    found = []
    for nodes, flying in sizes.races:
        unknown, builtin, known, besides = _race(nodes, flying, sizes.start_s)
        found += [
            plain(
                f"built-in update, {nodes:,} nodes, {flying} in flight, real", f"{builtin:.1f} s"
            ),
            plain("  ours, nothing known of the nodes yet", f"{unknown:.1f} s"),
            at_most("  over the built-in one, nothing known", round(unknown / builtin, 2), 1.0),
            plain("  ours, start times known", f"{known:.1f} s"),
            at_most("  over the built-in one, start times known", round(known / builtin, 2), 1.0),
            plain("  rest of the process: start, checks, end", f"{besides:.1f} s"),
        ]
    return found


def _race(nodes: int, flying: int, start_s: float) -> tuple[float, float, float, float]:
    """Update a cluster three times: by us, by the built-in controller, and by us again.

    Returns:
        Seconds of each from the change of the template until the last pod is ready, and what our
        process took besides.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(nodes, start_s, Path(name)) as cluster,
    ):
        _applied(cluster, Path(name), "log-agent:2.4", flying, "fast")
        unknown = _took(cluster)
        cluster.order("watch")
        cluster.order("builtin", "log-agent:2.5", flying)
        builtin = _took(cluster)
        usage = _applied(cluster, Path(name), "log-agent:2.6", flying, "fast")
        known = _took(cluster)
        return unknown, builtin, known, usage.wall_s - known


def _took(cluster: ServedCluster) -> float:
    noted = cluster.order("noted")
    return float(max(noted["ready"]) - noted["changed"])


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
