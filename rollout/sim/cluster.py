"""The embedded cluster, put together: store, API rules, controllers, scheduler and kubelets.

The same parts run on a `VirtualClock` (one thread, one seed, as fast as the machine can) and on a
`RealClock` under the HTTP server. Whoever drives the cluster from outside does it through the
registry, or through the operations here that no API has: nodes that die, controllers that stop,
images that turn bad.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from rollout.memory import nothing_to_collect
from rollout.sim.admission import Admission
from rollout.sim.audit import AuditLog
from rollout.sim.auditedregistry import AuditedRegistry
from rollout.sim.clock import Clock
from rollout.sim.components import DAEMON_SET_CONTROLLER, controller_caller
from rollout.sim.controllers.daemonset import DaemonSetController
from rollout.sim.controllers.disruption import DisruptionController
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.garbage import GarbageCollector
from rollout.sim.controllers.jobs import JobController
from rollout.sim.controllers.namespaces import NamespaceController
from rollout.sim.controllers.nodelifecycle import NodeLifecycle
from rollout.sim.controllers.podgc import PodGC
from rollout.sim.controllers.tainteviction import TaintEviction
from rollout.sim.fleetfile import ZONE_LABEL, Fleet, default_fleet
from rollout.sim.heartbeats import Heartbeats
from rollout.sim.images import Behaviour, Fault, Images
from rollout.sim.kubelet import AddressPool, Kubelets
from rollout.sim.nodeobjects import node_body
from rollout.sim.podindex import PodIndex
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import NODES
from rollout.sim.scheduler import Scheduler
from rollout.sim.steadystate import ADMIN, SteadyState
from rollout.sim.store import Object, Store

CONTROLLERS: Final = {
    "daemonset": DAEMON_SET_CONTROLLER,
    "garbage": "generic-garbage-collector",
    "disruption": "disruption-controller",
    "namespaces": "namespace-controller",
    "podgc": "pod-garbage-collector",
    "nodelifecycle": "node-controller",
    "tainteviction": "node-controller",
    "jobs": "job-controller",
}
"""The controllers of the controller manager, and their service accounts."""
EVERYTHING: Final = frozenset((*CONTROLLERS, "scheduler", "kubelet"))


class Controller(Protocol):
    """One controller of the controller manager."""

    def start(self) -> None:
        """Fill the caches and begin to work."""

    def stop(self) -> None:
        """Work and hear no more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a cluster is built.

    Args:
        parts: which parts run (`CONTROLLERS`, `scheduler`, `kubelet`).
        track_managers: keep `metadata.managedFields`; off for large virtual runs.
        events: write Event objects.
        history: how many changes of a resource the watch cache keeps.
        latency: seconds from a change to a controller's or the scheduler's reaction.
        boot: seconds from a node's creation, or reboot, to its being Ready.
        heartbeats: write the leases of the kubelets, every 10 s for each node.
        manager: field manager of the controllers.
        admission: which admission plugins run.
    """

    parts: frozenset[str] = EVERYTHING
    track_managers: bool = True
    events: bool = True
    history: int = 20_000
    latency: float = 0.02
    boot: float = 1.0
    heartbeats: bool = False
    manager: str = "kube-controller-manager"
    admission: Admission = field(default_factory=Admission)


class Cluster:
    """One embedded cluster."""

    def __init__(
        self,
        clock: Clock,
        fleet: Fleet | None = None,
        settings: Settings | None = None,
        audit: AuditLog | None = None,
    ) -> None:
        """Build the cluster in its steady state; nothing moves before `start`.

        Args:
            clock: its time.
            fleet: what it holds (default: `default_fleet()`); its seed decides all chance.
            settings: how it is built.
            audit: gets what the parts of the cluster write, as the requests that they would be.
        """
        self.clock = clock
        self.fleet = fleet or default_fleet()
        self.settings = settings or Settings()
        self.store = Store(self.settings.history)
        self.images = Images(self.fleet.images, self.fleet.default_behaviour)
        self.registry = Registry(
            self.store,
            clock,
            self._random("registry"),
            admission_rules=self.settings.admission,
            track_managers=self.settings.track_managers,
        )
        addresses = AddressPool()
        maker = controller_caller(DAEMON_SET_CONTROLLER, self.settings.manager)
        steady = SteadyState(self.registry, maker, addresses, self.images, clock.now())
        with nothing_to_collect():
            down = steady.build(self.fleet)
        self.index = PodIndex(self.store)
        self._line = self.registry if audit is None else AuditedRegistry(self.registry, audit)
        self._recorder = EventRecorder(self._line, clock, enabled=self.settings.events)
        self.kubelets = Kubelets(
            self._line,
            clock,
            self._random("kubelet"),
            self.images,
            self._recorder,
            self.index,
            addresses,
            boot=self.settings.boot,
        )
        self.scheduler = Scheduler(
            self._line, clock, self._recorder, self.index, latency=self.settings.latency
        )
        for node in down:
            self.kubelets.lose_node(node)
        self._nodes_made = self.store.count(NODES)
        self._restarts = 0
        self._controllers: list[Controller] = []

    # The cluster as a whole

    def start(self) -> None:
        """Set everything to work."""
        with nothing_to_collect():
            if "kubelet" in self.settings.parts:
                self.kubelets.start()
            if self.settings.heartbeats:
                Heartbeats(self._line, self.clock, self.kubelets.lost).start()
            if "scheduler" in self.settings.parts:
                self.scheduler.start()
            self.start_controllers()

    def stop(self) -> None:
        """Stop everything that works by itself."""
        self.stop_controllers()
        self.scheduler.pause()

    def start_controllers(self) -> None:
        """Start the controller manager, with empty memory as after a restart."""
        if self._controllers:
            return
        self._restarts += 1
        self._controllers = [
            self._make(name) for name in CONTROLLERS if name in self.settings.parts
        ]
        for controller in self._controllers:
            controller.start()

    def stop_controllers(self) -> None:
        """Take the controller manager down."""
        for controller in self._controllers:
            controller.stop()
        self._controllers = []
        self.kubelets.on_silence = _unheard

    def _make(self, name: str) -> Controller:
        """Return a fresh controller of the controller manager."""
        registry, clock = self._line, self.clock
        caller = controller_caller(CONTROLLERS[name], self.settings.manager)
        recorder, latency = self._recorder, self.settings.latency
        rng = self._random(f"{name}/{self._restarts}")
        match name:
            case "daemonset":
                return DaemonSetController(registry, clock, rng, recorder, caller, latency=latency)
            case "garbage":
                return GarbageCollector(registry, clock, rng, caller, latency=latency)
            case "disruption":
                return DisruptionController(registry, clock, recorder, caller, latency=latency)
            case "namespaces":
                return NamespaceController(registry, clock, caller, latency=latency)
            case "podgc":
                return PodGC(registry, clock, caller, self.index, latency=latency)
            case "jobs":
                return JobController(registry, clock, recorder, caller, latency=latency)
            case "tainteviction":
                return TaintEviction(registry, clock, recorder, caller, self.index, latency=latency)
        return self._node_lifecycle(caller)

    def _node_lifecycle(self, caller: Caller) -> NodeLifecycle:
        lifecycle = NodeLifecycle(
            self._line,
            self.clock,
            self._recorder,
            caller,
            self.index,
            self.kubelets.lost,
            latency=self.settings.latency,
        )
        self.kubelets.on_silence = lifecycle.fell_silent
        return lifecycle

    def _random(self, purpose: str) -> random.Random:
        """Return the generator of one part: parts do not disturb each other's chance."""
        return random.Random(f"{self.fleet.seed}/{purpose}")  # noqa: S311 - a simulation

    # Nodes

    def join_node(
        self,
        name: str,
        *,
        zone: str = "",
        labels: dict[str, str] | None = None,
        taints: Iterable[Object] = (),
    ) -> Object:
        """Add a node; it is Ready when it has booted."""
        body = node_body(name, self._nodes_made, zone=zone, labels=labels)
        self._nodes_made += 1
        if spec_taints := list(taints):
            body = {**body, "spec": {**body["spec"], "taints": spec_taints}}
        return self._line.create(NODES, "", body, ADMIN)

    def remove_node(self, name: str) -> None:
        """Delete a node and switch it off, as an autoscaler does."""
        self._line.delete(NODES, "", name, ADMIN)

    def lose_node(self, name: str) -> None:
        """Cut a node off: nothing happens on it and nothing is heard of it."""
        self.kubelets.lose_node(name)

    def restore_node(self, name: str) -> None:
        """Bring a lost node back, with its containers as they were."""
        self.kubelets.restore_node(name)

    def reboot_node(self, name: str) -> None:
        """Take a node down and start it again; its containers restart."""
        self.kubelets.reboot_node(name)

    def nodes_of_zone(self, zone: str) -> list[str]:
        """Return the names of the nodes of a zone."""
        return [
            node["metadata"]["name"]
            for node in self.store.scan(NODES)
            if (node["metadata"].get("labels") or {}).get(ZONE_LABEL) == zone
        ]

    def lose_zone(self, zone: str) -> None:
        """Cut all nodes of a zone off."""
        for name in self.nodes_of_zone(zone):
            self.lose_node(name)

    def restore_zone(self, zone: str) -> None:
        """Bring all nodes of a zone back."""
        for name in self.nodes_of_zone(zone):
            self.restore_node(name)

    # Images

    def set_image(self, key: str, behaviour: Behaviour | None) -> None:
        """Change how an image (`image`, `image@node`, with `*`) behaves; None forgets it."""
        self.images.set(key, behaviour)
        self.kubelets.images_changed()

    def set_image_fault(self, key: str, fault: Fault | None) -> None:
        """Break an image, or heal it (None); running pods feel it."""
        self.images.set_fault(key, fault)
        self.kubelets.images_changed()

    def clear_image_faults(self) -> None:
        """Heal all images."""
        self.images.clear_faults()
        self.kubelets.images_changed()


def _unheard(_node: str) -> None:
    """Stand in for the node lifecycle controller while it is down."""
