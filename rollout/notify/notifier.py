"""Tells the sinks of a plan how its run goes, from a thread of its own.

A sink that fails never stops or slows a run: messages wait in a bounded queue, are tried a few
times, and what could not be told is reported at the end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from rollout.errors import RolloutError
from rollout.executor.engine import Engine
from rollout.executor.notices import Notice
from rollout.executor.observer import Observer
from rollout.executor.result import Result
from rollout.gates.measurement import plain
from rollout.notify.messages import MOST_TEXT, SCHEMA, Message, occasion_of, stamp
from rollout.notifyspec import Occasion, Sink
from rollout.planner.plan import Plan

MOST_WAITING = 200  # messages; what comes beyond them is not told
MOST_FAILED_NODES = 20  # that are told one by one
TRIES = 3
PAUSE_S = 2.0  # between two tries
GOODBYE_S = 30.0  # at the end of a run, for what waits
_OCCASIONS: dict[str, Occasion] = {
    "wave-done": "wave-done",
    "approval-wanted": "approval-wanted",
    "held": "held",
    "node-failed": "failed",
}


class Send(Protocol):
    """How one message gets to one sink."""

    def __call__(self, sink: Sink, message: Message) -> None:
        """Send it, or raise a RolloutError."""


class Notifier:
    """The sinks of one run.

    Args:
        plan: of the run.
        run_id: of the run.
        send: how a message gets out.
        warn: told once of each sink that fails, by the thread that sends.
        resumed: an earlier process of the run has begun it.
        clock: seconds since the epoch.
        pause: waits between two tries.
    """

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        send: Send,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        *,
        resumed: bool = False,
    ) -> None:
        self._plan = plan
        self._run_id = run_id
        self._send = send
        self._warn = warn
        self._clock = clock
        self._pause = pause
        self._verb = "goes on" if resumed else "begins"
        self._begun = False
        self._queue: queue.Queue[tuple[Sink, Message] | None] = queue.Queue(MOST_WAITING)
        self._told: Counter[Occasion] = Counter()
        self.lost: Counter[str] = Counter()  # name of a sink -> messages that it did not get
        self._worker = threading.Thread(target=self._work, name="notify", daemon=True)
        if plan.notify:
            self._worker.start()

    def begin(self) -> None:
        """Say once that the run begins, or goes on: when it has its lock, and not before."""
        if not self._begun:
            self._begun = True
            self._tell("started", f"run {self._run_id} {self._verb}")

    def notice(self, told: Notice) -> None:
        """Pass on what happened in the run, where somebody may want to know."""
        event = _OCCASIONS.get(told.kind)
        if event is None or (event == "failed" and self._told["failed"] >= MOST_FAILED_NODES):
            return
        wave = self._plan.waves[told.wave - 1].name if told.wave else ""
        text = told.message or (f"wave {wave} is done" if event == "wave-done" else told.kind)
        if told.node:
            text = f"{told.node}: {text}"
        self._tell(event, text, wave=wave, node=told.node, gate=told.gate, done=told.done)

    def end(self, result: Result) -> None:
        """Say how the run ended."""
        event = occasion_of(result.finish.outcome)
        if event is not None and not (event == "held" and self._told["held"]):
            self._tell(event, result.finish.message)

    def __enter__(self) -> Self:
        """Tell until the block ends."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say that a run that had begun broke off; wait a moment until all is told."""
        expected = error is None or isinstance(error, RolloutError)
        if error is not None and expected and self._begun:
            self._tell("failed", f"run {self._run_id} broke off: {error}")
        if self._plan.notify and expected:
            self._put(None)
            self._worker.join(GOODBYE_S)

    def _tell(self, event: Occasion, text: str, *, done: int = 0, **more: str) -> None:
        self._told[event] += 1
        message = Message(
            schema=SCHEMA,
            event=event,
            time=stamp(self._clock()),
            text=plain(text, MOST_TEXT),
            rollout=self._plan.name,
            namespace=self._plan.namespace,
            run=self._run_id,
            plan=self._plan.id,
            digest=self._plan.digest,
            done=done,
            total=self._plan.totals.update,
            **more,
        )
        for sink in self._plan.notify:
            if not sink.events or event in sink.events:
                self._put((sink, message))

    def _put(self, item: tuple[Sink, Message] | None) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            if item is not None:
                self._lose(item[0], "too many messages wait")

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            self._deliver(*item)

    def _deliver(self, sink: Sink, message: Message) -> None:
        why = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(PAUSE_S)
            try:
                self._send(sink, message)
            except RolloutError as error:
                why = str(error)
            except Exception as error:  # noqa: BLE001 - a sink that breaks must not end the thread
                why = type(error).__name__
            else:
                return
        self._lose(sink, why)

    def _lose(self, sink: Sink, why: str) -> None:
        self.lost[sink.name] += 1
        if self.lost[sink.name] == 1:
            self._warn(f"notify {sink.name} was not told: {plain(why)}; the run goes on")


class Told:
    """An observer that passes notices on to the sinks as well.

    Args:
        observer: who is told in any case.
        notifier: the sinks.
    """

    def __init__(self, observer: Observer, notifier: Notifier) -> None:
        self._observer = observer
        self._notifier = notifier

    @property
    def sequence(self) -> int:
        """Number of the last thing that was told."""
        return self._observer.sequence

    def notice(self, told: Notice, engine: Engine) -> None:
        """Something happened."""
        self._observer.notice(told, engine)
        self._notifier.begin()
        self._notifier.notice(told)

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Nothing happened for a while."""
        self._observer.heartbeat(why, engine)

    def look(self, engine: Engine, now: float) -> float:
        """The state may be another one."""
        self._notifier.begin()
        return self._observer.look(engine, now)

    def waiting(self, why: str) -> None:
        """The run has not begun yet."""
        self._observer.waiting(why)

    def warning(self, text: str) -> None:
        """Something is not as it should be."""
        self._observer.warning(text)
