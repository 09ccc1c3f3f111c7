"""Evicts pods from nodes whose `NoExecute` taints they do not tolerate, or only for a while."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rollout.fleet.eligibility import Toleration
from rollout.fleet.objects import Taint
from rollout.sim.clock import Clock, Timer
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.workqueue import Informer
from rollout.sim.errors import StatusError
from rollout.sim.podindex import PodIndex
from rollout.sim.registry import Caller, DeleteOptions, Registry
from rollout.sim.resources import NODES, PODS
from rollout.sim.store import Event, Object

FOR_EVER: Final = float("inf")


def tolerated_for(taints: Iterable[Object], tolerations: Iterable[Object]) -> float:
    """Return how many seconds a pod may stay on a node with these taints.

    Args:
        taints: of the node; only `NoExecute` counts.
        tolerations: of the pod.
    """
    least = FOR_EVER
    for taint in taints:
        if taint["effect"] != "NoExecute":
            continue
        facts = Taint(taint["key"], taint["effect"], taint.get("value") or "")
        fitting = [t for t in tolerations if _toleration(t).tolerates(facts)]
        if not fitting:
            return 0.0
        for toleration in fitting:
            seconds = toleration.get("tolerationSeconds")
            if seconds is not None:
                least = min(least, max(0.0, float(seconds)))
    return least


def _toleration(item: Object) -> Toleration:
    return Toleration(
        item.get("key") or "",
        item.get("operator") or "Equal",
        item.get("value") or "",
        item.get("effect") or "",
    )


class TaintEviction:
    """Deletes pods when their time on a tainted node is up."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        recorder: EventRecorder,
        caller: Caller,
        index: PodIndex,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._caller = caller
        self._record = recorder.recorder("taint-eviction-controller", caller)
        self._index = index
        self._tainted: set[str] = set()
        self._evictions: dict[str, tuple[Timer, float]] = {}  # by pod uid
        self._informer = Informer(registry.store, clock, (NODES, PODS), latency, self._handle)

    def start(self) -> None:
        """Look at all nodes and pods, and follow their changes."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        for timer, _ in self._evictions.values():
            timer.cancel()
        self._evictions.clear()

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.resource is NODES:
                self._on_node(event)
            else:
                self._on_pod(event)

    def _on_node(self, event: Event) -> None:
        name = event.key[1]
        taints = [t for t in _taints(event.object) if t["effect"] == "NoExecute"]
        if event.type == "DELETED":
            self._tainted.discard(name)
            return
        if not taints and name not in self._tainted:
            return
        (self._tainted.add if taints else self._tainted.discard)(name)
        for pod in self._index.on(name):
            self._judge(pod, taints)

    def _on_pod(self, event: Event) -> None:
        pod = event.object
        node = pod["spec"].get("nodeName")
        if event.type == "DELETED":
            self._cancel(pod["metadata"]["uid"])
        elif node in self._tainted:
            found = self._registry.store.get(NODES, ("", node))
            if found is not None:
                self._judge(pod, _taints(found))

    def _judge(self, pod: Object, taints: Iterable[Object]) -> None:
        uid = pod["metadata"]["uid"]
        seconds = tolerated_for(taints, pod["spec"].get("tolerations") or ())
        if seconds == FOR_EVER or "deletionTimestamp" in pod["metadata"]:
            self._cancel(uid)
            return
        planned = self._evictions.get(uid)
        if planned is not None and planned[1] <= seconds:
            return
        self._cancel(uid)
        timer = self._clock.call_later(seconds, lambda: self._evict(pod))
        self._evictions[uid] = (timer, seconds)

    def _cancel(self, uid: str) -> None:
        planned = self._evictions.pop(uid, None)
        if planned is not None:
            planned[0].cancel()

    def _evict(self, pod: Object) -> None:
        meta = pod["metadata"]
        self._evictions.pop(meta["uid"], None)
        text = f"Marking for deletion Pod {meta['namespace']}/{meta['name']}"
        self._record(pod, "Normal", "TaintManagerEviction", text)
        try:
            self._registry.delete(
                PODS,
                meta["namespace"],
                meta["name"],
                self._caller,
                DeleteOptions(uid=meta["uid"]),
            )
        except StatusError:
            return


def _taints(node: Object) -> list[Object]:
    taints: list[Object] = (node.get("spec") or {}).get("taints") or []
    return taints
