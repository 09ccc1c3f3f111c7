"""What the engine wants told: one line each in the event stream and on the screen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened in a run."""

    kind: str  # prepared, wave-started, node-started, node-done, node-failed, held, ...
    daemon_set: str = ""
    node: str = ""
    wave: int = 0
    message: str = ""
    gate: str = ""  # its name
    outcome: str = ""  # of a measurement, or a gate's verdict
    value: str = ""  # that was measured
    done: int = 0  # nodes that were done by then
