"""Formats of strings in the Kubernetes API: names, labels, ports, percentages.

Each function returns what is wrong with a value, in the API server's words; nothing means that it
is fine. Source: apimachinery, util/validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

Messages: TypeAlias = tuple[str, ...]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE: Final = f"({_QUALIFIED})?"
_PERCENT: Final = "[0-9]+%"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_BOUNDS: Final = "must start and end with an alphanumeric character"
MAX_LABEL: Final = 63
MAX_SUBDOMAIN: Final = 253
MAX_PORT: Final = 65535
MAX_PORT_NAME: Final = 15


def _mismatch(text: str, pattern: str, *examples: str) -> str:
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def between(low: int, high: int) -> str:
    """Return the message for a number out of bounds."""
    return f"must be between {low} and {high}, inclusive"


@lru_cache(maxsize=4096)
def subdomain(value: str) -> Messages:
    """Check a DNS subdomain, the form of most objects' names."""
    found = [_too_long(MAX_SUBDOMAIN)] if len(value) > MAX_SUBDOMAIN else []
    if not re.fullmatch(_SUBDOMAIN, value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
            f"'-' or '.', and {_BOUNDS}"
        )
        found.append(_mismatch(text, _SUBDOMAIN, "example.com"))
    return tuple(found)


@lru_cache(maxsize=1024)
def dns_label(value: str) -> Messages:
    """Check a DNS label: the name of a container, volume or namespace."""
    found = [_too_long(MAX_LABEL)] if len(value) > MAX_LABEL else []
    if re.fullmatch(_LABEL, value):
        return tuple(found)
    if re.fullmatch(_SUBDOMAIN, value):
        return (*found, "must not contain dots")
    text = (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
        f"and {_BOUNDS}"
    )
    return (*found, _mismatch(text, _LABEL, "my-name", "123-abc"))


@lru_cache(maxsize=1024)
def dns_1035_label(value: str) -> Messages:
    """Check the name of a Service."""
    found = [_too_long(MAX_LABEL)] if len(value) > MAX_LABEL else []
    if not re.fullmatch(_LABEL_1035, value):
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character"
        )
        found.append(_mismatch(text, _LABEL_1035, "my-name", "abc-123"))
    return tuple(found)


def path_segment(value: str) -> Messages:
    """Check a name that need only fit into a URL: roles and bindings."""
    if value in {".", ".."}:
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in value)


def _qualified_text() -> str:
    text = f"must consist of alphanumeric characters, '-', '_' or '.', and {_BOUNDS}"
    return _mismatch(text, _QUALIFIED, "MyName", "my.name", "123-abc")


@lru_cache(maxsize=4096)
def qualified_name(value: str) -> Messages:
    """Check the key of a label, annotation, taint or toleration."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return (f"a qualified name {_qualified_text()} {optional}",)
    found: list[str] = []
    if slash:
        reasons = subdomain(prefix) if prefix else ("must be non-empty",)
        found += [f"prefix part {reason}" for reason in reasons]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > MAX_LABEL:
        found.append(f"name part {_too_long(MAX_LABEL)}")
    if not re.fullmatch(_QUALIFIED, name):
        found.append(f"name part {_qualified_text()}")
    return tuple(found)


@lru_cache(maxsize=4096)
def label_value(value: str) -> Messages:
    """Check the value of a label, taint or toleration."""
    found = [_too_long(MAX_LABEL)] if len(value) > MAX_LABEL else []
    if not re.fullmatch(_LABEL_VALUE, value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            f"'_' or '.', and {_BOUNDS}"
        )
        found.append(_mismatch(text, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return tuple(found)


def percent(value: str) -> Messages:
    """Check `25%`."""
    if re.fullmatch(_PERCENT, value):
        return ()
    text = "a valid percent string must be a numeric string followed by an ending '%'"
    return (_mismatch(text, _PERCENT, "1%", "93%"),)


def port_number(value: int) -> Messages:
    """Check a port."""
    return () if 1 <= value <= MAX_PORT else (between(1, MAX_PORT),)


def port_name(value: str) -> Messages:
    """Check the name of a port."""
    checks: tuple[tuple[bool, str], ...] = (
        (len(value) <= MAX_PORT_NAME, _too_long(MAX_PORT_NAME)),
        (
            bool(re.fullmatch("[-a-z0-9]+", value)),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (bool(re.search("[a-z]", value)), "must contain at least one letter (a-z)"),
        ("--" not in value, "must not contain consecutive hyphens"),
        (value.strip("-") == value, "must not begin or end with a hyphen"),
    )
    return tuple(message for fine, message in checks if not fine)


def port_number_or_name(value: int | str) -> Messages:
    """Check the port of a probe."""
    return port_name(value) if isinstance(value, str) else port_number(value)


def environment_name(value: str) -> Messages:
    """Check the name of an environment variable."""
    if all(" " <= char <= "~" and char != "=" for char in value):
        return ()
    text = "a valid environment variable name must consist only of printable ASCII characters"
    return (f"{text} other than '='",)


def config_key(value: str) -> Messages:
    """Check a key of a ConfigMap or Secret."""
    found = [_too_long(MAX_SUBDOMAIN)] if len(value) > MAX_SUBDOMAIN else []
    if not re.fullmatch(_CONFIG_KEY, value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        found.append(_mismatch(text, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value == ".":
        found.append("must not be '.'")
    elif value == "..":
        found.append("must not be '..'")
    elif value.startswith(".."):
        found.append("must not start with '..'")
    return tuple(found)


NameCheck: TypeAlias = Callable[[str], Messages]
