"""Sets of field paths, as `managedFields` writes them (FieldsV1), and what objects make of them.

A set is the FieldsV1 dict itself: `{"f:spec": {"f:containers": {'k:{"name":"a"}': {".": {},
"f:image": {}}}}}`. `{}` is a member without members below it, a `.` says that the path itself is a
member too. The rules of which values are owned as one and which field by field are structured
merge's (sigs.k8s.io/structured-merge-diff); the types come from `schema`. All functions are pure
and return their first argument itself when nothing changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, TypeAlias

from rollout.sim.schema import Form, Type, key_default

Json: TypeAlias = Any
FieldSet: TypeAlias = dict[str, Any]

SELF: Final = "."
MISSING: Final[Any] = object()
_MEMBER: Final[FieldSet] = {SELF: {}}


def _open(node: FieldSet) -> FieldSet:
    return node or _MEMBER


def _close(node: FieldSet) -> FieldSet:
    return {} if len(node) == 1 and SELF in node else node


# Set algebra


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths in either set."""
    result = left
    for key, node in right.items():
        if key not in left:
            merged = node
        elif key == SELF or left[key] is node:
            continue
        else:
            merged = _close(union(_open(left[key]), _open(node)))
            if merged is left[key] or merged == left[key]:
                continue
        if result is left:
            result = dict(left)
        result[key] = merged
    return result


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths in `left` that are not in `right`."""
    result = left
    for key in [key for key in left if key in right]:
        rest = {} if key == SELF else difference(_open(left[key]), _open(right[key]))
        if rest and _close(rest) == left[key]:
            continue
        if result is left:
            result = dict(left)
        if rest:
            result[key] = _close(rest)
        else:
            del result[key]
    return result


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths in both sets."""
    result: FieldSet = {}
    for key, node in left.items():
        if key not in right:
            continue
        if key == SELF:
            result[key] = {}
        elif both := intersection(_open(node), _open(right[key])):
            result[key] = _close(both)
    return result


def without_trees(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return `left` without the members of `right` and everything below them."""
    result: FieldSet = {}
    for key, node in left.items():
        if key not in right:
            result[key] = node
        elif not _is_member(right[key]) and (rest := without_trees(_open(node), right[key])):
            result[key] = _close(rest)
    return result


def paths(fields: FieldSet, prefix: str = "") -> Iterator[str]:
    """Yield the member paths as messages write them: `.spec.containers[name="a"].image`."""
    for key in sorted(fields):
        if key == SELF:
            continue
        path = prefix + _shown(key)
        if _is_member(fields[key]):
            yield path
        yield from paths(fields[key], path)


def _is_member(node: FieldSet) -> bool:
    return not node or SELF in node


def _shown(key: str) -> str:
    kind, text = key[:2], key[2:]
    if kind == "k:":
        parts = (f"{name}={json.dumps(value)}" for name, value in json.loads(text).items())
        return f"[{','.join(parts)}]"
    return f"[={text}]" if kind == "v:" else f".{text}"


@lru_cache(maxsize=8192)
def _parsed(text: str) -> FieldSet:
    fields: FieldSet = json.loads(text)
    return fields


def shared(fields: FieldSet) -> FieldSet:
    """Return an equal set, in sorted order, that is one object for all who own these fields."""
    return _parsed(json.dumps(fields, sort_keys=True))


# From values to sets


def item_key(type_: Type, item: Json) -> str:
    """Return the path element of an item of a set or keyed list.

    Raises:
        KeyError: when the item lacks a key that has no default.
    """
    if type_.is_set:
        return f"v:{json.dumps(item)}"
    values = []
    for key in type_.keys:
        value = item.get(key)
        if value is None:
            value = key_default(key)
            if value is None:
                raise KeyError(key)
        values.append(value)
    return _key_text(type_.keys, tuple(values))


@lru_cache(maxsize=8192)
def _key_text(keys: tuple[str, ...], values: tuple[Json, ...]) -> str:
    pairs = dict(sorted(zip(keys, values, strict=True)))
    return f"k:{json.dumps(pairs, separators=(',', ':'))}"


def children(type_: Type | None, value: Json) -> dict[str, tuple[Type | None, Json]] | None:
    """Return the parts of a value that are owned one by one, or None when it is owned as one."""
    form = type_.form if type_ is not None else None
    if isinstance(value, dict):
        if type_ is None:
            return {f"f:{key}": (None, part) for key, part in value.items()}
        if form is Form.STRUCT and not type_.atomic:
            fields = type_.struct.fields
            return {
                f"f:{key}": (fields[key].type if key in fields else None, part)
                for key, part in value.items()
            }
        if form is Form.MAP and not type_.atomic:
            return {f"f:{key}": (type_.item, part) for key, part in value.items()}
    elif isinstance(value, list) and type_ is not None and not type_.atomic:
        return {item_key(type_, item): (type_.item, item) for item in value}
    return None


def _granular(type_: Type | None, value: Json) -> bool:
    """Whether values of the type are owned part by part; null and absence follow the other side."""
    return isinstance(value, dict) if type_ is None else type_.granular


def compare(type_: Type | None, old: Json, new: Json) -> tuple[FieldSet | None, FieldSet | None]:
    """Return what was added or changed from `old` to `new`, and what was removed.

    Either side may be `MISSING`. None means nothing; `{}` means the value itself.
    """
    if old is new:
        return None, None
    if not _granular(type_, old if new is MISSING else new) or not (_full(old) or _full(new)):
        return _compare_leaf(old, new)
    before = (children(type_, old) if _full(old) else None) or {}
    after = (children(type_, new) if _full(new) else None) or {}
    changed: FieldSet = {SELF: {}} if old is MISSING else {}
    removed: FieldSet = {SELF: {}} if new is MISSING else {}
    for key, (inner, part) in after.items():
        was = before.get(key, (None, MISSING))[1]
        if was is part:
            continue
        _gather(key, compare(inner, was, part), changed, removed)
    for key, (inner, part) in before.items():
        if key not in after:
            _gather(key, compare(inner, part, MISSING), changed, removed)
    return (_close(changed) if changed else None), (_close(removed) if removed else None)


def _full(value: Json) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _gather(
    key: str,
    found: tuple[FieldSet | None, FieldSet | None],
    changed: FieldSet,
    removed: FieldSet,
) -> None:
    if found[0] is not None:
        changed[key] = found[0]
    if found[1] is not None:
        removed[key] = found[1]


def _compare_leaf(old: Json, new: Json) -> tuple[FieldSet | None, FieldSet | None]:
    if old is MISSING:
        return {}, None
    if new is MISSING:
        return None, {}
    return (None, None) if old == new else ({}, None)


def owned_by(type_: Type | None, value: Json) -> FieldSet:
    """Return the paths that someone owns who applies exactly this value."""
    result: FieldSet = {}
    for key, (inner, part) in (children(type_, value) or {}).items():
        if not _granular(inner, part):
            result[key] = {}
            continue
        below = owned_by(inner, part) if _full(part) else {}
        if key[:2] != "f:" or part is None or part == {} or not _is_field(type_):
            result[key] = {SELF: {}, **below} if below else {}
        elif below:
            result[key] = below
    return result


def _is_field(type_: Type | None) -> bool:
    return type_ is not None and type_.form is Form.STRUCT


def with_named_fields(type_: Type | None, fields: FieldSet) -> FieldSet:
    """Return the set with every struct field on the way to a member as a member itself."""
    result: FieldSet = {}
    for key, node in fields.items():
        inner = _element_type(type_, key)
        if key == SELF or not node:
            result[key] = node
            continue
        below = with_named_fields(inner, node)
        result[key] = {SELF: {}, **below} if _is_field(type_) else below
    return result


def _element_type(type_: Type | None, key: str) -> Type | None:
    if type_ is None:
        return None
    if type_.form is Form.STRUCT:
        field = type_.struct.fields.get(key[2:])
        return field.type if field else None
    return type_.item


def without(type_: Type | None, value: Json, doomed: FieldSet) -> Json:
    """Return the value without the members of a set; a part that runs empty becomes null."""
    parts = children(type_, value)
    if not parts or not doomed:
        return value
    kept = {}
    for key, (inner, part) in parts.items():
        if key not in doomed:
            kept[key] = part
        elif not _is_member(doomed[key]):
            kept[key] = without(inner, part, doomed[key])
    if not kept:
        return None
    if isinstance(value, list):
        return list(kept.values())
    return {key[2:]: part for key, part in kept.items()}
