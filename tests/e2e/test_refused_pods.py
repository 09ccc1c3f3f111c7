"""Admission refuses the new pods: the run stops deleting, and quotes the server's message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller
from rollout.sim.resources import PODS
from tests.e2e.world import NAME, NAMESPACE, NEW, World, fleet, world

QUOTA = 'pods "log-agent" is forbidden: exceeded quota: small, used: pods=8, limited: pods=8'
CONTROLLER = "system:serviceaccount:kube-system:daemon-set-controller"


@contextmanager
def refusing(cluster: World, message: str) -> Iterator[Callable[[], int]]:
    """Let admission refuse the pods that the controller makes; hands out how often it did."""
    registry = cluster.cluster.cluster.registry
    original = registry.create
    refused: list[str] = []

    def create(resource: Any, namespace: str, body: Any, caller: Caller, **more: bool) -> Any:
        if resource is PODS and caller.user == CONTROLLER:
            refused.append(namespace)
            raise StatusError(403, "Forbidden", message)
        return original(resource, namespace, body, caller, **more)

    with cluster.cluster.lock:
        registry.create = create  # type: ignore[method-assign] # one fault for one test
    try:
        yield lambda: len(refused)
    finally:
        with cluster.cluster.lock:
            registry.create = original  # type: ignore[method-assign]  # back in its place


def test_faults_36_refused_pods_stop_the_deleting_and_the_run_goes_on_when_they_are_taken(
    tmp_path: Path,
) -> None:
    with world(fleet(8), tmp_path) as cluster:
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 2}, health={"soak": "100ms"}))
        with refusing(cluster, QUOTA) as times:
            running = cluster.start("apply", plan, "-o", "jsonl")
            told = running.event("pods-refused")
            shown = cluster.rollout("status", NAME, "-n", NAMESPACE)
            deleted = cluster.deleted_pods()  # what was on its way has arrived
            cluster.rollout("status", NAME, "-n", NAMESPACE)
            later = cluster.deleted_pods()
            assert times() > 0
        done = running.end()
        images = set(cluster.images().values())
    assert QUOTA in told["message"]
    assert 1 <= len(deleted) <= 2
    assert later == deleted, "nothing more is deleted while new pods are refused"
    assert shown.code == 0, shown.err
    assert done.code == 0, done.err
    assert images == {NEW}


def test_a_refusal_that_lasts_holds_the_run_with_the_servers_words(tmp_path: Path) -> None:
    with world(fleet(4), tmp_path) as cluster:
        health = {"soak": "100ms", "nodeTimeout": "6s"}
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}, health=health))
        with refusing(cluster, QUOTA):
            done = cluster.rollout("apply", plan)
            deleted, record = cluster.deleted_pods(), cluster.record()
    assert done.code == 3, done.err
    assert QUOTA in done.out
    assert len(deleted) == 1
    assert record is not None
    assert QUOTA in record["message"]
