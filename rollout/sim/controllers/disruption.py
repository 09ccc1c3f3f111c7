"""The disruption controller: the status of PodDisruptionBudgets (behaviour.md 8.1).

Only a count can be kept over daemon pods: a percentage, or `maxUnavailable`, needs a controller
with a scale, and DaemonSets have none. Such a budget allows no eviction at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from rollout.fleet.selectors import Selector
from rollout.sim import timestamps
from rollout.sim.clock import Clock
from rollout.sim.controllers.daemoncache import label_selector, labels_of
from rollout.sim.controllers.decisions import ready_since, resolve
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.workqueue import Informer, WorkQueue
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import BY_KIND, PDBS, PODS
from rollout.sim.store import Event, Key, Object

DELETION_TIMEOUT: Final = 120.0  # an evicted pod that still lives then was not evicted
_WORKLOADS: Final = ("ReplicaSet", "StatefulSet", "Deployment", "ReplicationController")


class NoScale(Exception):
    """The expected number of pods cannot be told."""


@dataclass(slots=True)
class _Budget:
    """One budget and the pods that it selects, with whether each is healthy."""

    object: Object
    selector: Selector | None  # None selects nothing
    pods: dict[str, Object] = field(default_factory=dict)
    healthy: dict[str, None] = field(default_factory=dict)

    def put(self, pod: Object) -> None:
        """Take a pod that is new or changed."""
        name = pod["metadata"]["name"]
        if self.selector is None or not self.selector.matches(labels_of(pod)):
            self.drop(name)
            return
        self.pods[name] = pod
        ready = ready_since(pod["status"]) is not None
        if ready and "deletionTimestamp" not in pod["metadata"]:
            self.healthy[name] = None
        else:
            self.healthy.pop(name, None)

    def drop(self, name: str) -> None:
        """Forget a pod."""
        self.pods.pop(name, None)
        self.healthy.pop(name, None)


class DisruptionController:
    """Keeps the status of all budgets."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        recorder: EventRecorder,
        caller: Caller,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._caller = caller
        self._record = recorder.recorder("controllermanager", caller)
        self._budgets: dict[str, dict[str, _Budget]] = {}
        self._queue: WorkQueue[Key] = WorkQueue(clock, self._sync)
        self._informer = Informer(registry.store, clock, (PDBS, PODS), latency, self._handle)

    def start(self) -> None:
        """Look at all budgets and follow all changes."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        self._queue.stop()

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.resource is PDBS:
                self._on_budget(event)
            else:
                self._on_pod(event)

    def _on_budget(self, event: Event) -> None:
        namespace, name = event.key
        budgets = self._budgets.setdefault(namespace, {})
        if event.type == "DELETED":
            budgets.pop(name, None)
            return
        known = budgets.get(name)
        if known is None or known.object["spec"] != event.object["spec"]:
            selector = event.object["spec"].get("selector")
            known = _Budget(event.object, None if selector is None else label_selector(selector))
            for pod in self._registry.store.scan(PODS, namespace):
                known.put(pod)
            budgets[name] = known
        known.object = event.object
        self._queue.add(event.key)

    def _on_pod(self, event: Event) -> None:
        namespace, name = event.key
        for budget_name, budget in self._budgets.get(namespace, {}).items():
            was = name in budget.pods
            if event.type == "DELETED":
                budget.drop(name)
            else:
                budget.put(event.object)
            if was or name in budget.pods:
                self._queue.add((namespace, budget_name))

    def _sync(self, key: Key) -> bool:
        budget = self._budgets.get(key[0], {}).get(key[1])
        live = self._registry.store.get(PDBS, key)
        if budget is None or live is None:
            return True
        try:
            expected, desired = self._expected(budget, live)
        except (NoScale, ValueError) as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self._record(live, "Warning", "CalculateExpectedPodCountFailed", text)
            return self._write(live, self._failed(live, str(error)))
        return self._write(live, self._counted(budget, live, expected, desired))

    def _expected(self, budget: _Budget, live: Object) -> tuple[int, int]:
        """Return how many pods there should be, and how many of them healthy."""
        spec, pods = live["spec"], len(budget.pods)
        if not pods:
            self._record(live, "Normal", "NoPods", "No matching pods found")
        if "maxUnavailable" in spec:
            expected = self._scale(budget)
            return expected, max(0, expected - resolve(spec["maxUnavailable"], expected))
        wanted = spec.get("minAvailable")
        if isinstance(wanted, int):
            return pods, wanted
        if wanted is None:
            return pods, 0
        expected = self._scale(budget)
        return expected, resolve(wanted, expected)

    def _scale(self, budget: _Budget) -> int:
        """Return the sum of the replicas of all controllers of the pods."""
        scales: dict[str, int] = {}
        for pod in budget.pods.values():
            owner = _controller(pod)
            if owner is None:
                name = pod["metadata"]["name"]
                raise NoScale(f'found no controller ref for pod "{name}"')
            if owner["uid"] not in scales:
                scales[owner["uid"]] = self._replicas(owner, pod["metadata"]["namespace"])
        return sum(scales.values())

    def _replicas(self, owner: Object, namespace: str) -> int:
        resource = BY_KIND.get((owner["apiVersion"], owner["kind"]))
        if resource is None or owner["kind"] not in _WORKLOADS:
            what = resource.group_resource if resource else owner["kind"]
            raise NoScale(f"{what} does not implement the scale subresource")
        found = self._registry.store.get(resource, (namespace, owner["name"]))
        return int(((found or {}).get("spec") or {}).get("replicas", 1)) if found else 0

    def _failed(self, live: Object, message: str) -> Object:
        generation = live["metadata"]["generation"]
        status = {**live["status"], "disruptionsAllowed": 0, "observedGeneration": generation}
        return self._with_condition(status, "False", "SyncFailed", message, generation)

    def _counted(self, budget: _Budget, live: Object, expected: int, desired: int) -> Object:
        generation, now = live["metadata"]["generation"], self._clock.now()
        disrupted = self._still_disrupted(budget, live, now)
        healthy = sum(1 for name in budget.healthy if name not in disrupted)
        allowed = max(0, healthy - desired) if expected > 0 else 0
        status = {
            **{k: v for k, v in live["status"].items() if k != "disruptedPods"},
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "disruptionsAllowed": allowed,
            "observedGeneration": generation,
        }
        if disrupted:
            status["disruptedPods"] = disrupted
        reason = "SufficientPods" if allowed else "InsufficientPods"
        return self._with_condition(status, "True" if allowed else "False", reason, "", generation)

    def _still_disrupted(self, budget: _Budget, live: Object, now: float) -> dict[str, str]:
        """Return the evicted pods whose deletion has not been seen yet."""
        still: dict[str, str] = {}
        for name, since in (live["status"].get("disruptedPods") or {}).items():
            pod = budget.pods.get(name)
            left = timestamps.parse(since) + DELETION_TIMEOUT - now
            if pod is not None and "deletionTimestamp" not in pod["metadata"] and left > 0:
                still[name] = since
                meta = live["metadata"]
                self._queue.add_after((meta["namespace"], meta["name"]), left)
        return still

    def _with_condition(
        self, status: Object, value: str, reason: str, message: str, generation: int
    ) -> Object:
        conditions = status.get("conditions") or []
        known: Object = next((c for c in conditions if c["type"] == "DisruptionAllowed"), {})
        since = timestamps.rfc3339(self._clock.now())
        if known.get("status") == value:
            since = known["lastTransitionTime"]
        condition = {
            "type": "DisruptionAllowed",
            "status": value,
            "reason": reason,
            "message": message,
            "observedGeneration": generation,
            "lastTransitionTime": since,
        }
        others = [c for c in conditions if c["type"] != "DisruptionAllowed"]
        return {**status, "conditions": [*others, condition]}

    def _write(self, live: Object, status: Object) -> bool:
        if status == live["status"]:
            return True
        try:
            self._registry.update_status(PDBS, live, status, self._caller)
        except StatusError:
            return False
        return True


def _controller(pod: Object) -> Object | None:
    owners: list[Object] = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
