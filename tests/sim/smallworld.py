"""A small cluster on a virtual clock, with the verbs that tests speak."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rollout.sim.admission import Admission
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, NodeGroup, UpdateStrategy, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import DeleteOptions, PatchType
from rollout.sim.resources import (
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    EVENTS,
    NODES,
    PODS,
    Resource,
)
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object

FAST = Behaviour(start=Timing(0.6), stop=Timing(0.2))
CONTROLLERS_ONLY = frozenset(
    ("daemonset", "garbage", "disruption", "namespaces", "podgc", "nodelifecycle")
)


class SmallWorld:
    """Nodes n0, n1, ... and the DaemonSet `agent` (image agent:v1) in `default`."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        strategy: UpdateStrategy | None = None,
        entry: DaemonSetEntry | None = None,
        groups: Iterable[NodeGroup] = (),
        parts: frozenset[str] | None = None,
        seed: int = 1,
        **described: Any,
    ) -> None:
        self.clock = VirtualClock()
        default = DaemonSetEntry(name="agent", image="agent:v1", strategy=strategy)
        fleet = Fleet(
            seed=seed,
            nodes=(
                *(NodeGroup(name=f"n{number}", zones=("z0",)) for number in range(nodes)),
                *groups,
            ),
            default_behaviour=FAST,
            **{"daemon_sets": (entry or default,), **described},
        )
        settings = Settings(admission=Admission(taint_new_nodes=True))
        if parts is not None:
            settings = Settings(parts=parts)
        self.cluster = Cluster(self.clock, fleet, settings)
        self.registry = self.cluster.registry
        self.store = self.cluster.store
        self.cluster.start()
        self.wait(1)

    def wait(self, seconds: float = 5.0) -> None:
        self.clock.advance(seconds)

    def until(self, condition: Callable[[], bool], timeout: float = 300.0) -> float:
        """Run until the condition holds; returns how long it took."""
        start = self.clock.now()
        assert self.clock.run_until(condition, timeout)
        return self.clock.now() - start

    # Reading

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        return self.registry.get(resource, namespace if resource.namespaced else "", name)

    def daemon_set(self) -> Object:
        return self.get(DAEMONSETS, "agent")

    def status(self) -> Object:
        status: Object = self.daemon_set()["status"]
        return status

    def pods(self) -> list[Object]:
        return list(self.store.scan(PODS, "default"))

    def pods_on(self, node: str) -> list[Object]:
        return [pod for pod in self.pods() if target(pod) == node]

    def pod_on(self, node: str) -> Object:
        (pod,) = self.pods_on(node)
        return pod

    def images(self) -> dict[str, list[str]]:
        """Images by node, oldest pod first."""
        result: dict[str, list[str]] = {}
        for pod in sorted(self.pods(), key=lambda p: str(p["metadata"]["creationTimestamp"])):
            result.setdefault(target(pod), []).append(image(pod))
        return dict(sorted(result.items()))

    def revisions(self) -> dict[int, str]:
        """Numbers and images of the revisions."""
        return {
            int(r["revision"]): r["data"]["spec"]["template"]["spec"]["containers"][0]["image"]
            for r in self.store.scan(CONTROLLER_REVISIONS, "default")
        }

    def reasons(self, namespace: str = "default") -> list[str]:
        return [event["reason"] for event in self.store.scan(EVENTS, namespace)]

    # Writing

    def patch(self, resource: Resource, name: str, patch: Object, subresource: str = "") -> Object:
        return self.registry.patch(
            resource,
            "default" if resource.namespaced else "",
            name,
            patch,
            PatchType.STRATEGIC,
            ADMIN,
            subresource=subresource,
        )

    def change(self, spec: Object) -> None:
        self.patch(DAEMONSETS, "agent", {"spec": spec})

    def set_image(self, to: str) -> None:
        containers = [{"name": "agent", "image": to}]
        self.change({"template": {"spec": {"containers": containers}}})

    def on_delete(self) -> None:
        self.change({"updateStrategy": {"$patch": "replace", "type": "OnDelete"}})

    def delete_pod(self, pod: Object, grace: int | None = None) -> None:
        options = DeleteOptions(grace_period_seconds=grace)
        meta = pod["metadata"]
        self.registry.delete(PODS, meta["namespace"], meta["name"], ADMIN, options)

    def taint(self, node: str, effect: str, key: str = "dedicated") -> None:
        taints = self.get(NODES, node)["spec"].get("taints") or []
        self.merge_node(node, {"taints": [*taints, {"key": key, "effect": effect}]})

    def merge_node(self, node: str, spec: Object) -> None:
        self.registry.patch(NODES, "", node, {"spec": spec}, PatchType.MERGE, ADMIN)

    def label(self, pod: Object, labels: dict[str, str | None]) -> None:
        self.patch(PODS, pod["metadata"]["name"], {"metadata": {"labels": labels}})

    def set_phase(self, pod: Object, phase: str) -> None:
        self.patch(PODS, pod["metadata"]["name"], {"status": {"phase": phase}}, "status")

    def fault(self, key: str, kind: str | dict[str, Any] | None) -> None:
        self.cluster.set_image_fault(key, None if kind is None else read_fault(kind))


def target(pod: Object) -> str:
    """The node that a pod is bound or sent to."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity")
    if not affinity:
        return ""
    term = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
    return str(term["matchFields"][0]["values"][0])


def image(pod: Object) -> str:
    return str(pod["spec"]["containers"][0]["image"])


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def terminating(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def rolling(unavailable: int | str = 1, surge: int | str | None = None) -> UpdateStrategy:
    if surge is not None:
        return UpdateStrategy("RollingUpdate", 0, surge)
    return UpdateStrategy("RollingUpdate", unavailable)


ON_DELETE = UpdateStrategy("OnDelete")
