"""When windows are open: cron expressions with a length, in a time zone. Pure arithmetic.

A window opens when its cron expression says so, by the clock on the wall of its zone, and stays
open for its length in real time. So it belongs to the day on which it opens, also behind midnight.
Over a change to or from daylight saving it is neither doubled nor skipped, as in Debian's cron: an
opening at an hour that there isn't comes at the change, one at an hour that there is twice comes
at the first of the two; cron expressions with `*` in hour or minute follow real time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from rollout.quantity import format_duration

_FIELDS = 5
_LOOK_BACK_S = (7200.0, 86400.0, 8 * 86400.0, 40 * 86400.0, math.inf)
_STEPS = 400  # edges that are looked at before the answer is "not in sight"
LONGEST_S = 366 * 86400.0  # that a window may be open
_OPEN_HORIZON_S = 8 * 86400.0  # what stays open so long is as good as open for ever
_CLOSED_HORIZON_S = 9 * 366 * 86400.0  # over one leap year without a 29 February


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time that comes again.

    Attributes:
        cron: five fields: minute, hour, day of month, month, day of week.
        length_s: how long it is open, in seconds of real time.
        zone: name in the IANA time zone database.
        allows: whether it allows or denies.
    """

    cron: str
    length_s: float
    zone: str = "UTC"
    allows: bool = True

    def __str__(self) -> str:
        word = "allow" if self.allows else "deny"
        return f"{word} '{self.cron}' for {format_duration(self.length_s)} ({self.zone})"


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether something may begin now; times in seconds since the epoch.

    Attributes:
        open: inside an allowing window (or there is none) and outside all denying ones.
        until: when it closes, while it is open; infinite when that is not in sight.
        opens_at: when it opens, while it is closed; None when that is not in sight.
        denied_by: the denying window that closes it, if one does.
    """

    open: bool
    until: float = math.inf
    opens_at: float | None = None
    denied_by: Window | None = None

    def left(self, now: float) -> float:
        """Return seconds until it closes; 0 while it is closed."""
        return max(0.0, self.until - now) if self.open else 0.0


def check_cron(text: str) -> None:
    """Refuse what is no cron expression.

    Raises:
        ValueError: with what is wrong with it.
    """
    if len(text.split()) != _FIELDS:
        raise ValueError(
            f"'{text}' is not a cron expression; write minute, hour, day of month, month and day "
            "of week, such as '0 22 * * 1-5'"
        )
    from cronsim import CronSim, CronSimError  # noqa: PLC0415 - as below

    try:
        first = next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(f"'{text}' is not a cron expression: {error}") from None
    if first is None:
        raise ValueError(f"'{text}' never comes; mend the day or the month")


def check_zone(name: str) -> None:
    """Refuse what is no time zone.

    Raises:
        ValueError: with an example.
    """
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"'{name}' is not a time zone; write for example Europe/Berlin") from None


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        KeyError, ValueError, OSError: there is none of this name.
    """
    return ZoneInfo(name)


def look(windows: Sequence[Window], now: float) -> Opening:
    """Say whether the windows are open, and when that changes.

    Args:
        windows: allowing and denying ones; a denying one wins. None that allows: always open but
            for the denying ones.
        now: seconds since the epoch.
    """
    if _is_open(windows, now):
        return Opening(open=True, until=_next_close(windows, now))
    opens_at, denied_by = _next_open(windows, now), _denied_by(windows, now)
    return Opening(open=False, opens_at=opens_at, denied_by=denied_by)


def both_times(at: float, zone: str) -> str:
    """Return a time as `Fri 2026-11-27 22:00 CET (21:00 UTC)`; the UTC date where it differs."""
    local, utc = datetime.fromtimestamp(at, zone_of(zone)), datetime.fromtimestamp(at, UTC)
    shown = local.strftime("%a %Y-%m-%d %H:%M %Z")
    if zone == "UTC":
        return shown
    day = "" if local.date() == utc.date() else "%a %Y-%m-%d "
    return f"{shown} ({utc.strftime(day + '%H:%M UTC')})"


def _is_open(windows: Sequence[Window], at: float) -> bool:
    allowing = [w for w in windows if w.allows]
    allowed = not allowing or any(_covered_until(w, at) is not None for w in allowing)
    return allowed and _denied_by(windows, at) is None


def _denied_by(windows: Sequence[Window], at: float) -> Window | None:
    """Return the denying window that covers a time; of several the one that ends last."""
    ends = {w: _covered_until(w, at) for w in windows if not w.allows}
    covering = {w: end for w, end in ends.items() if end is not None}
    return max(covering, key=lambda w: covering[w], default=None)


def _next_close(windows: Sequence[Window], now: float) -> float:
    """Return when the windows, open now, close; infinite when that is not in sight."""
    at = now
    for _ in range(_STEPS):
        ends = [_covered_until(w, at) or at for w in windows if w.allows]
        denied = [next(_openings(w, at), math.inf) for w in windows if not w.allows]
        at = min(max(ends, default=math.inf), *denied, math.inf)
        if at > now + _OPEN_HORIZON_S:
            return math.inf
        if not _is_open(windows, at):
            return at
    return math.inf


def _next_open(windows: Sequence[Window], now: float) -> float | None:
    """Return when the windows, closed now, open; None when that is not in sight."""
    at = now
    for _ in range(_STEPS):
        if _is_open(windows, at):
            return at
        denying = _denied_by(windows, at)
        if denying is not None:
            at = _covered_until(denying, at) or math.inf
        else:
            at = min(next(_openings(w, at), math.inf) for w in windows if w.allows)
        if at > now + _CLOSED_HORIZON_S:
            return None
    return None


def _covered_until(window: Window, at: float) -> float | None:
    """Return the end of the last opening at or before a time, if it still lasts then."""
    for back in _LOOK_BACK_S:
        reach = min(back, window.length_s)
        found = None
        for opening in _openings(window, at - reach):
            if opening > at:
                break
            found = opening
        if found is not None:
            return found + window.length_s
        if reach == window.length_s:
            break
    return None


def _openings(window: Window, after: float) -> Iterator[float]:
    """Yield the times at which the window opens, later than `after`."""
    from cronsim import CronSim  # noqa: PLC0415 - only those who have windows pay for it

    zone = zone_of(window.zone)
    for opening in CronSim(window.cron, datetime.fromtimestamp(after, zone)):
        at = opening.timestamp()
        if at > after:  # in the second of two like hours it would name the first one again
            yield at
