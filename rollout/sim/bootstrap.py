"""What every cluster has from its first moment: namespaces, priorities, roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rollout.sim import rbac
from rollout.sim.resources import NAMESPACES, PRIORITY_CLASSES, Resource
from rollout.sim.store import Object

SYSTEM_NAMESPACES: Final = ("default", "kube-node-lease", "kube-public", "kube-system")
SYSTEM_PRIORITIES: Final = (
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
)


def first_objects() -> Iterator[tuple[Resource, Object]]:
    """Yield them in the order in which they are created; none is in a namespace."""
    for name in SYSTEM_NAMESPACES:
        yield NAMESPACES, _manifest(NAMESPACES, name)
    for name, value in SYSTEM_PRIORITIES:
        yield PRIORITY_CLASSES, {**_manifest(PRIORITY_CLASSES, name), "value": value}
    yield from rbac.bootstrap_objects()


def _manifest(resource: Resource, name: str) -> Object:
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {"name": name},
    }
