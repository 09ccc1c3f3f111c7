"""The lock from outside: refused at once, waited for, and lost while the machine slept."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.cluster.client import connect
from rollout.sim.fleetfile import Rule, User
from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAMESPACE, NEW, Done, Running, World, environment, fleet, world

LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
EVERYTHING = (Rule(("*",), ("*",), ("*",)),)
USERS = tuple(User(name, f"{name}-token", rules=EVERYTHING) for name in ("sleeper", "successor"))
LEASE_S = "1.5"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4, users=USERS), tmp_path) as made:
        yield made


@pytest.fixture
def plan(cluster: World) -> Path:
    return cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))


def test_fault_28_a_second_apply_is_refused_at_once_with_holder_host_and_age(
    cluster: World, plan: Path
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        run_id = running.event("run-started")["run"]
        running.event("node-started")
        written = len(cluster.writes())
        before = len(looks(cluster))
        second = cluster.rollout("apply", plan)
        looked = len(looks(cluster)) - before
        others = {e.verb for e in cluster.writes()[written:] if "/leases/" not in e.path}
    assert second.code == 10, second.err
    assert "begins" not in second.out
    assert f"is locked by run {run_id} of " in second.err
    for part in ("@", "since 20", "last renewal 20", " s ago", f"rollout unlock {run_id}"):
        assert part in second.err
    assert looked == 1, "it does not wait for the lease to run out"
    assert not others


def looks(cluster: World) -> list[str]:
    return [e.path for e in cluster.entries() if e.verb == "get" and "/leases/" in e.path]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_wait_for_the_lock_of_a_dead_run(
    cluster: World, plan: Path, number: signal.Signals
) -> None:
    client = connect(cluster.kubeconfig)
    dead = lease("run-0 ann@gone 1.1", "2020-01-01T00:00:00.000000Z")
    client.create(LEASES, dead, dict)
    client.close()
    written = len(cluster.writes())
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        said = running.event("waiting")["message"]
        began = time.monotonic()
        running.send(number)
        done = running.end()
        took = time.monotonic() - began
    assert "is locked by run run-0 of ann@gone" in said
    assert done.code == 6, done.err
    assert "stopped while waiting for the lock; nothing was changed" in done.err
    assert took < 15.0, "as long as the wait itself would have been"
    assert not cluster.writes()[written:]


def lease(holder: str, renewed: str) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "rollout-log-agent", "namespace": NAMESPACE},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "leaseTransitions": 3,
            "acquireTime": renewed,
            "renewTime": renewed,
        },
    }


def short_lease(cluster: World, plan: Path, user: str) -> Running:
    config = cluster.write_kubeconfig(user, f"{user}-token")
    env = environment(KUBECONFIG=str(config))
    return Running(plan, LEASE_S, env=env, module="tests.e2e.shortlease")


def first_that_is_let_in(cluster: World, plan: Path) -> Done:
    """Start successors until the lease of who is silent is old enough for one."""
    while True:
        with short_lease(cluster, plan, "successor") as successor:
            done = successor.end()
        if "is locked by run" not in done.err:
            return done


def test_a_stopped_process_that_wakes_up_behind_its_successor_writes_nothing(
    cluster: World, plan: Path
) -> None:
    old_pods = cluster.pod_names()
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    with short_lease(cluster, plan, "sleeper") as sleeper:
        sleeper.event("node-started")
        sleeper.send(signal.SIGSTOP)
        cluster.break_image(NEW, None)
        done = first_that_is_let_in(cluster, plan)
        assert done.code == 0, done.err
        asleep = len([e for e in cluster.writes() if e.user == "sleeper"])
        sleeper.send(signal.SIGCONT)
        woken = sleeper.end()
    entries = [e for e in cluster.writes() if e.user == "sleeper"][asleep:]
    stored = [e for e in entries if e.status < 300]
    assert woken.code == 7, (woken.err, woken.out)
    assert not stored, "a renewal may be tried, and is refused; nothing else is sent"
    assert all("/leases/" in e.path for e in entries)
    assert [event for event in woken.events if event["type"] == "drift"]
    assert set(cluster.images().values()) == {NEW}
    assert Counter(cluster.deleted_pods()) == Counter(old_pods.values())
    record = cluster.record()
    assert record is not None
    assert (record["phase"], record["epoch"]) == ("complete", 2)
