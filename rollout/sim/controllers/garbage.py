"""The garbage collector: what becomes of objects when their owners go.

Background (dependents follow the owner), foreground (the owner waits for them) and orphan (they
lose the owner), by the finalizers that the API server sets. Objects whose owner does not exist are
deleted too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, TypeAlias

from rollout.sim.clock import Clock
from rollout.sim.controllers.workqueue import Informer
from rollout.sim.deletion import FOREGROUND, ORPHAN
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, DeleteOptions, Registry
from rollout.sim.resources import BY_KIND, EVENTS, LEASES, NODES, RESOURCES, Resource
from rollout.sim.store import Event, Key, Object

Item: TypeAlias = tuple[Resource, Key]
_NEVER_OWNED: Final = (EVENTS, LEASES, NODES)


class GarbageCollector:
    """Follows owner references."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        caller: Caller,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._rng = rng
        self._caller = caller
        self._dependents: dict[str, dict[Item, None]] = {}  # by the owner's uid
        watched = [r for r in RESOURCES if "list" in r.verbs and r not in _NEVER_OWNED]
        self._informer = Informer(registry.store, clock, watched, latency, self._handle)

    def start(self) -> None:
        """Learn who owns what and follow all changes."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()

    # The graph

    def _handle(self, batch: list[Event]) -> None:
        doubtful: dict[Item, None] = {}
        owners: dict[str, Item] = {}
        for event in batch:
            item = (event.resource, event.key)
            before, after = _owners(event.old), _owners(event.object)
            if event.type == "DELETED":
                self._unlink(item, after)
                self._unlink(item, before)
                owners.update((o["uid"], _place(o, event.key)) for o in after if _blocks(o))
                gone = self._dependents.get(event.object["metadata"]["uid"], {})
                doubtful.update(gone)
                continue
            if before != after or event.old is None:
                self._unlink(item, before)
                self._link(item, after)
                if any(not self._exists(owner, event.key[0]) for owner in after):
                    doubtful[item] = None
            if _finalizers(event.object) and "deletionTimestamp" in event.object["metadata"]:
                owners[event.object["metadata"]["uid"]] = item
        self._collect(doubtful)
        for owner in owners.values():
            self._serve_owner(owner)

    def _collect(self, doubtful: dict[Item, None]) -> None:
        items = list(doubtful)
        self._rng.shuffle(items)
        for item in items:
            self._judge(item)

    def _link(self, item: Item, owners: list[Object]) -> None:
        for owner in owners:
            self._dependents.setdefault(owner["uid"], {})[item] = None

    def _unlink(self, item: Item, owners: list[Object]) -> None:
        for owner in owners:
            items = self._dependents.get(owner["uid"])
            if items is not None:
                items.pop(item, None)
                if not items:
                    del self._dependents[owner["uid"]]

    def _owner(self, reference: Object, namespace: str) -> Object | None:
        """Return the owner that a reference means, None when it is gone (or replaced)."""
        resource = BY_KIND.get((reference["apiVersion"], reference["kind"]))
        if resource is None:
            return None
        key = (namespace if resource.namespaced else "", reference["name"])
        found = self._registry.store.get(resource, key)
        return found if found and found["metadata"]["uid"] == reference["uid"] else None

    def _exists(self, reference: Object, namespace: str) -> bool:
        return self._owner(reference, namespace) is not None

    # Dependents

    def _judge(self, item: Item) -> None:
        """Delete an object that has no owner left; drop references to owners that are gone."""
        resource, key = item
        obj = self._registry.store.get(resource, key)
        owners = _owners(obj)
        if obj is None or not owners:
            return
        solid = [o for o in owners if self._is_solid(o, key[0])]
        if solid:
            if len(solid) < len(owners):
                self._write(resource, _with_owners(obj, solid))
            return
        waiting = any(self._exists(owner, key[0]) for owner in owners)
        has_dependents = bool(self._dependents.get(obj["metadata"]["uid"]))
        self._delete(item, obj, "Foreground" if waiting and has_dependents else _policy(obj))

    def _is_solid(self, reference: Object, namespace: str) -> bool:
        owner = self._owner(reference, namespace)
        if owner is None:
            return False
        going = "deletionTimestamp" in owner["metadata"] and FOREGROUND in _finalizers(owner)
        return not (going and reference.get("blockOwnerDeletion"))

    def _delete(self, item: Item, obj: Object, policy: str) -> None:
        resource, key = item
        if "deletionTimestamp" in obj["metadata"] and policy != "Foreground":
            return
        options = DeleteOptions(uid=obj["metadata"]["uid"], propagation=policy)
        try:
            self._registry.delete(resource, *key, self._caller, options)
        except StatusError:
            return

    # Owners that are being deleted

    def _serve_owner(self, item: Item) -> None:
        resource, key = item
        owner = self._registry.store.get(resource, key)
        if owner is None or "deletionTimestamp" not in owner["metadata"]:
            return
        finalizers = _finalizers(owner)
        if ORPHAN in finalizers:
            self._orphan(resource, owner)
        elif FOREGROUND in finalizers:
            self._delete_dependents(resource, owner)

    def _orphan(self, resource: Resource, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        for dependent, obj in self._dependents_of(uid):
            kept = [o for o in _owners(obj) if o["uid"] != uid]
            if len(kept) < len(_owners(obj)):
                self._write(dependent[0], _with_owners(obj, kept))
        self._write(resource, _without_finalizer(owner, ORPHAN))

    def _delete_dependents(self, resource: Resource, owner: Object) -> None:
        uid = owner["metadata"]["uid"]
        blocking = [
            dependent
            for dependent, obj in self._dependents_of(uid)
            if any(o["uid"] == uid and _blocks(o) for o in _owners(obj))
        ]
        if not blocking:
            self._write(resource, _without_finalizer(owner, FOREGROUND))
        for dependent, _ in self._dependents_of(uid):
            self._judge(dependent)

    def _dependents_of(self, uid: str) -> Iterator[tuple[Item, Object]]:
        for item in tuple(self._dependents.get(uid, ())):
            obj = self._registry.store.get(*item)
            if obj is not None:
                yield item, obj

    def _write(self, resource: Resource, obj: Object) -> None:
        meta = obj["metadata"]
        try:
            self._registry.update(
                resource, meta.get("namespace", ""), meta["name"], obj, self._caller
            )
        except StatusError:
            return


def _owners(obj: Object | None) -> list[Object]:
    owners: list[Object] = (obj or {}).get("metadata", {}).get("ownerReferences") or []
    return owners


def _finalizers(obj: Object) -> list[str]:
    finalizers: list[str] = obj["metadata"].get("finalizers") or []
    return finalizers


def _blocks(owner: Object) -> bool:
    return bool(owner.get("blockOwnerDeletion"))


def _place(reference: Object, key: Key) -> Item:
    resource = BY_KIND[reference["apiVersion"], reference["kind"]]
    return resource, (key[0] if resource.namespaced else "", reference["name"])


def _policy(obj: Object) -> str:
    finalizers = _finalizers(obj)
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


def _with_owners(obj: Object, owners: list[Object]) -> Object:
    metadata = {k: v for k, v in obj["metadata"].items() if k != "ownerReferences"}
    if owners:
        metadata["ownerReferences"] = owners
    return {**obj, "metadata": metadata}


def _without_finalizer(obj: Object, finalizer: str) -> Object:
    kept = [name for name in _finalizers(obj) if name != finalizer]
    metadata = {k: v for k, v in obj["metadata"].items() if k != "finalizers"}
    if kept:
        metadata["finalizers"] = kept
    return {**obj, "metadata": metadata}
