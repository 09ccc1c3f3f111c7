"""Which shape a client asked for in `Accept`: objects, tables or metadata, as JSON or YAML."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import yaml

from rollout.sim import tables
from rollout.sim.encoding import Encoder
from rollout.sim.errors import StatusError
from rollout.sim.requests import JSON, YAML, Request, Response, encode
from rollout.sim.resources import Resource
from rollout.sim.store import Object

ACCEPTED: Final = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_JSON_RANGES: Final = ("application/json", "application/*", "*/*")
_TRANSFORMS: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True, slots=True)
class Shape:
    """What the answer should look like."""

    transform: str = ""  # Table, PartialObjectMetadata(List), or "" for the objects themselves
    media_type: str = JSON
    pretty: bool = False
    include_object: str = "Metadata"

    @property
    def is_plain(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return not self.transform and self.media_type == JSON and not self.pretty


def shape_of(request: Request) -> Shape:
    """Return the first shape in `Accept` that we serve.

    Raises:
        StatusError: 406 when there is none.
    """
    accept = request.headers.get("accept") or "*/*"
    transform, media_type = _negotiate(accept)
    return Shape(
        transform,
        media_type,
        request.flag("pretty"),
        request.query.get("includeObject") or "Metadata",
    )


@functools.lru_cache(maxsize=256)
def _negotiate(accept: str) -> tuple[str, str]:
    for clause in accept.split(","):
        media_range, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        transform = given.get("as", "")
        if transform and (transform not in _TRANSFORMS or given.get("g") != "meta.k8s.io"):
            continue
        if media_range in _JSON_RANGES:
            return transform, JSON
        if media_range == YAML:
            return transform, YAML
    message = f"only the following media types are accepted: {ACCEPTED}"
    raise StatusError(406, "NotAcceptable", message)


def answer(shape: Shape, document: Any, status: int = 200) -> Response:  # noqa: ANN401 - JSON
    """Return a JSON document as the client wants it written."""
    if shape.media_type == YAML:
        return Response(status, lambda: yaml.safe_dump(document).encode(), YAML)
    if shape.pretty:
        return Response(status, lambda: msgspec.json.format(encode(document), indent=2))
    return Response(status, lambda: encode(document))


def object_answer(
    shape: Shape, resource: Resource, obj: Object, now: float, status: int = 200
) -> Response:
    """Return one object in the shape that was asked for."""
    if shape.transform == "Table":
        version = obj["metadata"].get("resourceVersion", "")
        return answer(shape, _table(resource, [obj], {"resourceVersion": version}, now, shape))
    if shape.transform:
        return answer(shape, tables.to_partial(obj), status)
    return answer(shape, obj, status)


def list_answer(
    encoder: Encoder,
    shape: Shape,
    resource: Resource,
    objects: Sequence[Object],
    list_meta: Object,
    now: float,
) -> Response:
    """Return a list in the shape that was asked for."""
    if shape.is_plain:
        return Response(200, lambda: encoder.list(resource, objects, list_meta))
    if shape.transform == "Table":
        return answer(shape, _table(resource, objects, list_meta, now, shape))
    if shape.transform:
        partial: Object = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": list_meta,
            "items": [tables.to_partial(obj) for obj in objects],
        }
        return answer(shape, partial)
    items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in objects]
    return answer(
        shape,
        {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": list_meta,
            "items": items,
        },
    )


def _table(
    resource: Resource, objects: Sequence[Object], list_meta: Object, now: float, shape: Shape
) -> Object:
    return tables.to_table(
        resource, objects, list_meta=list_meta, now=now, include_object=shape.include_object
    )


def event_converter(
    shape: Shape, resource: Resource, now: Callable[[], float]
) -> Callable[[Object], Object] | None:
    """Return what turns a watched object into the shape asked for, None when nothing does.

    Tables carry their column definitions only in the first event.
    """
    if shape.transform == "Table":
        return _TableRows(shape, resource, now)
    if shape.transform:
        return tables.to_partial
    return None


class _TableRows:
    def __init__(self, shape: Shape, resource: Resource, now: Callable[[], float]) -> None:
        self._shape = shape
        self._resource = resource
        self._now = now
        self._headers_sent = False

    def __call__(self, obj: Object) -> Object:
        meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
        table = _table(self._resource, [obj], meta, self._now(), self._shape)
        if self._headers_sent:
            table = {**table, "columnDefinitions": None}
        self._headers_sent = True
        return table
