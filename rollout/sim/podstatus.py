"""The status of a pod as its kubelet reports it, built from the states of its containers.

Pure functions on dicts. Equal parts are shared between pods, which matters at 100,000 of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from rollout.sim.store import Object

EMPTY: Final[Object] = {}
SIGTERM_GRACE_EXCEEDED: Final = 137
_KUBELET_CONDITIONS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
)


@dataclass(slots=True)
class ContainerRun:
    """One container of a pod, as it runs now."""

    name: str
    image: str
    state: Object = field(default_factory=dict)
    last_state: Object = field(default_factory=dict)
    ready: bool = False
    restarts: int = 0
    pulled: bool = False

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return "running" in self.state


def waiting(reason: str, message: str = "") -> Object:
    """Return the state of a container that waits."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running(started: str) -> Object:
    """Return the state of a container that runs since then."""
    return {"running": {"startedAt": started}}


def terminated(
    run: ContainerRun, uid: str, finished: str, *, exit_code: int, reason: str
) -> Object:
    """Return the state of a container that has ended."""
    started = (run.state.get("running") or {}).get("startedAt", finished)
    return {
        "terminated": {
            "exitCode": exit_code,
            "reason": reason,
            "startedAt": started,
            "finishedAt": finished,
            "containerID": container_id(uid, run.name, run.restarts),
        }
    }


def container_id(uid: str, name: str, restarts: int) -> str:
    """Return a container's id: another one after every restart."""
    digest = hashlib.sha256(f"{uid}/{name}/{restarts}".encode()).hexdigest()
    return f"containerd://{digest}"


@lru_cache(maxsize=1024)
def image_id(image: str) -> str:
    """Return the digest that an image resolves to."""
    if "@sha256:" in image:
        return image
    name = image.rsplit(":", 1)[0] if ":" in image.rsplit("/", 1)[-1] else image
    return f"{name}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def container_status(run: ContainerRun, uid: str) -> Object:
    """Return the entry of one container in `status.containerStatuses`."""
    status: Object = {
        "name": run.name,
        "state": run.state,
        "lastState": run.last_state,
        "ready": run.ready,
        "restartCount": run.restarts,
        "image": run.image,
        "imageID": image_id(run.image) if run.pulled else "",
        "started": run.running,
    }
    if run.running:
        status["containerID"] = container_id(uid, run.name, run.restarts)
    return status


def read_runs(pod: Object) -> list[ContainerRun]:
    """Return the containers of a pod in the states that its status tells."""
    statuses = {status["name"]: status for status in pod["status"].get("containerStatuses") or ()}
    return [
        _read_run(container, statuses.get(container["name"], EMPTY))
        for container in pod["spec"]["containers"]
    ]


def _read_run(container: Object, status: Object) -> ContainerRun:
    return ContainerRun(
        name=container["name"],
        image=container.get("image", ""),
        state=status.get("state") or {},
        last_state=status.get("lastState") or {},
        ready=status.get("ready", False),
        restarts=status.get("restartCount", 0),
        pulled=bool(status.get("imageID")),
    )


def conditions(
    before: Sequence[Object], runs: Iterable[ContainerRun], now: str, *, sandbox: bool, ended: str
) -> list[Object]:
    """Return the conditions of a pod; a condition that keeps its value keeps its time.

    Args:
        before: the conditions so far; those of other writers are kept.
        runs: its containers.
        now: the time stamp of a change.
        sandbox: whether its network is there.
        ended: reason when all containers have ended (`PodCompleted`, `PodFailed`), else "".
    """
    unready = [run.name for run in runs if not run.ready]
    known = {condition["type"]: condition for condition in before}
    not_ready: Object = {}
    if ended:
        not_ready = {"reason": ended}
    elif unready:
        names = " ".join(unready)
        not_ready = {
            "reason": "ContainersNotReady",
            "message": f"containers with unready status: [{names}]",
        }
    wanted: dict[str, tuple[bool, Object]] = {
        "PodReadyToStartContainers": (sandbox, EMPTY),
        "Initialized": (True, {"reason": ended} if ended == "PodCompleted" else EMPTY),
        "Ready": (not not_ready, not_ready),
        "ContainersReady": (not not_ready, not_ready),
    }
    result = [
        _condition(known.get(type_), type_, "True" if value else "False", details, now)
        for type_, (value, details) in wanted.items()
    ]
    return result + [c for c in before if c["type"] not in _KUBELET_CONDITIONS]


def _condition(
    before: Object | None,
    type_: str,
    status: str,
    details: Object,
    now: str,
) -> Object:
    since = now
    if before is not None and before["status"] == status:
        since = before.get("lastTransitionTime") or now
    condition: dict[str, Any] = {
        "type": type_,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": since,
        **details,
    }
    return before if before == condition else condition


def unready_status(status: Object, now: str | None) -> Object:
    """Return the status with Ready turned False, as the node lifecycle controller does it.

    Args:
        status: of the pod.
        now: the time stamp of the change; None keeps the old one.
    """
    changed = [
        {**c, "status": "False", "lastTransitionTime": now or c["lastTransitionTime"]}
        if c["type"] == "Ready" and c["status"] == "True"
        else c
        for c in status.get("conditions") or ()
    ]
    return {**status, "conditions": changed}
