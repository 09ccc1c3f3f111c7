from __future__ import annotations

from rollout.gates.permissions import refusals
from rollout.gates.settings import Settings
from tests.gates.worlds import a_gate


def test_what_is_not_allowed_is_known_before_anything_runs() -> None:
    gates = [
        a_gate("webhook", name="hook", url="https://h.example/"),
        a_gate("webhook", name="other", url="https://evil.example/"),
        a_gate("prometheus", name="alerts", url="https://prom.example/", alerts={}),
        a_gate("command", name="script", argv=["true"]),
        a_gate("plugin", name="own", plugin="nobody-has-this"),
        a_gate("http", name="port", podPort={"port": 80}),
        a_gate("pause", name="wait", duration="5m"),
    ]
    said = refusals(gates, Settings(hosts=("h.example",)))
    assert [sentence.partition(";")[0] for sentence in said] == [
        "gate other: host evil.example is not allowed",
        "gate alerts: host prom.example is not allowed",
        "gate script: commands are not allowed",
        "gate own: plugin nobody-has-this is not installed",
    ]
    assert not refusals(gates[:1] + gates[3:4], Settings(hosts=("h.example",), commands=True))
