"""What every command that runs a plan needs: somebody to tell, and an ear for signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Protocol

import click

from rollout.cli.advice import advise
from rollout.cli.allowing import NOTHING_ALLOWED, Allowed
from rollout.cli.options import JournalOptions, write_report
from rollout.cli.output import drop_output
from rollout.cluster.client import Client
from rollout.cluster.identity import whoami
from rollout.errors import ExitCode, UsageError
from rollout.executor.applying import GateChoices, carry_out
from rollout.executor.engine.book import GRACE_S
from rollout.executor.exitcodes import exit_code
from rollout.executor.fitting import DriftPolicy
from rollout.executor.inbox import Inbox
from rollout.executor.observer import Observer
from rollout.executor.result import Result
from rollout.executor.saying import ignore_window, speaker
from rollout.executor.session import Session, begin
from rollout.executor.tuning import Tuning
from rollout.executor.wayback import goes_back
from rollout.fleet.objects import format_time
from rollout.gates.settings import Settings
from rollout.notify.messages import About, about_plan
from rollout.notify.notifier import Notifier, Told
from rollout.notify.sinks import Sender
from rollout.planner.plan import Plan
from rollout.quantity import cut
from rollout.report.progress import JsonReporter, LineReporter, say_aside
from rollout.signature import Signed

SHOW_CURSOR = b"\x1b[?25h"  # a live view hides it


class Reporter(Observer, Protocol):
    """Who tells about a run, from its begin to its end."""

    def begin(self, plan: Plan, run_id: str, *, resumed: bool) -> None:
        """Say which run begins."""

    def stopping(self, text: str) -> None:
        """Say, from a signal handler, that a stop was asked for."""

    def end(self, plan: Plan, result: Result, code: int) -> None:
        """Show how it ended."""

    def close(self) -> None:
        """Give the terminal back, however it ended."""


def carry_out_plan(
    client: Client,
    plan: Plan,
    output: str,
    journal: JournalOptions,
    allowed: Allowed = NOTHING_ALLOWED,
    *,
    on_drift: DriftPolicy = "fail",
    stop_at: str | None = None,
    ignore_windows: bool = False,
    grace_s: float = GRACE_S,
    enforces_strategy: bool = False,
    junit: Path | None = None,
    signed: Signed | None = None,
) -> tuple[ExitCode, Result]:
    """Begin the run of a plan, or go on with it, and tell about it.

    Args:
        client: of the cluster.
        plan: the plan.
        output: `jsonl`, or anything else for lines.
        journal: where the journal is.
        allowed: what gates may do on this machine.
        ignore_windows: the run goes on outside of its windows, and the record says who wants that.
        on_drift: what to do about nodes and pods that changed since the plan was made.
        stop_at: name or number of the wave behind which it ends; None: it goes on.
        grace_s: how long a signal waits for what is in flight.
        enforces_strategy: OnDelete is set again, once, where somebody turns it back.
        junit: where the result is written as JUnit XML; None: nowhere.
        signed: whose signature of the plan was checked; None: it needs none.

    Raises:
        RolloutError: when it could not begin.
    """
    wave = _wave_number(plan, stop_at) if stop_at is not None else 0
    gates = GateChoices(allowed.settings_for(plan.gates))
    session = begin(client, plan, journal.place, recover=journal.recover)
    session = replace(session, signed=signed)
    if ignore_windows:
        gates = _without_windows(gates, format_time(client.server_time()))
    reporter = reporter_for(output, session.told)
    inbox = Inbox()
    tuning = Tuning(grace_s=grace_s, enforces_strategy=enforces_strategy)
    about = about_plan(plan, session.record)
    teller = teller_for(client, about, allowed, reporter, output, verb_of(session))
    told = Told(reporter, teller.notifier)

    def begun(client: Client) -> None:
        tell_begin(reporter, plan, session)
        teller.write_through(client)

    with teller.notifier as notifier, stop_on_signals(inbox, reporter):
        result = carry_out(
            *(client, plan, session, inbox, told, on_drift, tuning, wave),
            gates=gates,
            begun=begun,
            ended=notifier.end,
        )
    code = exit_code(result.finish)
    reporter.end(result.plan, result, code)
    write_junit(junit, result, code)
    advise(result.plan, result, output, session)
    return code, result


def write_junit(path: Path | None, result: Result, code: ExitCode) -> None:
    """Write the result as JUnit XML."""
    if path is None:
        return
    from rollout.report.junit import junit

    write_report(path, junit(result.plan, result, code))


def tell_begin(reporter: Reporter, plan: Plan, session: Session) -> None:
    """Say that the run begins, or goes on: once it has its lock, and not before."""
    reporter.begin(plan, session.record.run_id, resumed=session.resumed)


def verb_of(session: Session) -> str:
    """Return what a run does that takes its lock to carry its plan out."""
    if goes_back(session.record):
        return "goes back"
    return "goes on" if session.resumed else "begins"


@dataclass(frozen=True, slots=True)
class Teller:
    """Who tells the sinks of a run; they hear of it once it has its lock."""

    notifier: Notifier
    sender: Sender

    def write_through(self, client: Client) -> None:
        """Write to the cluster through this client from now on: its writes ask the lock (S5)."""
        self.sender.client = client


def teller_for(
    client: Client,
    about: About,
    allowed: Allowed,
    reporter: Observer,
    output: str,
    verb: str = "begins",
) -> Teller:
    """Return who tells the sinks of a run.

    Args:
        client: of the cluster.
        about: the run, and its sinks.
        allowed: which hosts this machine may ask.
        reporter: warned of a sink that fails.
        output: `jsonl`, or anything else for lines: how the reporter tells.
        verb: what the run does once it has its lock.

    Raises:
        DocumentError: the configuration is wrong.
        UsageError: a flag is.
    """
    settings = allowed.settings() if about.sinks else Settings()
    sender = Sender(client, about, settings)

    def warn_late(text: str) -> None:
        if output == "jsonl":  # whose last event has its number already
            click.echo(f"warning: {text}", err=True)
        else:
            reporter.warning(text)

    return Teller(Notifier(about, sender.send, reporter.warning, warn_late, verb), sender)


def _without_windows(gates: GateChoices, at: str) -> GateChoices:
    who = speaker(whoami(), at, "--ignore-window")
    return replace(gates, ignore_windows=True, override=lambda record: ignore_window(record, who))


def _wave_number(plan: Plan, wanted: str) -> int:
    names = [wave.name for wave in plan.waves]
    named = [number for number, name in enumerate(names, start=1) if name == wanted]
    if len(named) > 1:
        numbers = cut([str(number) for number in named], 20)
        raise UsageError(
            f"--stop-at: the plan has several waves '{wanted}': give the number, one of {numbers}"
        )
    if named:
        return named[0]
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted)
    raise UsageError(f"--stop-at: the plan has no wave '{wanted}'; it has {cut(names, 20)}")


def reporter_for(output: str, sequence: int) -> Reporter:
    """Return who tells about the run: a live view on a terminal, else lines.

    Args:
        output: `jsonl` for the event stream; anything else is lines for people.
        sequence: number of the last event of an earlier part of the run.
    """
    if output == "jsonl":
        return JsonReporter(write_line, sequence)
    if not _can_be_drawn_on():
        return LineReporter(write_line)
    from rich.console import Console

    from rollout.report.screen import LiveReporter

    return LiveReporter(Console(no_color=False), write_line)


def _can_be_drawn_on() -> bool:
    """Whether standard output is a terminal that moves its cursor, and nobody minds."""
    dumb = os.environ.get("TERM", "dumb") in {"", "dumb", "unknown"}
    context = click.get_current_context(silent=True)  # whose color knows NO_COLOR and --color
    return sys.stdout.isatty() and not dumb and (context is None or context.color is not False)


def write_line(text: str) -> None:
    """Show a line at once; nodes in flight are not left alone because nobody reads any more."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except OSError as error:  # `| head` has seen enough, or the disk is full
        drop_output()
        why = error.strerror or str(error)
        say_aside(
            f"standard output: {why}; the run goes on, 'rollout status' shows where it stands"
        )


@contextmanager
def stop_on_signals(inbox: Inbox, reporter: Reporter) -> Iterator[None]:
    """First SIGINT, SIGTERM or SIGHUP: start nothing new. Second: leave at once.

    The terminal is given back at the end, however it comes. When it is closed, the shell and the
    kernel may each send a SIGHUP: more of them are one. Under nohup there is none.
    """
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGHUP:
            return
        if asked:
            if sys.stdout.isatty():
                with suppress(OSError):
                    os.write(1, SHOW_CURSOR)
            say_aside("ended at once; the same command goes on where it stopped")
            os._exit(128 + number)
        asked = True
        name = signal.Signals(number).name
        reporter.stopping("stopping: waiting for what is in flight; a second signal ends at once")
        inbox.stop(f"stopped by {name}")

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in heard}
    try:
        yield
    finally:
        reporter.close()
        for number, handler in before.items():
            signal.signal(number, handler)
