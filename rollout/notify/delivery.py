"""One sink's messages on their way: a bounded queue, and the thread that empties it.

Each sink has its own, so that one that hangs keeps no other waiting. Nothing here waits for a sink
but `wait`, and that no longer than it is told to.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from rollout.errors import RolloutError, Withheld
from rollout.notify.messages import Message
from rollout.notifyspec import Sink

MOST_WAITING = 200  # messages; beyond them the oldest are not told: the end of a run matters most
TRIES = 3
PAUSE_S = 2.0  # between two tries


class Send(Protocol):
    """How one message gets to one sink."""

    def __call__(self, sink: Sink, message: Message) -> None:
        """Send it, or raise a RolloutError."""


class Delivery:
    """The messages of one sink, in their order.

    Args:
        sink: who gets them.
        send: how a message gets out.
        lost: told by any thread of each message that the sink did not get, and why.
        pause_s: between two tries.
    """

    def __init__(
        self, sink: Sink, send: Send, lost: Callable[[Sink, str], None], pause_s: float = PAUSE_S
    ) -> None:
        self.sink = sink
        self._send = send
        self._lost = lost
        self._pause_s = pause_s
        self._waiting: deque[Message] = deque()
        self._under_way = 0
        self._closed = False
        self._given_up = threading.Event()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def put(self, message: Message) -> None:
        """Send a message as soon as those before it are out; returns at once."""
        with self._changed:
            full = len(self._waiting) >= MOST_WAITING
            if full:
                self._waiting.popleft()
            self._waiting.append(message)
            self._changed.notify_all()
        if full:
            self._lost(self.sink, "too many messages wait")
        if self._worker is None:
            name = f"notify-{self.sink.name}"
            self._worker = threading.Thread(target=self._work, name=name, daemon=True)
            self._worker.start()

    def wait(self, seconds: float) -> bool:
        """Wait until all is out, at most so long; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._left(), max(0.0, seconds))

    def close(self) -> None:
        """Let the thread end, and give up what is not out yet."""
        with self._changed:
            left = self._left()
            self._waiting.clear()
            self._closed = True
            self._given_up.set()
            self._changed.notify_all()
        for _ in range(left):
            self._lost(self.sink, "it has not answered by the end of the run")

    def _left(self) -> int:
        return len(self._waiting) + self._under_way

    def _work(self) -> None:
        while (message := self._next()) is not None:
            why = self._deliver(message)
            if why and not self._given_up.is_set():  # `close` has counted what was under way
                self._lost(self.sink, why)
            with self._changed:
                self._under_way = 0
                self._changed.notify_all()

    def _next(self) -> Message | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            self._under_way = 1
            return self._waiting.popleft()

    def _deliver(self, message: Message) -> str:
        """Return why the sink did not get it; "" when it did."""
        why = ""
        for attempt in range(TRIES):
            if attempt and self._given_up.wait(self._pause_s):
                break
            try:
                self._send(self.sink, message)
            except Withheld as error:  # the lock is not ours: that does not pass
                return str(error)
            except RolloutError as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001 - a sink that breaks must not end the thread
                why = type(error).__name__
            else:
                return ""
        return why
