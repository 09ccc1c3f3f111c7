"""Protobuf bodies of the few kinds that kubectl sends in that form.

kubectl's typed clients (create configmap, auth can-i, drain) write protobuf and read JSON if they
must. Only the decoding of those kinds is here; anything else is refused with 415.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from rollout.sim import timestamps
from rollout.sim.errors import StatusError
from rollout.sim.store import Object

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\x00"

# Message: field=number type; `[]` is repeated, `{}` a map with string keys. Numbers as in
# k8s.io/api and k8s.io/apimachinery, generated.proto.
_MESSAGES: Final = """
TypeMeta: apiVersion=1 string; kind=2 string
Unknown: typeMeta=1 TypeMeta; raw=2 raw; contentEncoding=3 string; contentType=4 string
ObjectMeta: name=1 string; generateName=2 string; namespace=3 string; uid=5 string; \
resourceVersion=6 string; generation=7 int; creationTimestamp=8 Time; labels=11 {}string; \
annotations=12 {}string; ownerReferences=13 []OwnerReference; finalizers=14 []string
OwnerReference: kind=1 string; name=3 string; uid=4 string; apiVersion=5 string; \
controller=6 bool; blockOwnerDeletion=7 bool
Preconditions: uid=1 string; resourceVersion=2 string
DeleteOptions: gracePeriodSeconds=1 int; preconditions=2 Preconditions; orphanDependents=3 bool; \
propagationPolicy=4 string; dryRun=5 []string
LabelSelector: matchLabels=1 {}string; matchExpressions=2 []LabelSelectorRequirement
LabelSelectorRequirement: key=1 string; operator=2 string; values=3 []string
Eviction: metadata=1 ObjectMeta; deleteOptions=2 DeleteOptions
ConfigMap: metadata=1 ObjectMeta; data=2 {}string; binaryData=3 {}bytes; immutable=4 bool
Secret: metadata=1 ObjectMeta; data=2 {}bytes; type=3 string; stringData=4 {}string; \
immutable=5 bool
NamespaceSpec: finalizers=1 []string
Namespace: metadata=1 ObjectMeta; spec=2 NamespaceSpec
ServiceAccount: metadata=1 ObjectMeta; automountServiceAccountToken=4 bool
PodDisruptionBudgetSpec: minAvailable=1 IntOrString; selector=2 LabelSelector; \
maxUnavailable=3 IntOrString; unhealthyPodEvictionPolicy=4 string
PodDisruptionBudget: metadata=1 ObjectMeta; spec=2 PodDisruptionBudgetSpec
PolicyRule: verbs=1 []string; apiGroups=2 []string; resources=3 []string; \
resourceNames=4 []string; nonResourceURLs=5 []string
Role: metadata=1 ObjectMeta; rules=2 []PolicyRule
ClusterRole: metadata=1 ObjectMeta; rules=2 []PolicyRule
Subject: kind=1 string; apiGroup=2 string; name=3 string; namespace=4 string
RoleRef: apiGroup=1 string; kind=2 string; name=3 string
RoleBinding: metadata=1 ObjectMeta; subjects=2 []Subject; roleRef=3 RoleRef
ClusterRoleBinding: metadata=1 ObjectMeta; subjects=2 []Subject; roleRef=3 RoleRef
PriorityClass: metadata=1 ObjectMeta; value=2 int; globalDefault=3 bool; description=4 string; \
preemptionPolicy=5 string
ResourceAttributes: namespace=1 string; verb=2 string; group=3 string; version=4 string; \
resource=5 string; subresource=6 string; name=7 string
NonResourceAttributes: path=1 string; verb=2 string
SelfSubjectAccessReviewSpec: resourceAttributes=1 ResourceAttributes; \
nonResourceAttributes=2 NonResourceAttributes
SelfSubjectAccessReview: metadata=1 ObjectMeta; spec=2 SelfSubjectAccessReviewSpec
SubjectAccessReviewSpec: resourceAttributes=1 ResourceAttributes; \
nonResourceAttributes=2 NonResourceAttributes; user=3 string; groups=4 []string; uid=6 string
SubjectAccessReview: metadata=1 ObjectMeta; spec=2 SubjectAccessReviewSpec
LocalSubjectAccessReview: metadata=1 ObjectMeta; spec=2 SubjectAccessReviewSpec
SelfSubjectRulesReviewSpec: namespace=1 string
SelfSubjectRulesReview: metadata=1 ObjectMeta; spec=2 SelfSubjectRulesReviewSpec
SelfSubjectReview: metadata=1 ObjectMeta
"""

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_FIXED32: Final = 5
_MORE: Final = 0x80


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    repeated: bool
    is_map: bool


@cache
def _messages() -> dict[str, dict[int, _Field]]:
    found: dict[str, dict[int, _Field]] = {}
    for line in _MESSAGES.replace("\\\n", "").strip().splitlines():
        name, _, body = line.partition(":")
        found[name] = dict(map(_field, body.split(";")))
    return found


def _field(text: str) -> tuple[int, _Field]:
    left, type_ = text.split()
    name, _, number = left.partition("=")
    bare = type_.removeprefix("[]").removeprefix("{}")
    return int(number), _Field(name, bare, type_.startswith("[]"), type_.startswith("{}"))


def decode(body: bytes) -> Object:
    """Return a protobuf body as the object that its JSON would give.

    Raises:
        StatusError: 415 for a kind that is not known in this form, 400 for a broken body.
    """
    if not body.startswith(MAGIC):
        raise StatusError(
            400, "BadRequest", "provided data does not appear to be a protobuf message"
        )
    try:
        envelope = _message("Unknown", body[len(MAGIC) :])
        meta = envelope.get("typeMeta", {})
        kind = meta.get("kind", "")
        if kind not in _messages():
            raise _unsupported(kind)
        return {**meta, **_message(kind, envelope.get("raw", b""))}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise StatusError(400, "BadRequest", f"invalid protobuf message: {error}") from None


def _unsupported(kind: str) -> StatusError:
    message = f"the embedded cluster reads {kind or 'this object'} as JSON or YAML, not as protobuf"
    return StatusError(415, "UnsupportedMediaType", message)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & _MORE:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if wire == _BYTES:
            length, at = _varint(data, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[wire]
        if at + length > len(data):
            raise IndexError("unexpected end of message")
        yield tag >> 3, data[at : at + length]
        at += length


def _message(name: str, data: bytes) -> dict[str, Any]:
    known = _messages()[name]
    found: dict[str, Any] = {}
    for number, raw in _fields(data):
        field = known.get(number)
        if field is None:
            continue
        if field.is_map:
            key, value = _entry(field.type, raw)
            found.setdefault(field.name, {})[key] = value
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(field.type, raw))
        else:
            found[field.name] = _value(field.type, raw)
    return {key: value for key, value in found.items() if value not in ("", None)}


def _entry(type_: str, raw: int | bytes) -> tuple[str, Any]:
    parts = dict(_fields(_data(raw)))
    return _data(parts.get(1, b"")).decode(), _value(type_, parts.get(2, b""))


def _data(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise IndexError("a number where bytes belong")
    return raw


def _value(type_: str, raw: int | bytes) -> Any:  # noqa: ANN401 - JSON
    if type_ in ("int", "bool"):
        number = raw if isinstance(raw, int) else 0
        return bool(number) if type_ == "bool" else _signed(number)
    data = _data(raw)
    match type_:
        case "string":
            return data.decode()
        case "raw":
            return data
        case "bytes":
            return base64.b64encode(data).decode()
        case "Time":
            return _time(data)
        case "IntOrString":
            return _int_or_string(data)
    return _message(type_, data)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _time(data: bytes) -> str | None:
    seconds = dict(_fields(data)).get(1, 0)
    return timestamps.rfc3339(seconds) if isinstance(seconds, int) and seconds > 0 else None


def _int_or_string(data: bytes) -> int | str:
    parts = dict(_fields(data))
    if parts.get(1):
        return _data(parts.get(3, b"")).decode()
    number = parts.get(2, 0)
    return _signed(number) if isinstance(number, int) else 0
