"""The metadata that the API server owns: names, uids, times, versions, managers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from rollout.sim.resources import Resource
from rollout.sim.store import Object

NAME_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery/pkg/util/rand
GENERATED_LENGTH: Final = 5
MAX_GENERATED_BASE: Final = 58
GENERATE_ATTEMPTS: Final = 8

_SERVER_OWNED: Final = frozenset(
    (
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "resourceVersion",
        "selfLink",
        "uid",
    )
)
_KEPT_ON_UPDATE: Final = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
    "resourceVersion",
    "managedFields",
    "name",
    "namespace",
)
_TYPE_AND_METADATA: Final = frozenset(("kind", "apiVersion", "metadata"))


def new_uid(rng: random.Random) -> str:
    """Return a random uid (version 4)."""
    bits = rng.getrandbits(128)
    bits = (bits & ~(0xF000 << 64) & ~(0xC000 << 48)) | (0x4000 << 64) | (0x8000 << 48)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def generate_name(rng: random.Random, base: str, is_taken: Callable[[str], bool]) -> str:
    """Return a name for a `generateName`; after some tries a taken one."""
    name = base
    for _ in range(GENERATE_ATTEMPTS):
        suffix = "".join(rng.choices(NAME_LETTERS, k=GENERATED_LENGTH))
        name = base[:MAX_GENERATED_BASE] + suffix
        if not is_taken(name):
            break
    return name


def for_create(resource: Resource, body: Object, own: Object) -> Object:
    """Return a new object with the client's metadata and the server's.

    Args:
        resource: what it is.
        body: what the client sent.
        own: what the server has decided (name, namespace, uid, time).
    """
    metadata = {
        key: value
        for key, value in (body.get("metadata") or {}).items()
        if value is not None and key not in _SERVER_OWNED
    }
    return with_type(resource, body, {**metadata, **own})


def with_type(resource: Resource, obj: Object, metadata: Object) -> Object:
    """Return the object with its kind in front, as stored objects have it."""
    rest = {key: value for key, value in obj.items() if key not in _TYPE_AND_METADATA}
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": metadata,
        **rest,
    }


def for_update(resource: Resource, new: Object, old: Object) -> Object:
    """Take over what the server owns; the client's uid stays, to be refused if it differs."""
    was = old["metadata"]
    metadata = new["metadata"]
    if metadata is was:
        return with_type(resource, new, metadata)
    metadata = {key: value for key, value in metadata.items() if value is not None}
    uid = metadata.get("uid")
    for key in _KEPT_ON_UPDATE:
        if key in was:
            metadata[key] = was[key]
        else:
            metadata.pop(key, None)
    if uid:
        metadata["uid"] = uid
    return with_type(resource, new, metadata)


def with_managers(obj: Object, managers: list[Object] | None) -> Object:
    """Return the object with these field managers; none removes them."""
    metadata = obj["metadata"]
    if not managers:
        if "managedFields" not in metadata:
            return obj
        return {
            **obj,
            "metadata": {key: value for key, value in metadata.items() if key != "managedFields"},
        }
    return {**obj, "metadata": {**metadata, "managedFields": managers}}
