"""The gate `resources`: CPU and memory of the new pods, as metrics.k8s.io tells them.

Amounts are cores and bytes. A sample that is missing or older than the change is no data; shortly
after a pod has started it is waited for, since the metrics server looks only now and then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median

import msgspec

from rollout.amounts import parse_amount
from rollout.cluster.paths import resource_path
from rollout.errors import NotServed
from rollout.fleet.objects import JsonObject, Pod, parse_time
from rollout.gates.context import Context, bare_nodes
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gatespec import ResourcesGate
from rollout.quantity import cut

METRICS = "metrics.k8s.io/v1beta1"
Amounts = Mapping[str, float]  # by the name of the resource
ROUNDING = 1 + 1e-9  # nanocores are not exact in binary
PATIENCE_S = 120.0  # after the start of a pod, until its sample is missing


class ContainerMetrics(msgspec.Struct, frozen=True):
    """`containers[]` of PodMetrics."""

    name: str
    usage: dict[str, str] = {}


class _Meta(msgspec.Struct, frozen=True):
    name: str


class PodMetrics(msgspec.Struct, frozen=True):
    """What one pod uses, over a window that ends at the time stamp."""

    metadata: _Meta
    timestamp: str = ""
    containers: tuple[ContainerMetrics, ...] = ()


class PodMetricsList(msgspec.Struct, frozen=True):
    """The answer; it has neither pages nor a resource version."""

    kind: str
    items: tuple[PodMetrics, ...] | None = None


class _Container(msgspec.Struct, frozen=True):
    name: str
    resources: JsonObject = {}


class _PodSpec(msgspec.Struct, frozen=True):
    containers: tuple[_Container, ...] = ()


class WrittenPod(msgspec.Struct, frozen=True):
    """What a pod's containers ask for."""

    metadata: _Meta
    spec: _PodSpec


def measure(gate: ResourcesGate, context: Context) -> Reading | Measurement:
    """Measure it; the pod that uses most decides."""
    pods = _of_node(context)
    if not pods:
        return Measurement(Outcome.NO_DATA, context.now, reason="there is no new pod to look at")
    try:
        samples = _samples(context)
    except NotServed:
        text = "the cluster has no metrics API (metrics.k8s.io); install metrics-server"
        return Measurement(Outcome.NO_DATA, context.now, reason=text)
    missing = [pod for pod in pods if not _is_fresh(samples.get(pod.metadata.name), context.since)]
    if missing:
        return _without(missing, context.now)
    used = {pod.metadata.name: use_of(samples[pod.metadata.name], gate.container) for pod in pods}
    results = {name: _most(used, name) for name in ("cpu", "memory")}
    for name, written in (("cpu", gate.cpu), ("memory", gate.memory)):
        if written is None:
            continue
        outcome, reason = _compare(name, written, used, _bounds(gate, name, context, samples))
        if outcome is Outcome.NO_DATA:
            return Measurement(outcome, context.now, reason=reason)
        if outcome is Outcome.FAILED:
            return Reading(results, outcome, reason)
    lost = bare_nodes(context)
    if lost:
        text = f"no new pod to look at on {cut(lost)}; the others use {_amounts_text(results)}"
        return Measurement(Outcome.NO_DATA, context.now, reason=text)
    return Reading(results, Outcome.PASSED, f"at most {_amounts_text(results)}")


def use_of(sample: PodMetrics, container: str) -> Amounts:
    """Return what a pod uses: one container, or all of them together; NaN where one is unsaid."""
    wanted = [c for c in sample.containers if container in ("", c.name)]
    names = {name for c in wanted for name in c.usage}
    return {n: sum(_amount(c.usage.get(n, "")) for c in wanted) for n in names}


def _compare(
    name: str, written: str, used: Mapping[str, Amounts], bounds: Mapping[str, float]
) -> tuple[Outcome, str]:
    """Compare each pod with its bound; a pod without one of the two is no data."""
    share = float(written[:-1]) / 100 if written.endswith("%") else 1.0
    over = []
    for pod, amounts in used.items():
        use, bound = amounts.get(name, math.nan), bounds.get(pod, bounds.get("", math.nan))
        if math.isnan(use) or math.isnan(bound):
            lacking = "says nothing of its" if math.isnan(use) else "has nothing to compare its"
            return Outcome.NO_DATA, f"{pod} {lacking} {name}"
        if use > bound * share * ROUNDING:
            over.append(f"{pod} uses {_text(name, use)}")
    if over:
        limit = _text(name, next(iter(bounds.values())) * share) if len(bounds) == 1 else written
        return Outcome.FAILED, f"more {name} than {limit}: {cut(over, 3)}"
    return Outcome.PASSED, ""


def _bounds(
    gate: ResourcesGate, name: str, context: Context, samples: Mapping[str, PodMetrics]
) -> dict[str, float]:
    """Return what each pod is compared with, by its name; one for all stands under ""."""
    match gate.against:
        case "absolute":
            written = gate.cpu if name == "cpu" else gate.memory
            return {"": _amount(written or "")}
        case "control":
            return {"": _control(gate, name, context, samples)}
        case kind:
            field = f"{kind}s"  # requests, limits
            return {
                pod.metadata.name: sum(
                    _amount((c.resources.get(field) or {}).get(name, ""))
                    for c in pod.spec.containers
                    if gate.container in ("", c.name)
                )
                for pod in _written(context)
            }


def _control(
    gate: ResourcesGate, name: str, context: Context, samples: Mapping[str, PodMetrics]
) -> float:
    """Return what an ordinary old pod uses: the median; NaN when none has a fresh sample."""
    found = [samples.get(pod.metadata.name) for pod in context.control]
    uses = [
        use_of(sample, gate.container).get(name, math.nan)
        for sample in found
        if sample is not None and _is_fresh(sample, context.since)
    ]
    known = [use for use in uses if not math.isnan(use)]
    return median(known) if known else math.nan


def _samples(context: Context) -> dict[str, PodMetrics]:
    return {
        sample.metadata.name: sample
        for space in _spaces(context)
        for sample in context.client.get(
            resource_path(METRICS, "pods", namespace=space), PodMetricsList
        ).items
        or ()
    }


def _written(context: Context) -> list[WrittenPod]:
    return [
        pod
        for space in _spaces(context)
        for pod in context.client.list(
            resource_path("v1", "pods", namespace=space), WrittenPod
        ).items
    ]


def _spaces(context: Context) -> list[str]:
    return sorted({pod.metadata.namespace or context.namespace for pod in context.updated})


def _of_node(context: Context) -> list[Pod]:
    name = context.node.metadata.name if context.node is not None else ""
    return [pod for pod in context.updated if not name or pod.target_node == name]


def _is_fresh(sample: PodMetrics | None, since: float) -> bool:
    return sample is not None and bool(sample.timestamp) and parse_time(sample.timestamp) >= since


def _without(missing: list[Pod], now: float) -> Measurement:
    """Wait for the samples of pods that have just started; of others they are missing."""
    names = cut([pod.metadata.name for pod in missing])
    born = [pod.metadata.creation_timestamp for pod in missing]
    young = all(text is not None and now < parse_time(text) + PATIENCE_S for text in born)
    outcome = Outcome.WAITING if young else Outcome.NO_DATA
    return Measurement(outcome, now, reason=f"no sample is newer than the change: {names}")


def _amount(text: str) -> float:
    try:
        return parse_amount(text)
    except ValueError:
        return math.nan


def _most(used: Mapping[str, Amounts], name: str) -> float:
    return max(amounts.get(name, math.nan) for amounts in used.values())


def _amounts_text(amounts: Amounts) -> str:
    return ", ".join(f"{name} {_text(name, use)}" for name, use in amounts.items())


def _text(name: str, amount: float) -> str:
    """Return an amount as kubectl top shows it: millicores, or mebibytes."""
    if math.isnan(amount):
        return "unknown"
    return f"{amount * 1000:.0f}m" if name == "cpu" else f"{amount / 1024**2:.0f}Mi"
