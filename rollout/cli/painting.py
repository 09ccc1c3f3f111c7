"""Colour for what people read: lines of a diff, warnings, and the words in a column of states.

Escape sequences go out only where `--color`, the terminal and NO_COLOR let them: `click.echo` takes
them out again everywhere else.
"""

from __future__ import annotations

import re
from functools import partial

import click

_COLOURS = (
    (re.compile(r"^ *\+(?!/).*$", re.MULTILINE), "green"),
    (re.compile(r"^ *-(?!/).*$", re.MULTILINE), "red"),
    (re.compile(r"^ *@@.*$", re.MULTILINE), "cyan"),
    (re.compile(r"^Warning: .*$", re.MULTILINE), "yellow"),
    (re.compile(r"(?<=  )(?:failed|held|not ready|no pod|unknown)(?=  |$)", re.MULTILINE), "red"),
    (
        re.compile(r"(?<=  )(?:up to date|updated|done|ready|available)(?=  |$)", re.MULTILINE),
        "green",
    ),
)


def painted(text: str) -> str:
    """Return a text with its colours."""
    for pattern, colour in _COLOURS:
        text = pattern.sub(partial(_styled, colour), text)
    return text


def _styled(colour: str, found: re.Match[str]) -> str:
    return click.style(found[0], fg=colour)
