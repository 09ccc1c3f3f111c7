"""Measures gates in threads of their own, so that no gate keeps the loop or the end of a run.

The threads are daemons: one that hangs in spite of its time limit is left behind, and the engine
counts its measurement as an error. Nothing here decides anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Measure
from rollout.executor.engine.engine import Engine
from rollout.executor.picture import Surroundings, take_picture
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gatespec import Gate


class Measurer:
    """Measures for one run.

    Args:
        engine: of the run; read in the thread that calls `begin`, and nowhere else.
        put: takes the event with each measurement.
        around: the run.
        look: how a gate is measured.
    """

    def __init__(
        self,
        engine: Engine,
        put: Callable[[ev.Event], None],
        around: Surroundings,
        look: Callable[[Gate, Context], Measurement] = measure,
    ) -> None:
        self._engine = engine
        self._put = put
        self._around = around
        self._look = look
        self._closed = threading.Event()

    def begin(self, action: Measure, now: float) -> None:
        """Start one measurement; its event follows."""
        meter = self._engine.gates.meters.get(action.meter)
        if meter is None or not meter.runs:
            lost = Measurement(Outcome.ERROR, now, reason="nobody asks any more")
            self._put(ev.Measured(action.meter, action.round, lost))
            return
        context = take_picture(self._engine, meter, self._around, now)
        name = f"gate-{meter.gate.name}"
        worker = threading.Thread(
            target=self._measure, args=(action, meter.gate, context), name=name, daemon=True
        )
        worker.start()

    def close(self) -> None:
        """Take no more measurements; those under way are left to their time limits."""
        self._closed.set()

    def _measure(self, action: Measure, gate: Gate, context: Context) -> None:
        found = self._look(gate, context)
        if not self._closed.is_set():
            self._put(ev.Measured(action.meter, action.round, found))
