"""The gate `window`: now is a time in which something may begin, and enough of it is left. Pure."""

from __future__ import annotations

import math

from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec import WindowGate
from rollout.openings import Opening, Window, both_times, look
from rollout.quantity import format_duration, parse_duration


def measure(gate: WindowGate, context: Context) -> Measurement:
    """Pass while the windows are open; wait for the next opening otherwise."""
    windows = [rule.window for rule in gate.windows]
    needed = parse_duration(gate.enough) if gate.enough is not None else 0.0
    return judge_windows(windows, needed, context.now)


def judge_windows(windows: list[Window], needed: float, now: float) -> Measurement:
    """Judge windows at a time.

    Args:
        windows: of the gate.
        needed: seconds that have to be left, for what is begun to end inside the window.
        now: seconds on the server's clock.
    """
    opening = look(windows, now)
    zone = _zone(windows)
    if opening.open and opening.left(now) >= needed:
        return Measurement(Outcome.PASSED, now, "open", _open_until(opening, zone))
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


def _zone(windows: list[Window]) -> str:
    """Return the zone in which times are told: that of the first window that allows."""
    return next((w.zone for w in windows if w.allows), windows[0].zone)
