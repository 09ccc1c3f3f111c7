"""What every command that runs a plan needs: somebody to tell, and an ear for signals."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from rollout.executor.inbox import Inbox
from rollout.report.progress import JsonReporter, LineReporter


def reporter_for(output: str, sequence: int) -> JsonReporter | LineReporter:
    """Return who tells about the run.

    Args:
        output: `jsonl` for the event stream; anything else is lines for people.
        sequence: number of the last event of an earlier part of the run.
    """
    if output == "jsonl":
        return JsonReporter(_write_line, sequence)
    return LineReporter(_write_line)


def _write_line(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


@contextmanager
def stop_on_signals(inbox: Inbox) -> Iterator[None]:
    """First SIGINT or SIGTERM: start nothing new. Second: leave at once."""
    asked = False

    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os.write(2, b"ended at once; the same command goes on where it stopped\n")
            os._exit(128 + number)
        asked = True
        name = signal.Signals(number).name
        os.write(2, b"stopping: waiting for what is in flight; a second signal ends at once\n")
        inbox.stop(f"stopped by {name}")

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
