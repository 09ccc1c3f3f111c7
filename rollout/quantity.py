"""Counts, percentages and durations as Kubernetes writes them.

A limit is a count (`3`) or a percentage of a base (`10%`); percentages round **up**, as the
DaemonSet API does for both of its limits (behaviour.md section 2.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_PERCENT = re.compile(r"([0-9]+)%")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WHOLE = 100
_SECOND_MS = 1000
_ROUNDING = 1e-6  # thousandths; 0.29 s are 290 of them, and a hair less as a float


@dataclass(frozen=True, slots=True)
class Amount:
    """A limit as written: a count, or a percentage of a base that is known later."""

    value: int
    percent: bool = False

    def resolve(self, base: int) -> int:
        """Return the count for `base` items; percentages round up (behaviour.md 2.1)."""
        if not self.percent:
            return self.value
        return -(-self.value * base // _WHOLE)

    def exceeded_by(self, count: int, base: int) -> bool:
        """Whether `count` of `base` items are more; exact, since rounding up would let one in."""
        return count * _WHOLE > self.value * base if self.percent else count > self.value

    def explain(self, base: int) -> str:
        """Return the resolved number with where it comes from: `10% of 37 = 4`."""
        return f"{self} of {base} = {self.resolve(base)}" if self.percent else str(self.value)

    def __str__(self) -> str:
        return f"{self.value}%" if self.percent else str(self.value)


def parse_amount(value: int | str) -> Amount:
    """Read `3`, or `"10%"`.

    Raises:
        ValueError: when it is neither a count >= 0 nor a percentage between 0% and 100%.
    """
    if isinstance(value, bool) or (isinstance(value, int) and value < 0):
        raise ValueError(f"'{value}' is not a count or a percentage; write 10 or '10%'")
    if isinstance(value, int):
        return Amount(value)
    match = _PERCENT.fullmatch(value)
    if match is None:
        raise ValueError(f"'{value}' is not a count or a percentage; write 10 or '10%'")
    if int(match[1]) > _WHOLE:
        raise ValueError(f"'{value}' is over 100%; write at most '100%'")
    return Amount(int(match[1]), percent=True)


def parse_duration(value: int | str) -> float:
    """Read `90`, `"90s"`, `"1h30m"` as seconds.

    Raises:
        ValueError: when it is none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return float(value)
    text = str(value)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"'{value}' is not a duration; write '30s', '10m' or '1h30m'")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Return how long something takes, or may take: as an age, and below a second `500ms`."""
    thousandths = int(seconds * _SECOND_MS + _ROUNDING)
    return (
        f"{thousandths}ms" if 0 < thousandths < _SECOND_MS else format_age(thousandths / _SECOND_MS)
    )


def format_age(seconds: float) -> str:
    """Return seconds the way `kubectl` shows ages: `45s`, `10m`, `3h5m`, `12d`.

    What is shown again and again while it grows is shown like this: thousandths would flicker.
    """
    total = max(0, int(seconds))
    days, rest = divmod(total, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h" if hours and days < 8 else f"{days}d"  # noqa: PLR2004 - as kubectl
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{left}s" if left else f"{minutes}m"
    return f"{left}s"


def cut(names: Sequence[str], most: int = 5) -> str:
    """Return a list of names for a sentence, cut with a count: `a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
