"""OpenAPI v3 as far as clients ask for it: kubectl's checks before a write, patches, `explain`.

Written from `schema`, so it says exactly what the decoder accepts; there are no descriptions.
`openapi2` makes the second version of it. Kinds that `schema` does not describe have
paths but no schema.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from rollout.sim import schema
from rollout.sim.discovery import Discovery
from rollout.sim.requests import Response, encode
from rollout.sim.resources import RESOURCES, Resource
from rollout.sim.schema import Form, Struct, Type

PREFIX: Final = "/openapi/v3"
NAMES: Final = "io.k8s.api."
DIGEST: Final = "1.36"  # part of the URLs, so that clients may cache documents for good
_PATCHES: Final = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_SCALARS: Final[dict[Form, dict[str, Any]]] = {
    Form.STRING: {"type": "string"},
    Form.BOOL: {"type": "boolean"},
    Form.INT: {"type": "integer"},
    Form.TIME: {"type": "string", "format": "date-time"},
    Form.MICRO_TIME: {"type": "string", "format": "date-time"},
    Form.QUANTITY: {"oneOf": [{"type": "string"}, {"type": "number"}]},
    Form.INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    Form.BYTES: {"type": "string", "format": "byte"},
    Form.ANY: {"type": "object"},
}


def document(path: str, discovery: Discovery) -> Response | None:
    """Return the document under `/openapi/...`, None when there is none."""
    if path == PREFIX:
        return Response(200, encode({"paths": _index(discovery)}))
    group_version = path.removeprefix(f"{PREFIX}/")
    found = [r for r in RESOURCES if _root(r) == group_version and discovery.served(r)]
    if not found:
        return None
    return Response(200, _document(group_version))


def _root(resource: Resource) -> str:
    return f"apis/{resource.api_version}" if resource.group else f"api/{resource.version}"


def _index(discovery: Discovery) -> dict[str, Any]:
    roots = dict.fromkeys(_root(r) for r in RESOURCES if discovery.served(r))
    return {root: {"serverRelativeURL": f"{PREFIX}/{root}?hash={DIGEST}"} for root in roots}


@cache
def _document(group_version: str) -> bytes:
    resources = [r for r in RESOURCES if _root(r) == group_version]
    described: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for resource in resources:
        described.update(schemas(resource))
        paths.update(_paths(resource))
    return encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": f"v{DIGEST}"},
            "paths": paths,
            "components": {"schemas": described},
        }
    )


def gvk(resource: Resource) -> dict[str, str]:
    """Return what the kind is called where a document names one."""
    return {"group": resource.group, "kind": resource.kind, "version": resource.version}


def _paths(resource: Resource) -> dict[str, Any]:
    place = "namespaces/{namespace}/" if resource.namespaced else ""
    collection = f"/{_root(resource)}/{place}{resource.plural}"
    kind = {"x-kubernetes-group-version-kind": gvk(resource)}
    many: dict[str, Any] = {}
    one: dict[str, Any] = {}
    if "list" in resource.verbs:
        many["get"] = {**kind, "x-kubernetes-action": "list"}
    if "create" in resource.verbs:
        many["post"] = {**kind, "x-kubernetes-action": "post", "parameters": _parameters()}
    if "get" in resource.verbs:
        one["get"] = {**kind, "x-kubernetes-action": "get"}
    if "update" in resource.verbs:
        one["put"] = {**kind, "x-kubernetes-action": "put", "parameters": _parameters()}
    if "patch" in resource.verbs:
        one["patch"] = {
            **kind,
            "x-kubernetes-action": "patch",
            "parameters": [*_parameters(), _parameter("force", "boolean")],
            "requestBody": {"content": {name: {"schema": {}} for name in _PATCHES}},
        }
    if "delete" in resource.verbs:
        one["delete"] = {
            **kind,
            "x-kubernetes-action": "delete",
            "parameters": [_parameter("dryRun", "string")],
        }
    return {collection: many, f"{collection}/{{name}}": one}


def _parameters() -> list[dict[str, Any]]:
    names = ("dryRun", "fieldManager", "fieldValidation")
    return [_parameter(name, "string") for name in names]


def _parameter(name: str, type_: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": type_, "uniqueItems": True}}


def schemas(resource: Resource) -> dict[str, Any]:
    """Return the schema of a kind and those that it refers to, by name; {} where there is none."""
    described: dict[str, Any] = {}
    type_ = schema.kind_type(resource.api_version, resource.kind)
    if type_ is not None:  # without a schema kubectl goes by what it was built with
        _add_struct(described, type_.struct)
        described[NAMES + type_.name]["x-kubernetes-group-version-kind"] = [gvk(resource)]
    return described


def _add_struct(schemas: dict[str, Any], struct: Struct) -> None:
    name = NAMES + struct.name
    if name in schemas:
        return
    properties: dict[str, Any] = {}
    described: dict[str, Any] = {"type": "object", "properties": properties}
    if struct.atomic:
        described["x-kubernetes-map-type"] = "atomic"
    schemas[name] = described
    for field in struct.fields.values():
        properties[field.name] = _property(schemas, field.type)


def _property(schemas: dict[str, Any], type_: Type) -> dict[str, Any]:
    match type_.form:
        case Form.STRUCT:
            _add_struct(schemas, type_.struct)
            described: dict[str, Any] = {
                "allOf": [{"$ref": f"#/components/schemas/{NAMES}{type_.name}"}],
                "default": {},
            }
            if type_.patch_replaces or type_.retains_keys:
                # With the real `replace` kubectl calls a budget "configured" on every apply.
                described["x-kubernetes-patch-strategy"] = "retainKeys"
            return described
        case Form.MAP:
            return {"type": "object", "additionalProperties": _item(schemas, type_)}
        case Form.LIST:
            return {"type": "array", "items": _item(schemas, type_), **_list_extensions(type_)}
    return dict(_SCALARS[type_.form])


def _item(schemas: dict[str, Any], type_: Type) -> dict[str, Any]:
    return {} if type_.item is None else _property(schemas, type_.item)


def _list_extensions(type_: Type) -> dict[str, Any]:
    extensions: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
    if type_.is_set:
        extensions["x-kubernetes-list-type"] = "set"
    elif type_.keys:
        extensions["x-kubernetes-list-type"] = "map"
        extensions["x-kubernetes-list-map-keys"] = list(type_.keys)
    if type_.patch_key is not None:
        strategy = "merge,retainKeys" if type_.retains_keys else "merge"
        extensions["x-kubernetes-patch-strategy"] = strategy
        if type_.patch_key:
            extensions["x-kubernetes-patch-merge-key"] = type_.patch_key
    return extensions
