"""What the DaemonSet controller decides for one node, and over all nodes: pure functions.

Kubernetes keeps the same split (`daemon_controller.go` acts, `update.go` decides). Nothing here
knows stores, clocks or requests: pods come as `DaemonPod`, time as `now`, chance as a `Random`.
Sections are those of behaviour.md.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

from rollout.fleet.objects import HASH_LABEL, TEMPLATE_GENERATION_LABEL
from rollout.sim.controllers.indexedset import IndexedSet
from rollout.sim.timestamps import parse

_WHOLE = 100


@dataclass(frozen=True, slots=True)
class DaemonPod:
    """What the controller looks at in a pod; `ready_since` is None while it is not Ready."""

    namespace: str
    name: str
    uid: str
    node: str  # bound to it, or sent to it by affinity
    bound: bool
    created: str
    phase: str
    ready_since: float | None
    terminating: bool
    hash: str
    generation: str

    @property
    def terminal(self) -> bool:
        """Whether all its containers have ended for good."""
        return self.phase in ("Failed", "Succeeded")

    @property
    def ready(self) -> bool:
        """Whether its Ready condition is True."""
        return self.ready_since is not None

    def available(self, min_ready: float, now: float) -> bool:
        """Whether it has been Ready for `min_ready` seconds (section 2.2)."""
        return self.ready_since is not None and (
            min_ready == 0 or self.ready_since + min_ready <= now
        )

    def age_order(self) -> tuple[bool, str, str]:
        """Bound pods first, then the oldest, then by name (section 1.5)."""
        return (not self.bound, self.created, self.name)


class Target(NamedTuple):
    """What an up-to-date pod carries; `generation` "" switches that half of the rule off."""

    hash: str
    generation: str

    def matches(self, pod: DaemonPod) -> bool:
        """Whether the pod is up to date: hash **or** template generation (section 3.3)."""
        if self.hash and pod.hash == self.hash:
            return True
        return bool(self.generation) and pod.generation == self.generation


class Half(IntEnum):
    """The state of the one new, or the one old, pod of a node."""

    NONE = 0
    BROKEN = 1  # exists, not available
    HEALTHY = 2  # available


class Place(IntEnum):
    """What the node of a pod is to the DaemonSet."""

    WANTED = 0  # a pod must run there
    UNWANTED = 1  # it exists, no pod is wanted there
    MISSING = 2  # no such Node object


class Situation(NamedTuple):
    """One node as the rolling update sees it (sections 2.4 and 2.5)."""

    new: Half
    old: Half
    place: Place
    ambiguous: bool = False  # more than one new, or more than one old pod


class Limits(NamedTuple):
    """The update strategy in numbers, on the nodes that should run the pod now."""

    max_unavailable: int
    max_surge: int


class NodeWork(NamedTuple):
    """What the manage phase wants on one node."""

    create: bool = False
    delete: tuple[DaemonPod, ...] = ()
    failed: tuple[DaemonPod, ...] = ()  # to be deleted too, one per backoff window
    succeeded: tuple[DaemonPod, ...] = ()  # likewise, at once


class NodeCount(NamedTuple):
    """One node's part in `status` (section 5)."""

    desired: int = 0
    current: int = 0
    misscheduled: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0


NO_WORK = NodeWork()
NO_COUNT = NodeCount()


def daemon_pod(pod: Mapping[str, Any]) -> DaemonPod:
    """Read the fields that decide from a Pod object."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    labels = meta.get("labels") or {}
    node = spec.get("nodeName") or ""
    return DaemonPod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=node or affinity_target(spec),
        bound=bool(node),
        created=meta["creationTimestamp"],
        phase=status.get("phase") or "",
        ready_since=ready_since(status),
        terminating="deletionTimestamp" in meta,
        hash=labels.get(HASH_LABEL, ""),
        generation=labels.get(TEMPLATE_GENERATION_LABEL, ""),
    )


def ready_since(status: Mapping[str, Any]) -> float | None:
    """Return when the Ready condition turned True, or None when it is not True."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Ready":
            if condition["status"] != "True":
                return None
            since = condition.get("lastTransitionTime")
            return parse(since) if since else float("inf")
    return None


def affinity_target(spec: Mapping[str, Any]) -> str:
    """Return the node that a pod's `metadata.name` affinity names, or "" (section 1.4)."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            values: Sequence[str] = field.get("values") or ()
            named = field.get("key") == "metadata.name" and field.get("operator") == "In"
            if named and len(values) == 1:
                return values[0]
    return ""


def resolve(value: object, base: int) -> int:
    """Return an int-or-percent limit for `base` nodes; percentages round up (section 2.1).

    Raises:
        ValueError: for what validation would not have let through.
    """
    if value is None:
        raise ValueError("nil value for IntOrString")
    if isinstance(value, int):
        return value
    text = str(value)
    if not text.endswith("%"):
        raise ValueError("invalid value for IntOrString: invalid type: string is not a percentage")
    return -(-int(text[:-1]) * base // _WHOLE)


def surge_limit(strategy: Mapping[str, Any], base: int) -> int:
    """Return maxSurge for `base` nodes: 0 unless the type is RollingUpdate (section 2.1)."""
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") != "RollingUpdate" or not rolling or "maxSurge" not in rolling:
        return 0
    return resolve(rolling["maxSurge"], base)


def allows_surge(strategy: Mapping[str, Any]) -> bool:
    """Whether two pods may stand on a node: maxSurge of one node is not 0 (section 2.1)."""
    try:
        return surge_limit(strategy, 1) > 0
    except ValueError:
        return False


def resolve_limits(strategy: Mapping[str, Any], desired: int) -> Limits:
    """Return both limits; both 0 with nodes to update means maxUnavailable 1 (section 2.1)."""
    rolling = strategy.get("rollingUpdate") or {}
    unavailable = resolve(rolling.get("maxUnavailable"), desired)
    surge = surge_limit(strategy, desired)
    if desired > 0 and unavailable == 0 and surge == 0:
        unavailable = 1
    return Limits(unavailable, surge)


def manage_node(
    pods: Sequence[DaemonPod],
    *,
    place: Place,
    should_continue: bool,
    surge: bool,
    target_hash: str,
    min_ready: float,
    now: float,
) -> NodeWork:
    """Decide what a node lacks or has too much of, whatever its strategy (section 1.5)."""
    if place is Place.MISSING:
        unbound = tuple(pod for pod in pods if not pod.bound)
        return NodeWork(delete=unbound) if unbound else NO_WORK
    if place is Place.WANTED and not pods:
        return NodeWork(create=True)
    staying = [pod for pod in pods if not pod.terminating]
    if not should_continue:
        return NodeWork(delete=tuple(staying)) if staying else NO_WORK
    running = sorted((p for p in staying if not p.terminal), key=DaemonPod.age_order)
    if surge:
        create = place is Place.WANTED and not running
        delete = _surge_excess(running, target_hash, min_ready, now)
    else:
        create, delete = False, tuple(running[1:])
    failed = tuple(pod for pod in staying if pod.phase == "Failed")
    succeeded = tuple(pod for pod in staying if pod.phase == "Succeeded")
    if not (create or delete or failed or succeeded):
        return NO_WORK
    return NodeWork(create, delete, failed, succeeded)


def _surge_excess(
    running: Sequence[DaemonPod], target_hash: str, min_ready: float, now: float
) -> tuple[DaemonPod, ...]:
    """Keep the oldest new and the oldest old pod, then see whether the old one may go."""
    if len(running) <= 1:
        return ()
    new = next((pod for pod in running if pod.hash == target_hash), None)
    old = next((pod for pod in running if pod.hash != target_hash), None)
    excess = [pod for pod in running if pod is not new and pod is not old]
    if new is not None and old is not None and (not old.ready or new.available(min_ready, now)):
        excess.append(old)
    return tuple(excess)


def classify(
    pods: Iterable[DaemonPod], *, place: Place, target: Target, min_ready: float, now: float
) -> Situation:
    """Split a node's pods into one new and one old (section 2.4, `findUpdatedPodsOnNode`)."""
    new, old, _ = split(pods, target)
    if len(new) > 1 or len(old) > 1:
        return Situation(Half.NONE, Half.NONE, place, ambiguous=True)
    return Situation(_half(new, min_ready, now), _half(old, min_ready, now), place)


def split(
    pods: Iterable[DaemonPod], target: Target
) -> tuple[list[DaemonPod], list[DaemonPod], list[DaemonPod]]:
    """Return the up-to-date, the outdated and the terminating pods."""
    new: list[DaemonPod] = []
    old: list[DaemonPod] = []
    leaving: list[DaemonPod] = []
    for pod in pods:
        (leaving if pod.terminating else new if target.matches(pod) else old).append(pod)
    return new, old, leaving


def _half(pods: Sequence[DaemonPod], min_ready: float, now: float) -> Half:
    if not pods:
        return Half.NONE
    return Half.HEALTHY if pods[0].available(min_ready, now) else Half.BROKEN


def count_node(
    pods: Sequence[DaemonPod], *, place: Place, target: Target, min_ready: float, now: float
) -> NodeCount:
    """Return a node's part in the status; its oldest bound pod speaks for it (section 5)."""
    if place is Place.MISSING:
        return NO_COUNT
    if place is Place.UNWANTED:
        return NodeCount(misscheduled=1) if pods else NO_COUNT
    if not pods:
        return NodeCount(desired=1)
    first = min(pods, key=DaemonPod.age_order) if len(pods) > 1 else pods[0]
    return NodeCount(
        desired=1,
        current=1,
        ready=int(first.ready),
        updated=int(target.matches(first)),
        available=int(first.available(min_ready, now)),
    )


def next_change(pods: Iterable[DaemonPod], min_ready: float, now: float) -> float | None:
    """Return when the next Ready pod of these becomes available, or None."""
    times = [
        pod.ready_since + min_ready
        for pod in pods
        if pod.ready_since is not None and now < pod.ready_since + min_ready < float("inf")
    ]
    return min(times, default=None) if min_ready else None


class NodeGroups:
    """Nodes by situation: counted and drawn from in constant time, whatever their number."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._members: dict[Situation, IndexedSet] = {}
        self._situations: dict[str, Situation] = {}

    def place(self, node: str, situation: Situation | None) -> None:
        """Move the node into its situation; None takes it out."""
        before = self._situations.get(node)
        if before == situation:
            return
        if before is not None:
            self._members[before].discard(node)
        if situation is None:
            self._situations.pop(node, None)
            return
        self._situations[node] = situation
        group = self._members.get(situation)
        if group is None:
            group = self._members[situation] = IndexedSet()
        group.add(node)

    def clear(self) -> None:
        """Forget all nodes."""
        self._members.clear()
        self._situations.clear()

    def known(self) -> list[Situation]:
        """Return the situations in which any node is."""
        return [situation for situation, group in self._members.items() if len(group)]

    def count(self, situation: Situation) -> int:
        """Return how many nodes are in the situation."""
        return len(self._members[situation])

    def draw(self, situations: Sequence[Situation], most: int | None) -> list[str]:
        """Return all nodes of the situations, or `most` of them drawn by chance [V18]."""
        pool = [self._members[situation] for situation in situations]
        total = sum(len(group) for group in pool)
        if most is None or most >= total:
            return [node for group in pool for node in group]
        if most <= 0:
            return []
        return [_at(pool, index) for index in self._rng.sample(range(total), most)]


def _at(pool: Sequence[IndexedSet], index: int) -> str:
    for group in pool:
        if index < len(group):
            return group[index]
        index -= len(group)
    raise IndexError(index)


class RollingPlan(NamedTuple):
    """Nodes whose old pod is to go, and nodes that get a new pod beside it."""

    delete_old: list[str]
    create: list[str]


class NodeGone(Exception):
    """A surging rolling update found an old pod on a node that no longer exists (2.5)."""


def plan_rolling(groups: NodeGroups, limits: Limits, desired: int) -> RollingPlan:
    """Decide the next step of a rolling update (sections 2.4 and 2.5)."""
    if limits.max_surge == 0:
        return _plan_unavailable(groups, limits.max_unavailable)
    return _plan_surge(groups, limits.max_surge, desired)


def _plan_unavailable(groups: NodeGroups, max_unavailable: int) -> RollingPlan:
    unavailable = 0
    broken: list[Situation] = []
    candidates: list[Situation] = []
    for situation in groups.known():
        only_old = situation.new is Half.NONE and situation.old is not Half.NONE
        if only_old and situation.old is Half.HEALTHY:
            candidates.append(situation)
            continue
        if only_old:
            broken.append(situation)
        settled = situation.new is Half.HEALTHY and situation.old is Half.NONE
        unavailable += 0 if settled else groups.count(situation)
    spare = max(0, max_unavailable - unavailable)
    victims = groups.draw(broken, None)
    # The real draw is blind to this; but in the one recording of a tainted node its pod went last.
    wanted = [situation for situation in candidates if situation.place is Place.WANTED]
    chosen = groups.draw(wanted, spare)
    others = [situation for situation in candidates if situation.place is not Place.WANTED]
    return RollingPlan(victims + chosen + groups.draw(others, spare - len(chosen)), [])


def _plan_surge(groups: NodeGroups, max_surge: int, desired: int) -> RollingPlan:
    surging = available = 0
    delete: list[Situation] = []
    create: list[Situation] = []
    sunset: list[Situation] = []
    candidates: list[Situation] = []
    for situation in groups.known():
        if situation.ambiguous:
            surging += groups.count(situation)
            continue
        speaking = situation.old if situation.old is not Half.NONE else situation.new
        available += groups.count(situation) if speaking is Half.HEALTHY else 0
        if situation.old is Half.NONE:
            continue
        if situation.new is Half.BROKEN:
            surging += groups.count(situation)
        elif situation.new is Half.HEALTHY:
            delete.append(situation)
        elif situation.place is Place.MISSING:
            raise NodeGone
        elif situation.place is Place.UNWANTED:
            (delete if situation.old is Half.BROKEN else sunset).append(situation)
        else:
            (create if situation.old is Half.BROKEN else candidates).append(situation)
    old = groups.draw(delete, None)
    if available > desired:
        old += groups.draw(sunset, available - desired)
    new = groups.draw(create, None)
    return RollingPlan(old, new + groups.draw(candidates, max(0, max_surge - surging)))
