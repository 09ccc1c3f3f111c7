"""Tells the sinks of a run how it goes, without ever waiting for one while the run goes.

A sink that fails never stops or slows a run: each has a queue and a thread of its own, and what
could not be told is reported, by the thread of the run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rollout.errors import RolloutError
from rollout.executor.engine.actions import Outcome
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.notices import Notice
from rollout.executor.engine.state import StepState
from rollout.executor.observer import Observer
from rollout.executor.record.record import RunRecord
from rollout.executor.result import Result
from rollout.gates.measurement import plain
from rollout.notify.delivery import PAUSE_S, Delivery, Send
from rollout.notify.messages import MOST_TEXT, SCHEMA, About, Message, occasion_of, stamp
from rollout.notifyspec import EventsSink, Occasion, Sink
from rollout.planner.plan import Plan

MOST_FAILED_NODES = 20  # that are told one by one
GOODBYE_S = 10.0  # at the end of a command, for what waits
_UNDER_LOCK_S = 5.0  # for what is written to the cluster, before the lock is given back
_OCCASIONS: dict[str, Occasion] = {
    "wave-done": "wave-done",
    "approval-wanted": "approval-wanted",
    "held": "held",
    "node-failed": "failed",
}


class Notifier:
    """The sinks of one run.

    Args:
        about: the run, and its sinks.
        send: how a message gets out.
        warn: told once of each sink that fails, by the thread of the run.
        warn_late: the same, when the end of the run has been told.
        verb: what the run does when it has its lock: begins, goes on, goes back.
        clock: seconds since the epoch.
        pause_s: between two tries.
        goodbye_s: at the end, for what waits.
    """

    def __init__(
        self,
        about: About,
        send: Send,
        warn: Callable[[str], None],
        warn_late: Callable[[str], None],
        verb: str = "begins",
        *,
        clock: Callable[[], float] = time.time,
        pause_s: float = PAUSE_S,
        goodbye_s: float = GOODBYE_S,
    ) -> None:
        self._about = about
        self._warn = warn
        self._warn_late = warn_late
        self._verb = verb
        self._clock = clock
        self._goodbye_s = goodbye_s
        self._deliveries = [Delivery(sink, send, self._lose, pause_s) for sink in about.sinks]
        self._begun = False
        self._holds: list[str] = []  # why, each time that it was told
        self._failed_nodes = 0
        self._repeated = set(about.failed)  # failed nodes of which we shall hear once more
        self._words: deque[str] = deque()  # of warning, for the thread of the run
        self._counting = threading.Lock()
        self.lost: Counter[str] = Counter()  # name of a sink -> messages that it did not get

    def begin(self) -> None:
        """Say once what the run does now: when it has its lock, and not before."""
        if not self._begun:
            self._begun = True
            self._tell("started", f"run {self._about.run} {self._verb}")

    def notice(self, told: Notice, plan: Plan) -> None:
        """Pass on what happened in the run, where somebody may want to know.

        Args:
            told: what happened.
            plan: that is carried out at this moment; it may be the way back.
        """
        event = _OCCASIONS.get(told.kind)
        if event != "failed":
            self._repeated.discard(told.node)  # it is tried again: another failure is news
        if event is None or (event == "wave-done" and plan.goes_back):
            return  # the one wave of a way back is the way back: its end is told
        if event == "wave-done" and told.wave <= self._about.waves_done:
            return  # an earlier process of this run has told it
        if event == "failed" and told.node in self._repeated:
            self._repeated.discard(told.node)
            return
        if event == "failed":
            self._failed_nodes += 1
            if self._failed_nodes > MOST_FAILED_NODES:
                return
        if event == "held":
            self._holds.append(told.message)
        wave = plan.waves[told.wave - 1].name if told.wave else ""
        text = told.message or (f"wave {wave} is done" if event == "wave-done" else told.kind)
        if told.node:
            text = f"{told.node}: {text}"
        done, total = told.done, plan.totals.update
        self._tell(event, text, done, total, wave=wave, node=told.node, gate=told.gate)

    def end(self, result: Result) -> None:
        """Say how the run ended; called while it still has its lock."""
        finish = result.finish
        done = sum(run.state is StepState.DONE for run in result.steps)
        if finish.outcome is Outcome.PAUSED and result.unapproved:
            wave = result.plan.waves[result.unapproved - 1].name
            self._tell("approval-wanted", finish.message, done, len(result.steps), wave=wave)
        event = occasion_of(finish.outcome)
        known = event == "held" and any(why in finish.message for why in self._holds)
        if event is not None and not known:
            self._tell(event, finish.text, done, len(result.steps))
        self._wait_for_events()

    def ended_by_hand(self, record: RunRecord) -> None:
        """Say that somebody has ended a run that nobody carries out; it is still locked."""
        if record.phase in ("aborted", "held"):
            self._tell("held", record.message)
        self._wait_for_events()

    def report(self) -> None:
        """Warn of what was lost; for the thread of the run."""
        while self._words:
            self._warn(self._words.popleft())

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
            self._tell("failed", f"run {self._about.run} broke off: {error}")
        end = time.monotonic() + (self._goodbye_s if expected else 0.0)
        for delivery in self._deliveries:
            delivery.wait(end - time.monotonic())
            delivery.close()
        while self._words:
            self._warn_late(self._words.popleft())

    def _wait_for_events(self) -> None:
        """Let what is written to the cluster out before the lock is given back (S5)."""
        for delivery in self._deliveries:
            if isinstance(delivery.sink, EventsSink):
                delivery.wait(_UNDER_LOCK_S)

    def _tell(
        self, event: Occasion, text: str, done: int = 0, total: int | None = None, **more: str
    ) -> None:
        about = self._about
        message = Message(
            schema=SCHEMA,
            event=event,
            time=stamp(self._clock()),
            text=plain(text, MOST_TEXT),
            rollout=about.rollout,
            namespace=about.namespace,
            run=about.run,
            plan=about.plan,
            digest=about.digest,
            done=done,
            total=about.total if total is None else total,
            **more,
        )
        for delivery in self._deliveries:
            if not delivery.sink.events or event in delivery.sink.events:
                delivery.put(message)

    def _lose(self, sink: Sink, why: str) -> None:
        with self._counting:
            self.lost[sink.name] += 1
            first = self.lost[sink.name] == 1
        if first:
            self._words.append(f"notify {sink.name} was not told: {plain(why)}; the run goes on")


def _came_to_nothing(told: Notice, engine: Engine) -> bool:
    """Whether a wave has ended without a success: then its failure is told, not its end."""
    return told.kind == "wave-done" and engine.failures.without_success(told.wave)


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
        if not _came_to_nothing(told, engine):
            self._notifier.notice(told, engine.plan)

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Nothing happened for a while."""
        self._notifier.report()
        self._observer.heartbeat(why, engine)

    def look(self, engine: Engine, now: float) -> float:
        """The state may be another one."""
        self._notifier.begin()
        self._notifier.report()
        return self._observer.look(engine, now)

    def waiting(self, why: str) -> None:
        """The run has not begun yet."""
        self._observer.waiting(why)

    def warning(self, text: str) -> None:
        """Something is not as it should be."""
        self._observer.warning(text)
