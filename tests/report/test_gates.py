"""Gates in words: how often each is measured, and what it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.report.gates import measured_text, said_text
from tests.gates.worlds import a_gate

QUERY = {"url": "https://p", "query": "up", "successCondition": "result > 0"}


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        ("pods", {}, "1x"),
        ("pods", {"count": 5, "failureLimit": 1}, "5x, every 30s, bears 1 failed"),
        ("pods", {"at": "background"}, "until the end, every 30s"),
        ("pods", {"at": "background", "count": 3}, "3x, every 30s"),
        (
            "prometheus",
            {"consecutiveSuccessLimit": 3, "failureLimit": -1, "interval": "1m", **QUERY},
            "until 3 pass in a row, every 1m, bears any number failed",
        ),
        (
            "pods",
            {"consecutiveSuccessLimit": 3, "count": 9},
            "until 3 pass in a row, at most 9x, every 30s",
        ),
        ("node", {"at": "after-node"}, "1x, per node"),
        ("approval", {}, "until 1 approved"),
        ("approval", {"minimum": 2, "deadline": "4h"}, "until 2 approved, within 4h"),
        (
            "approval",
            {"minimum": 2, "approvers": ["ann", "ben", "eva"]},
            "until 2 of ann, ben, eva approved",
        ),
        ("pause", {"duration": "90m"}, "waits for 1h30m"),
        (
            "window",
            {"windows": [{"allow": "0 22 * * *", "for": "2h"}]},
            "allow '0 22 * * *' for 2h (UTC)",
        ),
    ],
)
def test_how_often_a_gate_is_measured(kind: str, fields: dict[str, Any], text: str) -> None:
    assert measured_text(a_gate(kind, **fields)) == text


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        ("0.2", "above 0.1", "0.2: above 0.1"),
        ("exit 75", "exit 75: not sure", "exit 75: not sure"),
        ("200", "", "200"),
        ("", "no series", "no series"),
    ],
)
def test_value_and_reason_are_said_once(value: str, reason: str, text: str) -> None:
    assert said_text(value, reason) == text
