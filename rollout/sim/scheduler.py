"""The scheduler: binds pods to nodes that fit, and says why when none does.

Enough of kube-scheduler for daemon pods and small Jobs: node name, node selector and affinity,
`NoSchedule` and `NoExecute` taints, host ports, and requests against what is allocatable. Nodes
that fit are equal; the least used one wins, then the first by name. A pod that fits nowhere waits
until something changes on the nodes that it may go to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from rollout.amounts import parse_amount
from rollout.fleet.eligibility import Requirements, Toleration, evaluate
from rollout.fleet.objects import Taint
from rollout.sim.clock import Clock, Timer
from rollout.sim.components import SCHEDULER
from rollout.sim.controllers.decisions import affinity_target
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.errors import StatusError
from rollout.sim.podindex import PodIndex
from rollout.sim.registry import Registry
from rollout.sim.resources import NODES, PODS
from rollout.sim.store import Event, Key, Object
from rollout.sim.timestamps import rfc3339

NAME: Final = "default-scheduler"
ANYWHERE: Final = ""
_AFFINITY: Final = "node(s) didn't match Pod's node affinity/selector"
_PORTS: Final = "node(s) didn't have free ports for the requested pod ports"
_TERMINAL: Final = ("Failed", "Succeeded")


class Demand(NamedTuple):
    """What a pod asks of its node beside being let in."""

    requests: tuple[tuple[str, float], ...]
    ports: frozenset[tuple[str, int]]


class Scheduler:
    """Binds pods, one after another."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        recorder: EventRecorder,
        index: PodIndex,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._index = index
        self._latency = latency
        self._record = recorder.recorder(NAME, SCHEDULER)
        self._queue: dict[Key, None] = {}
        self._waiting: dict[str, dict[Key, None]] = {}
        self._timer: Timer | None = None
        self._running = False

    def start(self) -> None:
        """Take all pods that are not bound, and follow all changes."""
        self._running = True
        for pod in self._registry.store.scan(PODS):
            self._consider(pod)
        self._registry.store.subscribe(PODS, self._on_pod)
        self._registry.store.subscribe(NODES, self._on_node)

    def pause(self) -> None:
        """Bind nothing until `resume`."""
        self._running = False

    def resume(self) -> None:
        """Go on after `pause`."""
        self._running = True
        for pod in self._registry.store.scan(PODS):
            self._consider(pod)

    def _on_pod(self, event: Event) -> None:
        pod = event.object
        if event.type == "DELETED" or pod["status"].get("phase") in _TERMINAL:
            self._retry(pod["spec"].get("nodeName"))
        elif event.old is None or event.old["spec"] is not pod["spec"]:
            self._consider(pod)

    def _on_node(self, event: Event) -> None:
        old, new = event.old, event.object
        if event.type == "DELETED":
            return
        if old is None or _fit_may_change(old, new):
            self._retry(event.key[1])

    def _consider(self, pod: Object) -> None:
        spec, meta = pod["spec"], pod["metadata"]
        if spec.get("nodeName") or "deletionTimestamp" in meta or not self._running:
            return
        if spec.get("schedulerName", NAME) == NAME:
            self._enqueue((meta["namespace"], meta["name"]))

    def _retry(self, node: str | None) -> None:
        if node is None:
            return
        for place in (node, ANYWHERE):
            for key in self._waiting.pop(place, ()):
                self._enqueue(key)

    def _enqueue(self, key: Key) -> None:
        self._queue[key] = None
        if self._timer is None:
            self._timer = self._clock.call_later(self._latency, self._run)

    def _run(self) -> None:
        self._timer = None
        queue, self._queue = self._queue, {}
        if not self._running:
            return
        for key in queue:
            pod = self._registry.store.get(PODS, key)
            unbound = pod is not None and not pod["spec"].get("nodeName")
            if pod is not None and unbound and "deletionTimestamp" not in pod["metadata"]:
                self._schedule(key, pod)

    def _schedule(self, key: Key, pod: Object) -> None:
        target = affinity_target(pod["spec"])
        refusals: dict[str, int] = {}
        node = self._choose(pod, target, refusals)
        if node is not None:
            self._bind(key, pod, node)
            return
        self._waiting.setdefault(target, {})[key] = None
        self._report_unschedulable(pod, refusals)

    def _choose(self, pod: Object, target: str, refusals: dict[str, int]) -> str | None:
        """Return the best node; count why the others were refused."""
        requirements, demand = requirements_of(pod["spec"]), demand_of(pod["spec"])
        best: tuple[int, str] | None = None
        for node in self._candidates(target, refusals):
            refusal = self._refusal(node, requirements, demand)
            if refusal:
                refusals[refusal] = refusals.get(refusal, 0) + 1
                continue
            name = node["metadata"]["name"]
            if target:
                return str(name)
            rank = (sum(1 for _ in self._index.on(name)), name)
            best = rank if best is None else min(best, rank)
        return best[1] if best is not None else None

    def _candidates(self, target: str, refusals: dict[str, int]) -> Iterator[Object]:
        if not target:
            yield from self._registry.store.scan(NODES)
            return
        node = self._registry.store.get(NODES, ("", target))
        others = self._registry.store.count(NODES) - (node is not None)
        if others:
            refusals[_AFFINITY] = others
        if node is not None:
            yield node

    def _refusal(self, node: Object, requirements: Requirements, demand: Demand) -> str:
        name = node["metadata"]["name"]
        spec = node.get("spec") or {}
        verdict = evaluate(
            requirements,
            name=name,
            labels=node["metadata"].get("labels") or {},
            taints=(Taint(t["key"], t["effect"], t.get("value") or "") for t in _taints(spec)),
        )
        if not verdict.should_run:
            return _taint_refusal(requirements, spec) or _AFFINITY
        return self._shortage(node, demand)

    def _shortage(self, node: Object, demand: Demand) -> str:
        used: dict[str, float] = {}
        pods = 0
        for other in self._index.on(node["metadata"]["name"]):
            if other["status"].get("phase") in _TERMINAL:
                continue
            pods += 1
            taken = demand_of(other["spec"])
            if demand.ports & taken.ports:
                return _PORTS
            for name, amount in taken.requests:
                used[name] = used.get(name, 0.0) + amount
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        if "pods" in allocatable and pods >= int(allocatable["pods"]):
            return "Too many pods"
        for name, amount in demand.requests:
            if name in allocatable and used.get(name, 0.0) + amount > parse_amount(
                allocatable[name]
            ):
                return f"Insufficient {name}"
        return ""

    def _bind(self, key: Key, pod: Object, node: str) -> None:
        try:
            self._registry.bind(*key, node, SCHEDULER)
        except StatusError:
            return
        message = f"Successfully assigned {key[0]}/{key[1]} to {node}"
        self._record(pod, "Normal", "Scheduled", message)

    def _report_unschedulable(self, pod: Object, refusals: dict[str, int]) -> None:
        nodes = self._registry.store.count(NODES)
        why = ", ".join(f"{count} {text}" for text, count in sorted(refusals.items()))
        help_ = f"{nodes} Preemption is not helpful for scheduling"
        message = (
            f"0/{nodes} nodes are available: {why}. "
            f"preemption: 0/{nodes} nodes are available: {help_}."
            if nodes
            else "no nodes available to schedule pods"
        )
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": rfc3339(self._clock.now()),
        }
        before = pod["status"].get("conditions") or ()
        known: Object = next((c for c in before if c["type"] == "PodScheduled"), {})
        if known.get("status") == "False":
            condition["lastTransitionTime"] = known["lastTransitionTime"]
        if condition == known:
            return
        others = [c for c in before if c["type"] != "PodScheduled"]
        status = {**pod["status"], "conditions": [*others, condition]}
        self._registry.update_status(PODS, pod, status, SCHEDULER)
        self._record(pod, "Warning", "FailedScheduling", message)


def requirements_of(spec: Object) -> Requirements:
    """Return what a pod asks of a node's name, labels and taints."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return Requirements(
        node_name="",
        node_selector=tuple((spec.get("nodeSelector") or {}).items()),
        terms=None if required is None else tuple(required.get("nodeSelectorTerms") or ()),
        tolerations=tuple(
            Toleration(
                item.get("key") or "",
                item.get("operator") or "Equal",
                item.get("value") or "",
                item.get("effect") or "",
            )
            for item in spec.get("tolerations") or ()
        ),
    )


def demand_of(spec: Object) -> Demand:
    """Return a pod's requests and host ports, all containers together."""
    requests: dict[str, float] = {}
    ports: set[tuple[str, int]] = set()
    for container in spec["containers"]:
        wanted = (container.get("resources") or {}).get("requests") or {}
        for name, amount in wanted.items():
            requests[name] = requests.get(name, 0.0) + parse_amount(amount)
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (
                port.get("containerPort") if spec.get("hostNetwork") else None
            )
            if number:
                ports.add((port.get("protocol", "TCP"), number))
    return Demand(tuple(requests.items()), frozenset(ports))


def _taint_refusal(requirements: Requirements, spec: Object) -> str:
    for taint in _taints(spec):
        facts = Taint(taint["key"], taint["effect"], taint.get("value") or "")
        if facts.effect in ("NoSchedule", "NoExecute") and not any(
            toleration.tolerates(facts) for toleration in requirements.tolerations
        ):
            return f"node(s) had untolerated taint {{{facts.key}: {facts.value}}}"
    return ""


def _taints(spec: Object) -> list[dict[str, Any]]:
    """Return the taints; a cordon counts as its taint even before that is there."""
    taints = list(spec.get("taints") or ())
    cordon = "node.kubernetes.io/unschedulable"
    if spec.get("unschedulable") and not any(taint["key"] == cordon for taint in taints):
        taints.append({"key": cordon, "effect": "NoSchedule"})
    return taints


def _fit_may_change(old: Object, new: Object) -> bool:
    return (
        old["metadata"].get("labels") != new["metadata"].get("labels")
        or old.get("spec") != new.get("spec")
        or (old.get("status") or {}).get("allocatable")
        != (new.get("status") or {}).get("allocatable")
    )
