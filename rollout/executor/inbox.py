"""One queue for all that a run hears: watches, answers to writes, signals."""

from __future__ import annotations

import queue
from typing import Any

from rollout.executor import events as ev

_DRAIN = 1000  # events taken at once before the engine decides


class Inbox:
    """What reflectors, writers and signal handlers have to say, in the order it came."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.put = self._queue.put

    def stop(self, why: str) -> None:
        """Ask the run to start nothing new; safe in a signal handler."""
        self.put(ev.StopAsked(why))

    def take(self, timeout: float) -> list[Any]:
        """Wait for news; returns all that there is, or nothing after `timeout` seconds."""
        try:
            items = [self._queue.get(timeout=max(0.0, timeout))]
        except queue.Empty:
            return []
        while len(items) < _DRAIN:
            try:
                items.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return items
