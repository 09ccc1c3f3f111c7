"""What a plan should say about alerts: those that keep a gate closed until the update is made."""

from __future__ import annotations

import msgspec

from rollout.cluster.client import Client
from rollout.errors import RolloutError
from rollout.gates.alerts import never_opens
from rollout.gates.context import Context
from rollout.gates.measurement import plain
from rollout.gates.permissions import refusals
from rollout.gates.secrets import read_secret
from rollout.gates.settings import Settings
from rollout.gatespec import PrometheusGate
from rollout.planner.plan import Plan, seal
from rollout.quantity import cut


def with_alert_warnings(plan: Plan, client: Client, settings: Settings) -> Plan:
    """Return the plan with a warning for each gate that alerts on outdated nodes keep closed.

    Servers that the caller doesn't allow are not asked.

    Args:
        plan: sealed.
        client: for secrets.
        settings: what the caller allows.
    """
    found = [
        warning
        for gate in plan.gates
        if isinstance(gate, PrometheusGate) and gate.alerts is not None
        if not refusals([gate], settings)
        for warning in _warnings(gate, plan, client, settings)
    ]
    if not found:
        return plan
    return seal(msgspec.structs.replace(plan, warnings=(*plan.warnings, *found)))


def _warnings(gate: PrometheusGate, plan: Plan, client: Client, settings: Settings) -> list[str]:
    try:
        names = never_opens(gate, _context(gate, plan, client, settings))
    except RolloutError as error:
        return [f"gate {gate.name} could not be asked for its alerts: {plain(str(error))}"]
    if not names:
        return []
    verb = "fires" if len(names) == 1 else "fire"
    why = f"{cut(names)} {verb} because the DaemonSet is outdated; name it in alerts.ignore"
    return [f"gate {gate.name} can never open: {why}"]


def _context(gate: PrometheusGate, plan: Plan, client: Client, settings: Settings) -> Context:
    now = client.server_time()
    secret = None
    if gate.secret_ref is not None:
        secret = read_secret(gate.secret_ref, client, plan.namespace)
    return Context(
        gate=f"gate/{gate.at}/{gate.name}",
        plan=plan.name,
        digest=plan.digest,
        author=plan.author,
        run="",
        wave=None,
        namespace=plan.namespace,
        daemon_sets=(),
        node=None,
        updated=(),
        control=(),
        updated_nodes=(),
        since=0.0,
        began=now,
        now=now,
        approvals=(),
        client=client,
        settings=settings,
        secret=secret,
    )
