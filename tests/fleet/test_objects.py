from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.fleet.objects import (
    ContainerStatus,
    DaemonSet,
    Node,
    Pod,
    format_time,
    parse_time,
    strategy_text,
)


def pod(**parts: Any) -> Pod:
    raw: dict[str, Any] = {"metadata": {"name": "p", "uid": "u"}} | parts
    return msgspec.convert(raw, Pod)


def conditions(status: str, type_: str = "Ready") -> dict[str, Any]:
    return {"conditions": [{"type": "Other", "status": "True"}, {"type": type_, "status": status}]}


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (conditions("True"), True),
        (conditions("False"), False),
        (conditions("Unknown"), False),
        (conditions("True", "Scheduled"), False),
        ({}, False),
    ],
)
def test_ready_is_the_ready_condition_and_unknown_is_not_ready(
    status: dict[str, Any], *, ready: bool
) -> None:
    assert pod(status=status).ready is ready
    node = msgspec.convert({"metadata": {"name": "n"}, "status": status}, Node)
    nothing_reported = not any(c["type"] == "Ready" for c in status.get("conditions", ()))
    assert node.ready is (ready or nothing_reported)


@pytest.mark.parametrize(
    ("phase", "terminal"),
    [("Failed", True), ("Succeeded", True), ("Running", False), ("Pending", False), ("", False)],
)
def test_a_pod_is_terminal_when_its_containers_have_ended_for_good(
    phase: str, *, terminal: bool
) -> None:
    assert pod(status={"phase": phase}).terminal is terminal


def test_restarts_are_those_of_all_containers_together() -> None:
    statuses = [{"name": "a", "restartCount": 2}, {"name": "b", "restartCount": 3}]
    assert pod(status={"containerStatuses": statuses}).restarts == 5


def field(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchFields": [{"key": key, "operator": operator, "values": list(values)}]}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    key = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {key: {"nodeSelectorTerms": list(terms)}}}}


@pytest.mark.parametrize(
    ("spec", "node"),
    [
        ({"nodeName": "n1"}, "n1"),
        ({"nodeName": "n1"} | affinity(field("metadata.name", "In", "n2")), "n1"),
        (affinity(field("metadata.name", "In", "n2")), "n2"),
        (affinity(field("metadata.name", "In", "n2", "n3")), ""),
        (affinity(field("metadata.name", "NotIn", "n2")), ""),
        (affinity(field("metadata.uid", "In", "n2")), ""),
        (affinity(), ""),
        ({"affinity": {"podAntiAffinity": {}}}, ""),
        ({"affinity": None}, ""),
        ({}, ""),
    ],
)
def test_a_pod_is_tied_to_its_node_by_binding_or_by_its_one_affinity(
    spec: dict[str, Any], node: str
) -> None:
    assert pod(spec=spec).target_node == node


def test_unknown_fields_are_skipped_and_absent_ones_have_the_apis_zero() -> None:
    data = b"""{"metadata": {"name": "agent", "managedFields": [{"manager": "helm"}]},
        "spec": {"selector": {}, "template": {"spec": {"x": 1}}, "someday": true}}"""
    found = msgspec.json.decode(data, type=DaemonSet)
    assert found.spec.template == {"spec": {"x": 1}}
    assert (found.strategy_type, found.spec.min_ready_seconds) == ("RollingUpdate", 0)
    assert found.status.observed_generation == 0


def test_a_waiting_container_says_why() -> None:
    data = b'{"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff"}}}'
    status = msgspec.json.decode(data, type=ContainerStatus)
    assert status.state.waiting is not None
    assert status.state.waiting.reason == "ImagePullBackOff"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("2026-01-01T00:00:00Z", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
        ("2026-01-01T00:00:00.500000Z", 1767225600.5),
    ],
)
def test_time_stamps_of_the_api_are_seconds_since_the_epoch(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@given(st.integers(0, 4_000_000_000))
def test_a_time_reads_back_what_it_writes(seconds: int) -> None:
    assert parse_time(format_time(seconds)) == seconds


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ({}, "RollingUpdate"),
        ({"type": "OnDelete"}, "OnDelete"),
        (
            {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0}},
            "RollingUpdate, maxUnavailable 10%, maxSurge 0",
        ),
    ],
)
def test_a_strategy_fits_into_a_sentence(strategy: dict[str, Any], text: str) -> None:
    assert strategy_text(strategy) == text
