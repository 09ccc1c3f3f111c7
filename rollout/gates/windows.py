"""When windows let something begin, as a measurement: what the gate and the engine share. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rollout.gates.measurement import Measurement, Outcome
from rollout.openings import Opening, Window, both_times, look
from rollout.quantity import format_duration


def judge_windows(windows: Sequence[Window], needed: float, now: float) -> Measurement:
    """Judge windows at a time; what is said holds until `again_at`.

    Args:
        windows: of the gate.
        needed: seconds that have to be left, for what is begun to end inside the window.
        now: seconds on the server's clock.
    """
    opening = look(windows, now)
    zone = _zone(windows)
    if opening.open and opening.left(now) >= needed:
        reason = _open_until(opening, zone)
        # The instant itself still has enough left: what follows it has not.
        ends = math.nextafter(opening.until - needed, math.inf)
        until = None if opening.until == math.inf else max(now, ends)
        return Measurement(Outcome.PASSED, now, "open", reason, again_at=until)
    if not opening.open:
        return _closed(opening, zone, now, _why_closed(opening))
    left = format_duration(opening.left(now))
    why = f"{left} are left in the window, and {format_duration(needed)} are needed"
    return _closed(look(windows, opening.until), zone, now, why, at_least=opening.until)


def _closed(
    opening: Opening, zone: str, now: float, why: str, at_least: float = -math.inf
) -> Measurement:
    """Return that it waits; `at_least`: from when on it is looked for."""
    opens_at = max(opening.opens_at, at_least) if opening.opens_at is not None else None
    if opens_at is None:
        reason = f"{why}; no opening is in sight"
        return Measurement(Outcome.WAITING, now, "closed", reason)
    reason = f"{why}; opens {both_times(opens_at, zone)}"
    return Measurement(Outcome.WAITING, now, "closed", reason, again_at=opens_at)


def _why_closed(opening: Opening) -> str:
    return f"closed by {opening.denied_by}" if opening.denied_by else "the window is closed"


def _open_until(opening: Opening, zone: str) -> str:
    if opening.until == math.inf:
        return "the window is open"
    return f"the window is open until {both_times(opening.until, zone)}"


def _zone(windows: Sequence[Window]) -> str:
    """Return the zone in which times are told: that of the first window that allows."""
    return next((w.zone for w in windows if w.allows), windows[0].zone)
