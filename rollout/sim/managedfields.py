"""Who owns which fields of an object: `metadata.managedFields` and server-side apply.

Every write is compared with what was there before; what it added or changed belongs to its
manager from then on, what it removed belongs to nobody. An apply owns exactly what it names, may
not take over others' fields without force, and removes what it named before and nobody else owns.
The rules of structured merge, checked against the recorded exchanges. Status updates are the hot
path: parts that are the same dict are never looked into, and equal sets are one dict.
"""

from __future__ import annotations

from typing import Final

from rollout.sim import decoding, fieldsets, merging, schema
from rollout.sim.decoding import DecodeError
from rollout.sim.errors import StatusError
from rollout.sim.fieldsets import FieldSet
from rollout.sim.resources import Resource
from rollout.sim.schema import Type
from rollout.sim.store import Object

UPDATE: Final = "Update"
APPLY: Final = "Apply"
BEFORE_APPLY: Final = "before-first-apply"
ANCIENT: Final = "ancient-changes"
MAX_UPDATERS: Final = 10  # apimachinery, managedfields/internal/capmanagers.go

_UNOWNED_METADATA: Final = frozenset(
    (
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    )
)
_UNOWNED: Final[FieldSet] = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {".": {}, **{f"f:{name}": {} for name in sorted(_UNOWNED_METADATA)}},
}
_RESET_PART: Final = {"": "status", "status": "spec"}
"""What a write through the object itself or through its status may not change."""


def track_update(
    old: Object | None,
    new: Object,
    *,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
) -> list[Object] | None:
    """Return the new `metadata.managedFields` after a create or update.

    Args:
        old: the object before, None for a create.
        new: the object after, with `kind`; its own `managedFields` are not looked at.
        manager: the field manager of the writer.
        api_version: of the request.
        subresource: "" for the object itself.
        now: RFC 3339 time of the write.

    Returns:
        The entries in the API's order; None where ownership is not tracked (an object whose
        managers were cleared, until somebody applies).
    """
    entries = (old["metadata"].get("managedFields") or []) if old is not None else []
    if old is not None and not entries:
        return None
    type_ = schema.kind_type(api_version, new["kind"])
    changed, removed = _changes(type_, old, new, _RESET_PART.get(subresource, ""))
    if not changed and not removed:
        return entries or None
    entry = _entry(manager, UPDATE, api_version, subresource)
    kept = [_lost(other, changed, removed) for other in entries]
    if changed:
        kept = _with_fields(kept, entry, changed, now)
    return _finished(kept) or None


def _changes(
    type_: Type | None, old: Object | None, new: Object, reset: str
) -> tuple[FieldSet, FieldSet]:
    """Compare two objects, leaving out what nobody owns and what this endpoint may not write."""
    before = old if old is not None else _nothing(type_)
    skipped = {"apiVersion", "kind", reset}
    changed, removed = fieldsets.compare(
        type_, _ownable(before, new, skipped), _ownable(new, before, skipped)
    )
    return changed or {}, removed or {}


def _ownable(obj: Object, other: Object, skipped: set[str]) -> Object:
    parts = {key: part for key, part in obj.items() if key not in skipped}
    metadata = parts.get("metadata")
    if metadata is None or metadata is other.get("metadata"):
        parts.pop("metadata", None)
        return parts
    parts["metadata"] = {key: metadata[key] for key in metadata if key not in _UNOWNED_METADATA}
    return parts


def _nothing(type_: Type | None) -> Object:
    empty: Object = decoding.zero(type_) if type_ is not None else {"metadata": {}}
    return empty


# Entries


def _entry(manager: str, operation: str, api_version: str, subresource: str) -> Object:
    entry = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "fieldsType": "FieldsV1",
    }
    return {**entry, "subresource": subresource} if subresource else entry


def _same_manager(left: Object, right: Object) -> bool:
    return (
        left["manager"] == right["manager"]
        and left["operation"] == right["operation"]
        and left.get("subresource") == right.get("subresource")
        and (left["operation"] == APPLY or left["apiVersion"] == right["apiVersion"])
    )


def _lost(entry: Object, changed: FieldSet, removed: FieldSet) -> Object:
    """Return the entry without fields that somebody else now owns or that are gone."""
    fields = entry["fieldsV1"]
    left = fieldsets.difference(fieldsets.difference(fields, changed), removed)
    return entry if left is fields else {**entry, "fieldsV1": fieldsets.shared(left)}


def _with_fields(entries: list[Object], entry: Object, fields: FieldSet, now: str) -> list[Object]:
    """Add fields to a manager's entry."""
    for position, other in enumerate(entries):
        if _same_manager(other, entry):
            grown = fieldsets.union(other["fieldsV1"], fields)
            if grown is not other["fieldsV1"]:
                grown = fieldsets.shared(grown)
            entry = {**other, "fieldsV1": grown, "time": now}
            return [*entries[:position], entry, *entries[position + 1 :]]
    return [*entries, {**entry, "fieldsV1": fieldsets.shared(fields), "time": now}]


def _finished(entries: list[Object]) -> list[Object]:
    """Drop empty entries, fold the oldest of too many, and sort."""
    return sorted(_capped([entry for entry in entries if entry["fieldsV1"]]), key=_order)


def _order(entry: Object) -> tuple[str, ...]:
    return (
        entry["operation"],
        entry.get("time", ""),
        entry["manager"],
        entry["apiVersion"],
        entry.get("subresource", ""),
    )


def _capped(entries: list[Object]) -> list[Object]:
    """Fold the oldest updaters of one version into one entry when there are too many."""
    updaters = sorted((entry for entry in entries if entry["operation"] == UPDATE), key=_order)
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return entries
    rest = [entry for entry in entries if entry["operation"] != UPDATE]
    oldest, folded = updaters[: excess + 1], updaters[excess + 1 :]
    bucket = _entry(ANCIENT, UPDATE, oldest[0]["apiVersion"], "")
    fields: FieldSet = {}
    for entry in oldest:
        fields = fieldsets.union(fields, entry["fieldsV1"])
    return [*rest, *_with_fields(folded, bucket, fields, oldest[-1]["time"])]


# Server-side apply


def apply(
    resource: Resource,
    live: Object | None,
    config: Object,
    *,
    manager: str,
    force: bool,
    now: str,
    subresource: str,
) -> Object:
    """Merge an applied configuration into the live object.

    Args:
        resource: what it is.
        live: the stored object, None to create one.
        config: the configuration as it was sent, not decoded: it owns what it names and no more.
        manager: the field manager.
        force: take over fields that others own.
        now: RFC 3339 time of the write.
        subresource: "" for the object itself.

    Returns:
        The merged object with its new `metadata.managedFields`.

    Raises:
        StatusError: 400 when the configuration carries managed fields, 409 with a cause for each
            conflict (recorded: "server-side apply conflict"), 500 when it does not fit the kind.
    """
    if (config.get("metadata") or {}).get("managedFields"):
        raise StatusError(400, "BadRequest", "metadata.managedFields must be nil")
    type_ = _checked_type(resource, config)
    entry = _entry(manager, APPLY, resource.api_version, subresource)
    entries = _entries_before(type_, live, resource, now)
    before = _without_managers(live) if live is not None else _nothing(type_)
    reset = _RESET_PART.get(subresource, "")
    fields = _applied_fields(type_, config, reset)
    mine = next((other for other in entries if _same_manager(other, entry)), {})
    others = [other for other in entries if other is not mine]

    doomed = _given_up(type_, mine, [fields, *(other["fieldsV1"] for other in others)])
    merged = fieldsets.without(type_, merging.merge(type_, before, config), doomed)
    changed, removed = _changes(type_, before, merged, reset)
    if not force:
        _refuse_conflicts(others, changed)
    others = [_lost(other, changed, removed) for other in others]
    if fields:
        time = now if changed or removed else mine.get("time")
        applied = {**entry, "fieldsV1": fieldsets.shared(fields)}
        others.append({**applied, "time": time} if time else applied)
    if live is None or changed or removed:
        merged, _ = decoding.decode(resource, merged)
    managers = _finished(others)
    if live is not None and merged == before and _untimed(managers) == _untimed(entries):
        managers = entries  # an empty map in a configuration changes nothing in the end
    return {**merged, "metadata": {**merged["metadata"], "managedFields": managers}}


def _untimed(entries: list[Object]) -> list[Object]:
    untimed = [{key: part for key, part in entry.items() if key != "time"} for entry in entries]
    return sorted(untimed, key=_order)


def _checked_type(resource: Resource, config: Object) -> Type | None:
    """Refuse a configuration that the kind's description does not hold."""
    metadata = config.get("metadata") or {}
    name = "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
    kind = f"{resource.api_version}, Kind={resource.kind}"
    prefix = f"failed to create typed patch object ({name}; {kind}): "
    try:
        _, unknown = decoding.decode(resource, config)
        type_ = schema.kind_type(resource.api_version, resource.kind)
        fieldsets.owned_by(type_, config)
    except DecodeError as error:
        raise StatusError(500, "", prefix + str(error)) from None
    except KeyError as error:
        raise StatusError(
            500,
            "",
            f"{prefix}associative list with keys has an element that omits key field "
            f'"{error.args[0]}" (and doesn\'t have default value)',
        ) from None
    if unknown:
        raise StatusError(500, "", f"{prefix}.{unknown[0]}: field not declared in schema")
    return type_


def _entries_before(
    type_: Type | None, live: Object | None, resource: Resource, now: str
) -> list[Object]:
    """Return the entries of the live object; one that nobody tracked is owned by its past."""
    if live is None:
        return []
    if entries := live["metadata"].get("managedFields"):
        return list(entries)
    changed, _ = _changes(type_, None, live, "")
    entry = _entry(BEFORE_APPLY, UPDATE, resource.api_version, "")
    return [{**entry, "fieldsV1": changed, "time": now}] if changed else []


def _without_managers(obj: Object) -> Object:
    metadata = {key: part for key, part in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _applied_fields(type_: Type | None, config: Object, reset: str) -> FieldSet:
    fields = fieldsets.difference(fieldsets.owned_by(type_, config), _UNOWNED)
    return fieldsets.without_trees(fields, {f"f:{reset}": {}}) if reset else fields


def _given_up(type_: Type | None, mine: Object, owned: list[FieldSet]) -> FieldSet:
    """Return what this manager applied before and neither it nor anybody else owns now."""
    doomed = fieldsets.with_named_fields(type_, mine.get("fieldsV1", {}))
    for fields in owned:
        doomed = fieldsets.difference(doomed, fieldsets.with_named_fields(type_, fields))
    return doomed


# Conflicts


def _refuse_conflicts(others: list[Object], changed: FieldSet) -> None:
    conflicts = [
        (_shown(other), path)
        for other in others
        for path in fieldsets.paths(fieldsets.intersection(other["fieldsV1"], changed))
    ]
    if not conflicts:
        return
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, path in conflicts
    ]
    raise StatusError(409, "Conflict", _conflict_message(conflicts), {"causes": causes})


def _shown(entry: Object) -> str:
    who = f'"{entry["manager"]}"'
    if "subresource" in entry:
        who += f' with subresource "{entry["subresource"]}"'
    return who if entry["operation"] == APPLY else f"{who} using {entry['apiVersion']}"


def _conflict_message(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        who, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {who}: {path}"
    lines = []
    for manager in sorted({who for who, _ in conflicts}):
        lines.append(f"conflicts with {manager}:")
        lines += [f"- {path}" for who, path in conflicts if who == manager]
    text = "\n".join(lines)
    return f"Apply failed with {len(conflicts)} conflicts: {text}"
