"""JSON patches (RFC 6902), applied as the API server applies them: all operations or none.

Every part that no operation touches is shared with the old document. A patch that does not fit is
answered without saying why, as the real server does (recorded: "json patch test fails").
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from rollout.sim.errors import StatusError

Json: TypeAlias = Any
Object: TypeAlias = dict[str, Any]

_GO_NAMES: Final = (
    (bool, "bool"),
    (int, "number"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)
MAX_OPERATIONS: Final = 10_000  # apiserver, endpoints/handlers/patch.go


def bad_request(message: str) -> StatusError:
    """Build the 400 for a patch that is no patch at all."""
    return StatusError(400, "BadRequest", message)


def json_name(value: Json) -> str:
    """Return what Go's JSON decoder calls a value."""
    for type_, name in _GO_NAMES:
        if isinstance(value, type_):
            return name
    return "null"


def json_patch(current: Object, operations: Json) -> Object:
    """Apply an RFC 6902 JSON patch to an object; all operations or none.

    Raises:
        StatusError: 400 when it is no list of operations, 413 when it is too long, 422 when an
            operation does not fit the object or a test fails (recorded: "json patch test fails").
    """
    if not isinstance(operations, list):
        raise bad_request(
            f"json: cannot unmarshal {json_name(operations)} into Go value of type jsonpatch.Patch"
        )
    if len(operations) > MAX_OPERATIONS:
        raise StatusError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, "
            f"got {len(operations)}",
        )
    document: Json = current
    for operation in operations:
        document = _operate(document, operation)
    if not isinstance(document, dict):
        raise _unprocessable()
    return document


def _unprocessable() -> StatusError:
    message = "the server rejected our request due to an error in our request"
    return StatusError(422, "Invalid", message, {})


def _operate(document: Json, operation: Json) -> Json:
    if not isinstance(operation, dict):
        raise bad_request(
            f"json: cannot unmarshal {json_name(operation)} into Go value of type "
            "jsonpatch.Operation"
        )
    path = _pointer(operation.get("path"))
    match operation.get("op"):
        case "add":
            return _put(document, path, _value(operation), replace=False)
        case "replace":
            return _put(document, path, _value(operation), replace=True)
        case "remove":
            return _remove(document, path)
        case "move":
            source = _pointer(operation.get("from"))
            moved = _look(document, source)
            return _put(_remove(document, source), path, moved, replace=False)
        case "copy":
            copied = _look(document, _pointer(operation.get("from")))
            return _put(document, path, copied, replace=False)
        case "test":
            return _test(document, path, operation.get("value"))
    raise _unprocessable()


def _value(operation: Object) -> Json:
    if "value" not in operation:
        raise _unprocessable()
    return operation["value"]


def _pointer(text: Json) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _unprocessable()
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _look(document: Json, path: list[str]) -> Json:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        else:
            raise _unprocessable()
    return document


def _test(document: Json, path: list[str], expected: Json) -> Json:
    try:
        found = _look(document, path)
    except StatusError:
        if expected is None:  # a missing value tests equal to null
            return document
        raise
    if not _same(found, expected):
        raise _unprocessable()
    return document


def _same(left: Json, right: Json) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _index(text: str, highest: int) -> int:
    """Return a list position; negative ones count from the end, as in the server's library."""
    try:
        position = int(text)
    except ValueError:
        raise _unprocessable() from None
    if position < 0:
        position += highest + 1
    if not 0 <= position <= highest:
        raise _unprocessable()
    return position


def _put(document: Json, path: list[str], value: Json, *, replace: bool) -> Json:
    if not path:
        return value
    head, rest = path[0], path[1:]
    if isinstance(document, dict):
        if (rest or replace) and head not in document:
            raise _unprocessable()
        return {**document, head: _put(document.get(head), rest, value, replace=replace)}
    if not isinstance(document, list):
        raise _unprocessable()
    if rest or replace:
        position = _index(head, len(document) - 1)
        item = _put(document[position], rest, value, replace=replace)
        return [*document[:position], item, *document[position + 1 :]]
    position = len(document) if head == "-" else _index(head, len(document))
    return [*document[:position], value, *document[position:]]


def _remove(document: Json, path: list[str]) -> Json:
    if not path:
        raise _unprocessable()
    head, rest = path[0], path[1:]
    if isinstance(document, dict):
        if head not in document:
            raise _unprocessable()
        if rest:
            return {**document, head: _remove(document[head], rest)}
        return {key: value for key, value in document.items() if key != head}
    if not isinstance(document, list):
        raise _unprocessable()
    position = _index(head, len(document) - 1)
    inner = [_remove(document[position], rest)] if rest else []
    return [*document[:position], *inner, *document[position + 1 :]]
