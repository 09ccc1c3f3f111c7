"""Label and field selectors: parsed and matched as the API server does, with its own messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from rollout.sim.errors import StatusError
from rollout.sim.resources import (
    EVENTS,
    JOBS,
    NAMESPACES,
    NEW_EVENTS,
    NODES,
    PODS,
    SECRETS,
    Resource,
)
from rollout.sim.store import Object

Labels: TypeAlias = Mapping[str, str]

_SYMBOLS: Final = frozenset("=!(),><")
_OPERATORS: Final = frozenset(("=", "==", "!=", ">", "<", "in", "notin"))
_OPERATOR_NAMES: Final = "in, notin, =, ==, !=, gt, lt, exists, !"
_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DNS: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_MAX_NAME: Final = 63
_MAX_PREFIX: Final = 253
_SHAPE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_VALUE_SHAPE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',"
    "  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


class SelectorError(ValueError):
    """A selector that can't be parsed; the text is the API server's."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on labels; `values` is empty for `exists` and `!`."""

    key: str
    operator: str  # in, notin, gt, lt, exists or !
    values: frozenset[str] = frozenset()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet this condition."""
        value = labels.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        return _compares(value, self.operator, next(iter(self.values)))


def _compares(value: str | None, operator: str, limit: str) -> bool:
    try:
        left, right = int(value or ""), int(limit)
    except ValueError:
        return False
    return left > right if operator == "gt" else left < right


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        end = at + 1
        if text[at] in _SYMBOLS:
            if text[at : at + 2] in ("==", "!="):
                end = at + 2
        else:
            while end < len(text) and text[end] not in _SYMBOLS and not text[end].isspace():
                end += 1
        tokens.append(text[at:end])
        at = end
    return tokens


class _Parser:
    """The recursive descent of `k8s.io/apimachinery/pkg/labels`, for its error messages."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        word = self.peek()
        self.at += 1
        return word

    def parse(self) -> LabelSelector:
        requirements = []
        while word := self.peek():
            if word != "!" and not _is_word(word):
                raise SelectorError(f"found '{word}', expected: !, identifier, or 'end of string'")
            requirements.append(self._requirement_or_error())
            self._separator()
        return LabelSelector(tuple(requirements))

    def _requirement_or_error(self) -> Requirement:
        try:
            return self._requirement()
        except SelectorError as error:
            raise SelectorError(f"unable to parse requirement: {error}") from None

    def _separator(self) -> None:
        word = self.take()
        if not word:
            return
        if word != ",":
            raise SelectorError(f"found '{word}', expected: ',' or 'end of string'")
        after = self.peek()
        if after != "!" and not _is_word(after):
            raise SelectorError(f"found '{after}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.take()
        if not _is_word(key):
            raise SelectorError(f"found '{key}', expected: identifier")
        _check_key(key)
        if self.peek() in ("", ","):
            return Requirement(key, "!" if absent else "exists")
        operator = self.take()
        if operator not in _OPERATORS:
            raise SelectorError(f"found '{operator}', expected: {_OPERATOR_NAMES}")
        return self._with_values(key, operator)

    def _with_values(self, key: str, operator: str) -> Requirement:
        values = self._list() if operator in ("in", "notin") else [self._value()]
        if operator in (">", "<"):
            _check_number(values[0])
        for index, value in enumerate(sorted(values)):
            _check_value(key, index, value)
        name = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}.get(operator, operator)
        return Requirement(key, name, frozenset(values))

    def _value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        word = self.take()
        if not _is_word(word):
            raise SelectorError(f"found '{word}', expected: identifier")
        return word

    def _list(self) -> list[str]:
        word = self.take()
        if word != "(":
            raise SelectorError(f"found '{word}' expected: '('")
        if self.peek() == ")":
            self.take()
            return [""]
        values = self._identifiers()
        word = self.take()
        if word != ")":
            raise SelectorError(f"found '{word}', expected: ')'")
        return values

    def _identifiers(self) -> list[str]:
        values: list[str] = []
        while True:
            word = self.take()
            if word == ",":
                values.append("")
                if self.peek() == ")":
                    return values
            elif _is_word(word):
                values.append(word)
                after = self.peek()
                if after == ")":
                    return values
                if after != ",":
                    raise SelectorError(f"found '{after}', expected: ',' or ')'")
                self.take()
                if self.peek() == ")":
                    return [*values, ""]
            else:
                raise SelectorError(f"found '{word}', expected: ',', or identifier")


def _is_word(token: str) -> bool:
    return bool(token) and token[0] not in _SYMBOLS


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    why = ""
    if "/" in prefix:
        why = "a qualified name " + _SHAPE
        why += " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    elif slash and not prefix:
        why = "prefix part must be non-empty"
    elif slash and (len(prefix) > _MAX_PREFIX or not _DNS.fullmatch(prefix)):
        why = (
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
            "characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        )
    elif not name:
        why = "name part must be non-empty; name part " + _SHAPE
    elif len(name) > _MAX_NAME:
        why = f"name part must be no more than {_MAX_NAME} bytes"
    elif not _NAME.fullmatch(name):
        why = "name part " + _SHAPE
    if why:
        raise SelectorError(f'<nil>: Invalid value: "{key}": {why}')


def _check_value(key: str, index: int, value: str) -> None:
    why = ""
    if len(value) > _MAX_NAME:
        why = f"must be no more than {_MAX_NAME} bytes"
    elif value and not _NAME.fullmatch(value):
        why = _VALUE_SHAPE
    if why:
        raise SelectorError(f'values[{index}][{key}]: Invalid value: "{value}": {why}')


def _check_number(value: str) -> None:
    try:
        int(value)
    except ValueError:
        raise SelectorError(
            f"values[0]: Invalid value: \"{value}\": for 'Gt', 'Lt' operators, "
            "the value must be an integer"
        ) from None


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> LabelSelector:
    """Parse a `labelSelector` parameter (`app=a,zone in (b,c),!gpu`).

    Raises:
        SelectorError: when it can't be parsed.
    """
    return _Parser(text).parse()


def labels_match(selector: Object | None, labels: Labels | None) -> bool:
    """Whether labels meet a `metav1.LabelSelector`; None matches nothing, `{}` everything."""
    if selector is None:
        return False
    have = labels or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if have.get(key) != value:
            return False
    return all(_expression(entry).matches(have) for entry in selector.get("matchExpressions") or ())


_EXPRESSION_OPERATORS: Final = {
    "In": "in",
    "NotIn": "notin",
    "Exists": "exists",
    "DoesNotExist": "!",
}


def _expression(entry: Object) -> Requirement:
    values = frozenset(entry.get("values") or ())
    return Requirement(entry["key"], _EXPRESSION_OPERATORS[entry["operator"]], values)


# Field selectors


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """`path = value` or `path != value`."""

    path: str
    value: str
    equal: bool


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All of its terms must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, obj: Object) -> bool:
        """Whether the object's fields meet every term."""
        return all((_field(obj, term.path) == term.value) is term.equal for term in self.terms)

    def exact(self, path: str) -> str | None:
        """Return the value that `path` must have, None when it is not pinned."""
        for term in self.terms:
            if term.path == path and term.equal:
                return term.value
        return None


_EVENT_FIELDS: Final = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_FIELDS: Final[dict[Resource, tuple[str, ...]]] = {
    PODS: (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    NODES: ("spec.unschedulable",),
    NAMESPACES: ("status.phase",),
    SECRETS: ("type",),
    JOBS: ("status.successful",),
    EVENTS: _EVENT_FIELDS,
    NEW_EVENTS: _EVENT_FIELDS,
}
_ZEROS: Final = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.successful": "0",
}


def parse_fields(resource: Resource, text: str) -> FieldSelector:
    """Parse a `fieldSelector` parameter for a kind.

    Raises:
        StatusError: 400 when it can't be parsed or names a field that can't be selected by.
    """
    terms = [_term(part, text) for part in _split(text) if part]
    for term in terms:
        _check_field(resource, term.path)
    return FieldSelector(tuple(terms))


def _split(text: str) -> list[str]:
    return [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]


def _term(part: str, text: str) -> FieldTerm:
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        path, found, value = part.partition(operator)
        if found:
            return FieldTerm(path, value, equal)
    message = f"invalid selector: '{text}'; can't understand '{part}'"
    raise StatusError(400, "BadRequest", message)


def _check_field(resource: Resource, path: str) -> None:
    metadata = ("metadata.name", "metadata.namespace")
    if resource in (PODS, NODES, NAMESPACES, SECRETS, JOBS, EVENTS, NEW_EVENTS):
        if path in _FIELDS[resource] or path in metadata[: 1 + resource.namespaced]:
            return
        raise StatusError(400, "BadRequest", f"field label not supported: {path}")
    if path not in metadata:
        known = 'only "metadata.name", "metadata.namespace"'
        message = f'"{path}" is not a known field selector: {known}'
        raise StatusError(400, "BadRequest", message)


def _field(obj: Object, path: str) -> str:
    if path in ("reportingComponent", "source") and "involvedObject" in obj:
        source = obj.get("source", {}).get("component", "")
        return str(source or obj.get("reportingComponent", ""))
    value: object = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return _ZEROS.get(path, "")
    return str(value).lower() if isinstance(value, bool) else str(value)


Matcher: TypeAlias = Callable[[Object], bool]


def matcher(labels: LabelSelector, fields: FieldSelector) -> Matcher | None:
    """Return the test for both selectors, None when everything matches."""
    if not labels.requirements and not fields.terms:
        return None

    def matches(obj: Object) -> bool:
        return labels.matches(obj["metadata"].get("labels") or {}) and fields.matches(obj)

    return matches
