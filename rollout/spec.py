"""The spec: what a user writes into `plans/`, typed, with every default in one place.

Types only; `specfile.py` reads them. plans/README.md is the reference for users.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec

from rollout.errors import DocumentError
from rollout.fleet.objects import JsonObject
from rollout.fleet.selectors import parse_label_selector
from rollout.gatespec import Gate, WindowGate
from rollout.gatespec.people import WindowRule
from rollout.notifyspec import Sink
from rollout.quantity import Amount, parse_amount, parse_duration
from rollout.specfields import Name, NonNegative, Positive, Struct, checked

API_VERSION = "rollout/v1"
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LONGEST_NAME = 240  # the longest object is the ConfigMap rollout-NAME-plan
SOAK_DEFAULT = "10s"
NODE_TIMEOUT_DEFAULT = "10m"
FAIL_FAST_DEFAULT = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
)


def _positive_amount(value: int | str) -> Amount:
    amount = parse_amount(value)
    if amount.value == 0:
        raise ValueError("0 would select nothing; write 1 or more")
    return amount


class Metadata(Struct, frozen=True):
    """`metadata`: what the rollout is called, and where its DaemonSets live."""

    name: Name
    namespace: str = ""

    def __post_init__(self) -> None:
        if len(self.name) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(self.name):
            raise ValueError(
                f"name: '{self.name}' cannot be part of an object's name; write at most "
                f"{_LONGEST_NAME} lower case letters, digits, '-' and '.', with a letter or digit "
                "at both ends"
            )


class SetTarget(Struct, frozen=True):
    """Change single fields of the template that runs now."""

    image: dict[str, str] = msgspec.field(default_factory=dict)  # container -> image
    env: dict[str, dict[str, str | None]] = msgspec.field(
        default_factory=dict
    )  # container -> variable -> value; null removes
    field: dict[str, Any] = msgspec.field(
        default_factory=dict
    )  # path below the template -> value; null removes

    def __post_init__(self) -> None:
        if not (self.image or self.env or self.field):
            raise ValueError("nothing is set; name an image, env or field")


class Target(Struct, frozen=True):
    """The desired template; exactly one way to say it."""

    manifest: str | None = None
    set: SetTarget | None = None
    revision: Positive | None = None
    restart: Literal[True] | None = None
    live: Literal[True] | None = None

    @property
    def kind(self) -> str:
        """Which way was chosen."""
        return next(k for k in self.__struct_fields__ if getattr(self, k) is not None)

    def __post_init__(self) -> None:
        given = [k for k in self.__struct_fields__ if getattr(self, k) is not None]
        if len(given) != 1:
            what = f"{' and '.join(given)} exclude each other" if given else "it is empty"
            raise ValueError(f"{what}; give exactly one of {', '.join(self.__struct_fields__)}")


class Strategy(Struct, frozen=True):
    """Limits of the run for one DaemonSet, in Kubernetes' own words (behaviour.md 2.6)."""

    type: Literal["RollingUpdate", "OnDelete"] = "RollingUpdate"  # OnDelete: step by step
    max_unavailable: int | str | None = None
    max_surge: int | str = 0

    def __post_init__(self) -> None:
        if self.max_unavailable is not None:
            checked("maxUnavailable", parse_amount, self.max_unavailable)
        checked("maxSurge", parse_amount, self.max_surge)
        surge = parse_amount(self.max_surge)
        unavailable = parse_amount(1 if self.max_unavailable is None else self.max_unavailable)
        if surge.value and unavailable.value:
            raise ValueError(
                "maxSurge: may not be set when maxUnavailable is non-zero; "
                "set one of them to 0 (maxUnavailable is 1 where it is left out)"
            )
        if not surge.value and not unavailable.value:
            raise ValueError(
                "maxUnavailable: cannot be 0 when maxSurge is 0; set one of them to 1 or more"
            )


class After(Struct, frozen=True):
    """This DaemonSet's step waits for another's: on the same node, wave by wave, or wholly."""

    daemon_set: Name
    scope: Literal["node", "wave", "all"] = "node"


class DaemonSetItem(Struct, frozen=True):
    """One DaemonSet of the rollout."""

    name: Name
    target: Target
    namespace: str = ""
    strategy: Strategy | None = None  # None: the DaemonSet's own
    after: After | None = None


class NodeRules(Struct, frozen=True):
    """Which nodes take part, and in which order inside a wave."""

    selector: str = ""
    exclude: tuple[Name, ...] = ()
    order: tuple[str, ...] = ()  # then the longest predicted, then the name
    defer_not_ready: bool = True
    cordoned: Literal["include", "exclude"] = "include"
    seed: int = 0  # of the order key `shuffle`

    def __post_init__(self) -> None:
        checked("selector", parse_label_selector, self.selector)
        plain = {"name", "zone", "age", "newest", "restarts", "shuffle"}
        for key in self.order:
            if key not in plain and not key.startswith("label:"):
                raise ValueError(
                    f"order: '{key}' is not a key; use {', '.join(sorted(plain))} or label:KEY"
                )


class WaveRule(Struct, frozen=True):
    """A set of nodes that is done before the next one begins."""

    name: str = ""
    size: int | str | tuple[int | str, ...] | None = None  # None: all that match
    selector: str = ""
    nodes: tuple[Name, ...] = ()
    spread: str = ""  # label key over whose values the nodes are spread
    by: str = ""  # label key; one wave for each of its values
    max_unavailable: int | str | None = None
    bake: int | str = 0
    pause: Literal["approval"] | None = None  # after the wave

    def __post_init__(self) -> None:
        checked("selector", parse_label_selector, self.selector)
        checked("bake", parse_duration, self.bake)
        for size in self.sizes:
            checked("size", _positive_amount, size)
        if self.max_unavailable is not None:
            checked("maxUnavailable", _positive_amount, self.max_unavailable)
        if self.nodes and (self.selector or self.size is not None or self.by):
            raise ValueError("nodes: excludes selector, size and by; the list is the wave")
        if self.by and (self.spread or self.size is not None):
            raise ValueError("by: excludes spread and size; every value of the label is a wave")

    @property
    def sizes(self) -> tuple[int | str, ...]:
        """The size as a list; the last one repeats when the user wrote a list."""
        if self.size is None:
            return ()
        return self.size if isinstance(self.size, tuple) else (self.size,)

    @property
    def repeats(self) -> bool:
        """Whether the last size repeats until nothing is left (Ansible's `serial` list)."""
        return isinstance(self.size, tuple)


ZONE_LABEL = "topology.kubernetes.io/zone"
PROFILES: Mapping[str, tuple[WaveRule, ...]] = {
    "fast": (WaveRule(name="wave", size=("100%",)),),
    "standard": (WaveRule(name="wave", size=(1, 5, "1%", "5%", "25%", "100%")),),
    "critical": (WaveRule(name="canary", size=1), WaveRule(by=ZONE_LABEL)),
    "manual": (WaveRule(name="wave", size=(1,), pause="approval"),),
}


class Health(Struct, frozen=True):
    """When a node counts as done, and when as failed."""

    soak: int | str = SOAK_DEFAULT
    node_timeout: int | str = NODE_TIMEOUT_DEFAULT
    max_restarts: NonNegative = 0
    pause_restarts: NonNegative | None = None
    start_grace: int | str = 0
    fail_fast: tuple[str, ...] = FAIL_FAST_DEFAULT
    max_flaps: NonNegative = 3
    progress_deadline: int | str | None = None  # None: twice the node timeout

    def __post_init__(self) -> None:
        for field in ("soak", "nodeTimeout", "startGrace"):
            value = {
                "soak": self.soak,
                "nodeTimeout": self.node_timeout,
                "startGrace": self.start_grace,
            }[field]
            checked(field, parse_duration, value)
        if parse_duration(self.node_timeout) <= parse_duration(self.soak):
            raise ValueError("nodeTimeout: must be longer than soak, or no node can ever be done")
        if self.progress_deadline is not None:
            checked("progressDeadline", parse_duration, self.progress_deadline)
            if self.progress_deadline_s <= self.node_timeout_s:
                raise ValueError(
                    "progressDeadline: must be longer than nodeTimeout, or a single slow node "
                    "ends the run"
                )
        if self.pause_restarts is not None and self.pause_restarts >= self.max_restarts:
            raise ValueError(
                f"pauseRestarts: {self.pause_restarts} must be less than maxRestarts "
                f"({self.max_restarts}), or the node would fail before the run pauses"
            )

    @property
    def soak_s(self) -> float:
        """Soak in seconds."""
        return parse_duration(self.soak)

    @property
    def node_timeout_s(self) -> float:
        """Node timeout in seconds."""
        return parse_duration(self.node_timeout)

    @property
    def progress_deadline_s(self) -> float:
        """Seconds that the run may go without a node that gets done."""
        if self.progress_deadline is None:
            return 2 * self.node_timeout_s
        return parse_duration(self.progress_deadline)

    @property
    def start_grace_s(self) -> float:
        """Seconds in which fail-fast reasons do not count yet."""
        return parse_duration(self.start_grace)


class Failure(Struct, frozen=True):
    """How many failed nodes the run survives, and what it does then."""

    max_failures: int | str = 0
    max_failures_per_wave: int | str | None = None
    max_consecutive: NonNegative | None = None
    max_in_trouble: NonNegative | None = None
    max_unreachable: int | str = "10%"
    pause_after: int | str | None = None
    sequential_test: bool = True
    on_failure: Literal["hold", "rollback", "abort"] = "hold"

    def __post_init__(self) -> None:
        checked("maxFailures", parse_amount, self.max_failures)
        checked("maxUnreachable", parse_amount, self.max_unreachable)
        if self.max_failures_per_wave is not None:
            checked("maxFailuresPerWave", parse_amount, self.max_failures_per_wave)
        if self.pause_after is not None:
            checked("pauseAfter", parse_amount, self.pause_after)
            self._check_pause()

    def _check_pause(self) -> None:
        """A pause that comes with the failure or behind it would never be seen."""
        assert self.pause_after is not None
        pause, most = parse_amount(self.pause_after), parse_amount(self.max_failures)
        if pause.percent != most.percent:
            raise ValueError("pauseAfter: write it as maxFailures is written, count or percentage")
        if pause.value >= most.value:
            raise ValueError(
                f"pauseAfter: {pause} must be less than maxFailures ({most}), or the run would "
                "fail before it pauses"
            )


class Limits(Struct, frozen=True):
    """Limits over all DaemonSets of the rollout."""

    max_nodes_in_flight: Positive | None = None
    max_per_zone: Positive | None = None
    max_broken_zones: Positive | None = 2
    replacements_per_second: Annotated[float, msgspec.Meta(gt=0)] = 5.0


class Body(Struct, frozen=True):
    """`spec`."""

    daemon_sets: Annotated[tuple[DaemonSetItem, ...], msgspec.Meta(min_length=1)]
    nodes: NodeRules = NodeRules()
    waves: str | tuple[WaveRule | int | str, ...] | None = None  # None: the profile standard
    health: Health = Health()
    failure: Failure = Failure()
    limits: Limits = Limits()
    gates: tuple[Gate, ...] = ()
    windows: tuple[WindowRule, ...] = ()
    notify: tuple[Sink, ...] = ()

    def __post_init__(self) -> None:
        if self.waves is None:
            return
        if isinstance(self.waves, str):
            if self.waves not in PROFILES:
                known = ", ".join(PROFILES)
                raise ValueError(f"waves: '{self.waves}' is not a profile; known are {known}")
            return
        if not self.waves:
            raise ValueError("waves: the list is empty; leave the key out for the profile standard")
        names = [item.name for item in self.waves if isinstance(item, WaveRule) and item.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"waves: the name '{name}' stands twice; approvals go by name")
        for item in self.waves:
            if not isinstance(item, WaveRule):
                checked("waves", _positive_amount, item)


WINDOWS = "windows"  # name of the gate that `windows` is short for


def window_gates(body: Body) -> tuple[WindowGate, ...]:
    """Return the gate that `windows` is short for, if there are windows."""
    if not body.windows:
        return ()
    return (WindowGate(name=WINDOWS, at="before-node", windows=body.windows),)


class Spec(Struct, frozen=True):
    """A whole spec document."""

    api_version: Literal["rollout/v1"]
    kind: Literal["Rollout"]
    metadata: Metadata
    spec: Body


class Origin(Protocol):
    """Where a document was read from, for messages."""

    def error(self, path: Sequence[str | int], message: str) -> DocumentError:
        """Return the error that points at `path` with file and line."""


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec with what it refers to: manifests by DaemonSet name, and where each key stands."""

    spec: Spec
    source: Origin
    manifests: Mapping[str, JsonObject]
    ignored: tuple[str, ...]  # other objects in the manifests: `ConfigMap logging/settings`

    def error(self, path: tuple[str | int, ...], message: str) -> DocumentError:
        """Return an error that points at a key of the spec, below `spec`."""
        return self.source.error(("spec", *path), message)
