"""What the API server refuses in metadata and in label selectors, for objects of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from rollout.sim import fielderrors as errors
from rollout.sim import formats
from rollout.sim.fielderrors import Cause, child, index
from rollout.sim.formats import NameCheck
from rollout.sim.store import Object

MAX_ANNOTATIONS: Final = 256 * 1024  # bytes
_META: Final = "metadata"
_STANDARD_FINALIZERS: Final = frozenset(("orphan", "foregroundDeletion", "kubernetes"))


def check_new(obj: Object, name_check: NameCheck, *, namespaced: bool) -> list[Cause]:
    """Return what is wrong with the metadata of a new object."""
    metadata = obj.get(_META) or {}
    found: list[Cause] = []
    if base := metadata.get("generateName"):
        # What the server appends keeps a trailing dash from being the last character.
        messages = name_check(f"{base[:-1]}a" if base.endswith("-") else base)
        found += errors.each_invalid(child(_META, "generateName"), base, messages)
    name = metadata.get("name", "")
    if name:
        found += errors.each_invalid(child(_META, "name"), name, name_check(name))
    else:
        found.append(errors.required(child(_META, "name"), "name or generateName is required"))
    found += _check_namespace(metadata, namespaced=namespaced)
    return found + _check_contents(metadata)


def _check_namespace(metadata: Object, *, namespaced: bool) -> list[Cause]:
    path, namespace = child(_META, "namespace"), metadata.get("namespace", "")
    if namespaced:
        if not namespace:
            return [errors.required(path)]
        return errors.each_invalid(path, namespace, formats.dns_label(namespace))
    return [errors.forbidden(path, "not allowed on this type")] if namespace else []


def check_change(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the metadata of a changed object.

    The server looks twice, once for all kinds and once for the kind, so each cause is there
    twice (recorded: "patch with wrong uid").
    """
    after, before = new.get(_META) or {}, old.get(_META) or {}
    if after is before:
        return []
    found: list[Cause] = []
    if "deletionTimestamp" in before:
        found += _no_new_finalizers(after, before)
    for field in ("name", "namespace", "uid"):
        value = after.get(field, "")
        found += errors.immutable(child(_META, field), value, before.get(field, ""))
    found += _check_contents(after, before)
    return found * 2


def _no_new_finalizers(after: Object, before: Object) -> list[Cause]:
    known = before.get("finalizers") or []
    added = [name for name in after.get("finalizers") or [] if name not in known]
    if not added:
        return []
    text = "no new finalizers can be added if the object is being deleted, found new finalizers"
    shown = f"[]string{{{', '.join(map(json.dumps, added))}}}"  # Go's %#v
    return [errors.forbidden(child(_META, "finalizers"), f"{text} {shown}")]


def _check_contents(metadata: Object, before: Object | None = None) -> list[Cause]:
    """Check labels and the rest; what an update leaves alone was fine before."""
    before = before or {}
    found: list[Cause] = []
    for field, check in _CONTENTS.items():
        part = metadata.get(field)
        if part and part is not before.get(field):
            found += check(part, child(_META, field))
    return found


def check_labels(labels: Mapping[str, str], path: str) -> list[Cause]:
    """Return what is wrong with labels."""
    found: list[Cause] = []
    for name, value in labels.items():
        found += errors.each_invalid(path, name, formats.qualified_name(name))
        found += errors.each_invalid(path, value, formats.label_value(value))
    return found


def check_annotations(annotations: Mapping[str, str], path: str) -> list[Cause]:
    """Return what is wrong with annotations."""
    found: list[Cause] = []
    for name in annotations:
        found += errors.each_invalid(path, name, formats.qualified_name(name.lower()))
    size = sum(len(name.encode()) + len(text.encode()) for name, text in annotations.items())
    if size > MAX_ANNOTATIONS:
        found.append(errors.too_long(path, MAX_ANNOTATIONS))
    return found


def _check_owners(owners: list[Object], path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, owner in enumerate(owners):
        at = index(path, position)
        if not owner.get("apiVersion"):
            found.append(errors.invalid(child(at, "apiVersion"), "", "version must not be empty"))
        for field in ("kind", "name", "uid"):
            if not owner.get(field):
                text = "must not be empty"
                found.append(errors.invalid(child(at, field), "", text))
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = (f"{owner['kind']}/{owner['name']}" for owner in controllers[:2])
        text = (
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{first} and {second}"
        )
        found.append(errors.invalid(path, owners, text))
    return found


def _check_finalizers(finalizers: list[str], path: str) -> list[Cause]:
    found: list[Cause] = []
    for name in finalizers:
        found += errors.each_invalid(path, name, formats.qualified_name(name))
        if "/" not in name and name not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(errors.invalid(path, name, text))
    return found


_CONTENTS: Final[dict[str, Callable[[Any, str], list[Cause]]]] = {
    "labels": check_labels,
    "annotations": check_annotations,
    "ownerReferences": _check_owners,
    "finalizers": _check_finalizers,
}


def check_selector(selector: Object | None, path: str) -> list[Cause]:
    """Return what is wrong with a label selector."""
    if selector is None:
        return []
    found = check_labels(selector.get("matchLabels") or {}, child(path, "matchLabels"))
    for position, term in enumerate(selector.get("matchExpressions") or []):
        found += _check_expression(term, index(child(path, "matchExpressions"), position))
    return found


def _check_expression(term: Object, path: str) -> list[Cause]:
    found = check_operator(term, path)
    found += errors.each_invalid(
        child(path, "key"), term["key"], formats.qualified_name(term["key"])
    )
    for position, value in enumerate(term.get("values") or []):
        at = index(child(path, "values"), position)
        found += errors.each_invalid(at, value, formats.label_value(value))
    return found


def check_operator(term: Object, path: str) -> list[Cause]:
    """Check that a requirement's operator is known and has the values that it needs."""
    values, at = term.get("values") or [], child(path, "values")
    match term.get("operator"):
        case "In" | "NotIn":
            text = "must be specified when `operator` is 'In' or 'NotIn'"
            return [] if values else [errors.required(at, text)]
        case "Exists" | "DoesNotExist":
            text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            return [errors.forbidden(at, text)] if values else []
    operator = term.get("operator", "")
    return [errors.invalid(child(path, "operator"), operator, "not a valid selector operator")]
