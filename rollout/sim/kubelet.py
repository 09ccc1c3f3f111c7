"""The kubelets of all nodes: they start and stop the pods that are bound to their nodes.

There is no process per node. A pod costs something only while it changes, so that 100,000 nodes
of running pods are silent. A node can be lost (everything on it stands still and nothing is
reported), restored, and rebooted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Final

from rollout.sim.clock import Clock
from rollout.sim.components import kubelet_caller
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.errors import StatusError
from rollout.sim.images import Images
from rollout.sim.nodestatus import ready_conditions, with_conditions
from rollout.sim.podhost import Life
from rollout.sim.podindex import PodIndex
from rollout.sim.podrun import PodRun
from rollout.sim.podstatus import conditions
from rollout.sim.registry import DeleteOptions, Registry
from rollout.sim.resources import NODES, PODS
from rollout.sim.store import Event, Object
from rollout.sim.timestamps import rfc3339

NOTICE: Final = 0.01  # seconds from a change in the API to the kubelet's reaction
"""How long a kubelet takes to see a change."""


class Kubelets:
    """All kubelets of a cluster."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        images: Images,
        recorder: EventRecorder,
        index: PodIndex,
        addresses: AddressPool,
        *,
        boot: float,
    ) -> None:
        """Make them; `start` sets them to work.

        Args:
            registry: where they read and report.
            clock: their time.
            rng: draws start and stop times.
            images: what the containers do.
            recorder: for events.
            index: pods by node.
            addresses: of pods.
            boot: seconds from a node's creation (or reboot) to its being Ready.
        """
        self.clock = clock
        self.rng = rng
        self.images = images
        self._registry = registry
        self._index = index
        self._boot = boot
        self._recorder = recorder
        self._runs: dict[str, PodRun] = {}
        self._lost: dict[str, list[Callable[[], None]]] = {}
        self._addresses = addresses
        self.on_silence: Callable[[str], None] = _nobody
        """Called with a node's name when its kubelet falls silent."""

    def start(self) -> None:
        """Take over the pods that are bound and not yet running, and follow all changes."""
        for pod in self._registry.store.scan(PODS):
            if pod["spec"].get("nodeName") and not _steady(pod):
                self._take(pod)
        for node in self._registry.store.scan(NODES):
            if not (node.get("status") or {}).get("conditions"):
                self._join(node["metadata"]["name"])
        self._registry.store.subscribe(PODS, self._on_pod)
        self._registry.store.subscribe(NODES, self._on_node)

    # Nodes

    def lost(self, node: str) -> bool:
        """Whether the node is down."""
        return node in self._lost

    def lose_node(self, node: str) -> None:
        """Take a node down: nothing happens on it and nothing is heard of it."""
        exists = self._registry.store.get(NODES, ("", node)) is not None
        if exists and node not in self._lost:
            self._lost[node] = []
            self.on_silence(node)

    def restore_node(self, node: str) -> None:
        """Bring a lost node back, with its containers as they were."""
        waiting = self._lost.pop(node, None)
        if waiting is None:
            return
        self._report_ready(node)
        for action in waiting:
            action()
        for pod in self._index.on(node):
            self._run(pod).reassert()

    def reboot_node(self, node: str) -> None:
        """Take a node down and start it again: its containers restart."""
        self.lose_node(node)
        self.clock.call_later(self._boot, lambda: self._rebooted(node))

    def _rebooted(self, node: str) -> None:
        if self._lost.pop(node, None) is None:
            return
        self._report_ready(node)
        self._start_afresh(self._index.on(node))

    def _start_afresh(self, pods: Iterable[Object]) -> None:
        """Take up pods on a machine on which nothing runs yet."""
        for pod in pods:
            if pod["status"].get("phase") not in ("Failed", "Succeeded"):
                self._run(pod).reboot(doomed="deletionTimestamp" in pod["metadata"])

    def report_unready(self, node: str, reason: str, message: str) -> None:
        """Let a kubelet say that its node cannot work (the kubelet itself is well)."""
        self._write_node(node, ready_conditions(ready=False, reason=reason, message=message))

    def alive(self, node: str, callback: Callable[[], None]) -> bool:
        """Whether the node works; if not, it will call back when it does."""
        waiting = self._lost.get(node)
        if waiting is None:
            return True
        waiting.append(callback)
        return False

    def _join(self, node: str) -> None:
        self.clock.call_later(self._boot, lambda: self._joined(node))

    def _joined(self, node: str) -> None:
        """Begin on a new machine; pods of one that had its name before may be bound to it still."""
        self._report_ready(node)
        if node not in self._lost and self._registry.store.get(NODES, ("", node)) is not None:
            left = [pod for pod in self._index.on(node) if pod["metadata"]["uid"] not in self._runs]
            self._start_afresh(left)

    def _report_ready(self, node: str) -> None:
        if node not in self._lost:
            self._write_node(node, ready_conditions(ready=True))

    def _write_node(self, name: str, reported: list[Object]) -> None:
        node = self._registry.store.get(NODES, ("", name))
        if node is None:
            return
        status = with_conditions(node.get("status") or {}, reported, rfc3339(self.clock.now()))
        self._registry.update_status(NODES, node, status, kubelet_caller(name))

    def _on_node(self, event: Event) -> None:
        name = event.key[1]
        if event.type == "ADDED":
            self._join(name)
        elif event.type == "DELETED":
            self._lost.pop(name, None)
            for pod in self._index.on(name):
                self._forget(pod["metadata"]["uid"])

    # Pods

    def images_changed(self) -> None:
        """Look at all pods again: the behaviour of an image was changed."""
        for pod in self._registry.store.scan(PODS):
            node = pod["spec"].get("nodeName")
            if not node or node in self._lost or "deletionTimestamp" in pod["metadata"]:
                continue
            if pod["metadata"]["uid"] in self._runs or self._faulty(pod, node):
                self._run(pod).reconsider()

    def _faulty(self, pod: Object, node: str) -> bool:
        return any(
            self.images.behaviour(container.get("image", ""), node).fault is not None
            for container in pod["spec"]["containers"]
        )

    def _on_pod(self, event: Event) -> None:
        pod, old = event.object, event.old
        if event.type == "DELETED":
            self._forget(pod["metadata"]["uid"])
            return
        if not pod["spec"].get("nodeName"):
            return
        if old is None or not old["spec"].get("nodeName"):
            self._take(pod)
            return
        ending = pod["metadata"].get("deletionGracePeriodSeconds")
        if ending is not None and ending != old["metadata"].get("deletionGracePeriodSeconds"):
            self._soon(pod, lambda: self._stop(pod, float(ending)))

    def _take(self, pod: Object) -> None:
        if self._registry.store.get(NODES, ("", pod["spec"]["nodeName"])) is None:
            return
        uid = pod["metadata"]["uid"]
        self._runs[uid] = PodRun.of(self, pod)
        if "deletionTimestamp" in pod["metadata"]:
            grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
            self._soon(pod, lambda: self._stop(pod, grace))
        else:
            self._soon(pod, lambda: self._begin(uid))

    def _begin(self, uid: str) -> None:
        run = self._runs.get(uid)
        if run is not None and not run.stopping:
            run.begin()

    def _stop(self, pod: Object, grace: float) -> None:
        if self._registry.store.get(NODES, ("", pod["spec"]["nodeName"])) is None:
            return
        run = self._run(pod)
        if run.stopping:
            run.hurry(grace)
        else:
            run.stop(grace)

    def _soon(self, pod: Object, action: Callable[[], None]) -> None:
        node = pod["spec"]["nodeName"]

        def due() -> None:
            if self.alive(node, due):
                action()

        self.clock.call_later(NOTICE, due)

    def _run(self, pod: Object) -> PodRun:
        uid = pod["metadata"]["uid"]
        run = self._runs.get(uid)
        if run is None:
            run = self._runs[uid] = PodRun.of(self, pod)
        return run

    def _forget(self, uid: str) -> None:
        run = self._runs.pop(uid, None)
        if run is not None:
            run.cancel()

    # What pod runs ask for

    def live(self, run: Life) -> Object | None:
        """Return the pod as stored, None when it is gone or another one has its name."""
        pod = self._registry.store.get(PODS, run.key)
        return pod if pod is not None and pod["metadata"]["uid"] == run.uid else None

    def settled(self, run: Life) -> None:
        """Let go of a pod with which nothing goes on any more."""
        self._runs.pop(run.uid, None)

    def record(self, run: Life, type_: str, reason: str, message: str) -> None:
        """Write an event about a pod."""
        pod = self.live(run)
        if pod is not None:
            record = self._recorder.recorder("kubelet", kubelet_caller(run.node))
            record(pod, type_, reason, message)

    def remove(self, run: Life) -> None:
        """Tell the server that a pod has ended, unless it is gone already."""
        if self.live(run) is None:
            self._forget(run.uid)
            return
        options = DeleteOptions(grace_period_seconds=0, uid=run.uid)
        try:
            self._registry.delete(PODS, *run.key, kubelet_caller(run.node), options)
        except StatusError:
            self._forget(run.uid)

    def write(self, run: Life, phase: str, *, sandbox: bool, reason: str, message: str) -> None:
        """Report a pod's status."""
        pod = self.live(run)
        if pod is None:
            self._forget(run.uid)
            return
        status = self._status(run, pod, phase, sandbox=sandbox)
        if reason:
            status |= {"reason": reason, "message": message}
        self._registry.update_status(PODS, pod, status, kubelet_caller(run.node))

    def _status(self, run: Life, pod: Object, phase: str, *, sandbox: bool) -> Object:
        now, before = rfc3339(self.clock.now()), pod["status"]
        ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
        status = {
            **before,
            "phase": phase,
            "conditions": conditions(
                before.get("conditions") or (), run.containers, now, sandbox=sandbox, ended=ended
            ),
            "startTime": before.get("startTime", now),
        }
        if run.containers:
            status["containerStatuses"] = run.statuses()
        if sandbox and "podIP" not in status:
            node = self._registry.store.get(NODES, ("", run.node))
            status |= self._addresses.take(node)
        return status


class AddressPool:
    """Gives every pod an address of its own."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self, node: Object | None) -> Object:
        """Return the address fields of the status of a pod on the node."""
        addresses = ((node or {}).get("status") or {}).get("addresses") or ()
        host = next((a["address"] for a in addresses if a["type"] == "InternalIP"), "10.0.0.1")
        self._taken += 1
        address = pod_address(self._taken)
        return {
            "hostIP": host,
            "hostIPs": [{"ip": host}],
            "podIP": address,
            "podIPs": [{"ip": address}],
        }


def pod_address(number: int) -> str:
    """Return the n-th address of the pod network 10.128.0.0/9."""
    number %= 1 << 23
    return f"10.{128 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"


def _steady(pod: Object) -> bool:
    return pod["status"].get("phase") != "Pending" and "deletionTimestamp" not in pod["metadata"]


def _nobody(_node: str) -> None:
    """Stand in until somebody listens."""
