"""The gate `resources` on the embedded cluster: what the new pods use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollout.gates.context import Bare
from rollout.gates.measurement import Measurement, Outcome
from rollout.sim.discovery import Discovery
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_nodes
from rollout.sim.images import Behaviour
from rollout.sim.resources import PODS
from rollout.sim.store import Object
from tests.e2e.world import NAMESPACE, NEW, OLD, QUICK, world
from tests.gates.scene import Scene, scene_of
from tests.gates.worlds import a_gate

MI = 2.0**20
CONTAINER = {
    "name": "agent",
    "image": NEW,
    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
}
FLEET = Fleet(
    nodes=default_nodes(3, 1),
    daemon_sets=(
        DaemonSetEntry(
            manifest={
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": "log-agent", "namespace": NAMESPACE},
                "spec": {
                    "updateStrategy": {"type": "OnDelete"},
                    "selector": {"matchLabels": {"app": "log-agent"}},
                    "template": {
                        "metadata": {"labels": {"app": "log-agent"}},
                        "spec": {"containers": [CONTAINER]},
                    },
                },
            },
            previous_image=OLD,
            up_to_date=0,
        ),
    ),
    default_behaviour=QUICK.over(Behaviour(logs=())),
    images={
        NEW: Behaviour(cpu=0.3, memory=120 * MI),
        OLD: Behaviour(cpu=0.1, memory=60 * MI),
    },
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with world(FLEET, tmp_path_factory.mktemp("use")) as cluster, scene_of(cluster) as running:
        running.update("node-000")
        running.wait_for(PODS, lambda pod: runs(pod, NEW))
        yield running


def runs(pod: Object, image: str) -> bool:
    statuses = pod["status"].get("containerStatuses", ())
    return any(s["image"] == image and "running" in s["state"] for s in statuses)


def look(shared: Scene, node: str = "", /, **fields: Any) -> Measurement:
    return shared.measure(a_gate("resources", **fields), node)


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"cpu": "300m"}, Outcome.PASSED),
        ({"cpu": "299m"}, Outcome.FAILED),
        ({"memory": "120Mi"}, Outcome.PASSED),
        ({"memory": "119Mi"}, Outcome.FAILED),
        ({"cpu": "1", "memory": "1Mi"}, Outcome.FAILED),
        ({"against": "request", "cpu": "300%"}, Outcome.PASSED),
        ({"against": "request", "cpu": "250%"}, Outcome.FAILED),
        ({"against": "limit", "memory": "95%"}, Outcome.PASSED),  # 120 of 128 Mi: 93.75%
        ({"against": "limit", "memory": "90%"}, Outcome.FAILED),
        ({"against": "limit", "cpu": "90%"}, Outcome.NO_DATA),  # it has no limit
        ({"against": "control", "memory": "200%"}, Outcome.PASSED),
        ({"against": "control", "memory": "150%"}, Outcome.FAILED),
        ({"cpu": "1", "container": "agent"}, Outcome.PASSED),
        ({"cpu": "1", "container": "other"}, Outcome.NO_DATA),
    ],
)
def test_the_pod_that_uses_most_is_held_against_the_limit(
    shared: Scene, fields: dict[str, Any], outcome: Outcome
) -> None:
    assert look(shared, **fields).outcome is outcome


def test_the_reason_names_pod_and_amounts(shared: Scene) -> None:
    found = look(shared, memory="100Mi")
    assert found.reason.startswith("more memory than 100Mi: log-agent-")
    assert found.reason.endswith(" uses 120Mi")
    assert look(shared, cpu="1").reason == "at most cpu 300m, memory 120Mi"
    against = look(shared, against="control", cpu="200%")
    assert against.reason.startswith("more cpu than 200m: log-agent-")


def test_it_may_be_measured_for_one_node(shared: Scene) -> None:
    assert look(shared, "node-000", cpu="1m").outcome is Outcome.FAILED
    assert look(shared, "node-001", cpu="1m").outcome is Outcome.NO_DATA  # no new pod there


def test_conditions_see_the_amounts(shared: Scene) -> None:
    judged = look(shared, cpu="1", successCondition="result.cpu < 0.2")
    assert judged.outcome is Outcome.FAILED


def test_a_sample_from_before_the_change_is_waited_for_and_then_missing(shared: Scene) -> None:
    now = shared.picture().now
    gate = a_gate("resources", cpu="1")
    young = shared.measure(gate, since=now + 60)
    assert young.outcome is Outcome.WAITING
    assert young.reason.startswith("no sample is newer than the change: log-agent-")
    late = shared.measure(gate, since=now + 60, now=now + 3600)
    assert late.outcome is Outcome.NO_DATA


def test_without_old_pods_there_is_nothing_to_compare_with(shared: Scene) -> None:
    gate = a_gate("resources", cpu="100%", against="control")
    found = shared.measure(gate, control=())
    assert found.outcome is Outcome.NO_DATA
    assert found.reason.endswith("has nothing to compare its cpu")


def test_without_a_metrics_server_it_never_passes(shared: Scene) -> None:
    api = shared.world.cluster.api
    api.metrics, api.discovery, before = (
        None,
        Discovery(metrics=False),
        (api.metrics, api.discovery),
    )
    try:
        found = look(shared, cpu="1")
    finally:
        api.metrics, api.discovery = before
    assert found.outcome is Outcome.NO_DATA
    assert "the cluster has no metrics API" in found.reason


def test_a_node_without_its_new_pod_uses_nobody_knows_what(shared: Scene) -> None:
    """S8: what the other nodes use says nothing about it."""
    gate = a_gate("resources", memory="500Mi")
    found = shared.measure(gate, bare=(Bare("log-agent", "node-001"),))
    assert found.outcome is Outcome.NO_DATA
    assert found.reason == (
        "no new pod to look at on node-001; the others use cpu 300m, memory 120Mi"
    )
    assert shared.measure(gate).outcome is Outcome.PASSED
