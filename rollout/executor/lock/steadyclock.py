"""The one clock for deadlines: never set, never slewed back, and it goes on while we sleep."""

from __future__ import annotations

import time

# `time.monotonic` stands still on Linux while the machine sleeps, and so would a lease's age.
_AWAKE_OR_NOT: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def steady_clock() -> float:
    """Return seconds on a clock that is never set, and that goes on while the machine sleeps."""
    return time.monotonic() if _AWAKE_OR_NOT is None else time.clock_gettime(_AWAKE_OR_NOT)
