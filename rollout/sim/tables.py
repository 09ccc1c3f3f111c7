"""Server-side printing: objects as the `Table` that `kubectl get` shows, or as bare metadata.

The columns of a kind stand in `columns.json`, with the descriptions that the API server sends;
its cells come from `tablerows`. Kinds without columns of their own have a name and a date.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from rollout.sim.resources import Resource
from rollout.sim.store import Object
from rollout.sim.tablerows import cells

META_VERSION: Final = "meta.k8s.io/v1"
_INTERNAL_ANNOTATION: Final = "deprecated.daemonset.template.generation"
_ENDED: Final = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


@cache
def _columns() -> dict[str, list[Object]]:
    text = resources.files("rollout.sim").joinpath("columns.json").read_text(encoding="utf-8")
    columns: dict[str, list[Object]] = json.loads(text)
    return columns


def to_table(
    resource: Resource,
    objects: Sequence[Object],
    *,
    list_meta: Object,
    now: float,
    include_object: str = "Metadata",
) -> Object:
    """Return the objects as a `Table`.

    Args:
        resource: what they are.
        objects: the rows.
        list_meta: the table's metadata.
        now: seconds since the epoch, for ages.
        include_object: what each row carries: `None`, `Metadata` or `Object`.
    """
    columns = _columns()
    return {
        "kind": "Table",
        "apiVersion": META_VERSION,
        "metadata": list_meta,
        "columnDefinitions": columns.get(resource.kind, columns[""]),
        "rows": [_row(resource, obj, now, include_object) for obj in objects],
    }


def _row(resource: Resource, obj: Object, now: float, include_object: str) -> Object:
    row: dict[str, Any] = {"cells": cells(resource.kind, obj, now)}
    if resource.kind == "Pod":
        phase = (obj.get("status") or {}).get("phase")
        if phase in _ENDED:
            row["conditions"] = [
                {
                    "type": "Completed",
                    "status": "True",
                    "reason": phase,
                    "message": _ENDED[phase],
                }
            ]
    if include_object == "Metadata":
        row["object"] = to_partial(obj)
    elif include_object == "Object":
        row["object"] = obj
    return row


def to_partial(obj: Object) -> Object:
    """Return only the metadata of an object, as a `PartialObjectMetadata`.

    The annotation that stands for a DaemonSet's internal template generation is not part of it
    (recorded: "daemonsets as table").
    """
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    if _INTERNAL_ANNOTATION in annotations and obj.get("kind") == "DaemonSet":
        rest = {key: text for key, text in annotations.items() if key != _INTERNAL_ANNOTATION}
        metadata = {key: part for key, part in metadata.items() if key != "annotations"}
        if rest:
            metadata["annotations"] = rest
    return {"kind": "PartialObjectMetadata", "apiVersion": META_VERSION, "metadata": metadata}
