"""A release is judged by a real Prometheus server: whole runs of the real command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.world import NEW, OLD, Done, World, fleet, world
from tests.gates.prometheus import Prometheus

ALLOW = ("--allow-host", "127.0.0.1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def a_spec(cluster: World, server: Prometheus, **fields: Any) -> Path:
    """A canary of one node, judged by the error rate, and then the rest."""
    gate = {
        "name": "errors",
        "kind": "prometheus",
        "at": "after-wave",
        "when": {"waves": ["canary"]},
        "url": server.url,
        "query": "error_rate",
        "successCondition": "result < 0.01",
        "interval": "500ms",
        "consecutiveSuccessLimit": 3,
        "inconclusiveLimit": 100,  # no data while a busy machine answers a scrape too late
        **fields,
    }
    waves = [{"name": "canary", "size": 1}, {"name": "rest"}]
    return cluster.spec(waves=waves, gates=[gate])


def applied(cluster: World, spec: Path, *flags: str) -> Done:
    return cluster.rollout("apply", "-f", spec, "--yes", *ALLOW, *flags)


def test_a_release_that_raises_the_error_rate_is_stopped_after_the_canary_and_rolled_back(
    cluster: World, real_prometheus: Prometheus
) -> None:
    spec = a_spec(cluster, real_prometheus, onFailure="rollback")
    real_prometheus.exporter.set("error_rate", 0.2)
    real_prometheus.scraped()
    done = applied(cluster, spec)
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}
    assert len(cluster.deleted_pods()) == 2  # the canary's, there and back
    assert "errors" in done.out
    assert "more than failureLimit 0" in done.out


def test_a_release_that_changes_nothing_goes_on_to_every_node(
    cluster: World, real_prometheus: Prometheus
) -> None:
    done = applied(cluster, a_spec(cluster, real_prometheus))
    assert done.code == 0, done.err + done.out
    assert set(cluster.images().values()) == {NEW}


def test_no_data_holds(cluster: World, real_prometheus: Prometheus) -> None:
    done = applied(
        cluster, a_spec(cluster, real_prometheus, query="no_such_metric", inconclusiveLimit=0)
    )
    assert done.code == 9, done.err + done.out
    assert sorted(cluster.images().values()) == sorted([NEW, OLD, OLD, OLD])
    assert "the query returned no series" in done.out


def test_a_server_that_is_down_holds_and_the_run_goes_on_when_it_is_back(
    cluster: World, real_prometheus: Prometheus
) -> None:
    spec = a_spec(cluster, real_prometheus, consecutiveErrorLimit=1)
    real_prometheus.stop()
    try:
        done = applied(cluster, spec)
    finally:
        real_prometheus.start()
    assert done.code == 9, done.err + done.out
    assert sorted(cluster.images().values()) == sorted([NEW, OLD, OLD, OLD])
    assert "2 errors in a row, more than consecutiveErrorLimit 1" in done.out
    again = cluster.rollout("resume", "log-agent-2.4", "-n", "logging", *ALLOW)
    assert again.code == 0, again.err + again.out
    assert set(cluster.images().values()) == {NEW}


def test_a_gate_that_is_not_allowed_is_refused_before_the_first_write(
    cluster: World, real_prometheus: Prometheus
) -> None:
    spec = a_spec(cluster, real_prometheus)
    done = cluster.rollout("apply", "-f", spec, "--yes")
    assert done.code == 64
    assert "gate errors: host 127.0.0.1 is not allowed" in done.err
    assert cluster.writes() == []


def test_what_was_measured_is_in_the_events(cluster: World, real_prometheus: Prometheus) -> None:
    done = applied(cluster, a_spec(cluster, real_prometheus), "-o", "jsonl")
    assert done.code == 0, done.err
    assert "errors" in json.dumps(done.events)
