"""YAML and JSON that people write, read safely, with the line of every value.

Everything a user hands us (specs, manifests, fleet and fault files) comes through here, so that
each complaint can say `file:line`. Only plain data is built: no tags, no objects. What YAML 1.1
reads in surprising ways is read as text (`12:30:00`, dates) or refused (a key written twice).
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from rollout.errors import DocumentError

T = TypeVar("T")
Step = str | int
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"  # before the names of YAML's own types
_MAX_DEPTH = 100  # nesting; deeper is an attack, not a manifest
_MAX_VALUES = (
    250_000  # of one document, aliases written out; each costs about 2 KB while it is read
)
_MAX_BYTES = 1 << 25  # of one file; a fleet of 100,000 nodes, each named, takes a tenth of it
_MAX_KEY = 1000  # characters; Kubernetes' longest, of labels, have 317
_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


@dataclass(frozen=True, slots=True)
class Source:
    """One document: its plain value, and the line (1-based) of every path in it."""

    name: str  # what to call it in messages: the path as the user gave it, or "<stdin>"
    value: Any
    lines: dict[tuple[Step, ...], int]

    def where(self, path: Sequence[Step] = ()) -> str:
        """Return `file:line` of the value at `path`, or of its nearest parent."""
        steps = tuple(path)
        while steps and steps not in self.lines:
            steps = steps[:-1]
        return f"{self.name}:{self.lines.get(steps, 1)}"

    def error(self, path: Sequence[Step], message: str) -> DocumentError:
        """Return the error that points at `path`."""
        text = _path_text(path)
        return DocumentError(f"{self.where(path)}: {text + ': ' if text else ''}{message}")

    def convert(self, type_: type[T], value: Any = None, base: Sequence[Step] = ()) -> T:  # noqa: ANN401 - any YAML
        """Return the document (or the `value` found at `base`) as a typed struct.

        Raises:
            DocumentError: on the first unknown key or wrong type, with its line and a cure.
        """
        try:
            return msgspec.convert(self.value if value is None else value, type_)
        except msgspec.ValidationError as error:
            raise self._explain(error, tuple(base), type_) from None

    def _explain(
        self, error: msgspec.ValidationError, base: tuple[Step, ...], type_: type[Any]
    ) -> DocumentError:
        message, _, tail = str(error).partition(" - at `")
        path = base + _parse_path(tail.rstrip("`"), self, base)
        unknown = re.fullmatch(r"Object contains unknown field `(.+)`", message)
        if unknown:
            key = unknown[1]
            known = _fields_at(type_, path[len(base) :])
            return self.error((*path, key), f"unknown key{_suggest(key, known)}")
        missing = re.fullmatch(r"Object missing required field `(.+)`", message)
        if missing:
            return self.error(path, f"'{missing[1]}' is missing; add it")
        field, _, rest = message.partition(": ")
        if rest and (*path, field) in self.lines:
            return self.error((*path, field), rest)
        hint = ""
        if message.startswith("Invalid ") and path:
            choices = _choices_at(type_, path[len(base) :])
            hint = f"; write {_one_of(choices)}" if choices else ""
        elif "Expected `int | str" in message and message.endswith("got `float`"):
            hint = "; write a whole number such as 10, or '10%'"
        elif "Expected `str" in message and re.search(r"got `(int|float|bool|null)`", message):
            hint = "; YAML reads this as something else than text: write it in quotes"
        return self.error(path, message[0].lower() + message[1:].replace("`", "'") + hint)


def read_documents(path: Path | None, text: str | None = None) -> list[Source]:
    """Read all documents of a file, or of standard input; empty ones are left out.

    Args:
        path: of the file; None: standard input, called `<stdin>`.
        text: what came from there already.

    Raises:
        DocumentError: when the file cannot be read, is not YAML, or is too large to be one of ours.
    """
    name = str(path) if path is not None else "<stdin>"
    if text is None:
        text = _read_text(path, name)
    try:
        _check_extent(text, name)
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = " ".join(part for part in (error.context, error.problem) if part)
        raise DocumentError(f"{name}:{line}: not valid YAML: {problem}; mend the syntax") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "nested too deeply"
        raise DocumentError(f"{name}:1: not valid YAML: {reason}; mend the syntax") from None
    sources = []
    for node in nodes:
        if node is None:
            continue
        lines: dict[tuple[Step, ...], int] = {}
        value = _build(node, (), lines, name)
        if value is not None:
            sources.append(Source(name, value, lines))
    return sources


def read_document(path: Path | None, text: str | None = None) -> Source:
    """Read the one document of a file.

    Raises:
        DocumentError: when there is none, or more than one.
    """
    sources = read_documents(path, text)
    name = str(path) if path is not None else "<stdin>"
    if len(sources) != 1:
        what = "is empty" if not sources else f"holds {len(sources)} documents"
        raise DocumentError(f"{name}:1: the file {what}; write exactly one document")
    return sources[0]


def _read_text(path: Path | None, name: str) -> str:
    try:
        if path is None:
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise DocumentError(
                f"{name}:1: larger than {_MAX_BYTES >> 20} MiB; is it the right file?"
            )
        return data.decode()
    except UnicodeDecodeError:
        raise DocumentError(f"{name}:1: not text in UTF-8; is it the right file?") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentError(f"{name}: cannot be read: {reason}; check the path") from None


def _check_extent(text: str, name: str) -> None:
    """Refuse what nests too deeply or holds too much before the composer sees it.

    libyaml's recursion ends the process, and its nodes take a hundred times the room of the text.
    """
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise _too_deep(name, _line(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        if count > 2 * _MAX_VALUES:  # keys count as well here
            raise _too_many(name, _line(event))


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _too_many(name: str, line: int) -> DocumentError:
    return DocumentError(
        f"{name}:{line}: more than {_MAX_VALUES} values; does an alias repeat itself?"
    )


def _too_deep(name: str, line: int) -> DocumentError:
    return DocumentError(f"{name}:{line}: nested deeper than {_MAX_DEPTH} levels; flatten it")


def _build(
    node: yaml.Node, path: tuple[Step, ...], lines: dict[tuple[Step, ...], int], name: str
) -> Any:  # noqa: ANN401 - plain data of any shape
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > _MAX_DEPTH:  # an alias that holds itself
        raise _too_deep(name, line)
    if len(lines) > _MAX_VALUES:
        raise _too_many(name, line)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, name)
    if node.tag not in (f"{_TAG}seq", f"{_TAG}map"):
        raise _unread_tag(node, name)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, i), lines, name) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _key(key_node, f"{name}:{line}")
        if key in result:
            raise DocumentError(f"{name}:{line}: key '{key}' stands twice; keep one of them")
        lines[(*path, key)] = line
        result[key] = _build(value_node, (*path, key), lines, name)
    return result


def _key(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise DocumentError(f"{where}: a key must be text; rewrite it")
    key = str(node.value)
    if len(key) > _MAX_KEY:
        raise DocumentError(f"{where}: a key of {len(key):,} characters; shorten it")
    if key == "<<" and node.tag.endswith(":merge"):
        raise DocumentError(f"{where}: merge keys (<<) are not read; write the keys out")
    return key


def _scalar(node: yaml.ScalarNode, name: str) -> str | int | float | bool | None:
    kind = node.tag.removeprefix(_TAG)
    if kind in ("int", "float") and _SEXAGESIMAL.match(node.value):
        return str(node.value)
    try:
        match kind:
            case "null":
                return None
            case "bool":
                return bool(_CONSTRUCTOR.construct_yaml_bool(node))
            case "int":
                return int(_CONSTRUCTOR.construct_yaml_int(node))
            case "float":
                return float(_CONSTRUCTOR.construct_yaml_float(node))
            case "str" | "timestamp" | "value":
                return str(node.value)
    except ValueError:
        return str(node.value)
    raise _unread_tag(node, name)


def _unread_tag(node: yaml.Node, name: str) -> DocumentError:
    line = node.start_mark.line + 1
    return DocumentError(f"{name}:{line}: tag '{node.tag}' is not read; write plain values")


def _parse_path(text: str, source: Source, base: tuple[Step, ...]) -> tuple[Step, ...]:
    """Turn msgspec's `$.spec.waves[0].size` into steps; its `[...]` (any key) ends the path."""
    steps: list[Step] = []
    for match in _STEP.finditer(text):
        if match[2] == "...":
            break
        step: Step = match[1] if match[1] is not None else int(match[2])
        if (*base, *steps, step) not in source.lines:
            break
        steps.append(step)
    return tuple(steps)


def _types_at(type_: Any, path: Sequence[Step]) -> tuple[msgspec.inspect.Type, ...]:  # noqa: ANN401 - a type expression
    """Return what a struct type takes at `path`; empty where that is not known."""
    info = msgspec.inspect.type_info(type_)
    for step in path:
        following = None
        for item in _members(info):
            if isinstance(item, msgspec.inspect.StructType) and isinstance(step, str):
                following = next((f.type for f in item.fields if f.encode_name == step), None)
            elif isinstance(item, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
                following = item.item_type
            elif isinstance(item, msgspec.inspect.DictType):
                following = item.value_type
            if following is not None:
                break
        if following is None:
            return ()
        info = following
    return _members(info)


def _members(info: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, ...]:
    return info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)


def _fields_at(type_: Any, path: Sequence[Step]) -> list[str]:  # noqa: ANN401 - a type expression
    """Return the keys that a struct type knows at `path`, for suggestions."""
    infos = _types_at(type_, path)
    return [
        f.encode_name for i in infos if isinstance(i, msgspec.inspect.StructType) for f in i.fields
    ]


def _choices_at(type_: Any, path: Sequence[Step]) -> list[str]:  # noqa: ANN401 - a type expression
    """Return the words that may stand at `path`: those of a Literal, or the tags of structs."""
    literals = [i for i in _types_at(type_, path) if isinstance(i, msgspec.inspect.LiteralType)]
    if literals:
        return [str(value) for item in literals for value in item.values]
    tagged = [
        i
        for i in _types_at(type_, path[:-1])
        if isinstance(i, msgspec.inspect.StructType) and i.tag
    ]
    return [str(i.tag) for i in tagged if i.tag_field == path[-1]]


def _one_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _suggest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known here: {', '.join(known)}" if known else ""


def _path_text(path: Sequence[Step]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")
