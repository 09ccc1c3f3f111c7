"""Server-side printing: objects as the tables that `kubectl get` shows."""

from __future__ import annotations

from collections.abc import Sequence

from rollout.sim.resources import Resource
from rollout.sim.store import Object


def to_table(
    resource: Resource,
    objects: Sequence[Object],
    *,
    list_meta: Object,
    now: float,
    include_object: str = "Metadata",
) -> Object:
    """Return the objects as a `Table`."""
    del now, include_object
    rows = [{"cells": [obj["metadata"]["name"]], "object": to_partial(obj)} for obj in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": [
            {
                "name": "Name",
                "type": "string",
                "format": "name",
                "description": resource.kind,
                "priority": 0,
            }
        ],
        "rows": rows,
    }


def to_partial(obj: Object) -> Object:
    """Return only the metadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
