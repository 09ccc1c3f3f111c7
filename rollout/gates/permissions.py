"""What gates want of this machine and its caller, looked at before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.errors import RolloutError
from rollout.gates.events import NODE_EVENTS
from rollout.gates.plugin import find_plugin
from rollout.gates.settings import Settings
from rollout.gates.targets import TargetRefused, check_host, parse_target
from rollout.gatespec import (
    CommandGate,
    EventsGate,
    Gate,
    HttpGate,
    JobGate,
    LogsGate,
    PluginGate,
    PrometheusGate,
    ResourcesGate,
    WebhookGate,
)


@dataclass(frozen=True, slots=True)
class Access:
    """Something that a gate does in the cluster."""

    verb: str
    group: str
    resource: str
    namespace: str
    subresource: str = ""
    name: str = ""


def accesses(gate: Gate, namespace: str, spaces: Iterable[str]) -> list[Access]:
    """Return what a gate does in the cluster beyond what every run does.

    Args:
        gate: from the plan.
        namespace: of the rollout.
        spaces: namespaces of its DaemonSets.
    """
    found = []
    secret = gate.secret_ref.secret if gate.secret_ref is not None else None
    if secret is not None:
        where = secret.namespace or namespace
        found.append(Access("get", "", "secrets", where, name=secret.name))
    match gate:
        case EventsGate():
            own = [] if gate.of == ("nodes",) else list(spaces)
            own += [NODE_EVENTS] if "nodes" in gate.of else []
            found += [Access("list", "", "events", space) for space in own]
        case LogsGate():
            found += [Access("get", "", "pods", space, "log") for space in spaces]
        case ResourcesGate():
            found += [Access("list", "metrics.k8s.io", "pods", space) for space in spaces]
        case JobGate():
            found += [Access(v, "batch", "jobs", namespace) for v in ("get", "create", "delete")]
            found.append(Access("list", "", "pods", namespace))
    return found


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
