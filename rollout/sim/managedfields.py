"""Who owns which fields of an object (`metadata.managedFields`)."""

from __future__ import annotations

from rollout.sim.store import Object


def track_update(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
) -> list[Object] | None:
    """Return the new `metadata.managedFields` after a create or update."""
    del old, new, manager, api_version, subresource, now
    return None


def apply(
    resource: object,
    live: Object | None,
    config: Object,
    *,
    manager: str,
    force: bool,
    now: str,
    subresource: str,
) -> Object:
    """Merge an applied configuration into the live object."""
    del resource, manager, force, now, subresource
    return {**(live or {}), **config}
