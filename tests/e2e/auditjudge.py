"""Judges by the audit log of the API server alone how the pods of a DaemonSet were replaced.

It reads `audit.k8s.io/v1` events, so it judges the log of a real kube-apiserver as it does that of
the embedded cluster. What the policy must give: level RequestResponse for writes of pods and their
subresources, stage ResponseComplete.

Whoever patches a status, binds, deletes or makes a pod is a client; so the log tells every change
that the limits speak of. Three things need care:

- Events stand in the order in which answers ended, which under load is not the order of the writes.
  The resource version of the answered object is (comparable since Kubernetes 1.35).
- A pod that was there before the log began is seen when it is first touched. It was there from the
  start, and counts as ready as the answer says, less what that very request has changed.
- A released pod (hand-over) loses its owner; it stays a pod of the DaemonSet that had it.

Nodes are taken to stay.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]
_READY: Final = "Ready"
_FIELD: Final = "metadata.name"
_SUCCESS: Final = range(200, 300)
_CHANGING: Final = ("", "status", "binding", "eviction", "ephemeralcontainers", "resize")
"""The subresources that change a pod; `exec`, `proxy` and their like do not."""


@dataclass(frozen=True)
class Delete:
    """One accepted delete or eviction of a pod.

    Attributes:
        pod: its name.
        uid: whom it hit.
        node: where that was.
        user: who asked for it.
        bound: whether the request named the UID of the pod that it hit.
    """

    pod: str
    uid: str
    node: str
    user: str
    bound: bool


@dataclass(frozen=True)
class Verdict:
    """What the log shows.

    Attributes:
        down: the nodes without an available pod, at the moment when they were most.
        doubled: the nodes with two pods that nobody had deleted, when they were most: what
            `maxSurge` limits.
        deletes: all deletes, in order.
        created: how many pods were made.
    """

    down: frozenset[str]
    doubled: frozenset[str]
    deletes: tuple[Delete, ...]
    created: int

    def deletes_by(self, *users: str) -> list[Delete]:
        """Return the deletes that these users asked for."""
        return [delete for delete in self.deletes if delete.user in users]


def read_log(path: Path) -> list[Json]:
    """Return the events of a log file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def judge(events: Iterable[Json], daemon_set: str, *, min_ready_s: float = 0) -> Verdict:
    """Judge a log.

    Args:
        events: all of it, from the first to the last.
        daemon_set: the UID of the DaemonSet.
        min_ready_s: its `minReadySeconds`; a pod is available when it was ready for so long.

    Raises:
        ValueError: when the log does not hold what was written to pods.
    """
    writes = _in_order(_writes(events))
    fleet = _Fleet(daemon_set, min_ready_s)
    fleet.begin(writes)
    for write in writes:
        fleet.take(write)
    return Verdict(fleet.most_down, fleet.most_doubled, tuple(fleet.deletes), fleet.created)


@dataclass(frozen=True)
class _Write:
    """An accepted write to a pod, or to several at once."""

    verb: str
    subresource: str
    user: str
    at: float
    key: tuple[str, str]
    sent: Json
    pods: tuple[Json, ...]

    @property
    def deletes(self) -> bool:
        return self.verb in ("delete", "deletecollection") or self.subresource == "eviction"

    @property
    def bound_to(self) -> str:
        options = (self.sent.get("deleteOptions") or {}) if self.subresource else self.sent
        return str((options.get("preconditions") or {}).get("uid") or "")


def _writes(events: Iterable[Json]) -> Iterator[_Write]:
    for event in events:
        target = event.get("objectRef") or {}
        if target.get("resource") != "pods" or target.get("apiGroup"):
            continue
        if event["verb"] in ("get", "list", "watch") or event["stage"] != "ResponseComplete":
            continue
        if target.get("subresource", "") not in _CHANGING or _dry(event):
            continue
        if event["responseStatus"].get("code") in _SUCCESS:
            yield _write(event, target)


def _dry(event: Json) -> bool:
    sent = event.get("requestObject")
    asked = isinstance(sent, dict) and sent.get("dryRun")
    return bool(asked) or "dryRun=" in event["requestURI"]


def _write(event: Json, target: Json) -> _Write:
    if event["level"] != "RequestResponse" or "responseObject" not in event:
        raise ValueError(f"{event['verb']} {event['requestURI']}: without what was answered")
    sent, returned = event.get("requestObject"), event["responseObject"]
    found = returned.get("items", [returned])
    return _Write(
        event["verb"],
        target.get("subresource", ""),
        (event.get("impersonatedUser") or event["user"])["username"],
        _seconds(event["stageTimestamp"]),
        (target.get("namespace", ""), target.get("name", "")),
        sent if isinstance(sent, dict) else {},
        () if returned.get("kind") == "Status" else tuple(found),
    )


def _in_order(writes: Iterable[_Write]) -> list[_Write]:
    """Return them in the order of etcd; what was answered with a Status stays where it is."""
    placed: list[tuple[int, int, _Write]] = []
    last = 0
    for number, write in enumerate(sorted(writes, key=lambda write: write.at)):
        version = max((_version(pod) for pod in write.pods), default=last)
        last = max(last, version)
        placed.append((version, number, write))
    return [write for _, _, write in sorted(placed, key=lambda place: place[:2])]


@dataclass
class _Pod:
    node: str
    ready_at: float | None  # since when it is ready
    ending: bool


@dataclass
class _Fleet:
    """The pods of the DaemonSet at one moment of the log."""

    daemon_set: str
    min_ready_s: float
    pods: dict[str, dict[str, _Pod]] = field(default_factory=lambda: defaultdict(dict))
    names: dict[tuple[str, str], Json] = field(default_factory=dict)
    known: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    young: set[str] = field(default_factory=set)
    most_down: frozenset[str] = frozenset()
    most_doubled: frozenset[str] = frozenset()
    deletes: list[Delete] = field(default_factory=list)
    created: int = 0

    def begin(self, writes: Iterable[_Write]) -> None:
        """Find whose pods these are, and put those in place that no write has made."""
        seen: set[str] = set()
        for write in writes:
            for pod in write.pods:
                uid = pod["metadata"]["uid"]
                if self.daemon_set in _owners(pod):
                    self.known.add(uid)
                if uid not in seen and write.verb != "create" and self.daemon_set in _owners(pod):
                    self._put(pod, _before(pod, write), write.at)
                    self.names[_key(pod)] = pod
                seen.add(uid)
        self._compare()

    def take(self, write: _Write) -> None:
        """Follow one write."""
        for node in tuple(self.young):
            self._look(node, write.at)
        evicted = self.names.get(write.key) if write.subresource == "eviction" else None
        for pod in (evicted,) if evicted is not None else write.pods:
            if pod["metadata"]["uid"] in self.known:
                self._follow(pod, write)
        self._compare()

    def _follow(self, pod: Json, write: _Write) -> None:
        meta = pod["metadata"]
        self.created += write.verb == "create" and not write.subresource
        self.names[_key(pod)] = pod
        if write.deletes:
            bound = write.bound_to == meta["uid"]
            self.deletes.append(
                Delete(meta["name"], meta["uid"], _node(pod), write.user, bound=bound)
            )
        now = _state(pod)
        now.ending = now.ending or write.deletes
        if _gone(pod):
            self.pods[now.node].pop(meta["uid"], None)
            self._look(now.node, write.at)
        else:
            self._put(pod, now, write.at)

    def _put(self, pod: Json, state: _Pod, at: float) -> None:
        self.pods[state.node][pod["metadata"]["uid"]] = state
        self._look(state.node, at)

    def _look(self, node: str, at: float) -> None:
        pods = [pod for pod in self.pods[node].values() if not pod.ending]
        ready = [pod.ready_at for pod in pods if pod.ready_at is not None]
        wait = self.min_ready_s
        available = any(not wait or since + wait <= at for since in ready)
        _mark(self.down, node, not available)
        _mark(self.young, node, not available and bool(ready))
        _mark(self.doubled, node, len(pods) > 1)

    def _compare(self) -> None:
        if len(self.down) > len(self.most_down):
            self.most_down = frozenset(self.down)
        if len(self.doubled) > len(self.most_doubled):
            self.most_doubled = frozenset(self.doubled)


def _mark(nodes: set[str], node: str, belongs: object) -> None:
    if belongs:
        nodes.add(node)
    else:
        nodes.discard(node)


def _before(pod: Json, write: _Write) -> _Pod:
    """Return what a pod was like before the first write that shows it."""
    state = _state(pod)
    if write.deletes:
        state.ending = False
    if write.subresource == "status":
        changed = _ready(pod).get("lastTransitionTime")
        if changed is not None and _seconds(changed) >= int(write.at):
            state.ready_at = 0.0 if state.ready_at is None else None
    return state


def _state(pod: Json) -> _Pod:
    ready = _ready(pod)
    since = _seconds(ready["lastTransitionTime"]) if ready.get("status") == "True" else None
    return _Pod(_node(pod), since, "deletionTimestamp" in pod["metadata"])


def _ready(pod: Json) -> Mapping[str, Any]:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == _READY), {})


def _node(pod: Json) -> str:
    """Return where a pod is, or will be: a daemon pod says so before it is bound."""
    if node := pod["spec"].get("nodeName"):
        return str(node)
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity")) or {}
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in terms.get("nodeSelectorTerms") or ():
        for wanted in term.get("matchFields") or ():
            if wanted["key"] == _FIELD:
                return str(wanted["values"][0])
    raise ValueError(f"pod {pod['metadata']['name']} is for no node")


def _gone(pod: Json) -> bool:
    meta = pod["metadata"]
    ended = "deletionTimestamp" in meta and not meta.get("deletionGracePeriodSeconds")
    return ended and not meta.get("finalizers")


def _owners(pod: Json) -> set[str]:
    return {owner["uid"] for owner in pod["metadata"].get("ownerReferences") or ()}


def _key(pod: Json) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _version(pod: Json) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
