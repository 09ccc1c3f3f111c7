"""An OpenAPI v2 document as protobuf: kubectl reads it in this form only.

Messages and numbers are those of openapiv2/OpenAPIv2.proto of google/gnostic, as far as our
documents have such fields. Knows the wire format and the names of the fields, not their meaning.
"""

from __future__ import annotations

import json
from typing import Any, Final

MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_FOR_BY: Final = (  # client-go uses the second name, which is no valid type to answer with
    MEDIA_TYPE,
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
)
_BYTES: Final = 2  # the wire type of texts and messages
_MORE: Final = 0x80


def encode(document: dict[str, Any]) -> bytes:
    """Return a message `Document`."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named(1, document["definitions"])
    return _text(1, document["swagger"]) + _field(2, info) + _field(8, b"") + _field(9, definitions)


def _named(number: int, schemas: dict[str, Any]) -> bytes:
    """Return messages `NamedSchema`, which stand for a map."""
    pairs = [_text(1, name) + _field(2, _schema(one)) for name, one in schemas.items()]
    return b"".join(_field(number, pair) for pair in pairs)


def _schema(described: dict[str, Any]) -> bytes:
    parts = []
    for key, value in described.items():
        match key:
            case "$ref":
                parts.append(_text(1, value))
            case "format":
                parts.append(_text(2, value))
            case "additionalProperties":
                parts.append(_field(21, _field(1, _schema(value))))
            case "type":
                parts.append(_field(22, _text(1, value)))
            case "items":
                parts.append(_field(23, _field(1, _schema(value))))
            case "properties":
                parts.append(_field(25, _named(1, value)))
            case _:  # an extension: its value is YAML, of which JSON is a part
                extension = _text(1, key) + _field(2, _text(2, json.dumps(value)))
                parts.append(_field(31, extension))
    return b"".join(parts)


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode())


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number >= _MORE:
        found.append(number & (_MORE - 1) | _MORE)
        number >>= 7
    found.append(number)
    return bytes(found)
