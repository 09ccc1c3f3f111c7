"""What gates want of this machine and its caller, looked at before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.errors import RolloutError
from rollout.gates.plugin import find_plugin
from rollout.gates.settings import Settings
from rollout.gates.targets import TargetRefused, check_host, parse_target
from rollout.gatespec import (
    CommandGate,
    Gate,
    HttpGate,
    PluginGate,
    PrometheusGate,
    WebhookGate,
)


def refusals(gates: Iterable[Gate], settings: Settings) -> list[str]:
    """Return what can't be done of what the gates want, one sentence for each gate.

    The measurements check again, and the addresses besides.
    """
    found = []
    for gate in gates:
        try:
            _check(gate, settings)
        except RolloutError as error:
            found.append(f"gate {gate.name}: {error}")
    return found


def check_commands(settings: Settings) -> None:
    """Refuse to start programs unless the caller allows it.

    Raises:
        TargetRefused: with how to allow it.
    """
    if not settings.commands:
        raise TargetRefused(
            "commands are not allowed; set 'commands: true' in the configuration "
            "or pass --allow-commands"
        )


def _check(gate: Gate, settings: Settings) -> None:
    match gate:
        case CommandGate():
            check_commands(settings)
        case PluginGate():
            find_plugin(gate.plugin)
        case PrometheusGate() | HttpGate() | WebhookGate() if gate.url:
            check_host(parse_target(gate.url), settings)
