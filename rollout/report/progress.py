"""What is told while a run goes: lines for people, or the event stream for programs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import msgspec

from rollout.executor.engine.engine import Engine
from rollout.executor.engine.notices import Notice
from rollout.executor.result import Result
from rollout.planner.plan import Plan
from rollout.printable import one_line
from rollout.report.accounts import time_object
from rollout.report.events import EventStream
from rollout.report.result import outcome_word, result_text

SENTENCES = {
    "prepared": "DaemonSet {daemon_set}: OnDelete and the new template are set; {message}",
    "wave-started": "wave {wave} ({message}) begins",
    "wave-done": "wave {wave} is done",
    "node-started": "{node}: {message}",
    "node-done": "{node}: done ({done} of {total})",
    "node-failed": "{node}: FAILED: {message}",
    "node-gone": "{node}: left the cluster",
    "node-returned": "{node}: is back in the cluster with its old pod: it has its turn after all",
    "node-taken-back": "{node}: {message}",
    "node-joined": "{node}: joined the cluster; {message}",
    "controller-silent": "{message}",
    "controller-back": "DaemonSet {daemon_set}: {message}",
    "pods-refused": "DaemonSet {daemon_set}: new pods are refused: {message}",
    "node-waits": "{node}: waits: {message}",
    "node-skipped": "{node}: skipped: {message}",
    "node-by-others": "{node}: its pod was deleted by somebody else, {message}",
    "node-retried": "{node}: is tried again",
    "pausing": "pausing: nothing new starts; {message}",
    "resumed": "going on: {message}",
    "aborting": "aborting: nothing new starts; {message}",
    "rolling-back": "stopping for a rollback; {message}",
    "held": "holding: {message}",
    "paused": "pausing: {message}",
    "aborted": "ABORTED: {message}",
    "deadline": "DEADLINE: {message}",
    "cause-cleared": "cause cleared: {message}",
    "drift": "stopping: {message}",
    "restored": "DaemonSet {daemon_set}: the strategy is {message}",
    "gate-measured": "gate {gate}{place}: {outcome}{why}",
    "gate-passed": "gate {gate}{place} has passed{why}",
    "gate-failed": "gate {gate}{place} has FAILED{why}",
    "gate-inconclusive": "gate {gate}{place} is inconclusive{why}",
    "gate-error": "gate {gate}{place} could not be measured{why}",
    "gate-not-measured": "gate {gate}{place} was not measured{why}",
    "gate-ignored": "gate {gate}{place} is not asked{why}",
    "gate-waiting": "gate {gate}{place} waits{why}",
    "approval-wanted": "gate {gate}{place} waits for approval{why}",
    "window-open": "window {gate} is open{why}",
    "window-closed": "window {gate} is shut: nothing that it covers starts{why}",
    "strategy-kept": "DaemonSet {daemon_set}: {message}",
    "strategy-enforced": "DaemonSet {daemon_set}: {message}",
    "min-ready-changed": "DaemonSet {daemon_set}: {message}",
}


_BACK = {  # on the way back
    "prepared": "DaemonSet {daemon_set}: going back to {revision}: OnDelete and its template are "
    "set; {message}",
    "wave-started": "the nodes go back: those without an available pod first, then the newest",
    "wave-done": "all nodes have had their turn",
    "node-done": "{node}: back ({done} of {total})",
    "node-failed": "{node}: NOT BACK: {message}",
}


def say_aside(text: str) -> None:
    """Write a line to standard error, also from a signal handler, and whether it is read or not."""
    with suppress(OSError):  # `2>&1 | head`, or the terminal is gone
        os.write(2, f"{text}\n".encode())


def sentence(told: Notice, engine: Engine) -> str:
    """Return what happened in one line."""
    if told.kind == "wave-done" and engine.failures.without_success(told.wave):
        return f"wave {told.wave} is over: none of its nodes succeeded"
    words = SENTENCES | _BACK if engine.plan.goes_back else SENTENCES
    return words[told.kind].format(
        daemon_set=told.daemon_set,
        node=told.node,
        wave=told.wave,
        message=told.message,
        why=f": {told.message}" if told.message else "",
        gate=told.gate,
        outcome=told.outcome,
        place=_place(told, engine),
        done=told.done,
        total=engine.plan.totals.update,
        revision=_revision(told, engine),
    )


def _revision(told: Notice, engine: Engine) -> str:
    """Name the revision that the plan leads to."""
    numbers = {ds.name: ds.target.revision for ds in engine.plan.daemon_sets}
    number = numbers.get(told.daemon_set)
    return f"revision {number}" if number else "the template that the run has kept"


class LineReporter:
    """One line for each thing that happens.

    Args:
        write: takes one line, without its end.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.sequence = 0

    def begin(self, plan: Plan, run_id: str, *, resumed: bool) -> None:
        """Say which run begins."""
        verb = "goes on" if resumed else "begins"
        self._line(f"run {run_id} of plan {plan.id} {verb}")

    def notice(self, told: Notice, engine: Engine) -> None:
        """Say what happened."""
        self.sequence += 1
        self._line(sentence(told, engine))

    def look(self, engine: Engine, now: float) -> float:
        """See no more than what is told."""
        del engine, now
        return math.inf

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Say what the run waits for."""
        done, total = _progress(engine)
        self._line(f"{done} of {total} done; {why}")

    def waiting(self, why: str) -> None:
        """Say what the run waits for before it begins."""
        self._line(why)

    def warning(self, text: str) -> None:
        """Say what is not as it should be."""
        self._line(f"warning: {text}")

    def stopping(self, text: str) -> None:
        """Say on standard error, from a signal handler, that a stop was asked for."""
        say_aside(text)

    def close(self) -> None:
        """Nothing is open."""

    def end(self, plan: Plan, result: Result, code: int) -> None:
        """Show the final table."""
        del code
        self._write("")
        self._write(result_text(plan, result))

    def _line(self, text: str) -> None:
        self._write(f"{datetime.now().astimezone():%H:%M:%S}  {one_line(text)}")


class JsonReporter:
    """The event stream.

    Args:
        write: takes one line, without its end.
        start: number of the last event of an earlier part of this run.
    """

    def __init__(self, write: Callable[[str], None], start: int = 0) -> None:
        self._events = EventStream(write, start)

    @property
    def sequence(self) -> int:
        """Number of the last event."""
        return self._events.sequence

    def begin(self, plan: Plan, run_id: str, *, resumed: bool) -> None:
        """Say which run begins."""
        self._events.emit(
            "run-started",
            run=run_id,
            plan=plan.id,
            digest=plan.digest,
            resumed=resumed,
            nodes=plan.totals.update,
        )

    def notice(self, told: Notice, engine: Engine) -> None:
        """Say what happened."""
        self._events.emit(
            told.kind,
            daemonSet=told.daemon_set,
            node=told.node,
            wave=told.wave or None,
            message=told.message,
            gate=told.gate,
            outcome=told.outcome,
            value=told.value,
            done=told.done,
            total=engine.plan.totals.update,
        )

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Say what the run waits for."""
        done, total = _progress(engine)
        self._events.emit("heartbeat", message=why, done=done, total=total)

    def waiting(self, why: str) -> None:
        """Say what the run waits for before it begins."""
        self._events.emit("waiting", message=why)

    def warning(self, text: str) -> None:
        """Say what is not as it should be."""
        self._events.emit("warning", message=text)

    def look(self, engine: Engine, now: float) -> float:
        """See no more than what is told."""
        del engine, now
        return math.inf

    def stopping(self, text: str) -> None:
        """Say on standard error, from a signal handler, that a stop was asked for."""
        say_aside(text)

    def close(self) -> None:
        """Nothing is open."""

    def end(self, plan: Plan, result: Result, code: int) -> None:
        """Give the result of every node."""
        nodes = [
            {
                "node": run.node,
                "daemonSet": run.step.daemon_set,
                "result": outcome_word(result, run),
                "reason": run.reason,
            }
            for run in result.steps
        ]
        nodes += [
            {"node": n.name, "daemonSet": ds.name, "result": "deferred", "reason": n.reason}
            for ds in plan.daemon_sets
            for n in ds.nodes
            if n.fate == "deferred"
        ]
        self._events.emit(
            "run-finished",
            outcome=result.finish.outcome.value,
            message=result.finish.text,
            cause=result.cause,
            exitCode=int(code),
            nodes=nodes,
            joined=list(result.joined),
            gates=msgspec.to_builtins(result.gates),
            strategies=dict(result.strategies),
            account=time_object(result.account),
        )


def _place(told: Notice, engine: Engine) -> str:
    """Return where a gate stands: ` (n1)`, ` (wave canary)`."""
    if told.node:
        return f" ({told.node})"
    return f" (wave {engine.plan.waves[told.wave - 1].name})" if told.wave else ""


def _progress(engine: Engine) -> tuple[int, int]:
    return engine.done_count, engine.plan.totals.update
