"""Time for the embedded cluster: one set of timers, driven by virtual or by real time.

Every part of the cluster asks the clock for the time and hands it callbacks; nothing sleeps and
nothing reads the system's time. On a `VirtualClock` the caller moves time; on a `RealClock` one
thread runs what is due while it holds the cluster's lock. Callbacks due at the same instant run
in the order in which they were asked for, so a seed decides the whole history.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

LOG: Final = logging.getLogger(__name__)
Callback = Callable[[], None]


@dataclass(slots=True, eq=False)
class Timer:
    """One callback that waits for its time; cancelled timers are dropped when they come up."""

    when: float
    callback: Callback
    cancelled: bool = False

    def cancel(self) -> None:
        """Make sure that the callback never runs."""
        self.cancelled = True


_Queue = list[tuple[float, int, Timer]]  # when, and in which order of asking; a heap


class Clock(Protocol):
    """What the parts of the cluster see of time."""

    def now(self) -> float:
        """Return seconds since the Unix epoch."""

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run `callback` after `delay` seconds (0: as soon as what runs now is done)."""


class VirtualClock:
    """Time that moves only when it is told to; single-threaded and repeatable."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self._now = start
        self._seq = 0
        self._timers: _Queue = []
        self.executed = 0

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return self._now

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run `callback` after `delay` seconds of virtual time."""
        self._seq += 1
        timer = Timer(self._now + max(delay, 0.0), callback)
        heapq.heappush(self._timers, (timer.when, self._seq, timer))
        return timer

    def next_due(self) -> float | None:
        """Return when the next callback is due, or None when nothing waits."""
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def step(self) -> bool:
        """Move to the next callback and run it; False when nothing waits."""
        if self.next_due() is None:
            return False
        self._run_next()
        return True

    def _run_next(self) -> None:
        when, _, timer = heapq.heappop(self._timers)
        self._now = max(self._now, when)
        self.executed += 1
        timer.callback()

    def advance(self, seconds: float) -> None:
        """Run everything that is due in the next `seconds`, then stand exactly there."""
        end = self._now + seconds
        while (due := self.next_due()) is not None and due <= end:
            self._run_next()
        self._now = end

    def run_until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Run callbacks until `condition()` holds; False when `timeout` virtual seconds passed."""
        end = self._now + timeout
        while not condition():
            due = self.next_due()
            if due is None or due > end:
                self._now = end
                return condition()
            self._run_next()
        return True


class RealClock:
    """Wall-clock timers, run by one thread that holds `lock` while a callback runs.

    A callback that fails is logged with its traceback and ends nothing: the others still run, as
    the other controllers of a cluster do.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._wake = threading.Condition(lock)
        self._timers: _Queue = []
        self._seq = 0
        self._stopped = False
        self._thread: threading.Thread | None = None

    def now(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Run `callback` after `delay` seconds on the clock's thread."""
        with self._lock:
            self._seq += 1
            timer = Timer(time.monotonic() + max(delay, 0.0), callback)
            heapq.heappush(self._timers, (timer.when, self._seq, timer))
            self._wake.notify()
            return timer

    def start(self) -> None:
        """Start the thread that runs the callbacks."""
        self._thread = threading.Thread(target=self._run, name="sim-clock", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; callbacks that still wait never run."""
        with self._lock:
            self._stopped = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        with self._lock:
            while not self._stopped:
                if not self._timers:
                    self._wake.wait()
                    continue
                when, _, timer = self._timers[0]
                delay = when - time.monotonic()
                if timer.cancelled or delay <= 0:
                    heapq.heappop(self._timers)
                    if not timer.cancelled:
                        _run_logged(timer.callback)
                        # Give waiting request threads the lock between two callbacks.
                        self._wake.wait(0)
                    continue
                self._wake.wait(delay)


def _run_logged(callback: Callback) -> None:
    try:
        callback()
    except Exception:
        LOG.exception("a part of the embedded cluster failed")
