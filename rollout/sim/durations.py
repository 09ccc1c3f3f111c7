"""How long ago things were, as kubectl prints it."""

from __future__ import annotations

from typing import Final

from rollout.sim import timestamps
from rollout.sim.store import Object

UNKNOWN: Final = "<unknown>"
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 24
_YEAR: Final = 24 * 365


def human_duration(seconds: float) -> str:
    """Write a duration as kubectl does: `5s`, `3m20s`, `4h`, `2d3h`, `1y40d`.

    Args:
        seconds: may be slightly negative, as clocks differ.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes = whole // _MINUTE
    if minutes < 10:  # noqa: PLR2004 - the steps are kubectl's
        return _two(minutes, "m", whole % _MINUTE, "s")
    if minutes < 180:  # noqa: PLR2004 - kubectl too
        return f"{minutes}m"
    hours = whole // _HOUR
    if hours < 8:  # noqa: PLR2004 - kubectl too
        return _two(hours, "h", minutes % 60, "m")
    return _long_duration(hours)


def _long_duration(hours: int) -> str:
    if hours < 2 * _DAY:
        return f"{hours}h"
    days = hours // _DAY
    if hours < 8 * _DAY:
        return _two(days, "d", hours % _DAY, "h")
    if hours < 2 * _YEAR:
        return f"{days}d"
    if hours < 8 * _YEAR:
        return _two(hours // _YEAR, "y", days % 365, "d")
    return f"{hours // _YEAR}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def since(time: str | None, now: float) -> str:
    """Return how long ago a time was, `<unknown>` without one."""
    return human_duration(now - timestamps.parse(time)) if time else UNKNOWN


def age(obj: Object, now: float) -> str:
    """Return how old an object is."""
    return since(obj["metadata"].get("creationTimestamp"), now)
