"""The question before a change: asked on a terminal, answered by --yes, and by nothing else."""

from __future__ import annotations

import sys

import click

from rollout.errors import UsageError


def is_interactive() -> bool:
    """Whether there is somebody who reads the question and can answer it."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def agreed(question: str, *, yes: bool, instead: str = "give --yes") -> bool:
    """Ask whether what was shown shall be done.

    Args:
        question: what is asked.
        yes: `--yes` was given.
        instead: what to do where nobody can be asked.

    Returns:
        Whether to do it; a no is told.

    Raises:
        UsageError: when there is no terminal to ask on; nothing was changed.
    """
    if yes:
        return True
    if not is_interactive():
        raise UsageError(f"nothing was changed: there is no terminal to ask on; {instead}")
    if click.confirm(question, default=False):
        return True
    click.echo("Nothing was changed.")
    return False
