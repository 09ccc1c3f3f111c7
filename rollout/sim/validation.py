"""What the API server refuses, with its causes."""

from __future__ import annotations

from dataclasses import dataclass

from rollout.sim.errors import StatusError
from rollout.sim.resources import Resource
from rollout.sim.store import Object


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing wrong with an object."""

    reason: str
    message: str
    field: str


def validate_create(resource: Resource, obj: Object) -> list[Cause]:
    """Return what is wrong with a new object."""
    del resource, obj
    return []


def validate_update(
    resource: Resource, new: Object, old: Object, subresource: str = ""
) -> list[Cause]:
    """Return what is wrong with a changed object."""
    del resource, new, old, subresource
    return []


def invalid(resource: Resource, name: str, causes: list[Cause]) -> StatusError:
    """Build the 422 answer."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = {
        "name": name,
        **({"group": resource.group} if resource.group else {}),
        "kind": resource.kind,
        "causes": [
            {"reason": cause.reason, "message": cause.message, "field": cause.field}
            for cause in causes
        ],
    }
    return StatusError(
        422, "Invalid", f'{resource.group_kind} "{name}" is invalid: {summary}', details
    )
