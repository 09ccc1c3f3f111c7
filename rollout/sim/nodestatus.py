"""The conditions of a node, as its kubelet and the node lifecycle controller write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rollout.sim.store import Object

PRESSURES: Final = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
TYPES: Final = (*(type_ for type_, _, _ in PRESSURES), "Ready")


def ready_conditions(
    *, ready: bool, reason: str = "KubeletNotReady", message: str = ""
) -> list[Object]:
    """Return what a kubelet reports, without times."""
    pressures: list[Object] = [
        {"type": type_, "status": "False", "reason": why, "message": text}
        for type_, why, text in PRESSURES
    ]
    if ready:
        reason, message = "KubeletReady", "kubelet is posting ready status"
    status = "True" if ready else "False"
    return [*pressures, {"type": "Ready", "status": status, "reason": reason, "message": message}]


def unknown_conditions() -> list[Object]:
    """Return what the node lifecycle controller writes about a silent kubelet, without times."""
    return [
        {
            "type": type_,
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        }
        for type_ in TYPES
    ]


def with_conditions(status: Object, reported: Sequence[Object], now: str) -> Object:
    """Return the status with these conditions; one that keeps its value keeps its time."""
    known = {condition["type"]: condition for condition in status.get("conditions") or ()}
    types = {condition["type"] for condition in reported}
    merged = [c for type_, c in known.items() if type_ not in types]
    for condition in reported:
        before = known.get(condition["type"], {})
        since = now
        if before.get("status") == condition["status"]:
            since = before.get("lastTransitionTime", now)
        beat = before.get("lastHeartbeatTime", now) if condition["status"] == "Unknown" else now
        merged.append({**condition, "lastHeartbeatTime": beat, "lastTransitionTime": since})
    return {**status, "conditions": merged}


def condition_status(node: Object, type_: str) -> str:
    """Return a condition's status; "" when nobody has written it."""
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition["type"] == type_:
            return str(condition["status"])
    return ""
