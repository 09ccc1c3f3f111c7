"""`scripts/bench plan`: time and memory of a plan, against kubectl and against its own growth."""

from __future__ import annotations

import math
import shutil
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from scripts.benchmarks.processes import ROLLOUT, Usage, child, measured, medians
from scripts.benchmarks.servers import sim_start
from scripts.benchmarks.sizes import Sizes
from scripts.benchmarks.specs import write_spec
from scripts.benchmarks.table import Row, at_most, plain

_LARGE: Final = 100_000  # nodes from which on the promises for large fleets hold


def rows(sizes: Sizes) -> list[Row]:
    """Measure and return the rows."""
    return [*_served(sizes), *_in_process(sizes)]


def _served(sizes: Sizes) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory, "kubeconfig")
        with sim_start(sizes.served, kubeconfig):
            spec = write_spec(Path(directory), "log-agent:2.4", "5%")
            environment = {"KUBECONFIG": str(kubeconfig), "HOME": directory}
            return _against_kubectl(sizes, spec, environment)


def _against_kubectl(sizes: Sizes, spec: Path, environment: dict[str, str]) -> list[Row]:
    plan = [ROLLOUT, "plan", "-f", str(spec), "-o"]
    commands = {
        "json": partial(measured, [*plan, "json"], environment),
        "table": partial(measured, [*plan, "table"], environment),
    }
    kubectl = shutil.which("kubectl")
    if kubectl is not None:
        get = [kubectl, "get", "nodes,pods", "-A", "-o", "json"]
        commands["kubectl"] = partial(measured, get, environment)
    used = medians(commands, sizes.runs)
    where = f"{sizes.served:,} nodes, served"
    found = [
        _usage_row(f"rollout plan -o json, {where}", used["json"]),
        _usage_row(f"rollout plan, {where}", used["table"]),
        at_most("  peak memory of -o json", used["json"].peak_mb, 300, "MB", digits=0),
        at_most("  peak memory of the table", used["table"].peak_mb, 300, "MB", digits=0),
    ]
    if kubectl is None:
        return [*found, plain("kubectl get nodes,pods -A -o json", "kubectl is missing")]
    reference = used["kubectl"]
    return [
        *found,
        _usage_row(f"kubectl get nodes,pods -A -o json, {where}", reference),
        at_most("  plan -o json to kubectl, wall", used["json"].wall_s / reference.wall_s, 1.5),
        at_most("  plan -o json to kubectl, CPU", used["json"].cpu_s / reference.cpu_s, 1.5),
        at_most("  plan (table) to kubectl, wall", used["table"].wall_s / reference.wall_s, 1.5),
    ]


def _usage_row(what: str, usage: Usage) -> Row:
    return plain(what, f"{usage.wall_s:.2f} s, CPU {usage.cpu_s:.2f} s")


def _in_process(sizes: Sizes) -> list[Row]:
    found, seconds = [], []
    for nodes in sizes.planned:
        turns = [child("plan", nodes) for _ in range(1 if nodes >= _LARGE else sizes.runs)]
        times, usage = turns[-1]
        took = median(t["plan_s"] + t["write_s"] for t, _ in turns)
        seconds.append(median(t["cpu_s"] for t, _ in turns))
        what = f"{nodes:,} nodes in process: planned and written"
        if nodes < _LARGE:
            found.append(plain(what, f"{took:.2f} s, peak {usage.peak_mb:.0f} MB"))
        else:
            found += [
                at_most(what, took, 20, "s"),
                at_most("  peak memory", usage.peak_mb, 2048, "MB", digits=0),
                plain("  plan document", f"{times['bytes'] / 1e6:.1f} MB"),
            ]
    smaller, larger = sizes.planned[-2:]
    grown = seconds[-1] / seconds[-2]
    allowed = larger * math.log(larger) / (smaller * math.log(smaller))
    what = f"growth from {smaller:,} to {larger:,} nodes, over n log n"
    return [*found, at_most(what, grown / allowed, 1.0)]
