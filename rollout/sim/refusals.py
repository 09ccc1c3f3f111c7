"""What a write is refused with, in the API server's words."""

from __future__ import annotations

from typing import Any, Final

from rollout.sim.errors import StatusError
from rollout.sim.resources import Resource
from rollout.sim.store import Object

MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def status_details(resource: Resource, name: str) -> dict[str, Any]:
    """Return the `details` of a Status about one object."""
    details = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    return details


def not_found(resource: Resource, name: str) -> StatusError:
    """Build the 404 for an object."""
    message = f'{resource.group_resource} "{name}" not found'
    return StatusError(404, "NotFound", message, status_details(resource, name))


def modified(resource: Resource, name: str) -> StatusError:
    """Build the 409 for a write on a version that is no longer the newest."""
    return conflict(resource, name, MODIFIED)


def conflict(resource: Resource, name: str, why: str) -> StatusError:
    """Build the 409 for a write that lost against another."""
    message = f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}'
    return StatusError(409, "Conflict", message, status_details(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    """Build the 409 for a name that is taken."""
    message = f'{resource.group_resource} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, status_details(resource, name))


def wrong_uid(resource: Resource, old: Object, uid: str) -> StatusError:
    """Build the 409 for a write that was meant for another object of the same name."""
    metadata = old["metadata"]
    place = (metadata.get("namespace", ""), metadata["name"])
    path = "/".join(part for part in ("/registry", resource.plural, *place) if part)
    why = (
        f"StorageError: invalid object, Code: 4, Key: {path}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, "
        f"UID in object meta: {metadata['uid']}"
    )
    return conflict(resource, metadata["name"], why)


def needs_version(resource: Resource, name: str) -> StatusError:
    """Build the 422 for a PUT that must name the version that it replaces."""
    text = "Invalid value: 0: must be specified for an update"
    details = status_details(resource, name)
    details["causes"] = [
        {"reason": "FieldValueInvalid", "message": text, "field": "metadata.resourceVersion"}
    ]
    message = f'{resource.group_resource} "{name}" is invalid: metadata.resourceVersion: {text}'
    return StatusError(422, "Invalid", message, details)


def other_name(given: str, name: str) -> StatusError:
    """Build the 400 for a body that names another object than the path."""
    message = f"the name of the object ({given}) does not match the name on the URL ({name})"
    return StatusError(400, "BadRequest", message)


def other_namespace() -> StatusError:
    """Build the 400 for a body of another namespace than the path."""
    message = (
        "the namespace of the provided object does not match the namespace sent on the request"
    )
    return StatusError(400, "BadRequest", message)
