"""How far our wall clock is ahead of the API server's, from the `Date` of its answers.

One answer tells it only to a second. But every answer bounds the difference from both sides, and
together the bounds close in: after a few answers around the turn of a second it is known to about
the time of one request.
"""

from __future__ import annotations

import threading
from email.utils import parsedate_to_datetime

RESOLUTION_S = 1.0  # of an HTTP date, which is cut off and not rounded


class ClockSkew:
    """Our clock minus the server's, narrowed down by every answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = ""
        self._date = 0.0
        self._bounds: tuple[float, float] | None = None

    @property
    def seconds(self) -> float | None:
        """The best guess; None before the first answer."""
        bounds = self._bounds
        return None if bounds is None else (bounds[0] + bounds[1]) / 2

    def observe(self, asked: float, answered: float, date: str) -> None:
        """Note an answer.

        Args:
            asked: when the request was sent, by our wall clock.
            answered: when its answer began, by our wall clock.
            date: the header, empty if there's none.
        """
        with self._lock:
            if not self._read(date):
                return
            low, high = asked - self._date - RESOLUTION_S, answered - self._date
            known = self._bounds or (low, high)
            narrowed = max(low, known[0]), min(high, known[1])
            # No common ground: one of the clocks was set. The newest answer is right.
            self._bounds = narrowed if narrowed[0] <= narrowed[1] else (low, high)

    def _read(self, date: str) -> bool:
        if date and date != self._text:
            try:
                self._date = parsedate_to_datetime(date).timestamp()
            except ValueError:
                return False
            self._text = date
        return bool(date)
