"""The rows of a benchmark, and how they are shown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
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


def text(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return one table of all benchmarks, each under its name."""
    verdicts = {True: "met", False: "MISSED", None: ""}
    lines: list[tuple[str, str, str, str]] = []
    for name, rows in parts.items():
        lines += [("", "", "", "")] if lines else []
        lines += [(name.upper(), "FIGURE", "TARGET", "")]
        lines += [(row.what, row.figure, row.target, verdicts[row.met]) for row in rows]
    body = tabulate(
        lines,
        tablefmt="plain",
        disable_numparse=True,
        colalign=("left", "right", "left", "left"),
        preserve_whitespace=True,
    )
    return "\n".join(line.rstrip() for line in body.splitlines()) + "\n"


def markdown(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return a table for a README: each figure, and of what belongs to it what was promised."""
    lines = [f"Measured on: {machine()}.", "", "| what | figure | target |", "|---|---:|---|"]
    for rows in parts.values():
        for group in _groups(rows):
            promised = [row for row in group[1:] if row.target]
            lines += [_line(row) for row in (group[0], *promised)]
    return "\n".join(lines) + "\n"


def _groups(rows: Iterable[Row]) -> list[list[Row]]:
    """Return each row that stands by itself, with those that are indented below it."""
    found: list[list[Row]] = []
    for row in rows:
        if row.what.startswith(" "):
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _line(row: Row) -> str:
    what = f"- {row.what.strip()}" if row.what.startswith(" ") else row.what
    missed = " (missed)" if row.met is False else ""
    return f"| {what} | {row.figure} | {row.target}{missed} |"


def machine() -> str:
    """Return a line that says what the figures were measured on."""
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, load average {os.getloadavg()[0]:.1f}"
    )
