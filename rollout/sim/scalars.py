"""Quantities and times as Go's types read and write them.

The API server answers with canonical forms (`1000m` comes back as `1`, a time in UTC), and its
messages about malformed ones are Go's own. Knows nothing of objects or fields.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import Final

QUANTITY_HELP: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(\d+(\.\d*)?|\.\d+))(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?"
)
_DECIMAL: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SMALLEST: Final = -9  # nano: anything finer is rounded up
_STEP: Final = 1024


def _parse(text: str) -> tuple[Fraction, str]:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(QUANTITY_HELP)
    number, suffix = Fraction(match["number"]), match["suffix"] or ""
    if suffix in _BINARY:
        return number * _STEP ** (_BINARY.index(suffix) + 1), suffix
    if suffix in _DECIMAL:
        return number * Fraction(10) ** _DECIMAL[suffix], suffix
    return number * Fraction(10) ** int(suffix[1:]), "e"


def quantity_value(text: str) -> Fraction:
    """Return a quantity as a number.

    Raises:
        ValueError: when it is none.
    """
    return _parse(text)[0]


@lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """Return a quantity in the form in which the API server answers.

    Raises:
        ValueError: with Go's message, when it is none.
    """
    value, suffix = _parse(text)
    if suffix in _BINARY and abs(value) >= _STEP:
        return _binary_text(value)
    return _decimal_text(value, exponent=suffix == "e")


def _up(value: Fraction) -> int:
    """Round away from zero."""
    return (
        -(-value.numerator // value.denominator)
        if value > 0
        else value.numerator // value.denominator
    )


def _binary_text(value: Fraction) -> str:
    whole, power = _up(value), 0
    while power < len(_BINARY) and whole and whole % _STEP == 0:
        whole, power = whole // _STEP, power + 1
    return f"{whole}{_BINARY[power - 1] if power else ''}"


def _decimal_text(value: Fraction, *, exponent: bool) -> str:
    mantissa, power = _up(value * 10**-_SMALLEST), _SMALLEST
    if not mantissa:
        return "0"
    while mantissa % 1000 == 0 and power < max(_DECIMAL_SUFFIX):
        mantissa, power = mantissa // 1000, power + 3
    if exponent:
        return f"{mantissa}e{power}" if power else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIX[power]}"


TIME_LAYOUT: Final = "2006-01-02T15:04:05Z07:00"
MICRO_LAYOUT: Final = "2006-01-02T15:04:05.000000Z07:00"
_ELEMENTS: Final = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d"),
)
_ZONE: Final = ("Z07:00", r"Z|[+-]\d\d:\d\d")
_PARTS: Final = {  # which element of the layout has which bounds
    "01": ("month", 1, 12),
    "02": ("day", 1, 31),
    "15": ("hour", 0, 23),
    "04": ("minute", 0, 59),
    "05": ("second", 0, 59),
}


def canonical_time(text: str, *, micro: bool = False) -> str:
    """Return a time as the API server answers it: in UTC, to the second or the microsecond.

    Raises:
        ValueError: with Go's message, when it is none.
    """
    layout = MICRO_LAYOUT if micro else TIME_LAYOUT
    fraction = (".000000", r"\.\d{6}") if micro else ("", r"(\.\d+)?")
    rest = text
    for element, pattern in (*_ELEMENTS, fraction, _ZONE):
        match = re.match(pattern, rest)
        if match is None:
            raise ValueError(
                f'parsing time "{text}" as "{layout}": cannot parse "{rest}" as "{element}"'
            )
        name, low, high = _PARTS.get(element, ("", 0, 0))
        if name and not low <= int(match[0]) <= high:
            raise ValueError(f'parsing time "{text}": {name} out of range')
        rest = rest[match.end() :]
    if rest:
        raise ValueError(f'parsing time "{text}": extra text: "{rest}"')
    return _in_utc(text, micro=micro)


def _in_utc(text: str, *, micro: bool) -> str:
    if text.endswith("Z") and (micro or "." not in text):
        return text
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise ValueError(f'parsing time "{text}": day out of range') from None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
