"""Ctrl-C, SIGTERM and SIGKILL: what is in flight, and how the same plan goes on."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, Running, World, fleet, world

LIMIT = 2
LAST = ("node-003", "node-004", "node-005")  # one more than may be in flight
STOPPED = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(6), tmp_path) as made:
        yield made


@pytest.fixture
def plan(cluster: World) -> Path:
    return cluster.plan(cluster.spec(strategy={"maxUnavailable": LIMIT}))


def in_flight(running: Running) -> list[str]:
    """Read until as many nodes as the limit allows have been started; return them."""
    return [running.event("node-started")["node"] for _ in range(LIMIT)]


def keep_last_nodes_from_getting_ready(cluster: World) -> None:
    """Keep a run from its end, however late the test does what it does in between."""
    for node in LAST:
        cluster.break_image(f"{NEW}@{node}", Fault(FaultKind.NEVER_READY))


def let_last_nodes_get_ready(cluster: World) -> None:
    for node in LAST:
        cluster.break_image(f"{NEW}@{node}", None)


def stop_in_mid_run(cluster: World, plan: Path) -> None:
    """Apply until the first node is done, and then stop with a signal."""
    keep_last_nodes_from_getting_ready(cluster)
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-done")
        running.send(signal.SIGINT)
        assert "stopping" in running.read_error_line()
        let_last_nodes_get_ready(cluster)
        assert running.end().code == 6


def finished(cluster: World, old_pods: dict[str, str], strategy: object) -> None:
    """All nodes are updated, each by one delete, and the DaemonSet is as its owner had it."""
    daemon_set = cluster.daemon_set()
    assert set(cluster.images().values()) == {NEW}
    assert Counter(cluster.deleted_pods()) == Counter(old_pods.values())
    assert daemon_set["spec"]["updateStrategy"] == strategy
    assert not [key for key in daemon_set["metadata"].get("annotations", {}) if "rollout" in key]


@pytest.mark.parametrize("number", STOPPED, ids=lambda n: n.name)
def test_commands_36_the_first_signal_awaits_what_is_in_flight_and_pauses(
    cluster: World, plan: Path, number: signal.Signals
) -> None:
    old_pods, strategy = cluster.pod_names(), cluster.daemon_set()["spec"]["updateStrategy"]
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        started = in_flight(running)
        running.send(number)
        assert "stopping" in running.read_error_line()
        cluster.break_image(NEW, None)
        first = running.end()
    assert first.code == 6, first.err
    events = first.events
    assert [e["node"] for e in events if e["type"] == "node-started"] == started
    assert {e["node"] for e in events if e["type"] == "node-done"} == set(started)
    assert events[-1]["exitCode"] == 6
    images = cluster.images()
    assert {node for node, image in images.items() if image == NEW} == set(started)
    assert cluster.daemon_set()["spec"]["updateStrategy"]["type"] == "OnDelete"
    record = cluster.record()
    assert record is not None
    assert record["phase"] == "paused"

    second = cluster.rollout("apply", plan, "-o", "jsonl")
    assert second.code == 0, second.err
    finished(cluster, old_pods, strategy)
    numbers = [event["seq"] for event in events + second.events]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("number", STOPPED, ids=lambda n: n.name)
def test_commands_36_the_second_signal_ends_at_once(
    cluster: World, plan: Path, number: signal.Signals
) -> None:
    old_pods, strategy = cluster.pod_names(), cluster.daemon_set()["spec"]["updateStrategy"]
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        started = in_flight(running)
        running.send(number)
        assert "stopping" in running.read_error_line()
        running.send(number)
        first = running.end()
    assert first.code == 128 + number
    assert "goes on where it stopped" in first.err
    assert cluster.daemon_set()["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert set(cluster.deleted_pods()) <= {old_pods[node] for node in started}

    cluster.break_image(NEW, None)
    second = cluster.rollout("apply", plan)
    assert second.code == 0, second.err
    finished(cluster, old_pods, strategy)


def test_commands_37_a_killed_run_goes_on_without_a_second_delete(
    cluster: World, plan: Path
) -> None:
    old_pods, strategy = cluster.pod_names(), cluster.daemon_set()["spec"]["updateStrategy"]
    keep_last_nodes_from_getting_ready(cluster)
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-done")
        running.send(signal.SIGKILL)
        assert running.end().code == -signal.SIGKILL
    let_last_nodes_get_ready(cluster)
    second = cluster.rollout("apply", plan)
    assert second.code == 0, second.err
    finished(cluster, old_pods, strategy)


def test_a_paused_run_goes_on_from_another_copy_of_the_plan(cluster: World, plan: Path) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    old_pods = cluster.pod_names()
    stop_in_mid_run(cluster, plan)
    copy = plan.with_name("copy.json")
    copy.write_bytes(plan.read_bytes())
    plan.unlink()
    assert cluster.rollout("apply", copy).code == 0
    finished(cluster, old_pods, strategy)


def test_commands_34_a_change_by_somebody_else_stops_the_run(cluster: World, plan: Path) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        started = in_flight(running)
        patch = {"spec": {"template": {"metadata": {"annotations": {"by": "somebody"}}}}}
        cluster.patch_daemon_set(patch)
        running.event("drift")
        cluster.break_image(NEW, None)
        done = running.end()
    assert done.code == 7, done.err
    touched = {node for node, image in cluster.images().items() if image != OLD}
    assert touched == set(started)
    assert len(cluster.deleted_pods()) == LIMIT


def test_rolling_update_turned_back_on_stops_the_run(cluster: World, plan: Path) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        in_flight(running)
        rolling = {"maxUnavailable": 1, "maxSurge": 0}
        cluster.patch_daemon_set(
            {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}
        )
        running.event("drift")
        cluster.break_image(NEW, None)
        done = running.end()
    assert done.code == 7, done.err
    assert len(cluster.deleted_pods()) == LIMIT


def test_status_says_that_a_run_is_paused(cluster: World, plan: Path) -> None:
    stop_in_mid_run(cluster, plan)
    shown = cluster.rollout("status", NAME, "-n", NAMESPACE)
    assert shown.code == 0, shown.err
    assert "is paused: stopped by SIGINT" in shown.out.replace("Stopped", "stopped")
    assert "RollingUpdate" in shown.out
    assert "comes back at its end" in shown.out
    state = cluster.rollout("status", NAME, "-n", NAMESPACE, "-o", "json").json
    fates = Counter(node["fate"] for node in state["nodes"])
    assert fates["current"] >= 1
    assert fates["outdated"] >= 1
    assert json.dumps(state).count("node-00") == 6
