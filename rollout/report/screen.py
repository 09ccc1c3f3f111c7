"""The live view on a terminal: what stays scrolls up, what changes is drawn below it in place.

The loop hands in pictures; a thread of rich's draws the latest one a few times a second. Whatever
ends the run, `close` gives the terminal back as it was. Imported only where there is a terminal.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rollout.executor.engine.engine import Engine
from rollout.executor.engine.notices import Notice
from rollout.executor.lock.steadyclock import steady_clock
from rollout.executor.result import Result
from rollout.planner.plan import Plan
from rollout.printable import one_line
from rollout.quantity import format_age
from rollout.report.gatelines import GateLine
from rollout.report.liveview import Picture, Viewer, WaveLine
from rollout.report.progress import sentence
from rollout.report.result import result_text

FRAMES_PER_S = 4
_IN_PLACE = {"node-started", "node-done"}  # the view itself shows them
_COLOURS = {"done": "green", "running": "cyan", "waiting": "dim"}
_BAR = 24  # columns


class LiveReporter:
    """Tells people on a terminal about a run.

    Args:
        console: the terminal.
        write: takes one line that stays, without its end; used when the view is closed.
        clock: own steady clock in seconds.
    """

    def __init__(
        self,
        console: Console,
        write: Callable[[str], None],
        clock: Callable[[], float] = steady_clock,
    ) -> None:
        self.sequence = 0
        self._console = console
        self._write = write
        self._clock = clock
        self._viewer = Viewer()
        self._lock = threading.Lock()
        self._title = ""
        self._why = "reading the cluster"
        self._closed = False
        self._shown: tuple[float, Picture] | None = None
        self._began = clock()
        self._live = Live(
            console=console,
            get_renderable=self._frame,
            refresh_per_second=FRAMES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def begin(self, plan: Plan, run_id: str, *, resumed: bool) -> None:
        """Say which run begins, and open the view."""
        verb = "goes on" if resumed else "begins"
        self._title = f"run {run_id} of {plan.name}"
        self._open()
        self._say(f"run {run_id} of plan {plan.id} {verb}")

    def notice(self, told: Notice, engine: Engine) -> None:
        """Let what matters later scroll up."""
        self.sequence += 1
        if told.kind not in _IN_PLACE:
            style = "red" if told.kind in {"node-failed", "held", "drift", "aborted"} else ""
            self._say(sentence(told, engine), style)

    def look(self, engine: Engine, now: float) -> float:
        """Take a picture, unless the last one is fresh; returns when to look again."""
        self._open()
        taken = self._shown[1].now if self._shown is not None else -math.inf
        if now - taken < 1 / FRAMES_PER_S:
            return taken + 1 / FRAMES_PER_S
        picture = self._viewer.take(engine, now)
        with self._lock:
            self._shown = self._clock(), picture
        return now + 1 / FRAMES_PER_S

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Do nothing: the view says it all the time."""
        del why, engine

    def waiting(self, why: str) -> None:
        """Show what the run waits for before it begins."""
        self._open()
        with self._lock:
            self._why = why

    def warning(self, text: str) -> None:
        """Say what is not as it should be."""
        self._say(f"warning: {text}", "yellow")

    def stopping(self, text: str) -> None:
        """Show that a stop was asked for; safe in a signal handler, so no lock is taken."""
        self._title = f"{self._title}  ({text})"

    def close(self) -> None:
        """Take the view away and give the terminal back."""
        self._closed = True
        with suppress(OSError):  # the terminal is gone
            self._live.stop()

    def end(self, plan: Plan, result: Result, code: int) -> None:
        """Close the view and show the final table."""
        del code
        self.close()
        self._write("")
        self._write(result_text(plan, result))

    def _open(self) -> None:
        if not self._closed:
            self._live.start()  # for the first time only

    def _say(self, text: str, style: str = "") -> None:
        line = Text(f"{datetime.now().astimezone():%H:%M:%S}  {one_line(text)}", style)
        try:
            self._console.print(line, soft_wrap=True)
        except OSError:  # the terminal is gone; the run is not
            self.close()

    def _frame(self) -> RenderableType:
        with self._lock:
            shown, why = self._shown, self._why
        now = self._clock()
        if shown is None:
            waited = format_age(now - self._began)
            return Group(Text(self._title, "bold"), Text(f"{one_line(why)} ({waited})"))
        taken, picture = shown
        return frame(self._title, picture, now - taken, now - self._began)


def frame(title: str, picture: Picture, age_s: float, elapsed_s: float) -> RenderableType:
    """Return one frame.

    Args:
        title: which run.
        picture: of the run.
        age_s: of the picture.
        elapsed_s: since this process has begun.
    """
    parts: list[RenderableType] = [_head(title, picture, elapsed_s), _waves(picture)]
    if picture.flying:
        parts.append(_flying(picture, age_s))
    if picture.gates:
        parts.append(_gates(picture, age_s))
    parts.append(Text(picture.why, "bold", no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _head(title: str, picture: Picture, elapsed_s: float) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    if title:
        text.append(f"{title}\n", "bold")
    text.append(f"{picture.done} of {picture.total} done", "green")
    failed = f"   {picture.failed} failed (limit {picture.failed_limit})"
    text.append(failed, "red" if picture.failed else "dim")
    text.append(f"   {format_age(elapsed_s)}")
    if picture.eta_s is not None:
        text.append(f"   about {format_age(picture.eta_s)} left")
    for budget in picture.budgets:
        text.append(f"   {budget}", "dim")
    return text


def _waves(picture: Picture) -> Table:
    table = Table.grid(padding=(0, 2))
    if picture.waves_hidden:
        table.add_row(Text(f"({picture.waves_hidden} more waves)", "dim"))
    for wave in picture.waves:
        table.add_row(*_wave(wave))
    return table


def _wave(wave: WaveLine) -> tuple[Any, ...]:
    colour = _COLOURS[wave.state]
    return (
        Text(wave.name, colour),
        ProgressBar(max(wave.nodes, 1), wave.over, width=_BAR, complete_style=colour),
        Text(f"{wave.over}/{wave.nodes}", colour),
        Text(wave.state, colour),
    )


def _table(*titles: str, names: Iterable[str], wide: str) -> Table:
    """Return an empty table whose last column takes what room is left.

    Where there is little, the names of the first column stay whole as long as they can: cut, those
    of a cluster's nodes all look the same.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
    first, *others = titles
    table.add_column(first, no_wrap=True, min_width=max(map(len, names), default=0))
    for title in others:
        table.add_column(title, no_wrap=True)
    table.add_column(wide, no_wrap=True, overflow="ellipsis", ratio=1)
    return table


def _flying(picture: Picture, age_s: float) -> Table:
    nodes = [run.node for run in picture.flying]
    table = _table("NODE", "DAEMONSET", "PHASE", "AGE", names=nodes, wide="WAITS FOR")
    for run in picture.flying:
        age = format_age(max(0.0, picture.now + age_s - run.since))
        table.add_row(run.node, run.daemon_set, run.phase, age, Text(one_line(run.lacks)))
    if picture.flying_hidden:
        table.add_row(f"and {picture.flying_hidden} more")
    return table


def _gates(picture: Picture, age_s: float) -> Table:
    gates = [line.name for line in picture.gates]
    table = _table("GATE", "AT", "SO FAR", "NEXT", names=gates, wide="LAST")
    for line in picture.gates:
        seen = _next(line, picture.now + age_s)
        table.add_row(Text(line.name), line.place, line.so_far, seen, Text(line.last))
    if picture.gates_hidden:
        table.add_row(f"and {picture.gates_hidden} more")
    return table


def _next(line: GateLine, now: float) -> str:
    """Say when a gate is measured next."""
    if line.now:
        return "now"
    if line.next_at is None:
        return "-"
    return f"in {format_age(max(0.0, line.next_at - now))}"
