"""What shall be looked at later: callbacks in the order of their times; reads no clock itself."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Timers:
    """Times are seconds, by the clock of the run."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._count = 0  # keeps those of one time in their order

    def at(self, when: float, callback: Callable[[float], None]) -> None:
        """Call back at this time, or as soon after it as somebody asks."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, callback))

    def run(self, now: float) -> None:
        """Call back all that is due."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2](now)

    def next_at(self) -> float | None:
        """Return when the next one is due; None when there is none."""
        return self._heap[0][0] if self._heap else None
