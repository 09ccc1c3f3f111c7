"""`plugin`: a kind of gate that an installed package brings.

The package names a function in the entry point group `rollout.gates`:

    [project.entry-points."rollout.gates"]
    queue-depth = "my_package:measure"

    def measure(settings: dict, document: dict, secret: str | None) -> dict: ...

`settings` are the gate's own, `document` is what webhooks get, `secret` is what secretRef names.
It returns `{"result": value}`, which the gate's conditions judge, or `{"outcome": WORD}` with
passed, failed, inconclusive, "no data" or waiting; both may have a `reason`, and an outcome a
`value`. Whatever it raises, and anything else that it returns, is an error of the measurement.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rollout.gates.context import Context
from rollout.gates.document import describe
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gates.outside import OutsideError
from rollout.gatespec import PluginGate
from rollout.quantity import format_duration, parse_duration

GROUP = "rollout.gates"
_WORDS = {outcome.value: outcome for outcome in Outcome if outcome is not Outcome.ERROR}


def measure(gate: PluginGate, context: Context) -> Reading | Measurement:
    """Ask the plugin once; one that doesn't come back in time is left behind.

    Raises:
        OutsideError: it isn't installed, is late, or returns something else.
    """
    function = find_plugin(gate.plugin).load()
    secret = None if context.secret is None else context.secret.reveal()
    arguments = (copy.deepcopy(gate.settings), describe(gate, context), secret)
    answer = _in_time(function, arguments, parse_duration(gate.timeout))
    if not isinstance(answer, Mapping):
        raise OutsideError(f"plugin {gate.plugin} returned no mapping")
    reason = str(answer.get("reason", ""))
    if "result" in answer and "outcome" not in answer:
        return Reading(answer["result"], reason=reason)
    outcome = _WORDS.get(str(answer.get("outcome")))
    if outcome is None or "result" in answer:
        raise OutsideError(f"plugin {gate.plugin} returned neither a result nor an outcome")
    return Measurement(outcome, context.now, str(answer.get("value", "")), reason)


def find_plugin(name: str) -> EntryPoint:
    """Return the entry point of a plugin.

    Raises:
        OutsideError: it isn't installed, or twice.
    """
    found = entry_points(group=GROUP, name=name)
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise OutsideError(f"plugin {name} is installed by two packages; remove one")
    known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
    raise OutsideError(f"plugin {name} is not installed; installed are: {known}")


def _in_time(function: Any, arguments: tuple[Any, ...], limit_s: float) -> object:  # noqa: ANN401 - somebody's function
    results: list[object] = []
    failures: list[Exception] = []

    def call() -> None:
        try:
            results.append(function(*arguments))
        except Exception as error:  # noqa: BLE001 - it is handed on
            failures.append(error)

    thread = threading.Thread(target=call, name="gate-plugin", daemon=True)
    thread.start()
    thread.join(limit_s)
    if failures:
        raise failures[0]
    if not results:
        raise OutsideError(f"the plugin did not answer within {format_duration(limit_s)}")
    return results[0]
