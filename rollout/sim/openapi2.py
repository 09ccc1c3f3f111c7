"""OpenAPI v2: what kubectl checks a manifest by before it sends it, where it does so itself.

It does with `kind: List`, of which no server has a schema: each item is looked up here. The
definitions are those of the third version, said in the words of the second one; paths stand in the
third only. kubectl takes the document as protobuf and in no other form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from rollout.sim import openapi, openapiwire
from rollout.sim.discovery import Discovery
from rollout.sim.requests import JSON, Request, Response, encode
from rollout.sim.resources import RESOURCES, Resource

PATH: Final = "/openapi/v2"
_KINDS: Final = "x-kubernetes-group-version-kind"
_UNKNOWN: Final = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def answer(request: Request, discovery: Discovery) -> Response:
    """Return the document in the form that the client takes, JSON where it does not say."""
    served = tuple(r for r in RESOURCES if discovery.served(r))
    accepted = request.headers.get("accept", "")
    if any(name in accepted for name in openapiwire.ASKED_FOR_BY):
        return Response(200, _written(served, openapiwire.encode), openapiwire.MEDIA_TYPE)
    return Response(200, _written(served, encode), JSON)


@cache
def _written(served: tuple[Resource, ...], form: Callable[[dict[str, Any]], bytes]) -> bytes:
    return form(
        {
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": f"v{openapi.DIGEST}"},
            "paths": {},
            "definitions": _definitions(served),
        }
    )


def _definitions(served: tuple[Resource, ...]) -> dict[str, Any]:
    """Return all definitions; a kind that nothing describes may hold anything."""
    definitions: dict[str, Any] = {}
    for resource in served:
        for name, one in (openapi.schemas(resource) or _undescribed(resource)).items():
            known = definitions.get(name, {}).get(_KINDS, [])  # the same in another group
            definitions[name] = _older(one)
            kinds = [*known, *(kind for kind in one.get(_KINDS, []) if kind not in known)]
            if kinds:
                definitions[name][_KINDS] = kinds
    return definitions


def _undescribed(resource: Resource) -> dict[str, Any]:
    name = f"{openapi.NAMES}{resource.api_version.replace('/', '.')}.{resource.kind}"
    return {name: {**_UNKNOWN, _KINDS: [openapi.gvk(resource)]}}


def _older(described: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as the second version has it: plain references, and no choices."""
    older = {key: value for key, value in described.items() if key.startswith("x-")}
    older |= {key: described[key] for key in ("type", "format") if key in described}
    match described:
        case {"allOf": [{"$ref": reference}]}:
            older["$ref"] = reference.replace("#/components/schemas/", "#/definitions/")
        case {"oneOf": _}:
            older["type"] = "string"  # which kubectl takes for "string or number"
    for key in ("items", "additionalProperties"):
        if key in described:
            older[key] = _older(described[key])
    if "properties" in described:
        properties = described["properties"].items()
        older["properties"] = {name: _older(one) for name, one in properties}
    return older
