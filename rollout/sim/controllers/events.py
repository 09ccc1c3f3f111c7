"""Events as client-go's recorder writes them: counted, aggregated, and limited per object.

The limits matter: a DaemonSet on 5,000 nodes does not leave 5,000 events in a real cluster. At
most 25 go out in a burst for one object and then one in five minutes; equal ones are counted, and
many similar ones become one "combined from similar events".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from rollout.sim.clock import Clock
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import EVENTS
from rollout.sim.store import Key, Object
from rollout.sim.timestamps import rfc3339

BURST: Final = 25
REFILL_SECONDS: Final = 300.0
SIMILAR_MOST: Final = 10
SIMILAR_SECONDS: Final = 600.0
CACHE_SIZE: Final = 4096
LIFETIME: Final = 3600.0  # --event-ttl
_COMBINED: Final = "(combined from similar events): "

K = TypeVar("K")
V = TypeVar("V")
Record = Callable[[Object, str, str, str], None]
"""Writes an event: the object, `Normal` or `Warning`, the reason, the message."""


@dataclass(slots=True)
class _Bucket:
    """How many more events an object may have."""

    tokens: float
    since: float


@dataclass(slots=True)
class _Similar:
    """The messages of one reason on one object, and when the last came."""

    messages: set[str] = field(default_factory=set)
    since: float = 0.0


class EventRecorder:
    """Writes events about objects, for all components of one cluster."""

    def __init__(self, registry: Registry, clock: Clock, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._registry = registry
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._similar: dict[tuple[str, str, str, str], _Similar] = {}
        self._written: dict[tuple[str, str, str, str, str], str] = {}
        self._last_stamp = 0

    def recorder(self, component: str, caller: Caller, host: str = "") -> Record:
        """Return the function with which one component records its events."""

        def record(obj: Object, type_: str, reason: str, message: str) -> None:
            if not self._enabled:
                return
            source = {"component": component, **({"host": host} if host else {})}
            self._record(obj, type_, reason, message, source, caller)

        return record

    def _record(
        self, obj: Object, type_: str, reason: str, message: str, source: Object, caller: Caller
    ) -> None:
        uid, component = obj["metadata"]["uid"], source["component"]
        text = self._aggregate((component, uid, type_, reason), message)
        if not self._admit((component, uid)):
            return
        key = (component, uid, type_, reason, text if text is message else _COMBINED)
        name = self._written.get(key)
        if name is None or not self._count_up(obj, name, text, caller):
            name = self._create(obj, type_, reason, text, source, caller)
            _remember(self._written, key, name)
            place = (obj["metadata"].get("namespace") or "default", name)
            self._clock.call_later(LIFETIME, lambda: self._expire(place))

    def _aggregate(self, key: tuple[str, str, str, str], message: str) -> str:
        now = self._clock.now()
        similar = _remember(self._similar, key, self._similar.get(key) or _Similar())
        if now - similar.since > SIMILAR_SECONDS:
            similar.messages.clear()
        similar.since = now
        if len(similar.messages) < SIMILAR_MOST:
            similar.messages.add(message)
            return message
        return message if message in similar.messages else _COMBINED + message

    def _admit(self, key: tuple[str, str]) -> bool:
        now = self._clock.now()
        bucket = _remember(self._buckets, key, self._buckets.get(key) or _Bucket(BURST, now))
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.since) / REFILL_SECONDS)
        bucket.since = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _count_up(self, obj: Object, name: str, message: str, caller: Caller) -> bool:
        namespace = obj["metadata"].get("namespace") or "default"
        try:
            event = self._registry.get(EVENTS, namespace, name)
            changed = {
                **event,
                "count": event["count"] + 1,
                "message": message,
                "lastTimestamp": rfc3339(self._clock.now()),
            }
            self._registry.update(EVENTS, namespace, name, changed, caller)
        except StatusError:
            return False
        return True

    def _create(
        self, obj: Object, type_: str, reason: str, message: str, source: Object, caller: Caller
    ) -> str:
        meta, now = obj["metadata"], rfc3339(self._clock.now())
        namespace = meta.get("namespace") or "default"
        involved = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], "name": meta["name"]}
        for field_name in ("namespace", "uid", "resourceVersion"):
            if meta.get(field_name):
                involved[field_name] = meta[field_name]
        name = f"{meta['name']}.{self._stamp():x}"
        body: Object = {
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": type_,
            "eventTime": None,
            "reportingComponent": source["component"],
            "reportingInstance": source.get("host", ""),
        }
        try:
            self._registry.create(EVENTS, namespace, body, caller)
        except StatusError:
            return name  # events are best effort: a terminating namespace takes none
        return name

    def _stamp(self) -> int:
        self._last_stamp = max(self._last_stamp + 1, int(self._clock.now() * 1e9))
        return self._last_stamp

    def _expire(self, place: Key) -> None:
        if self._registry.store.get(EVENTS, place) is not None:
            self._registry.store.remove(EVENTS, place)


def _remember(entries: dict[K, V], key: K, value: V) -> V:
    """Keep what was used last, as client-go's caches do."""
    entries.pop(key, None)
    if len(entries) >= CACHE_SIZE:
        del entries[next(iter(entries))]
    entries[key] = value
    return value
