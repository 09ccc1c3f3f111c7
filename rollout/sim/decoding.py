"""Read an object as the API server's typed decoder does.

What a client sends goes through Go structs and back: unknown fields fall away (and are named, for
strict and warning field validation), a value of the wrong type is an error with Go's message,
zero values disappear or appear as the struct's tags have it, quantities and times become
canonical. `schema` says what is what. An object that is already in that form comes back as the
same dict.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final, TypeAlias

from rollout.sim import schema
from rollout.sim.errors import StatusError
from rollout.sim.jsonpatch import json_name
from rollout.sim.resources import Resource
from rollout.sim.scalars import canonical_quantity, canonical_time
from rollout.sim.schema import Field, Form, Struct, Type
from rollout.sim.store import Object

Json: TypeAlias = Any

_ABSENT: Final = object()
_INT_LIMITS: Final = {"int32": 2**31, "int64": 2**63}
_ZERO: Final[dict[Form, Json]] = {
    Form.STRING: "",
    Form.BOOL: False,
    Form.INT: 0,
    Form.QUANTITY: "0",
    Form.INT_OR_STRING: 0,
    Form.BYTES: "",
}


_GO_SOURCES: Final = {"number": "int64", "bool": "bool", "array": "slice", "object": "map"}
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


class DecodeError(Exception):
    """A value that its field cannot hold; the text is that of Go's JSON decoder.

    Attributes:
        converted: what the converter of strategic merge patches says of it instead.
    """

    def __init__(self, message: str, converted: str = "") -> None:
        super().__init__(message)
        self.converted = converted or message


def decode(resource: Resource, body: Json) -> tuple[Object, list[str]]:
    """Return the object in the server's form, and its unknown fields (`spec.bogus`).

    Raises:
        DecodeError: when a value has the wrong type.
    """
    type_ = schema.kind_type(resource.api_version, resource.kind)
    if type_ is None:
        if not isinstance(body, dict):
            raise DecodeError(f"json: cannot unmarshal {json_name(body)} into Go value")
        return body, []
    reader = _Reader()
    decoded: Object = reader.value(type_, body, "", "", "")
    return decoded, reader.unknown


def unhandled(resource: Resource, reason: str) -> StatusError:
    """Build the 400 for a body that cannot be decoded (recorded: "bad time")."""
    return StatusError(
        400,
        "BadRequest",
        f'{resource.kind} in version "{resource.version}" cannot be handled as a '
        f"{resource.kind}: {reason}",
    )


def strict_error(unknown: list[str]) -> str:
    """Return what strict field validation says of unknown fields (as a reason of `unhandled`)."""
    return f"strict decoding error: {', '.join(map(unknown_field, unknown))}"


def unknown_field(path: str) -> str:
    """Return the text of a warning about one unknown field."""
    return f'unknown field "{path}"'


def undecodable_patch(shown: str, reason: str) -> StatusError:
    """Build the 422 for a patch whose result cannot be decoded.

    Args:
        shown: the quoted value: of a strategic merge patch the patch as Go writes it, of the
            others the patched object as JSON.
        reason: the error; of a strategic merge patch its `converted` text.
    """
    text = f"Invalid value: {_quote(shown)}: {reason}"
    causes = [{"reason": "FieldValueInvalid", "message": text, "field": "patch"}]
    return StatusError(422, "Invalid", f' "" is invalid: patch: {text}', {"causes": causes})


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@cache
def zero(type_: Type) -> Json:
    """Return what Go writes for a type's zero value."""
    if type_.form is Form.STRUCT:
        return dict(_always(type_.name))
    return _ZERO.get(type_.form)


@cache
def _always(struct: str) -> tuple[tuple[str, Json], ...]:
    """Return the fields of a struct that are written even when nobody set them."""
    found = []
    for field in schema.structs()[struct].fields.values():
        if field.pointer:
            if field.always:
                found.append((field.name, None))
        elif field.always or field.type.form in _NEVER_OMITTED:
            found.append((field.name, zero(field.type)))
    return tuple(found)


_NEVER_OMITTED: Final = frozenset((Form.STRUCT, Form.TIME, Form.MICRO_TIME, Form.QUANTITY))


class _Reader:
    """One walk over one object.

    The arguments of its methods: the type, the value, the path as strict validation writes it
    (`spec.containers[0].image`), the struct that holds the field and its path as Go's JSON errors
    write them (`Container`, `spec.containers.image`).
    """

    def __init__(self) -> None:
        self.unknown: list[str] = []

    def value(self, type_: Type, value: Json, path: str, holder: str, go_path: str) -> Json:
        """Decode any value but null."""
        match type_.form:
            case Form.STRUCT:
                if isinstance(value, dict):
                    return self._struct(type_.struct, value, path, go_path)
            case Form.MAP:
                if isinstance(value, dict):
                    return self._map(type_, value, path, holder, go_path)
            case Form.LIST:
                if isinstance(value, list):
                    return self._list(type_, value, path, holder, go_path)
            case _:
                return _scalar(type_, value, holder, go_path)
        raise _mismatch(type_, json_name(value), holder, go_path)

    def _struct(self, struct: Struct, value: Object, path: str, go_path: str) -> Object:
        result: Object = {}
        same = True
        fields, name = struct.fields, struct.name.rpartition(".")[2]
        for key, old in value.items():
            field = fields.get(key)
            inner = f"{path}.{key}" if path else key
            if field is None:
                self.unknown.append(inner)
                same = False
                continue
            new = self._field(field, old, inner, name, f"{go_path}.{key}" if go_path else key)
            if new is not _ABSENT:
                result[key] = new
            same = same and new is old
        for key, empty in _always(struct.name):
            if key not in result:
                result[key] = empty
                same = False
        return value if same else result

    def _field(self, field: Field, old: Json, path: str, holder: str, go_path: str) -> Json:
        type_ = field.type
        if old is None:
            if type_.form is Form.ANY or field.pointer:
                return None if field.always else _ABSENT
            new = zero(type_)
        else:
            new = self.value(type_, old, path, holder, go_path)
        if field.pointer or field.always or type_.form in _NEVER_OMITTED:
            return new
        return new if new or type_.form is Form.INT_OR_STRING else _ABSENT

    def _map(self, type_: Type, value: Object, path: str, holder: str, go_path: str) -> Object:
        item = type_.item
        assert item is not None
        if item.form is Form.STRING and all(isinstance(old, str) for old in value.values()):
            return value
        result = {
            key: zero(item)
            if old is None
            else self.value(item, old, f"{path}.{key}", holder, go_path)
            for key, old in value.items()
        }
        same = all(result[key] is old for key, old in value.items())
        return value if same else result

    def _list(
        self, type_: Type, value: list[Json], path: str, holder: str, go_path: str
    ) -> list[Json]:
        item = type_.item
        assert item is not None
        result = [
            zero(item)
            if old is None
            else self.value(item, old, f"{path}[{position}]", holder, go_path)
            for position, old in enumerate(value)
        ]
        same = all(new is old for new, old in zip(result, value, strict=True))
        return value if same else result


def _scalar(type_: Type, value: Json, holder: str, go_path: str) -> Json:
    match type_.form:
        case Form.STRING if isinstance(value, str):
            return value
        case Form.BYTES if isinstance(value, str):
            return _base64(value)
        case Form.BOOL if isinstance(value, bool):
            return value
        case Form.INT if isinstance(value, int | float) and not isinstance(value, bool):
            limit = _INT_LIMITS[type_.name]
            if isinstance(value, int) and -limit <= value < limit:
                return value
            raise _mismatch(type_, f"number {value}", holder, go_path)
        case Form.TIME | Form.MICRO_TIME:
            return _time(value, micro=type_.form is Form.MICRO_TIME)
        case Form.QUANTITY:
            return _quantity(value)
        case Form.INT_OR_STRING:
            return _int_or_string(value)
        case Form.ANY:
            return value
    raise _mismatch(type_, json_name(value), holder, go_path)


def _base64(text: str) -> str:
    match = _BASE64.match(text)
    good = match.end() if match else 0
    if good < len(text) or len(text) % 4:
        raise DecodeError(f"illegal base64 data at input byte {good // 4 * 4}")
    return text


def _time(value: Json, *, micro: bool) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"json: cannot unmarshal {json_name(value)} into Go value of type string")
    try:
        return canonical_time(value, micro=micro)
    except ValueError as error:
        raise DecodeError(str(error)) from None


def _quantity(value: Json) -> str:
    text = value if isinstance(value, str) else str(value)
    try:
        canonical = canonical_quantity(text)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    return text if canonical == text and isinstance(value, str) else canonical


def _int_or_string(value: Json) -> int | str:
    limit = _INT_LIMITS["int32"]
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit:
        return value
    shown = json_name(value)
    if shown == "number":
        shown = f"number {value}"
    raise DecodeError(f"json: cannot unmarshal {shown} into Go value of type int32")


def _mismatch(type_: Type, shown: str, holder: str, go_path: str) -> DecodeError:
    where = f"struct field {holder}.{go_path}" if holder else "value"
    return DecodeError(
        f"json: cannot unmarshal {shown} into Go {where} of type {_go_type(type_)}",
        _conversion_error(type_, shown),
    )


def _conversion_error(type_: Type, shown: str) -> str:
    """Return what `runtime.DefaultUnstructuredConverter` says of a value of another type."""
    source = _GO_SOURCES.get(shown.partition(" ")[0], "string")
    match type_.form:
        case Form.STRUCT:
            return f"cannot restore struct from: {source}"
        case Form.LIST | Form.BYTES:
            return f"cannot restore slice from {source}"
        case Form.MAP:
            return f"cannot restore map from {source}"
        case Form.STRING | Form.INT if shown.startswith("number"):
            number = "float64" if "." in shown else "int64"
            return f"cannot convert {number} to {type_.name}"
    return f"unrecognized type: {'string' if type_.form is Form.STRING else type_.name}"


def _go_type(type_: Type) -> str:
    if type_.item is not None:
        prefix = "[]" if type_.form is Form.LIST else "map[string]"
        return prefix + _go_type(type_.item)
    if type_.form is Form.STRUCT:
        return f"v1.{type_.name.rpartition('.')[2]}"
    return {Form.BYTES: "[]uint8", Form.QUANTITY: "resource.Quantity"}.get(type_.form, type_.name)
