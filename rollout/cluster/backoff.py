"""How long to wait before the next connection: exponential with full jitter."""

from __future__ import annotations

import random


class Backoff:
    """Windows that double from `first_s` to `max_s`; each pause is anywhere inside its window.

    Full jitter keeps the clients of a restarted server from coming back all at once.
    """

    def __init__(self, first_s: float, max_s: float, rng: random.Random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng
        self._window_s = first_s

    def next_pause(self) -> float:
        """Return the next pause in seconds and widen the window."""
        pause = self._rng.uniform(0.0, self._window_s)
        self._window_s = min(self._window_s * 2, self._max_s)
        return pause

    def reset(self) -> None:
        """Start again with the first window: all has been well for a while."""
        self._window_s = self._first_s
