from __future__ import annotations

from typing import Any

import pytest

from rollout.gates.permissions import accesses, refusals
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


JOB = {"template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        ("pods", {}, []),
        ("events", {}, ["list events in agents"]),
        ("events", {"of": ["nodes"]}, ["list events in default"]),
        ("logs", {"pattern": "x"}, ["get pods/log in agents"]),
        ("resources", {"cpu": "1"}, ["list pods in agents"]),
        (
            "job",
            {"job": JOB},
            [*(f"{v} jobs in ours" for v in ("get", "create", "delete")), "list pods in ours"],
        ),
        (
            "prometheus",
            {"url": "https://p/", "alerts": {}, "secretRef": {"secret": {"name": "s", "key": "k"}}},
            ["get secrets in ours"],
        ),
    ],
)
def test_what_a_gate_does_in_the_cluster_is_known_before_anything_runs(
    kind: str, fields: dict[str, Any], wanted: list[str]
) -> None:
    found = accesses(a_gate(kind, **fields), "ours", ["agents"])
    said = [
        f"{a.verb} {a.resource}{f'/{a.subresource}' if a.subresource else ''} in {a.namespace}"
        for a in found
    ]
    assert said == wanted
