"""Versioned objects and the history of their changes: what etcd and the watch cache are.

Objects are plain JSON dicts and **immutable once stored**: whoever changes one builds a new dict
and may share every unchanged part with the old one, which is what keeps 100,000 pods of one
template small. The store knows nothing of validation, defaults or HTTP; it hands out resource
versions, keeps the last changes for watches, and says so when a version is too old.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rollout.sim.resources import Resource

Object: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]  # (namespace or "", name): the order of lists
EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(slots=True)
class Event:
    """One change. `old` is None for ADDED; for DELETED `object` is the last state."""

    version: int
    type: EventType
    resource: Resource
    key: Key
    object: Object
    old: Object | None
    encoded: bytes | None = None  # the watch line, filled in once and shared by all watches


Subscriber: TypeAlias = Callable[[Event], None]


class Compacted(Exception):
    """The asked-for version is older than the kept history."""


class _Table:
    """All objects of one resource."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.keys: list[Key] = []
        self.history: deque[Event] = deque()
        self.trimmed = 0  # versions up to here have left the history because it was full
        self.subscribers: list[Subscriber] = []


class Store:
    """Objects by resource and key, one version counter over all of them.

    Args:
        history: how many changes of each resource are kept for watches.
    """

    def __init__(self, history: int = 20_000) -> None:
        self.version = 1
        self.compacted = 0  # versions up to here are gone from the history
        self._history = history
        self._tables: dict[Resource, _Table] = {}

    def _table(self, resource: Resource) -> _Table:
        table = self._tables.get(resource)
        if table is None:
            table = self._tables[resource] = _Table()
        return table

    def get(self, resource: Resource, key: Key) -> Object | None:
        """Return the object, or None."""
        return self._table(resource).objects.get(key)

    def count(self, resource: Resource) -> int:
        """Return how many objects of the resource there are."""
        return len(self._table(resource).keys)

    def scan(
        self, resource: Resource, namespace: str | None = None, after: Key | None = None
    ) -> Iterator[Object]:
        """Yield objects in key order: of one namespace or of all, from behind `after` on."""
        table = self._table(resource)
        keys = table.keys
        start = 0
        if after is not None:
            start = bisect_left(keys, (after[0], after[1] + "\0"))
        elif namespace is not None:
            start = bisect_left(keys, (namespace, ""))
        for index in range(start, len(keys)):
            key = keys[index]
            if namespace is not None and key[0] != namespace:
                return
            yield table.objects[key]

    def put(self, resource: Resource, key: Key, obj: Object) -> Object:
        """Store a new or changed object under the next version and tell the subscribers.

        Args:
            resource: where it belongs.
            key: namespace ("" for cluster scope) and name.
            obj: the object; its `metadata.resourceVersion` is set here, on a copy.

        Returns:
            The object as stored.
        """
        table = self._table(resource)
        old = table.objects.get(key)
        self.version += 1
        stored = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        if old is None:
            insort(table.keys, key)
        table.objects[key] = stored
        self._publish(
            table,
            Event(self.version, "ADDED" if old is None else "MODIFIED", resource, key, stored, old),
        )
        return stored

    def remove(self, resource: Resource, key: Key, last: Object | None = None) -> Object:
        """Delete the object; the event carries `last` (or the stored state) at the new version."""
        table = self._table(resource)
        old = table.objects.pop(key)
        del table.keys[bisect_left(table.keys, key)]
        self.version += 1
        final = last if last is not None else old
        final = {**final, "metadata": {**final["metadata"], "resourceVersion": str(self.version)}}
        self._publish(table, Event(self.version, "DELETED", resource, key, final, old))
        return final

    def subscribe(self, resource: Resource, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every later change, in order; returns how to stop that."""
        subscribers = self._table(resource).subscribers
        subscribers.append(subscriber)

        def stop() -> None:
            if subscriber in subscribers:
                subscribers.remove(subscriber)

        return stop

    def events_since(self, resource: Resource, version: int) -> list[Event]:
        """Return the changes after `version`, oldest first.

        Raises:
            Compacted: when the history does not reach back that far.
        """
        table = self._table(resource)
        if version < max(self.compacted, table.trimmed):
            raise Compacted
        events: list[Event] = []
        for event in reversed(table.history):
            if event.version <= version:
                break
            events.append(event)
        events.reverse()
        return events

    def compact(self, version: int | None = None) -> None:
        """Forget the history up to `version` (default: all of it), as etcd's compaction does."""
        self.compacted = max(self.compacted, self.version if version is None else version)
        for table in self._tables.values():
            while table.history and table.history[0].version <= self.compacted:
                table.history.popleft()

    def objects_at(self, resource: Resource, version: int) -> dict[Key, Object]:
        """Return the objects as they were at `version` (a list that pages over a changing world).

        Raises:
            Compacted: when the history does not reach back that far.
        """
        objects = dict(self._table(resource).objects)
        for event in reversed(self.events_since(resource, version)):
            if event.old is None:
                objects.pop(event.key, None)
            else:
                objects[event.key] = event.old
        return objects

    def _publish(self, table: _Table, event: Event) -> None:
        table.history.append(event)
        if len(table.history) > self._history:
            table.trimmed = table.history.popleft().version
        for subscriber in tuple(table.subscribers):
            subscriber(event)
