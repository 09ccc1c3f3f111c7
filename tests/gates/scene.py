"""A cluster in the middle of an update, and the pictures of it that gates measure with.

The real client over HTTP against the embedded cluster: node-000 runs the new image, the others the
old one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rollout.cluster.client import Client, connect
from rollout.cluster.paths import resource_path
from rollout.fleet.objects import Node, Pod
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement
from rollout.gates.measuring import measure
from rollout.gatespec import Gate
from rollout.sim.fleetfile import UpdateStrategy
from rollout.sim.images import Behaviour
from rollout.sim.resources import PODS, Resource
from rollout.sim.store import Object
from tests.e2e.world import NAMESPACE, NEW, World, fleet, world
from tests.gates.worlds import a_context

PATIENCE_S = 120.0


class Scene:
    """A running cluster with a client."""

    def __init__(self, cluster: World, client: Client) -> None:
        self.world = cluster
        self.client = client
        self.began = time.time() - 1.0  # API times are whole seconds

    def update(self, node: str) -> None:
        """Replace the pod of a node, and wait until the new one has come to something."""
        old = next(p for p in self.world.objects(PODS) if p["spec"]["nodeName"] == node)
        meta = old["metadata"]
        path = resource_path("v1", "pods", namespace=meta["namespace"], name=meta["name"])
        self.client.delete(path, uid=meta["uid"])

        def came(pod: Object) -> bool:
            another = pod["metadata"]["uid"] != meta["uid"] and pod["spec"].get("nodeName") == node
            return another and bool(pod["status"].get("containerStatuses"))

        self.wait_for(PODS, came)

    def picture(self, node: str = "", /, **changes: Any) -> Context:
        """Return the context of a measurement, with the pods as they are now."""
        pods = self.client.list(resource_path("v1", "pods", namespace=NAMESPACE), Pod).items
        nodes = self.client.list(resource_path("v1", "nodes"), Node).items
        ours = [pod for pod in pods if pod.metadata.labels.get("app") == "log-agent"]
        images = {
            pod["metadata"]["uid"]: pod["spec"]["containers"][0]["image"]
            for pod in self.world.objects(PODS)
        }
        updated = tuple(pod for pod in ours if images.get(pod.metadata.uid) == NEW)
        made: dict[str, Any] = {
            "updated": updated,
            "control": tuple(pod for pod in ours if pod not in updated),
            "updated_nodes": tuple(pod.target_node for pod in updated),
            "node": next((n for n in nodes if n.metadata.name == node), None),
            "client": self.client,
            "since": self.began,
            "began": self.began,
            "now": time.time(),
        }
        return a_context(**made | changes)

    def measure(self, gate: Gate, node: str = "", /, **changes: Any) -> Measurement:
        """Measure a gate once."""
        return measure(gate, self.picture(node, **changes))

    def wait_for(self, resource: Resource, done: Callable[[Object], bool]) -> None:
        """Wait until an object of a resource is as wanted."""
        reached = threading.Event()

        def look(obj: Object) -> None:
            if done(obj):
                reached.set()

        with self.world.cluster.lock:
            store = self.world.cluster.cluster.store
            stop = store.subscribe(resource, lambda event: look(event.object))
            for obj in store.scan(resource):
                look(obj)
        try:
            assert reached.wait(PATIENCE_S), f"no {resource.kind} became what was waited for"
        finally:
            with self.world.cluster.lock:
                stop()


@contextmanager
def scene_of(cluster: World) -> Iterator[Scene]:
    """Look at a running cluster with a client of its own."""
    client = connect(cluster.kubeconfig)
    try:
        yield Scene(cluster, client)
    finally:
        client.close()


@contextmanager
def scene(
    directory: Path, *, nodes: int = 3, images: dict[str, Behaviour] | None = None
) -> Iterator[Scene]:
    """Run a cluster whose first node is updated, with images that behave as told."""
    described = fleet(nodes, up_to_date=0, strategy=UpdateStrategy(type="OnDelete"))
    described = msgspec.structs.replace(described, images=images or {})
    with world(described, directory) as cluster, scene_of(cluster) as running:
        running.update("node-000")
        yield running
