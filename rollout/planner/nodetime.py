"""Whether the time that a node has (`health.nodeTimeout`) is enough for its DaemonSet."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.fleet.objects import JsonObject
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import PlannedDaemonSet
from rollout.quantity import format_duration
from rollout.spec import LoadedSpec

_GRACE_S = 30  # Kubernetes' default of terminationGracePeriodSeconds


def grace_s(template: JsonObject) -> int:
    """Return how long a pod of the template may take to end, in seconds."""
    grace = (template.get("spec") or {}).get("terminationGracePeriodSeconds")
    return _GRACE_S if grace is None else int(grace)


def beyond_usual_s(fleet: Fleet, template: JsonObject) -> float:
    """Return how much longer than others its nodes may take, in seconds.

    Args:
        fleet: the DaemonSet, whose pods are to end.
        template: that of the new pods, which may have to end as well.
    """
    grace = max(grace_s(fleet.daemon_set.spec.template), grace_s(template))
    return float(fleet.daemon_set.spec.min_ready_seconds + max(0, grace - _GRACE_S))


def check(loaded: LoadedSpec, daemon_sets: Sequence[PlannedDaemonSet]) -> None:
    """Refuse a plan under which no node could get done.

    Raises:
        DocumentError: `minReadySeconds` alone takes as long as a node has.
    """
    limit = loaded.spec.spec.health.node_timeout_s
    for ds in daemon_sets:
        if ds.min_ready_s >= limit and any(node.fate == "update" for node in ds.nodes):
            raise loaded.error(
                ("health", "nodeTimeout"),
                f"no node of DaemonSet {ds.name} could get done within {format_duration(limit)}: "
                f"its minReadySeconds are {ds.min_ready_s:.0f}; write a longer nodeTimeout",
            )


def warnings(loaded: LoadedSpec, fleets: Sequence[Fleet]) -> list[str]:
    """Warn of pods that may take longer to end than a node has."""
    limit = loaded.spec.spec.health.node_timeout_s
    slow = [(fleet, grace_s(fleet.daemon_set.spec.template)) for fleet in fleets]
    return [
        f"DaemonSet {fleet.daemon_set.metadata.name}: a pod may take {format_duration(grace)} to "
        f"end (terminationGracePeriodSeconds), and a node fails after {format_duration(limit)} "
        "(health.nodeTimeout): write a longer one if the pods use that time"
        for fleet, grace in slow
        if grace >= limit and grace > _GRACE_S
    ]
