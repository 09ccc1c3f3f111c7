"""Alerts of a Prometheus server: a gate that is open while none fires that it doesn't ignore."""

from __future__ import annotations

from collections.abc import Iterable

from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.promserver import Alert, Alerts, Rules, fetch
from rollout.gatespec import PrometheusGate
from rollout.gatespec.outside import Alerts as Wanted
from rollout.quantity import cut

# Metrics of kube-state-metrics that tell an outdated DaemonSet from an updated one: an alert on
# them fires because the update hasn't been made.
OUTDATED = ("kube_daemonset_status_updated_number_scheduled",)


def measure_alerts(gate: PrometheusGate, wanted: Wanted, context: Context) -> Measurement:
    """Ask which alerts fire.

    Raises:
        OutsideError: there's no answer that can be believed.
    """
    active = fetch(gate, context, "alerts", {}, Alerts).alerts
    blocking = _names(alert for alert in active if _blocks(alert, wanted))
    if blocking:
        verb = "fires" if len(blocking) == 1 else "fire"
        text = f"{cut(blocking)} {verb}"
        return Measurement(Outcome.FAILED, context.now, cut(blocking), text)
    return Measurement(Outcome.PASSED, context.now, "none", "no alert fires that counts")


def never_opens(gate: PrometheusGate, context: Context) -> list[str]:
    """Return the alerts that keep a gate closed until the update has been made behind it.

    Args:
        gate: with `alerts`, before the update of a node, a wave or the run.
        context: to ask the server.

    Raises:
        OutsideError: there's no answer that can be believed.
    """
    if gate.alerts is None or not gate.precedes:
        return []
    groups = fetch(gate, context, "rules", {"type": "alert"}, Rules).groups
    because = {
        rule.name
        for group in groups
        for rule in group.rules
        if any(metric in rule.query for metric in OUTDATED)
    }
    active = fetch(gate, context, "alerts", {}, Alerts).alerts
    blocking = _names(alert for alert in active if _blocks(alert, gate.alerts))
    return [name for name in blocking if name in because]


def _blocks(alert: Alert, wanted: Wanted) -> bool:
    if alert.state != "firing" or alert.labels.get("alertname") in wanted.ignore:
        return False
    return all(alert.labels.get(key) == value for key, value in wanted.match.items())


def _names(alerts: Iterable[Alert]) -> list[str]:
    return sorted({alert.labels.get("alertname", "an alert without a name") for alert in alerts})
