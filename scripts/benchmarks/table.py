"""The rows of a benchmark, and how they are shown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass

from tabulate import tabulate


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        what: what was measured.
        figure: the figure with its unit.
        target: what was promised, "" where nothing was.
        met: whether the promise is kept, None where there is none.
    """

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


def plain(what: str, figure: str) -> Row:
    """Return a row that promises nothing."""
    return Row(what, figure)


def at_most(what: str, value: float, limit: float, unit: str = "", *, digits: int = 2) -> Row:
    """Return a row whose value must not be above a limit."""
    space = f" {unit}" if unit else ""
    figure = f"{value:,.{digits}f}{space}"
    return Row(what, figure, f"<= {limit:,g}{space}", value <= limit)


def text(title: str, rows: Iterable[Row]) -> str:
    """Return the table of one benchmark."""
    verdicts = {True: "met", False: "MISSED", None: ""}
    lines = [(row.what, row.figure, row.target, verdicts[row.met]) for row in rows]
    body = tabulate(
        lines,
        headers=(title.upper(), "FIGURE", "TARGET", ""),
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", "right", "left", "left"),
        preserve_whitespace=True,
    )
    return body + "\n"


def machine() -> str:
    """Return a line that says what the figures were measured on."""
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}"
    )
