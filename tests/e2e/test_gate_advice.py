"""What `rollout plan` says about gates that look outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.world import Asked, Reply, serve
from tests.e2e.world import World, fleet, world

ALLOW = ("--allow-host", "127.0.0.1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(2), tmp_path) as made:
        yield made


def monitoring(asked: Asked) -> Reply:
    """Two alerts fire, one of them because the DaemonSet is outdated."""
    if asked.path.endswith("/rules"):
        query = "kube_daemonset_status_updated_number_scheduled < 2"
        rules = [{"name": "Stuck", "query": query}, {"name": "Other", "query": "up == 0"}]
        return Reply({"status": "success", "data": {"groups": [{"rules": rules}]}})
    firing = [{"labels": {"alertname": name}, "state": "firing"} for name in ("Stuck", "Other")]
    return Reply({"status": "success", "data": {"alerts": firing}})


def warnings(cluster: World, url: str, *flags: str, **alerts: Any) -> list[str]:
    gate = {
        "name": "quiet",
        "kind": "prometheus",
        "at": "before-wave",
        "url": url,
        "alerts": alerts,
    }
    done = cluster.rollout("plan", "-f", cluster.spec(gates=[gate]), "-o", "json", *flags)
    assert done.code == 0, done.err
    found: list[str] = json.loads(done.out)["warnings"]
    return [warning for warning in found if "quiet" in warning]


def test_nodes_22_an_alert_that_only_the_update_can_end_is_warned_of(cluster: World) -> None:
    with serve(monitoring) as server:
        (said,) = warnings(cluster, server.url, *ALLOW)
        assert said == (
            "gate quiet can never open: Stuck fires because the DaemonSet is outdated; "
            "name it in alerts.ignore"
        )
        assert warnings(cluster, server.url, *ALLOW, ignore=["Stuck"]) == []


def test_a_server_that_is_not_allowed_is_not_asked_by_a_plan(cluster: World) -> None:
    with serve(monitoring) as server:
        assert warnings(cluster, server.url) == []
        assert not server.asked


def test_a_server_that_does_not_answer_is_a_warning_and_no_error(cluster: World) -> None:
    with serve(monitoring) as server:
        url = server.url
    (said,) = warnings(cluster, url, *ALLOW)
    assert said.startswith("gate quiet could not be asked for its alerts: 127.0.0.1:")


def test_a_configuration_that_is_wrong_is_refused_before_anything_is_asked(cluster: World) -> None:
    config = cluster.directory / "config.yaml"
    config.write_text("gates: {hots: [a]}\n")
    done = cluster.rollout("plan", "-f", cluster.spec(), "--config", config)
    assert done.code == 65
    assert "did you mean 'hosts'?" in done.err
    assert cluster.entries() == []


def test_a_condition_that_is_wrong_is_refused_with_its_line(cluster: World) -> None:
    gate = {"name": "g", "kind": "http", "at": "after-wave", "url": "https://h/"}
    spec = cluster.spec(gates=[{**gate, "successCondition": "reslut < 1"}])
    done = cluster.rollout("plan", "-f", spec)
    line = 1 + spec.read_text().splitlines().index("    successCondition: reslut < 1")
    assert done.code == 65
    assert done.err.startswith(f"error: {spec}:{line}: spec.gates[0].successCondition: 'reslut' is")
    assert cluster.entries() == []
