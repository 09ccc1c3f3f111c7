"""One queue for all that a run hears: watches, answers to writes, signals."""

from __future__ import annotations

import queue
import time
from collections import deque
from typing import Any

from rollout.executor.engine import events as ev

_DRAIN = 1000  # events taken at once before the engine decides


class Inbox:
    """What reflectors, writers and signal handlers have to say, in the order it came."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._early: deque[Any] = deque()  # came while somebody waited for a stop only
        self.put = self._queue.put

    def stop(self, why: str) -> None:
        """Ask the run to start nothing new; safe in a signal handler."""
        self.put(ev.StopAsked(why))

    def forget(self) -> None:
        """Drop what has come so far: it was meant for a part of the run that has ended.

        But the loss of the lock is told once, and is for every part.
        """
        lost: list[ev.LockLost] = []
        while items := self.take(0.0):
            lost += [item for item in items if isinstance(item, ev.LockLost)]
        self._early.extend(lost)

    def stopped_within(self, seconds: float) -> bool:
        """Wait for the wish to stop, at most so long; other news is kept for `take`."""
        end = time.monotonic() + seconds
        while not any(isinstance(item, ev.StopAsked) for item in self._early):
            try:
                self._early.append(self._queue.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return False
        return True

    def take(self, timeout: float) -> list[Any]:
        """Wait for news; returns all that there is, or nothing after `timeout` seconds."""
        items = list(self._early)
        self._early.clear()
        if not items:
            try:
                items.append(self._queue.get(timeout=max(0.0, timeout)))
            except queue.Empty:
                return []
        while len(items) < _DRAIN:
            try:
                items.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return items
