"""Gates that ask the cluster's API: pods, nodes, events, logs, metrics, a Job."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec

from rollout.gatespec.base import Duration, GateBase
from rollout.patterns import compile_pattern
from rollout.quantity import parse_amount, parse_duration
from rollout.specfields import Name, NonNegative, Positive, checked

_SHARE = re.compile(r"[0-9]+(\.[0-9]+)?%")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")


class PodsGate(GateBase, frozen=True, kw_only=True, tag="pods"):
    """Looks at the new pods, on their own and against the nodes that aren't updated yet."""

    available: int | str = "100%"  # of the new pods
    max_restarts: NonNegative = 0  # of one pod
    restart_free: Duration = 0  # so long without a restart
    waiting_reasons: tuple[Name, ...] = ()  # no new pod may wait for one of these
    control_group: bool = True  # compare with the pods of the nodes that aren't updated yet
    unavailable_before: int | str = "2%"  # of all pods, at preflight

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("available", parse_amount, self.available)
        checked("restartFree", parse_duration, self.restart_free)
        checked("unavailableBefore", parse_amount, self.unavailable_before)


class NodeGate(GateBase, frozen=True, kw_only=True, tag="node"):
    """Looks at the node: conditions, taints, pressure."""

    conditions: dict[str, str] = msgspec.field(  # type -> wanted status
        default_factory=lambda: {"Ready": "True"}
    )
    taints: tuple[Name, ...] = ()  # keys that must not be there
    pressure: bool = True  # no MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        for type_, status in self.conditions.items():
            if status not in ("True", "False"):
                raise ValueError(f'conditions: {type_} is \'{status}\'; write "True" or "False"')


class EventsGate(GateBase, frozen=True, kw_only=True, tag="events"):
    """Counts Warning events that are newer than the change."""

    of: tuple[Literal["pods", "nodes", "daemonSets"], ...] = ("pods", "daemonSets")
    reasons: tuple[Name, ...] = ()  # only these; empty: any
    ignore: tuple[Name, ...] = ()  # not these reasons
    pattern: str | None = None  # only events whose message it matches
    max_events: NonNegative = 0  # all together

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if not self.of:
            raise ValueError("of: is empty; nothing would be looked at")
        if self.pattern is not None:
            checked("pattern", compile_pattern, self.pattern)


class LogsGate(GateBase, frozen=True, kw_only=True, tag="logs"):
    """Searches what the new pods have written since the change."""

    pattern: Name | None = None  # a line that it matches is bad
    require: Name | None = None  # a line that it matches must have appeared
    container: str = ""  # empty: every container
    previous: bool = True  # also what a container wrote before its last restart
    max_matches: NonNegative = 0  # bad lines of one node
    limit_bytes: Positive = 4 * 1024**2  # of one container's log

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if self.pattern is None and self.require is None:
            raise ValueError("pattern: give pattern, require or both")
        for field, text in (("pattern", self.pattern), ("require", self.require)):
            if text is not None:
                checked(field, compile_pattern, text)


class ResourcesGate(GateBase, frozen=True, kw_only=True, tag="resources"):
    """Looks at CPU and memory of the new pods, from metrics.k8s.io."""

    container: str = ""  # empty: the pod's containers together
    cpu: str | None = None  # at most: an amount (250m), or a share (90%) of what it is against
    memory: str | None = None
    against: Literal["absolute", "request", "limit", "control"] = "absolute"

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if self.cpu is None and self.memory is None:
            raise ValueError("cpu: give cpu, memory or both")
        for field, text in (("cpu", self.cpu), ("memory", self.memory)):
            if text is not None:
                checked(field, self._check_amount, text)

    def _check_amount(self, text: str) -> None:
        if self.against == "absolute" and not _QUANTITY.fullmatch(text):
            raise ValueError(f"'{text}' is not a quantity; write for example 250m or 128Mi")
        if self.against != "absolute" and not _SHARE.fullmatch(text):
            raise ValueError(
                f"'{text}' is not a share of the {self.against}; write for example 90%"
            )


class JobGate(GateBase, frozen=True, kw_only=True, tag="job"):
    """Runs a Kubernetes Job on the updated node; it passes when the Job completes."""

    job: dict[str, Any]  # `spec` of the Job
    keep: Literal["never", "onFailure", "always"] = "never"  # the Job, when it is over
    time_limit: Annotated[int, msgspec.Meta(ge=1)] | str = "10m"  # its activeDeadlineSeconds

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("timeLimit", parse_duration, self.time_limit)
        if (self.count or 1) > 1 or self.consecutive_success_limit is not None:
            raise ValueError("count: a Job runs once; leave count and consecutiveSuccessLimit out")
        if self.at == "background":
            raise ValueError("at: a Job cannot run in the background; write after-node")
        checked("job", _check_job, self.job)


def _check_job(job: dict[str, Any]) -> None:
    pod = (job.get("template") or {}).get("spec") if isinstance(job.get("template"), dict) else None
    if not isinstance(pod, dict) or not pod.get("containers"):
        raise ValueError("has no template.spec.containers; write the spec of a Job")
    if pod.get("nodeName") or (pod.get("affinity") or {}).get("nodeAffinity"):
        raise ValueError("names a node; the gate itself pins the Job to the updated one")
    if (job.get("completions") or 1) != 1 or (job.get("parallelism") or 1) != 1:
        raise ValueError("completions and parallelism are 1 here; write one gate for each Job")
