"""The patch formats that change an object as it stands, as the API server applies them.

Merge patches (RFC 7386) and strategic merge patches, which merge lists by the keys that `schema`
gives and know directives (`$patch`, `$retainKeys`, `$setElementOrder/...`,
`$deleteFromPrimitiveList/...`); `json_patch` comes from `jsonpatch`. All are pure: inputs stay as
they are, and every part that a patch does not touch is shared with the old object. Server-side
apply is in `managedfields`.
"""

from __future__ import annotations

from typing import Final

from rollout.sim import schema
from rollout.sim.errors import StatusError
from rollout.sim.jsonpatch import Json, Object, bad_request, json_name, json_patch
from rollout.sim.resources import Resource
from rollout.sim.schema import Form, Type

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]

DIRECTIVE: Final = "$patch"
RETAIN_KEYS: Final = "$retainKeys"
SET_ORDER: Final = "$setElementOrder/"
DELETE_FROM: Final = "$deleteFromPrimitiveList/"


# Merge patch


def merge_patch(current: Object, patch: Json) -> Object:
    """Apply an RFC 7386 merge patch to an object.

    Raises:
        StatusError: 400 when the patch is not an object.
    """
    merged: Object = _merge(current, _as_object(patch, "error decoding patch: "))
    return merged


def _as_object(patch: Json, prefix: str = "") -> Object:
    if isinstance(patch, dict):
        return patch
    raise bad_request(
        f"{prefix}json: cannot unmarshal {json_name(patch)} into Go value of type "
        "map[string]interface {}"
    )


def _merge(current: Json, patch: Object) -> Json:
    base = current if isinstance(current, dict) else {}
    changes = {}
    for key, value in patch.items():
        if value is None:
            continue
        new = _merge(base.get(key), value) if isinstance(value, dict) else value
        if key not in base or new is not base[key]:
            changes[key] = new
    removed = {key for key, value in patch.items() if value is None and key in base}
    if not changes and not removed and base is current:
        return current
    kept = {key: value for key, value in base.items() if key not in removed}
    return {**kept, **changes}


# Strategic merge patch


def strategic_merge_patch(resource: Resource, current: Object, patch: Json) -> Object:
    """Apply a strategic merge patch to an object.

    Raises:
        StatusError: 400 when the patch or a directive in it is malformed, 500 (as the real
            server has it) when a list item lacks its merge key.
    """
    type_ = schema.kind_type(resource.api_version, resource.kind)
    return _merge_map(current, _as_object(patch), type_)


def _merge_map(original: Object, patch: Object, type_: Type | None) -> Object:
    if DIRECTIVE in patch:
        return _directed_map(patch)
    merged = _retained(original, patch)
    for key, value in patch.items():
        if key == RETAIN_KEYS:
            continue
        if key.startswith(DELETE_FROM):
            merged = _without_scalars(merged, key.removeprefix(DELETE_FROM), value)
        elif value is None:
            merged = {name: old for name, old in merged.items() if name != key}
        elif not key.startswith(SET_ORDER):
            new = _merge_field(merged.get(key), value, _field_type(type_, key))
            if key not in merged or new is not merged[key]:
                merged = {**merged, key: new}
    return _in_order(original, merged, patch, type_)


def _directed_map(patch: Object) -> Object:
    match patch[DIRECTIVE]:
        case "replace":
            return {key: value for key, value in patch.items() if key != DIRECTIVE}
        case "delete":
            return {}
    raise _bad_directive(patch)


def _bad_directive(patch: Object) -> StatusError:
    kind = go_text(patch[DIRECTIVE])
    return StatusError(500, "", f"unknown patch type: {kind} in map: {go_text(patch)}")


def _retained(original: Object, patch: Object) -> Object:
    if RETAIN_KEYS not in patch:
        return original
    kept = patch[RETAIN_KEYS]
    named = {key for key in patch if not key.startswith("$")}
    if not isinstance(kept, list) or not named <= set(kept):
        raise bad_request("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in kept}


def _without_scalars(merged: Object, key: str, doomed: Json) -> Object:
    if not isinstance(doomed, list):
        raise bad_request("invalid patch format of primitive list")
    if not isinstance(merged.get(key), list):
        return merged
    return {**merged, key: [value for value in merged[key] if value not in doomed]}


def _field_type(type_: Type | None, key: str) -> Type | None:
    if type_ is None:
        return None
    if type_.form is Form.MAP:
        return type_.item
    if type_.form is not Form.STRUCT:
        return None
    field = type_.struct.fields.get(key)
    return field.type if field else None


def _merge_field(original: Json, value: Json, type_: Type | None) -> Json:
    if isinstance(original, dict) and isinstance(value, dict):
        if type_ is not None and type_.patch_replaces:
            return value
        return _merge_map(original, value, type_)
    if isinstance(original, list) and isinstance(value, list):
        if type_ is None or type_.patch_key is None:
            return value
        return _merge_list(original, value, type_)
    return _plain(value)


def _plain(value: Json) -> Json:
    """Return a patch value that meets nothing to merge with: without nulls and directives."""
    if isinstance(value, dict):
        return {
            key: _plain(inner)
            for key, inner in value.items()
            if inner is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [
            _plain(inner)
            for inner in value
            if not (isinstance(inner, dict) and inner.get(DIRECTIVE) in {"delete", "replace"})
        ]
    return value


def _merge_list(original: list[Json], patch: list[Json], type_: Type) -> list[Json]:
    key = type_.patch_key or ""
    if not key:
        merged = original + [item for item in patch if item not in original]
        return _ordered(merged, patch, original, key)
    original, patch = _special_items(original, patch, key)
    merged = list(original)
    for item in patch:
        position = _position(merged, _key_of(item, key), key)
        if position is None:
            merged.append(_plain(item))
        else:
            merged[position] = _merge_map(merged[position], item, type_.item)
    return _ordered(merged, patch, original, key)


def _special_items(
    original: list[Json], patch: list[Json], key: str
) -> tuple[list[Json], list[Json]]:
    """Carry out the items with a `$patch` directive; return what is left of both lists."""
    ordinary, replace = [], False
    for item in patch:
        directive = item.get(DIRECTIVE) if isinstance(item, dict) else None
        if directive is None:
            ordinary.append(item)
        elif directive == "delete":
            doomed = _key_of(item, key)
            original = [old for old in original if old.get(key) != doomed]
        elif directive == "replace":
            replace = True
        else:
            raise _bad_directive(item)
    return (ordinary, []) if replace else (original, ordinary)


def _key_of(item: Json, key: str) -> Json:
    if not isinstance(item, dict) or key not in item:
        raise StatusError(
            500,
            "",  # an error of Go without a reason
            f"map: {go_text(item)} does not contain declared merge key: {key}",
        )
    return item[key]


def _position(items: list[Json], value: Json, key: str) -> int | None:
    for position, item in enumerate(items):
        if item.get(key) == value if key else item == value:
            return position
    return None


def _ordered(merged: list[Json], wanted: list[Json], live: list[Json], key: str) -> list[Json]:
    """Put the patch's items in the patch's order and weave the others in as they stood.

    An item that only the server has comes before the first patch item that it preceded.
    """

    def place(items: list[Json], item: Json) -> int | None:
        return _position(items, item.get(key) if key else item, key)

    ours = [item for item in merged if place(wanted, item) is not None]
    others = [item for item in merged if place(wanted, item) is None]
    ours.sort(key=lambda item: place(wanted, item) or 0)
    woven: list[Json] = []
    for item in ours:
        limit = place(live, item)
        while limit is not None and others:
            position = place(live, others[0])
            if position is None or position >= limit:
                break
            woven.append(others.pop(0))
        woven.append(item)
    return woven + others


def _in_order(original: Object, merged: Object, patch: Object, type_: Type | None) -> Object:
    """Carry out the `$setElementOrder/...` directives of a patch."""
    for directive, order in patch.items():
        name = directive.removeprefix(SET_ORDER)
        if name == directive or not isinstance(merged.get(name), list):
            continue
        if not isinstance(order, list):
            raise bad_request("invalid patch format of setElementOrder list")
        field = _field_type(type_, name)
        key = (field.patch_key if field else None) or ""
        live = original.get(name) or []
        merged = {**merged, name: _ordered(merged[name], order, live, key)}
    return merged


def go_text(value: Json) -> str:
    """Write a JSON value as Go's `%v` does, for messages that quote it."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(go_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)
