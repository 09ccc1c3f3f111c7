"""All nodes and pods as one DaemonSet sees them, kept up to date change by change.

The real controller walks over every node in every sync. Here a sync looks only at nodes on which
something changed (or became available) since the last one and keeps the sums, so that a change
costs the same on 100,000 nodes as on six. The decisions are those of `decisions.py`, node by
node.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rollout.fleet.eligibility import ELIGIBLE, Eligibility, Requirements, evaluate
from rollout.fleet.objects import Taint
from rollout.sim.controllers.decisions import (
    NO_COUNT,
    NO_WORK,
    DaemonPod,
    NodeCount,
    NodeGroups,
    NodeWork,
    Place,
    Target,
    classify,
    count_node,
    manage_node,
    next_change,
)
from rollout.sim.controllers.indexedset import IndexedSet

_NOT_THERE = Eligibility(should_run=False, should_continue=False, reason="no such node")


class NodeFacts(NamedTuple):
    """What eligibility looks at in a node."""

    labels: dict[str, str]
    taints: tuple[Taint, ...]


class Rules(NamedTuple):
    """What a DaemonSet's spec and current revision say; a change re-classifies every node."""

    requirements: Requirements
    target: Target
    surge: bool
    min_ready: float


@dataclass(slots=True)
class Totals:
    """The seven numbers of the status but for the one that follows from the others."""

    desired: int = 0
    current: int = 0
    misscheduled: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0

    def add(self, count: NodeCount, sign: int) -> None:
        """Put one node's part in (`sign` 1) or take it out (-1)."""
        self.desired += sign * count.desired
        self.current += sign * count.current
        self.misscheduled += sign * count.misscheduled
        self.ready += sign * count.ready
        self.updated += sign * count.updated
        self.available += sign * count.available


class DaemonView:
    """Pods by node, eligibility, what is to do, and the sums, for one DaemonSet."""

    def __init__(self, nodes: dict[str, NodeFacts], rng: random.Random) -> None:
        """Start empty.

        Args:
            nodes: the controller's node cache, shared by all views; report changes in it to
                `node_changed`.
            rng: draws the victims.
        """
        self._nodes = nodes
        self._rules: Rules | None = None
        self._pods: dict[str, tuple[DaemonPod, ...]] = {}
        self._by_name: dict[str, DaemonPod] = {}
        self._dirty: dict[str, None] = {}
        self._eligibility: dict[str, Eligibility] = {}
        self._counts: dict[str, NodeCount] = {}
        self._due: list[tuple[float, str]] = []
        self.groups = NodeGroups(rng)
        self.totals = Totals()
        self.missing = IndexedSet()  # nodes that lack a pod
        self.deletions: dict[str, NodeWork] = {}  # nodes with pods to delete

    @property
    def started(self) -> bool:
        """Whether it has been refreshed, so that it can judge nodes."""
        return self._rules is not None

    def put_pod(self, pod: DaemonPod) -> None:
        """Take a new or changed pod that the DaemonSet owns.

        Terminal pods that are being deleted count as gone already; pods that are meant for no
        node are ignored [V35].
        """
        self.drop_pod(pod.name)
        if not pod.node or (pod.terminal and pod.terminating):
            return
        self._by_name[pod.name] = pod
        self._pods[pod.node] = (*self._pods.get(pod.node, ()), pod)
        self._dirty[pod.node] = None

    def drop_pod(self, name: str) -> None:
        """Forget a pod that is gone, or owned no more."""
        pod = self._by_name.pop(name, None)
        if pod is None:
            return
        rest = tuple(other for other in self._pods[pod.node] if other.name != name)
        if rest:
            self._pods[pod.node] = rest
        else:
            del self._pods[pod.node]
        self._dirty[pod.node] = None

    def node_changed(self, name: str) -> None:
        """Look at the node again: it is new, gone, or its labels or taints changed."""
        self._eligibility.pop(name, None)
        self._dirty[name] = None

    def pods_on(self, node: str) -> tuple[DaemonPod, ...]:
        """Return the owned pods that are bound or sent to the node."""
        return self._pods.get(node, ())

    def pods(self) -> Iterator[DaemonPod]:
        """Yield all owned pods that count."""
        return iter(self._by_name.values())

    def live_hashes(self) -> set[str]:
        """Return the revision hashes that owned pods carry."""
        return {pod.hash for pod in self._by_name.values()}

    def eligibility(self, node: str) -> Eligibility:
        """Return the verdict on a node; a node that is not there must and may not run a pod."""
        known = self._eligibility.get(node)
        if known is None:
            facts = self._nodes.get(node)
            assert self._rules is not None
            known = (
                _NOT_THERE
                if facts is None
                else evaluate(
                    self._rules.requirements, name=node, labels=facts.labels, taints=facts.taints
                )
            )
            self._eligibility[node] = ELIGIBLE if known == ELIGIBLE else known
        return known

    def refresh(self, rules: Rules, now: float) -> None:
        """Bring sums, groups and work up to date for these rules and this instant."""
        if rules != self._rules:
            self._start_over(rules)
        while self._due and self._due[0][0] <= now:
            self._dirty[heapq.heappop(self._due)[1]] = None
        dirty, self._dirty = self._dirty, {}
        for node in dirty:
            self._examine(node, rules, now)

    def _start_over(self, rules: Rules) -> None:
        if self._rules is None or self._rules.requirements != rules.requirements:
            self._eligibility.clear()
        self._rules = rules
        self._due.clear()
        self._dirty = dict.fromkeys(self._nodes)
        self._dirty.update(dict.fromkeys(self._pods))
        self._dirty.update(dict.fromkeys(self._counts))

    def _examine(self, node: str, rules: Rules, now: float) -> None:
        pods = self._pods.get(node, ())
        verdict = self.eligibility(node)
        place = Place.MISSING
        if node in self._nodes:
            place = Place.WANTED if verdict.should_run else Place.UNWANTED
        work = manage_node(
            pods,
            place=place,
            should_continue=verdict.should_continue,
            surge=rules.surge,
            target_hash=rules.target.hash,
            min_ready=rules.min_ready,
            now=now,
        )
        self._remember_work(node, work)
        entry = bool(pods) or place is Place.WANTED
        situation = classify(
            pods, place=place, target=rules.target, min_ready=rules.min_ready, now=now
        )
        self.groups.place(node, situation if entry else None)
        self._remember_count(
            node,
            count_node(pods, place=place, target=rules.target, min_ready=rules.min_ready, now=now),
        )
        if place is Place.MISSING:
            self._eligibility.pop(node, None)
        when = next_change(pods, rules.min_ready, now)
        if when is not None:
            heapq.heappush(self._due, (when, node))

    def _remember_work(self, node: str, work: NodeWork) -> None:
        if work is NO_WORK:
            self.missing.discard(node)
            self.deletions.pop(node, None)
            return
        if work.create:
            self.missing.add(node)
        else:
            self.missing.discard(node)
        if work.delete or work.failed or work.succeeded:
            self.deletions[node] = work
        else:
            self.deletions.pop(node, None)

    def _remember_count(self, node: str, count: NodeCount) -> None:
        before = self._counts.get(node, NO_COUNT)
        if before == count:
            return
        self.totals.add(before, -1)
        self.totals.add(count, 1)
        if count == NO_COUNT:
            self._counts.pop(node, None)
        else:
            self._counts[node] = _INTERNED.setdefault(count, count)


_INTERNED: dict[NodeCount, NodeCount] = {}
