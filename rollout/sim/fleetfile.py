"""The fleet file: what an embedded cluster holds when it starts (`--fleet FILE`).

A strict schema: an unknown key is refused with its file, line and the nearest known key. Without
a file there is a default fleet of one DaemonSet on some nodes in some zones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rollout.amounts import parse_amount as parse_resource
from rollout.quantity import parse_amount, parse_duration
from rollout.sim.images import DEFAULT, Behaviour, Fault, FaultKind, Timing
from rollout.yamlsource import Source, Step, read_document

T = TypeVar("T")
DEFAULT_NODES: Final = 20
DEFAULT_ZONES: Final = 3
ZONE_LABEL: Final = "topology.kubernetes.io/zone"
_MIN_WIDTH: Final = 3
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all parts of the file."""


class Taint(_Strict, frozen=True):
    """One taint of a node group."""

    key: str
    effect: str
    value: str = ""


class NodeGroup(_Strict, frozen=True):
    """Nodes that are alike.

    `name` is a pattern: `{}` becomes a number; without it the number is appended when there are
    several nodes. The nodes take turns in the `zones`.
    """

    name: str = "node-{}"
    count: int = 1
    zones: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    ready: bool = True
    unschedulable: bool = False
    allocatable: dict[str, str | int] = {}

    def names(self) -> list[str]:
        """Return the names of the nodes."""
        pattern = self.name
        if "{}" not in pattern:
            if self.count == 1:
                return [pattern]
            pattern += "-{}"
        width = max(_MIN_WIDTH, len(str(self.count - 1)))
        return [pattern.replace("{}", f"{number:0{width}d}") for number in range(self.count)]


class UpdateStrategy(_Strict, frozen=True):
    """`updateStrategy` in short form."""

    type: str = "RollingUpdate"
    max_unavailable: int | str | None = None
    max_surge: int | str | None = None


class DaemonSetEntry(_Strict, frozen=True):
    """A DaemonSet: a full manifest, or the few things that differ.

    `upToDate` of its nodes (default: all) run the current template at the start; the others run
    the same template with the image `previousImage`.
    """

    manifest: dict[str, Any] | None = None
    name: str = ""
    namespace: str = "default"
    image: str = ""
    container: str = "agent"
    labels: dict[str, str] = {}
    strategy: UpdateStrategy | None = None
    min_ready_seconds: int = 0
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    host_ports: tuple[int, ...] = ()
    previous_image: str = ""
    up_to_date: int | str | None = None

    def body(self) -> dict[str, Any]:
        """Return the manifest of the DaemonSet."""
        if self.manifest is not None:
            return self.manifest
        labels = self.labels or {"app": self.name}
        container: dict[str, Any] = {"name": self.container, "image": self.image}
        if self.host_ports:
            container["ports"] = [
                {"containerPort": port, "hostPort": port} for port in self.host_ports
            ]
        pod_spec: dict[str, Any] = {"containers": [container]}
        if self.node_selector:
            pod_spec["nodeSelector"] = self.node_selector
        if self.tolerations:
            pod_spec["tolerations"] = list(self.tolerations)
        spec: dict[str, Any] = {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec},
        }
        if self.min_ready_seconds:
            spec["minReadySeconds"] = self.min_ready_seconds
        if self.strategy is not None:
            spec["updateStrategy"] = _strategy(self.strategy)
        return {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": labels},
            "spec": spec,
        }

    def updated_nodes(self, nodes: int) -> int:
        """Return how many of its nodes run the current template at the start."""
        if self.up_to_date is None:
            return 0 if self.previous_image else nodes
        return min(nodes, parse_amount(self.up_to_date).resolve(nodes))


DEFAULT_DAEMON_SETS: Final = (
    DaemonSetEntry(name="log-agent", namespace="logging", image="log-agent:2.3"),
)


class TimingEntry(_Strict, frozen=True):
    """A length of time that is drawn for each pod."""

    median: int | float | str
    sigma: float = 0.0
    stragglers: float = 0.0
    factor: float = 1.0


class FaultEntry(_Strict, frozen=True):
    """What is wrong with an image."""

    kind: FaultKind
    after: int | float | str | None = None
    lasts: int | float | str | None = None
    exit_code: int | None = None
    reason: str = ""
    message: str = ""


class ImageEntry(_Strict, frozen=True):
    """How an image (or `image@node`) behaves."""

    start: int | float | str | TimingEntry | None = None
    stop: int | float | str | TimingEntry | None = None
    fault: str | FaultEntry | None = None
    logs: tuple[str, ...] | None = None
    cpu: int | float | str | None = None
    memory: int | float | str | None = None


class Rule(_Strict, frozen=True):
    """What a user may do; `namespaces` empty means everywhere."""

    verbs: tuple[str, ...]
    api_groups: tuple[str, ...] = ("",)
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = msgspec.field(default=(), name="nonResourceURLs")
    namespaces: tuple[str, ...] = ()


class User(_Strict, frozen=True):
    """Somebody who may talk to the server, by bearer token."""

    name: str
    token: str
    groups: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


class FleetDocument(_Strict, frozen=True):
    """The file as written."""

    seed: int | None = None
    nodes: tuple[NodeGroup, ...] = ()
    daemon_sets: tuple[DaemonSetEntry, ...] | None = None  # None: the default one
    objects: tuple[dict[str, Any], ...] = ()
    images: dict[str, ImageEntry] = {}
    times: ImageEntry | None = None
    users: tuple[User, ...] = ()


class Fleet(msgspec.Struct, frozen=True):
    """What an embedded cluster starts with."""

    seed: int = 0
    nodes: tuple[NodeGroup, ...] = ()
    daemon_sets: tuple[DaemonSetEntry, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()
    images: dict[str, Behaviour] = {}
    default_behaviour: Behaviour = DEFAULT
    users: tuple[User, ...] = ()


def default_fleet(
    nodes: int = DEFAULT_NODES, zones: int = DEFAULT_ZONES, *, seed: int = 0
) -> Fleet:
    """Return the fleet that there is without a file: `log-agent` on all nodes.

    Args:
        nodes: how many.
        zones: over how many zones they are spread.
        seed: of all chance.
    """
    return Fleet(
        seed=seed,
        nodes=default_nodes(nodes, zones),
        daemon_sets=DEFAULT_DAEMON_SETS,
    )


def default_nodes(nodes: int, zones: int) -> tuple[NodeGroup, ...]:
    """Return the nodes that there are when a file names none."""
    names = tuple(f"zone-{_letters(number)}" for number in range(zones))
    return (NodeGroup(count=nodes, zones=names),)


def read_fleet(
    path: Path, *, nodes: int = DEFAULT_NODES, zones: int = DEFAULT_ZONES, seed: int = 0
) -> Fleet:
    """Read a fleet file.

    Args:
        path: the file.
        nodes: how many nodes there are when the file names none.
        zones: over how many zones those are spread.
        seed: of all chance, when the file names none.

    Raises:
        DocumentError: when it cannot be read, or says something that makes no sense.
    """
    source = read_document(path)
    document = source.convert(FleetDocument)
    _check_nodes(source, document)
    daemon_sets = DEFAULT_DAEMON_SETS if document.daemon_sets is None else document.daemon_sets
    for index, entry in enumerate(daemon_sets):
        _check_daemon_set(source, index, entry)
    default = DEFAULT
    if document.times is not None:
        default = _behaviour(source, ("times",), document.times).over(DEFAULT)
    return Fleet(
        seed=seed if document.seed is None else document.seed,
        nodes=document.nodes or default_nodes(nodes, zones),
        daemon_sets=daemon_sets,
        objects=document.objects,
        images={
            key: _behaviour(source, ("images", key), entry)
            for key, entry in document.images.items()
        },
        default_behaviour=default,
        users=document.users,
    )


def read_fault(value: str | Mapping[str, Any]) -> Fault:
    """Read a fault as the fleet file and the fault script write it.

    Raises:
        ValueError: when it is none.
    """
    try:
        entry = msgspec.convert(
            {"kind": value} if isinstance(value, str) else dict(value), FaultEntry
        )
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    return _fault(entry)


def _letters(number: int) -> str:
    """Return a, b, ..., z, aa, ab, ... for 0, 1, ..."""
    text = _LETTERS[number % len(_LETTERS)]
    rest = number // len(_LETTERS)
    return (_letters(rest - 1) if rest else "") + text


def _strategy(strategy: UpdateStrategy) -> dict[str, Any]:
    result: dict[str, Any] = {"type": strategy.type}
    rolling: dict[str, Any] = {}
    if strategy.max_surge is not None:
        rolling["maxSurge"] = strategy.max_surge
        rolling["maxUnavailable"] = 0
    if strategy.max_unavailable is not None:
        rolling["maxUnavailable"] = strategy.max_unavailable
    if rolling:
        result["rollingUpdate"] = rolling
    return result


def _check_nodes(source: Source, document: FleetDocument) -> None:
    seen: set[str] = set()
    for index, group in enumerate(document.nodes):
        if group.count < 1:
            raise source.error(("nodes", index, "count"), "there must be at least one node")
        for taint in group.taints:
            if taint.effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
                raise source.error(
                    ("nodes", index, "taints"),
                    f"'{taint.effect}' is no taint effect; write NoSchedule, PreferNoSchedule "
                    "or NoExecute",
                )
        for name in group.names():
            if name in seen:
                raise source.error(
                    ("nodes", index, "name"), f"node '{name}' stands twice; rename the group"
                )
            seen.add(name)


def _check_daemon_set(source: Source, index: int, entry: DaemonSetEntry) -> None:
    path: tuple[Step, ...] = ("daemonSets", index)
    if entry.manifest is not None:
        if entry.name or entry.image:
            raise source.error(path, "give either 'manifest' or 'name' and 'image', not both")
        return
    for field in ("name", "image"):
        if not getattr(entry, field):
            raise source.error(path, f"'{field}' is missing; add it, or give a 'manifest'")
    if entry.up_to_date is not None:
        _checked(source, (*path, "upToDate"), parse_amount, entry.up_to_date)
        if not entry.previous_image:
            raise source.error(
                (*path, "upToDate"), "the other nodes run another image; add 'previousImage'"
            )


def _behaviour(source: Source, path: Sequence[Step], entry: ImageEntry) -> Behaviour:
    def read(name: str, value: object, reader: Callable[[Any], T]) -> T | None:
        if value is None:
            return None
        return _checked(source, (*path, name), reader, value)

    return Behaviour(
        start=read("start", entry.start, _timing),
        stop=read("stop", entry.stop, _timing),
        fault=read("fault", entry.fault, _any_fault),
        logs=entry.logs,
        cpu=read("cpu", entry.cpu, parse_resource),
        memory=read("memory", entry.memory, parse_resource),
    )


def _checked(source: Source, path: Sequence[Step], reader: Callable[[Any], T], value: object) -> T:
    try:
        return reader(value)
    except ValueError as error:
        raise source.error(path, str(error)) from None


def _timing(value: float | str | TimingEntry) -> Timing:
    if not isinstance(value, TimingEntry):
        return Timing(_seconds(value))
    if not 0 <= value.stragglers <= 1:
        raise ValueError(f"stragglers is a share between 0 and 1, not {value.stragglers}")
    return Timing(_seconds(value.median), value.sigma, value.stragglers, value.factor)


def _any_fault(value: str | FaultEntry) -> Fault:
    return read_fault(value) if isinstance(value, str) else _fault(value)


def _fault(entry: FaultEntry) -> Fault:
    exits = entry.kind is FaultKind.EXITS
    return Fault(
        kind=entry.kind,
        after=None if entry.after is None else _seconds(entry.after),
        lasts=None if entry.lasts is None else _seconds(entry.lasts),
        exit_code=(0 if exits else 1) if entry.exit_code is None else entry.exit_code,
        reason=entry.reason,
        message=entry.message,
    )


def _seconds(value: float | str) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if value < 0:
        raise ValueError(f"'{value}' is not a duration; write '30s', '10m' or '1h30m'")
    return float(value)
