"""The gate `window`: now is a time in which something may begin, and enough of it is left. Pure."""

from __future__ import annotations

from rollout.gates.context import Context
from rollout.gates.measurement import Measurement
from rollout.gates.windows import judge_windows
from rollout.gatespec import WindowGate
from rollout.quantity import parse_duration


def measure(gate: WindowGate, context: Context) -> Measurement:
    """Pass while the windows are open; wait for the next opening otherwise."""
    windows = [rule.window for rule in gate.windows]
    needed = parse_duration(gate.enough) if gate.enough is not None else 0.0
    return judge_windows(windows, needed, context.now)
