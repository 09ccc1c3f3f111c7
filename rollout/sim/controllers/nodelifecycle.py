"""The node lifecycle controller: what becomes of a node that is not well (behaviour.md 1.3, 6.4).

It says `Unknown` for kubelets that fell silent, turns conditions and cordons into taints, and marks
the pods of nodes that are not Ready as not ready. Heartbeats are not simulated one by one: a
kubelet that falls silent says so, and this controller notices after the grace period.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from rollout.sim.clock import Clock, Timer
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.workqueue import Informer
from rollout.sim.errors import StatusError
from rollout.sim.nodestatus import condition_status, unknown_conditions, with_conditions
from rollout.sim.podindex import PodIndex
from rollout.sim.podstatus import unready_status
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import NODES, PODS
from rollout.sim.store import Event, Object
from rollout.sim.timestamps import rfc3339

GRACE: Final = 50.0  # --node-monitor-grace-period
NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
_BY_CONDITION: Final = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_NO_SCHEDULE_KEYS: Final = frozenset((*_BY_CONDITION.values(), UNSCHEDULABLE))
_NO_EXECUTE_KEYS: Final = frozenset((NOT_READY, UNREACHABLE))


def wanted_taints(node: Object, now: str) -> list[Object]:
    """Return the taints that the node should have, its own ones included.

    Args:
        node: the node; one without a Ready condition keeps what it has.
        now: time stamp for new `NoExecute` taints.
    """
    spec = node.get("spec") or {}
    taints: list[Object] = list(spec.get("taints") or ())
    ready = condition_status(node, "Ready")
    if not ready:
        return taints
    conditions = (node.get("status") or {}).get("conditions") or ()
    pairs = ((c["type"], c["status"]) for c in conditions)
    no_schedule = [_BY_CONDITION[pair] for pair in pairs if pair in _BY_CONDITION]
    if spec.get("unschedulable"):
        no_schedule.append(UNSCHEDULABLE)
    no_execute = [_BY_CONDITION["Ready", ready]] if ready != "True" else []
    kept = [
        taint
        for taint in taints
        if not (taint["effect"] == "NoSchedule" and taint["key"] in _NO_SCHEDULE_KEYS)
        and not (taint["effect"] == "NoExecute" and taint["key"] in _NO_EXECUTE_KEYS)
    ]
    kept += _with_effect(taints, no_schedule, "NoSchedule", {})
    return kept + _with_effect(taints, no_execute, "NoExecute", {"timeAdded": now})


def _with_effect(
    present: Iterable[Object], keys: Iterable[str], effect: str, more: Object
) -> list[Object]:
    """Return taints with these keys; those that are present keep their time."""
    known = {taint["key"]: taint for taint in present if taint["effect"] == effect}
    return [known.get(key) or {"key": key, "effect": effect, **more} for key in keys]


class NodeLifecycle:
    """Follows the health of nodes."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        recorder: EventRecorder,
        caller: Caller,
        index: PodIndex,
        silent: Callable[[str], bool],
        *,
        latency: float,
    ) -> None:
        """Make the controller.

        Args:
            registry: where it reads and writes.
            clock: its time.
            recorder: for events.
            caller: in whose name it writes.
            index: pods by node.
            silent: whether nothing is heard of a node.
            latency: how stale its cache is.
        """
        self._registry = registry
        self._clock = clock
        self._caller = caller
        self._record = recorder.recorder("node-controller", caller)
        self._index = index
        self._silent = silent
        self._checks: dict[str, Timer] = {}
        self._informer = Informer(registry.store, clock, (NODES,), latency, self._handle)

    def start(self) -> None:
        """Look at all nodes and follow their changes."""
        self._informer.start()
        for node in self._registry.store.scan(NODES):
            if self._silent(node["metadata"]["name"]):
                self.fell_silent(node["metadata"]["name"])

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        for timer in self._checks.values():
            timer.cancel()
        self._checks.clear()

    def fell_silent(self, node: str) -> None:
        """Hear that a kubelet sends no heartbeats any more."""
        if node not in self._checks:
            self._checks[node] = self._clock.call_later(GRACE, lambda: self._check(node))

    def _check(self, name: str) -> None:
        del self._checks[name]
        node = self._registry.store.get(NODES, ("", name))
        if node is None or not self._silent(name) or condition_status(node, "Ready") == "Unknown":
            return
        now = rfc3339(self._clock.now())
        status = with_conditions(node.get("status") or {}, unknown_conditions(), now)
        self._registry.update_status(NODES, node, status, self._caller)
        self._record(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.type != "DELETED":
                self._settle(event.key[1])

    def _settle(self, name: str) -> None:
        """Bring taints and pods in line with the node's conditions as they are now."""
        node = self._registry.store.get(NODES, ("", name))
        if node is None:
            return
        spec = node.get("spec") or {}
        taints = wanted_taints(node, rfc3339(self._clock.now()))
        if taints != (spec.get("taints") or []):
            rest = {key: value for key, value in spec.items() if key != "taints"}
            changed = {**node, "spec": {**rest, "taints": taints} if taints else rest}
            self._registry.update(NODES, "", name, changed, self._caller)
        if condition_status(node, "Ready") in ("False", "Unknown"):
            self._mark_pods(name)

    def _mark_pods(self, name: str) -> None:
        now = rfc3339(self._clock.now())
        for pod in self._index.on(name):
            changed = unready_status(pod["status"], now)
            if changed == pod["status"]:
                continue
            try:
                self._registry.update_status(PODS, pod, changed, self._caller)
            except StatusError:
                continue
            self._record(pod, "Warning", "NodeNotReady", "Node is not ready")
