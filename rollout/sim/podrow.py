"""The row of a pod in server-side tables: what its containers add up to.

Source: printPod in pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from typing import Final

from rollout.sim.durations import age, since
from rollout.sim.store import Object

NONE: Final = "<none>"


def pod_cells(pod: Object, now: float) -> list[str]:
    """Return the cells of a pod's row."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    ready, total, reason, restarts, last = _container_summary(spec, status)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif status.get("phase") not in {"Succeeded", "Failed"}:
            reason = "Terminating"
    restarts_text = str(restarts)
    if restarts and last:
        restarts_text += f" ({since(last, now)} ago)"
    addresses = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    return [
        pod["metadata"].get("name", ""),
        f"{ready}/{total}",
        reason,
        restarts_text,
        age(pod, now),
        addresses[0]["ip"] or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def _container_summary(spec: Object, status: Object) -> tuple[int, int, str, int, str]:
    """Return ready and all containers, the reason, restarts and the time of the last one."""
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or []
        if container.get("restartPolicy") == "Always"
    }
    total = len(spec.get("containers") or []) + len(sidecars)
    reason = status.get("reason") or status.get("phase", "")
    scheduled = find_condition(status, "PodScheduled")
    if scheduled.get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initial = status.get("initContainerStatuses") or []
    init_reason = _init_reason(spec, initial, sidecars)
    ready = sum(1 for found in initial if found["name"] in sidecars and found.get("ready"))
    if init_reason and find_condition(status, "Initialized").get("status") != "True":
        return ready, total, init_reason, _restarts(initial), _last_end(initial)
    running = status.get("containerStatuses") or []
    counted = [found for found in initial if found["name"] in sidecars] + running
    ready += sum(1 for found in running if _is_ready(found))
    reason = _running_reason(init_reason or reason, running, status)
    return ready, total, reason, _restarts(counted), _last_end(counted)


def find_condition(status: Object, kind: str) -> Object:
    """Return a condition of a status, `{}` when it is not there."""
    for condition in status.get("conditions") or []:
        if condition["type"] == kind:
            found: Object = condition
            return found
    return {}


def _init_reason(spec: Object, statuses: list[Object], sidecars: set[str]) -> str:
    """Return how far initialisation is (`Init:1/3`), or "" when it is over."""
    total = len(spec.get("initContainers") or [])
    for position, status in enumerate(statuses):
        state = status.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and not ended.get("exitCode"):
            continue
        if status["name"] in sidecars and status.get("started"):
            continue
        if ended is not None:
            return f"Init:{_end_reason(ended)}"
        if waiting.get("reason") not in {None, "", "PodInitializing"}:
            return f"Init:{waiting['reason']}"
        return f"Init:{position}/{total}"
    return ""


def _end_reason(ended: Object) -> str:
    if ended.get("reason"):
        reason: str = ended["reason"]
        return reason
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _is_ready(status: Object) -> bool:
    state = status.get("state") or {}
    return bool(status.get("ready")) and state.get("running") is not None


def _running_reason(reason: str, statuses: list[Object], status: Object) -> str:
    for container in reversed(statuses):
        state = container.get("state") or {}
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting:
            reason = waiting
        elif state.get("terminated") is not None:
            reason = _end_reason(state["terminated"])
    if reason == "Completed" and any(map(_is_ready, statuses)):
        return "Running" if find_condition(status, "Ready").get("status") == "True" else "NotReady"
    return reason


def _restarts(statuses: list[Object]) -> int:
    return sum(status.get("restartCount", 0) for status in statuses)


def _last_end(statuses: list[Object]) -> str:
    ends = ((status.get("lastState") or {}).get("terminated") or {} for status in statuses)
    return max((end.get("finishedAt") or "" for end in ends), default="")


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or []
    if not gates:
        return NONE
    met = sum(
        find_condition(status, gate["conditionType"]).get("status") == "True" for gate in gates
    )
    return f"{met}/{len(gates)}"
