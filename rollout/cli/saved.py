"""Reads saved plans."""

from __future__ import annotations

import sys
from pathlib import Path

from rollout.errors import DocumentError
from rollout.planner.graph import digraph
from rollout.planner.plan import Plan, decode


def read_plan(path: Path) -> Plan:
    """Read a plan that `rollout plan --out` wrote, and prove that it is whole.

    Raises:
        DocumentError: when it cannot be read, or any byte of it was changed.
    """
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentError(f"{path}: cannot be read: {reason}; check the path") from None
    plan = decode(data, str(path))
    digraph(plan.steps)
    return plan
