"""Reads saved plans."""

from __future__ import annotations

import sys
from pathlib import Path

from rollout.errors import DocumentError
from rollout.planner.graph import check_names, check_steps
from rollout.planner.plan import MOST_READ, Plan, decode


def read_plan(path: Path) -> Plan:
    """Read a plan that `rollout plan --out` wrote, and prove that it is whole.

    Raises:
        DocumentError: when it cannot be read, or any byte of it was changed.
    """
    try:
        data = _read(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentError(f"{path}: cannot be read: {reason}; check the path") from None
    if len(data) > MOST_READ:
        raise DocumentError(f"{path}: larger than {MOST_READ:,} bytes; is it the right file?")
    plan = decode(data, str(path))
    check_steps(plan.steps)
    check_names(plan)
    return plan


def _read(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(MOST_READ + 1)
    with path.open("rb") as file:
        return file.read(MOST_READ + 1)
