"""One measurement of any kind of gate: never raises, never passes by accident, shows no secret."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Protocol, cast

from rollout.errors import RolloutError, Withheld
from rollout.gates.conditions import has_conditions, judge
from rollout.gates.context import Context, variables
from rollout.gates.measurement import (
    REASON_LENGTH,
    VALUE_LENGTH,
    Measurement,
    Outcome,
    Reading,
    plain,
)
from rollout.gates.secrets import Secret, read_secret
from rollout.gatespec import Gate, GateBase


class Kind(Protocol):
    """What the module of a kind of gates offers."""

    def measure(self, gate: GateBase, context: Context) -> Reading | Measurement:
        """Look once; whatever is raised counts as an error of the measurement."""


def measure(gate: Gate, context: Context) -> Measurement:
    """Measure a gate once.

    Kinds that return a value are judged by the gate's conditions. Whatever goes wrong is an
    error with its reason, which the gate's consecutiveErrorLimit bears.

    Args:
        gate: from the plan.
        context: the picture that was taken for it.
    """
    secret: Secret | None = None
    try:
        if gate.secret_ref is not None:
            secret = read_secret(gate.secret_ref, context.client, context.namespace)
        kind = cast("Kind", importlib.import_module(f"rollout.gates.{gate.kind}"))
        found = kind.measure(gate, replace(context, secret=secret))
        measured = _judged(gate, found, context) if isinstance(found, Reading) else found
        measured = _patient(gate, measured, context)
    except Withheld as error:  # nothing was sent: the lock may become valid again
        measured = Measurement(Outcome.WAITING, context.now, reason=str(error))
    except RolloutError as error:
        measured = Measurement(Outcome.ERROR, context.now, reason=str(error))
    except Exception as error:  # noqa: BLE001 - a gate that breaks is an error of the gate
        text = f"the gate broke: {type(error).__name__}: {error}"
        measured = Measurement(Outcome.ERROR, context.now, reason=text)
    return _presentable(measured, secret)


def _judged(gate: GateBase, reading: Reading, context: Context) -> Measurement:
    value = show(reading.result)
    if not has_conditions(gate):
        return Measurement(reading.otherwise, context.now, value, reading.reason)
    found = judge(gate, reading.result, variables(context))
    reason = "; ".join(part for part in (reading.reason, found.reason) if part)
    return Measurement(found.outcome, context.now, value, reason)


def _patient(gate: GateBase, measured: Measurement, context: Context) -> Measurement:
    """In the background wait for the first node that is updated, as long as one is to come."""
    early = gate.at == "background" and context.more_to_come and not context.updated
    if early and measured.outcome is Outcome.NO_DATA:
        return replace(measured, outcome=Outcome.WAITING)
    return measured


def show(value: object) -> str:
    """Return a value for people: short numbers, text as it is."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            return "[" + ", ".join(show(item) for item in value[:20]) + "]"
        case dict():
            return ", ".join(f"{key} {show(item)}" for key, item in list(value.items())[:20])
        case _:
            return str(value)


def _presentable(measured: Measurement, secret: Secret | None) -> Measurement:
    """Take secrets and whatever steers a terminal out of what is shown and stored."""

    def clean(text: str, most: int) -> str:
        # Before and after: a secret may hold what is stripped, or show when it has been.
        hidden = text if secret is None else secret.redact(text)
        flat = plain(hidden, len(hidden))
        return plain(flat if secret is None else secret.redact(flat), most)

    return replace(
        measured,
        value=clean(measured.value, VALUE_LENGTH),
        reason=clean(measured.reason, REASON_LENGTH),
    )
