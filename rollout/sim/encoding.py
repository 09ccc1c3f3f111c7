"""Objects as bytes, each version of an object encoded once for all lists and watches.

Stored objects begin with `kind` and `apiVersion`, which items of a list leave out; so an item is
a slice of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rollout.sim.requests import encode
from rollout.sim.resources import Resource
from rollout.sim.store import Event, Key, Object

MAX_CACHED: Final = 50_000  # objects; about 4 KB each


class Encoder:
    """Encodes stored objects and remembers the bytes of their current version."""

    def __init__(self) -> None:
        self._cache: dict[tuple[Resource, Key], tuple[str, bytes]] = {}

    def encode(self, resource: Resource, obj: Object) -> bytes:
        """Return the JSON of a stored object."""
        metadata = obj["metadata"]
        cache_key = (resource, (metadata.get("namespace", ""), metadata["name"]))
        version = metadata.get("resourceVersion")
        if version is None:  # computed, not stored
            return encode(obj)
        cached = self._cache.get(cache_key)
        if cached is not None and cached[0] == version:
            return cached[1]
        encoded = encode(obj)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[cache_key] = (version, encoded)
        return encoded

    def forget(self, resource: Resource, key: Key) -> None:
        """Drop the bytes of an object that is gone."""
        self._cache.pop((resource, key), None)

    def list(self, resource: Resource, objects: Iterable[Object], list_meta: Object) -> bytes:
        """Return the JSON of a list of stored objects."""
        head = encode({"kind": f"{resource.kind}List", "apiVersion": resource.api_version})
        skip = len(encode({"kind": resource.kind, "apiVersion": resource.api_version}))
        items = b",".join([b"{" + self.encode(resource, obj)[skip:] for obj in objects])
        return head[:-1] + b',"metadata":' + encode(list_meta) + b',"items":[' + items + b"]}"

    def event(self, event: Event) -> bytes:
        """Return the watch line of a change, as those who see all of the kind get it."""
        if event.encoded is None:
            encoded = self.encode(event.resource, event.object)
            event.encoded = line(event.type, encoded)
            if event.type == "DELETED":
                self.forget(event.resource, event.key)
        return event.encoded


def line(kind: str, encoded: bytes) -> bytes:
    """Return a watch line for an encoded object."""
    return b'{"type":"' + kind.encode() + b'","object":' + encoded + b"}\n"
