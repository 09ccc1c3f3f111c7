"""The gates of a spec, as types: one struct for each kind, told apart by `kind`."""

from __future__ import annotations

from typing import TypeAlias

from rollout.gatespec.base import GateBase, SecretKey, SecretRef, ThresholdRange, When
from rollout.gatespec.inside import (
    EventsGate,
    JobGate,
    LogsGate,
    NodeGate,
    PodsGate,
    ResourcesGate,
)
from rollout.gatespec.outside import (
    Alerts,
    CommandGate,
    HttpGate,
    PluginGate,
    PodPort,
    PrometheusGate,
    Tls,
    WebhookGate,
)
from rollout.gatespec.people import ApprovalGate, PauseGate, WindowGate, WindowRule
from rollout.gatespec.promql import placeholders

Gate: TypeAlias = (
    PodsGate
    | NodeGate
    | EventsGate
    | LogsGate
    | ResourcesGate
    | PrometheusGate
    | HttpGate
    | WebhookGate
    | CommandGate
    | JobGate
    | ApprovalGate
    | PauseGate
    | WindowGate
    | PluginGate
)


def per_node(gate: Gate) -> bool:
    """Whether it must be measured for each node; any other is measured once for all of them."""
    match gate:
        case NodeGate() | JobGate() | LogsGate():
            return True
        case HttpGate():
            return gate.pod_port is not None
        case PrometheusGate():
            return "node" in placeholders(gate.query)
        case CommandGate() | PluginGate():
            return gate.per_node
        case _:
            return False


def adds_up(gate: Gate) -> bool:
    """Whether what it reads adds up since the change; any other samples how things are."""
    return isinstance(gate, EventsGate | LogsGate)


__all__ = [
    "Alerts",
    "ApprovalGate",
    "CommandGate",
    "EventsGate",
    "Gate",
    "GateBase",
    "HttpGate",
    "JobGate",
    "LogsGate",
    "NodeGate",
    "PauseGate",
    "PluginGate",
    "PodPort",
    "PodsGate",
    "PrometheusGate",
    "ResourcesGate",
    "SecretKey",
    "SecretRef",
    "ThresholdRange",
    "Tls",
    "WebhookGate",
    "When",
    "WindowGate",
    "WindowRule",
    "adds_up",
    "per_node",
]
