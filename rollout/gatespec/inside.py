"""Gates that ask the cluster's API: pods, nodes, events, logs, metrics, a Job."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from rollout.gatespec.base import Duration, GateBase
from rollout.quantity import parse_amount, parse_duration
from rollout.specfields import Name, NonNegative, checked


class PodsGate(GateBase, frozen=True, kw_only=True, tag="pods"):
    """Looks at the new pods, on their own and against the nodes that aren't updated yet."""

    available: int | str = "100%"  # of the updated nodes' pods
    max_restarts: NonNegative = 0
    restart_free: Duration = 0  # so long without a restart
    waiting_reasons: tuple[Name, ...] = ()  # none of the new pods may wait for these
    control_group: bool = True

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("available", parse_amount, self.available)
        checked("restartFree", parse_duration, self.restart_free)


class NodeGate(GateBase, frozen=True, kw_only=True, tag="node"):
    """Looks at the node: conditions, taints, pressure."""

    conditions: dict[str, str] = msgspec.field(  # type -> wanted status
        default_factory=lambda: {"Ready": "True"}
    )
    taints: tuple[Name, ...] = ()  # keys that must not be there
    pressure: bool = True  # no MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable


class EventsGate(GateBase, frozen=True, kw_only=True, tag="events"):
    """Counts Warning events of the new pods that are newer than their step."""

    reasons: tuple[Name, ...] = ()  # empty: any
    ignore: tuple[Name, ...] = ()
    max_events: NonNegative = 0


class LogsGate(GateBase, frozen=True, kw_only=True, tag="logs"):
    """Searches the new pods' logs for a pattern."""

    pattern: Name
    container: str = ""
    max_matches: NonNegative = 0  # a node

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern: is not a regular expression: {error}") from None


class ResourcesGate(GateBase, frozen=True, kw_only=True, tag="resources"):
    """Looks at CPU and memory of the new pods, from metrics.k8s.io."""

    container: str = ""
    cpu: str | None = None
    memory: str | None = None
    against: Literal["absolute", "request", "limit", "control"] = "absolute"


class JobGate(GateBase, frozen=True, kw_only=True, tag="job"):
    """Runs a Kubernetes Job on the updated node."""

    job: dict[str, Any]  # spec of the Job
    keep: Literal["never", "failed", "always"] = "never"
