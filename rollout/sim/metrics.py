"""The metrics server: what pods and nodes use, as `metrics.k8s.io/v1beta1` tells it.

Nothing is measured: usage follows from a rule that may be replaced. The built-in rule takes a
share of the container's requests, a little different for each pod.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from rollout.sim import timestamps
from rollout.sim.clock import Clock
from rollout.sim.images import Behaviour
from rollout.sim.resources import NODE_METRICS, NODES, POD_METRICS, PODS
from rollout.sim.scalars import quantity_value
from rollout.sim.store import Object, Store

DEFAULT_CPU: Final = 0.01  # cores, of a container without requests
DEFAULT_MEMORY: Final = 32 * 1024**2  # bytes
SHARE: Final = 0.6  # of the requests
NODE_CPU: Final = 0.1  # cores that a node itself uses
NODE_MEMORY: Final = 512 * 1024**2  # bytes
WINDOW: Final = "15s"


@dataclass(frozen=True, slots=True)
class Usage:
    """What one container uses: cores and bytes."""

    cpu: float
    memory: float

    def plus(self, other: Usage) -> Usage:
        """Return the sum of both."""
        return Usage(self.cpu + other.cpu, self.memory + other.memory)

    def quantities(self) -> Object:
        """Return it as the metrics server writes it: nanocores and KiB."""
        return {"cpu": f"{round(self.cpu * 1e9)}n", "memory": f"{round(self.memory / 1024)}Ki"}


UsageRule = Callable[[Object, Object, float], Usage]
"""Says what a container (second) of a pod (first) uses at a time (seconds since the epoch)."""


def usual(pod: Object, container: Object, _now: float) -> Usage:
    """Return a share of the container's requests, between 80 and 120 per cent of `SHARE`."""
    requests = (container.get("resources") or {}).get("requests") or {}
    varied = 0.8 + 0.4 * (zlib.crc32(pod["metadata"]["uid"].encode()) % 1000) / 1000
    cpu = quantity_value(requests["cpu"]) * SHARE if "cpu" in requests else DEFAULT_CPU
    memory = quantity_value(requests["memory"]) * SHARE if "memory" in requests else DEFAULT_MEMORY
    return Usage(float(cpu) * varied, float(memory) * varied)


def used_by(behaviour: Callable[[str, str], Behaviour]) -> UsageRule:
    """Return the rule by which containers use what is known of their image, or else as usual.

    Args:
        behaviour: of an image (first) on a node (second).
    """

    def rule(pod: Object, container: Object, now: float) -> Usage:
        known = behaviour(container["image"], pod["spec"].get("nodeName", ""))
        otherwise = usual(pod, container, now)
        return Usage(
            otherwise.cpu if known.cpu is None else known.cpu,
            otherwise.memory if known.memory is None else known.memory,
        )

    return rule


class MetricsServer:
    """Computes usage when somebody asks.

    Args:
        store: where pods and nodes are.
        clock: what time it is.
        rule: what containers use; may be replaced while the cluster runs.
    """

    def __init__(self, store: Store, clock: Clock, rule: UsageRule = usual) -> None:
        self._store = store
        self._clock = clock
        self.rule = rule

    def pods(self, namespace: str | None) -> Iterator[Object]:
        """Yield PodMetrics of the running pods of a namespace, or of all."""
        for pod in self._store.scan(PODS, namespace):
            if pod["status"].get("phase") == "Running":
                yield self.pod(pod)

    def pod(self, pod: Object) -> Object:
        """Return the PodMetrics of a pod."""
        now = self._clock.now()
        containers = [
            {"name": container["name"], "usage": self.rule(pod, container, now).quantities()}
            for container in pod["spec"]["containers"]
        ]
        metrics = self._frame(POD_METRICS.kind, pod["metadata"])
        return {**metrics, "containers": containers}

    def nodes(self) -> Iterator[Object]:
        """Yield NodeMetrics of all nodes."""
        pods: dict[str, list[Object]] = {}
        for pod in self._store.scan(PODS):
            pods.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
        for node in self._store.scan(NODES):
            yield self.node(node, pods.get(node["metadata"]["name"], ()))

    def node(self, node: Object, pods: Iterable[Object]) -> Object:
        """Return the NodeMetrics of a node on which these pods run."""
        now = self._clock.now()
        total = Usage(NODE_CPU, NODE_MEMORY)
        for pod in pods:
            if pod["status"].get("phase") == "Running":
                for container in pod["spec"]["containers"]:
                    total = total.plus(self.rule(pod, container, now))
        return {**self._frame(NODE_METRICS.kind, node["metadata"]), "usage": total.quantities()}

    def pods_on(self, node: str) -> list[Object]:
        """Return the pods bound to a node."""
        return [pod for pod in self._store.scan(PODS) if pod["spec"].get("nodeName") == node]

    def _frame(self, kind: str, metadata: Object) -> Object:
        now = timestamps.rfc3339(self._clock.now())
        own: Object = {"name": metadata["name"]}
        if "namespace" in metadata:
            own["namespace"] = metadata["namespace"]
        own["creationTimestamp"] = now
        if metadata.get("labels"):
            own["labels"] = metadata["labels"]
        return {
            "kind": kind,
            "apiVersion": POD_METRICS.api_version,
            "metadata": own,
            "timestamp": now,
            "window": WINDOW,
        }
