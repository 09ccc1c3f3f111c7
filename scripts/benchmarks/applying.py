"""`scripts/bench apply`: how fast a plan is carried out, and what it asks of the API server."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from scripts.benchmarks.fleets import SIGMA
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
    """Let both update as many nodes with the same limit, in real time."""
    found = []
    for nodes, flying in sizes.races:
        pairs = [_pair(nodes, flying, sizes.start_s, 1 + n) for n in range(sizes.pairs)]
        ratios = [ours / builtin for ours, builtin in pairs]
        builtin, known, besides = _race(nodes, flying, sizes.start_s)
        what = f"ours over the built-in update, {nodes:,} nodes, {flying} in flight, real"
        found += [
            at_most(f"{what}: median of {len(pairs)}", round(median(ratios), 2), 1.0),
            plain("  each of them", ", ".join(f"{a:.1f} s to {b:.1f} s" for a, b in pairs)),
            at_most("  where start times are known", round(known / builtin, 2), 1.0),
            plain("  there", f"{known:.1f} s to {builtin:.1f} s"),
            plain("  rest of our process: start, checks, end", f"{besides:.1f} s"),
        ]
    return found


def _pair(nodes: int, flying: int, start_s: float, seed: int) -> tuple[float, float]:
    """Update two equal clusters, by us and by the built-in controller.

    Chance alone decides how long a start takes, and it is the same in both: the k-th start of the
    one takes as long as the k-th of the other, so neither can be lucky with its order of nodes.
    That luck is worth up to a tenth of the whole, ten times what is looked for.

    Returns:
        Seconds of each from the change of the template until the last pod is ready.
    """
    took = {}
    for who in ("ours", "builtin") if seed % 2 else ("builtin", "ours"):
        with (
            tempfile.TemporaryDirectory() as name,
            served_cluster(nodes, start_s, Path(name), again=SIGMA, seed=seed) as cluster,
        ):
            if who == "ours":
                _applied(cluster, Path(name), "log-agent:2.4", flying, "fast")
            else:
                _update_builtin(cluster, "log-agent:2.4", flying)
            took[who] = _took(cluster)
    return took["ours"], took["builtin"]


def _race(nodes: int, flying: int, start_s: float) -> tuple[float, float, float]:
    """Update a cluster, each of whose nodes always takes the same time, and then update it again.

    The built-in controller begins, so that the pods tell us how long each node takes.

    Returns:
        Seconds of the built-in controller's update and of ours, and what our process took besides.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        served_cluster(nodes, start_s, Path(name)) as cluster,
    ):
        _update_builtin(cluster, "log-agent:2.4", flying)
        builtin = _took(cluster)
        usage = _applied(cluster, Path(name), "log-agent:2.5", flying, "fast")
        known = _took(cluster)
        return builtin, known, usage.wall_s - known


def _update_builtin(cluster: ServedCluster, image: str, flying: int) -> None:
    cluster.order("watch")
    cluster.order("builtin", image, flying)


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
