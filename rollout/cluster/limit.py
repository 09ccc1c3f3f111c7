"""Our own rate limit for writes: a token bucket whose rate backs off when the server says 429.

The server's priority and fairness would queue or refuse us anyway; asking for less keeps its
other clients well. Additive increase, multiplicative decrease, as TCP does it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

MIN_RATE = 1.0  # writes per second, however often the server refuses
RECOVERY = 1.0  # writes per second that each accepted write gives back
DECREASE = 0.5  # factor per refusal
CONGESTION_S = 1.0  # refusals within this time are one event: they were sent at the same rate
LONGEST_PAUSE_S = 30.0  # whatever the server asks: then one write asks again, and every wait ends


@dataclass(frozen=True, slots=True)
class Rate:
    """Writes per second on average, and how many may go at once."""

    per_second: float = 50.0  # kubectl's own
    burst: int = 100


DEFAULT_RATE = Rate()


class WriteLimiter:
    """Hands out times at which a write may go; never waits itself.

    Args:
        rate: the limits when the server is well.
        clock: monotonic seconds.
    """

    def __init__(
        self, rate: Rate = DEFAULT_RATE, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lock = threading.Lock()
        self._full = rate
        self._clock = clock
        self._rate = rate.per_second
        self._tokens = float(rate.burst)
        self._updated = clock()
        self._paused_until = self._updated
        self._last_decrease = float("-inf")

    @property
    def per_second(self) -> float:
        """The rate at this moment."""
        return self._rate

    def reserve(self) -> float:
        """Take the next place in the queue and return in how many seconds its write may go."""
        with self._lock:
            now = self._refill()
            self._tokens -= 1.0
            queue_s = max(-self._tokens, 0.0) / self._rate
            return queue_s + max(self._paused_until - now, 0.0)

    def refused(self, retry_after: float | None) -> None:
        """Slow down: the server answered 429, perhaps with a wish in seconds."""
        with self._lock:
            now = self._refill()
            asked = min(retry_after or 0.0, LONGEST_PAUSE_S)
            self._paused_until = max(self._paused_until, now + asked)
            if now - self._last_decrease < CONGESTION_S:
                return
            self._last_decrease = now
            self._rate = max(self._rate * DECREASE, MIN_RATE)
            self._tokens = min(self._tokens, 0.0)

    def accepted(self) -> None:
        """Recover a little: the server took a write."""
        with self._lock:
            self._refill()
            self._rate = min(self._rate + RECOVERY, self._full.per_second)

    def _refill(self) -> float:
        now = self._clock()
        gained = (now - self._updated) * self._rate
        self._tokens = min(self._tokens + gained, float(self._full.burst))
        self._updated = now
        return now
