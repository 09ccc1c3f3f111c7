"""How fast replacements may follow each other: a token bucket on the run's own clock."""

from __future__ import annotations


class Pace:
    """At most `rate` a second, with bursts of as many as one second allows.

    Args:
        rate: replacements a second.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._tokens = self._burst
        self._filled_at: float | None = None
        self.next_at = 0.0  # when there will be a token, after a refusal

    def take(self, now: float) -> float | None:
        """Take one token; returns None, or the time at which there will be one."""
        if self._filled_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._tokens < 1.0 - 1e-9:
            self.next_at = now + (1.0 - self._tokens) / self._rate
            return self.next_at
        self._tokens -= 1.0
        return None
