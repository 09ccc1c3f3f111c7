"""Surge, rollback, approvals and requests from elsewhere, as the README promises them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rollout.sim.images import Fault, FaultKind
from tests.e2e.watcher import watching
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, World, fleet, world

ROLLOUT = "log-agent-2.4"
THERE = ("-n", NAMESPACE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(6), tmp_path) as made:
        yield made


def untouched_settings(cluster: World, strategy: object) -> None:
    daemon_set = cluster.daemon_set()
    assert daemon_set["spec"]["updateStrategy"] == strategy
    assert not [key for key in daemon_set["metadata"].get("annotations", {}) if "rollout" in key]


def test_with_surge_no_node_is_ever_without_a_ready_pod(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = stack.enter_context(world(fleet(6), tmp_path))
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]
        plan = cluster.plan(cluster.spec(strategy={"maxSurge": 2, "maxUnavailable": 0}))
        watcher = stack.enter_context(watching(cluster.cluster.server.address, NAMESPACE))
        done = cluster.rollout("apply", plan)
        images = cluster.images()
        untouched_settings(cluster, strategy)
        cluster.cluster.server.stop()
    assert done.code == 0, done.err + done.out
    assert set(images.values()) == {NEW}
    assert watcher.changes > 12
    assert watcher.most_down == 0


def test_a_failure_takes_the_touched_nodes_back_where_the_spec_says_so(cluster: World) -> None:
    strategy, before = cluster.daemon_set()["spec"]["updateStrategy"], cluster.pod_names()
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    spec = cluster.spec(strategy={"maxUnavailable": 2}, failure={"onFailure": "rollback"})
    done = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}
    kept = set(before.items()) & set(cluster.pod_names().items())
    assert len(kept) >= 4
    untouched_settings(cluster, strategy)
    assert done.events[-1]["exitCode"] == 4


def test_a_held_run_is_rolled_back_by_hand(cluster: World) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 3
    done = cluster.rollout("rollback", ROLLOUT, *THERE)
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}
    untouched_settings(cluster, strategy)


def test_undo_goes_to_the_revision_before(cluster: World) -> None:
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    done = cluster.rollout("undo", NAME, *THERE, "--yes")
    assert done.code == 0, done.err + done.out
    assert set(cluster.images().values()) == {OLD}


def test_a_run_waits_for_its_approval_and_goes_on_with_it(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    first = cluster.rollout("apply", plan)
    assert first.code == 6, first.err + first.out
    assert "approve" in first.out
    assert list(cluster.images().values()).count(NEW) == 1
    again = cluster.rollout("apply", plan, "--success-on-pause")
    assert again.code == 0, again.err
    assert list(cluster.images().values()).count(NEW) == 1
    approved = cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "canary")
    assert approved.code == 0, approved.err
    assert cluster.rollout("apply", plan).code == 0
    assert set(cluster.images().values()) == {NEW}


def test_a_running_apply_is_paused_from_elsewhere(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        asked = cluster.rollout("pause", ROLLOUT, *THERE, "--reason", "a look at it")
        cluster.break_image(NEW, None)
        done = running.end()
    assert asked.code == 0, asked.err
    assert done.code == 6, done.err
    assert list(cluster.images().values()).count(NEW) == 1
    assert cluster.rollout("apply", plan).code == 0
    assert set(cluster.images().values()) == {NEW}


def test_verify_names_what_would_be_in_the_way(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    assert cluster.rollout("verify", plan).code == 0
    cluster.patch_daemon_set({"spec": {"template": {"metadata": {"annotations": {"by": "x"}}}}})
    done = cluster.rollout("verify", plan)
    assert done.code == 7, done.err
    assert "failed" in done.out
