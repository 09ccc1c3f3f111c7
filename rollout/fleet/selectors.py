"""Label selectors, in the text form that `kubectl -l` takes and in the form that objects carry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout.fleet.objects import LabelSelector

_TOKEN = re.compile(r"\s*(!=|==|=|>|<|\(|\)|,|!|[A-Za-z0-9_./-]+)")
_KEY = re.compile(
    r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_INT64 = 2**63
_VALUE = re.compile(r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on labels."""

    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist, Gt, Lt
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it; a missing label meets NotIn, as in Kubernetes."""
        value = labels.get(self.key)
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
        return compares(value or "", self.values[0], self.operator)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its requirements must hold; none at all selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(_text(requirement) for requirement in self.requirements)


def compares(value: str, bound: str, operator: str) -> bool:
    """Whether a label's value is over (`Gt`) or under (`Lt`) a bound, both of them numbers.

    What Go's `ParseInt` does not read (`1_000`, more than 64 bits) is neither.
    """
    number, limit = _integer(value), _integer(bound)
    if number is None or limit is None:
        return False
    return number > limit if operator == "Gt" else number < limit


def _integer(text: str) -> int | None:
    number = int(text) if _INTEGER.fullmatch(text) else None
    return number if number is not None and -_INT64 <= number < _INT64 else None


def parse_label_selector(text: str) -> Selector:
    """Read `pool!=spot,zone in (a, b),!gpu`.

    Raises:
        ValueError: when it is not a label selector.
    """
    tokens = _tokens(text)
    requirements: list[Requirement] = []
    position = 0
    while position < len(tokens):
        requirement, position = _requirement(text, tokens, position)
        requirements.append(requirement)
        if position < len(tokens):
            if tokens[position] != "," or position + 1 == len(tokens):
                raise _bad(text, f"unexpected '{tokens[position]}'")
            position += 1
    return Selector(tuple(requirements))


def selector_of(selector: LabelSelector) -> Selector:
    """Return the selector that an object carries (`spec.selector`)."""
    requirements = [Requirement(k, "In", (v,)) for k, v in sorted(selector.match_labels.items())]
    requirements.extend(
        Requirement(str(e["key"]), str(e["operator"]), tuple(e.get("values") or ()))
        for e in selector.match_expressions
    )
    return Selector(tuple(requirements))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise _bad(text, f"unexpected '{stripped[position:].strip()[:1]}'")
        tokens.append(match[1])
        position = match.end()
    return tokens


def _requirement(text: str, tokens: Sequence[str], position: int) -> tuple[Requirement, int]:
    negated = tokens[position] == "!"
    position += negated
    key = tokens[position] if position < len(tokens) else ""
    if not _KEY.match(key):
        raise _bad(text, f"'{key}' is not a label key")
    position += 1
    operator = tokens[position] if position < len(tokens) else ","
    if negated or operator == ",":
        return Requirement(key, "DoesNotExist" if negated else "Exists"), position
    if operator in ("in", "notin"):
        values, position = _values(text, tokens, position + 1)
        return Requirement(key, "In" if operator == "in" else "NotIn", values), position
    names = {"=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt"}
    if operator not in names:
        raise _bad(text, f"unexpected '{operator}'")
    value = tokens[position + 1] if position + 1 < len(tokens) else ","
    if value == ",":  # `key=` selects the empty value
        value, position = "", position + 1
    else:
        position += 2
    if not _VALUE.match(value) or (operator in "><" and not value.lstrip("-").isdigit()):
        raise _bad(text, f"'{value}' is not a label value")
    return Requirement(key, names[operator], (value,)), position


def _values(text: str, tokens: Sequence[str], position: int) -> tuple[tuple[str, ...], int]:
    if position >= len(tokens) or tokens[position] != "(":
        raise _bad(text, "a list in brackets is missing")
    if tokens[position + 1 : position + 2] == [")"]:
        raise _bad(text, "the list in brackets is empty")
    values: list[str] = []
    end = "("
    while end != ")":
        value = tokens[position + 1] if position + 1 < len(tokens) else ""
        if value in (",", ")"):  # nothing between two commas is the empty value
            value = ""
        else:
            position += 1
        if not _VALUE.match(value):
            raise _bad(text, f"'{value}' is not a label value")
        values.append(value)
        position += 1
        end = tokens[position] if position < len(tokens) else ""
        if end not in (",", ")"):
            raise _bad(text, "the list in brackets is not closed")
    return tuple(values), position + 1


def _bad(text: str, what: str) -> ValueError:
    return ValueError(f"'{text}' is not a label selector: {what}; write 'key=value,other!=value'")


def _text(requirement: Requirement) -> str:
    values = ",".join(requirement.values)
    match requirement.operator:
        case "In" if len(requirement.values) == 1:
            return f"{requirement.key}={values}"
        case "NotIn" if len(requirement.values) == 1:
            return f"{requirement.key}!={values}"
        case "In" | "NotIn":
            return f"{requirement.key} {requirement.operator.lower()} ({values})"
        case "Exists":
            return requirement.key
        case "DoesNotExist":
            return f"!{requirement.key}"
    return f"{requirement.key}{'>' if requirement.operator == 'Gt' else '<'}{values}"
