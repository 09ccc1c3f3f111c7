"""Options of writes: who manages the fields, dry runs, and how to delete."""

from __future__ import annotations

from typing import Any, Final

from rollout.sim import protobuf
from rollout.sim.bodies import MEDIA_TYPES, parse_json
from rollout.sim.errors import StatusError
from rollout.sim.rbac import User
from rollout.sim.registry import Caller, DeleteOptions, PatchType
from rollout.sim.requests import JSON, Request, check_media_type, options_kind
from rollout.sim.store import Object

MAX_MANAGER: Final = 128
PROPAGATIONS: Final = ("Background", "Foreground", "Orphan")


def caller_of(request: Request, user: User) -> Caller:
    """Return who writes; the field manager is named, or the first word of the user agent."""
    manager = request.query.get("fieldManager", "")
    if not manager:
        manager = request.headers.get("user-agent", "").partition("/")[0][:MAX_MANAGER]
    return Caller(user.name, user.groups, manager or "unknown")


def is_dry_run(request: Request) -> bool:
    """Whether nothing may be stored.

    Raises:
        StatusError: 422 for a value other than `All`.
    """
    values = [request.query["dryRun"]] if "dryRun" in request.query else []
    return _dry_run(values, options_kind(request))


def _dry_run(values: list[str], kind: str) -> bool:
    if any(value != "All" for value in values):
        text = f'Unsupported value: ["{values[0]}"]: supported values: "All"'
        raise _invalid(kind, "dryRun", text, "FieldValueNotSupported")
    return bool(values)


def check_patch_options(request: Request, patch_type: PatchType) -> None:
    """Refuse what does not go with the patch's type.

    Raises:
        StatusError: 422.
    """
    if patch_type is PatchType.APPLY:
        if not request.query.get("fieldManager"):
            text = "Required value: is required for apply patch"
            raise _invalid("PatchOptions", "fieldManager", text, "FieldValueRequired")
    elif "force" in request.query:
        text = "Forbidden: may not be specified for non-apply patch"
        raise _invalid("PatchOptions", "force", text, "FieldValueForbidden")


def delete_options(request: Request) -> tuple[DeleteOptions, bool]:
    """Return the options of a delete and whether it is a dry run.

    A body, even an empty object, makes the server ignore the query (recorded: "delete dry run").

    Raises:
        StatusError: 400 or 422 when they make no sense.
    """
    if request.body.strip():
        return read_delete_options(_parse(request))
    grace = request.number("gracePeriodSeconds")
    orphan = request.flag("orphanDependents") if "orphanDependents" in request.query else None
    propagation = request.query.get("propagationPolicy")
    return DeleteOptions(grace, propagation=_propagation(propagation, orphan)), is_dry_run(request)


def _parse(request: Request) -> Object:
    check_media_type(request.media_type or JSON, MEDIA_TYPES)
    if request.media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(request.body)
    try:
        parsed = parse_json(request.body)[0]
    except ValueError as error:
        raise StatusError(400, "BadRequest", f"error decoding DeleteOptions: {error}") from None
    if not isinstance(parsed, dict):
        message = "json: cannot unmarshal into Go value of type v1.DeleteOptions"
        raise StatusError(400, "BadRequest", message)
    return parsed


def read_delete_options(body: Object) -> tuple[DeleteOptions, bool]:
    """Return options and dry run from a `DeleteOptions` object.

    Raises:
        StatusError: 400 or 422 when they make no sense.
    """
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int)):
        message = "json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds"
        raise StatusError(400, "BadRequest", f"{message} of type int64")
    options = DeleteOptions(
        grace,
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
        _propagation(body.get("propagationPolicy"), body.get("orphanDependents")),
    )
    return options, _dry_run(body.get("dryRun") or [], "DeleteOptions")


def _propagation(policy: Any, orphan: bool | None) -> str | None:  # noqa: ANN401, FBT001 - JSON
    if policy is not None and orphan is not None:
        text = "Invalid value: orphanDependents and deletionPropagation cannot be both set"
        raise _invalid("DeleteOptions", "propagationPolicy", text, "FieldValueInvalid")
    if orphan is not None:
        return "Orphan" if orphan else "Background"
    if policy is not None and policy not in PROPAGATIONS:
        supported = ", ".join(f'"{name}"' for name in (*PROPAGATIONS, "nil"))
        text = f'Unsupported value: "{policy}": supported values: {supported}'
        raise _invalid("DeleteOptions", "propagationPolicy", text, "FieldValueNotSupported")
    return str(policy) if policy is not None else None


def _invalid(kind: str, name: str, text: str, reason: str) -> StatusError:
    return StatusError(
        422,
        "Invalid",
        f'{kind}.meta.k8s.io "" is invalid: {name}: {text}',
        {
            "group": "meta.k8s.io",
            "kind": kind,
            "causes": [{"reason": reason, "message": text, "field": name}],
        },
    )
