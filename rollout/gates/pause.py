"""The gate `pause`: it waits for a duration from when it was asked first. Pure."""

from __future__ import annotations

from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gatespec import PauseGate
from rollout.quantity import format_duration, parse_duration


def measure(gate: PauseGate, context: Context) -> Measurement:
    """Pass when the time is over."""
    end = context.began + parse_duration(gate.duration)
    if context.now >= end:
        text = f"waited for {format_duration(parse_duration(gate.duration))}"
        return Measurement(Outcome.PASSED, context.now, reason=text)
    reason = f"goes on in {format_duration(end - context.now)}"
    return Measurement(Outcome.WAITING, context.now, reason=reason, again_at=end)
