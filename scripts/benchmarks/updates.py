"""Rolling updates on the embedded cluster: the built-in controller's own, and their end."""

from __future__ import annotations

from typing import Final

from rollout.sim.cluster import Cluster
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Object

NAMESPACE: Final = "logging"
DAEMON_SET: Final = "log-agent"
CONTAINER: Final = "agent"


def begin_builtin(cluster: Cluster, image: str, limit: int) -> None:
    """Patch the template, so that the built-in controller rolls it out.

    Args:
        cluster: where.
        image: the new image.
        limit: `maxUnavailable`.
    """
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": limit}}
    template = {"spec": {"containers": [{"name": CONTAINER, "image": image}]}}
    body = {"spec": {"updateStrategy": strategy, "template": template}}
    cluster.registry.patch(DAEMONSETS, NAMESPACE, DAEMON_SET, body, PatchType.STRATEGIC, ADMIN)


def is_updated(daemon_set: Object) -> bool:
    """Whether every pod is of the current template and available, as the status says."""
    status, wanted = daemon_set["status"], daemon_set["status"]["desiredNumberScheduled"]
    return bool(
        status.get("observedGeneration") == daemon_set["metadata"]["generation"]
        and status.get("updatedNumberScheduled") == wanted
        and status.get("numberAvailable") == wanted
    )


def is_ready(pod: Object) -> bool:
    """Whether the pod's Ready condition is True."""
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
