"""The cluster as a whole: how it starts, and that one seed gives one history."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time

import pytest

from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import (
    DaemonSetEntry,
    Fleet,
    NodeGroup,
    Rule,
    Taint,
    UpdateStrategy,
    User,
    default_fleet,
    read_fault,
)
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.resources import (
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    RESOURCES,
    ROLES,
)
from rollout.sim.steadystate import ADMIN
from rollout.sim.store import Event, Object
from tests.sim.smallworld import ON_DELETE, SmallWorld, is_ready

QUIET = Settings(track_managers=False, events=False)


def update(cluster: Cluster, image: str = "log-agent:2.4", **limits: int | str) -> None:
    containers = [{"name": "agent", "image": image}]
    spec: Object = {"template": {"spec": {"containers": containers}}}
    if limits:
        spec["updateStrategy"] = {"rollingUpdate": limits}
    cluster.registry.patch(
        DAEMONSETS, "logging", "log-agent", {"spec": spec}, PatchType.STRATEGIC, ADMIN
    )


def updated(cluster: Cluster, nodes: int) -> bool:
    status: dict[str, int] = cluster.registry.get(DAEMONSETS, "logging", "log-agent")["status"]
    numbers = ("updatedNumberScheduled", "numberAvailable")
    return status["observedGeneration"] == 2 and all(status.get(n) == nodes for n in numbers)


# The start


def test_a_cluster_starts_with_everything_in_its_place() -> None:
    cluster = Cluster(VirtualClock())
    nodes = list(cluster.store.scan(NODES))
    pods = list(cluster.store.scan(PODS, "logging"))
    assert [n["metadata"]["name"] for n in nodes] == [f"node-{i:03d}" for i in range(20)]
    assert all(map(is_ready, nodes))
    assert all(map(is_ready, pods))
    assert sorted(p["spec"]["nodeName"] for p in pods) == [f"node-{i:03d}" for i in range(20)]
    assert cluster.registry.get(DAEMONSETS, "logging", "log-agent")["status"] == {
        "currentNumberScheduled": 20,
        "desiredNumberScheduled": 20,
        "numberAvailable": 20,
        "numberMisscheduled": 0,
        "numberReady": 20,
        "observedGeneration": 1,
        "updatedNumberScheduled": 20,
    }
    zones = [n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in nodes]
    assert zones[:4] == ["zone-a", "zone-b", "zone-c", "zone-a"]


def test_nothing_moves_in_a_cluster_that_nobody_touches() -> None:
    clock = VirtualClock()
    cluster = Cluster(clock)
    cluster.start()
    clock.advance(1)
    version = cluster.store.version
    clock.advance(24 * 3600)
    assert cluster.store.version == version


def test_every_pod_has_a_name_a_uid_and_an_address_of_its_own() -> None:
    cluster = Cluster(VirtualClock(), default_fleet(300))
    pods = list(cluster.store.scan(PODS))
    for values in (
        {p["metadata"]["name"] for p in pods},
        {p["metadata"]["uid"] for p in pods},
        {p["status"]["podIP"] for p in pods},
        {p["status"]["containerStatuses"][0]["containerID"] for p in pods},
    ):
        assert len(values) == 300


def test_everything_is_older_than_the_start() -> None:
    clock = VirtualClock()
    cluster = Cluster(clock)
    created = {
        obj["metadata"]["creationTimestamp"]
        for resource in (NODES, PODS, DAEMONSETS)
        for obj in cluster.store.scan(resource)
    }
    assert max(created) < "2026-09-20"
    assert clock.now() == VirtualClock().now()


def test_a_fleet_may_be_partly_updated_at_the_start() -> None:
    entry = DaemonSetEntry(
        name="agent", image="agent:v2", previous_image="agent:v1", up_to_date=1, strategy=ON_DELETE
    )
    world = SmallWorld(3, entry=entry)
    assert world.images() == {"n0": ["agent:v2"], "n1": ["agent:v1"], "n2": ["agent:v1"]}
    assert world.revisions() == {1: "agent:v1", 2: "agent:v2"}
    assert world.status()["updatedNumberScheduled"] == 1
    world.wait(60)
    assert world.images()["n1"] == ["agent:v1"]


def test_nodes_that_are_down_at_the_start_stay_down_with_their_pods() -> None:
    world = SmallWorld(2, groups=(NodeGroup(name="dead", ready=False),))
    world.wait(600)
    assert not is_ready(world.get(NODES, "dead"))
    assert not is_ready(world.pod_on("dead"))
    status = world.status()
    assert (status["desiredNumberScheduled"], status["numberMisscheduled"]) == (2, 1)
    world.cluster.restore_node("dead")
    world.wait(5)
    assert is_ready(world.pod_on("dead"))
    # A pod that turns Ready is a change of the DaemonSet's own, so the count follows.
    assert world.status()["desiredNumberScheduled"] == 3


def test_a_cordoned_group_runs_pods_and_a_tainted_one_does_not() -> None:
    groups = (
        NodeGroup(name="cordoned", unschedulable=True),
        NodeGroup(name="tainted", taints=(Taint("k", "NoSchedule"),)),
    )
    world = SmallWorld(1, groups=groups)
    assert set(world.images()) == {"n0", "cordoned"}


def test_other_objects_and_their_namespaces_are_made() -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "extra"},
        "data": {"a": "b"},
    }
    cluster = Cluster(VirtualClock(), Fleet(objects=(body,)))
    assert cluster.registry.get(NAMESPACES, "", "extra")["status"]["phase"] == "Active"
    assert cluster.registry.get(CONFIG_MAPS, "extra", "c")["data"] == {"a": "b"}


def test_a_user_s_rules_become_roles() -> None:
    rules = (
        Rule(verbs=("get", "list"), resources=("pods",)),
        Rule(verbs=("patch",), api_groups=("apps",), resources=("daemonsets",), namespaces=("x",)),
    )
    cluster = Cluster(VirtualClock(), Fleet(users=(User("dev", "secret", rules=rules),)))
    binding = cluster.registry.get(CLUSTER_ROLE_BINDINGS, "", "fleet:dev:0")
    assert binding["subjects"][0]["name"] == "dev"
    (rule,) = cluster.registry.get(ROLES, "x", "fleet:dev:1")["rules"]
    assert (rule["verbs"], rule["resources"]) == (["patch"], ["daemonsets"])


def test_managers_are_tracked_unless_that_is_switched_off() -> None:
    tracked = Cluster(VirtualClock(), default_fleet(1))
    (pod,) = tracked.store.scan(PODS)
    assert [m["manager"] for m in pod["metadata"]["managedFields"]] == [
        "kube-controller-manager",
        "kubelet",
    ]
    quiet = Cluster(VirtualClock(), default_fleet(1), QUIET)
    (pod,) = quiet.store.scan(PODS)
    assert "managedFields" not in pod["metadata"]


def test_only_the_named_parts_run() -> None:
    world = SmallWorld(1, parts=frozenset(("daemonset",)))
    world.delete_pod(world.pod_on("n0"), grace=0)
    world.wait(5)
    assert "nodeName" not in world.pod_on("n0")["spec"]  # no scheduler


def test_a_stopped_cluster_stands_still() -> None:
    world = SmallWorld(2)
    world.cluster.stop()
    world.set_image("agent:v2")
    world.wait(60)
    assert world.images() == {"n0": ["agent:v1"], "n1": ["agent:v1"]}


def test_kubelets_renew_their_leases_where_that_is_asked_for() -> None:
    clock = VirtualClock()
    cluster = Cluster(clock, default_fleet(2), Settings(heartbeats=True))
    cluster.start()
    first = cluster.registry.get(LEASES, "kube-node-lease", "node-000")["spec"]["renewTime"]
    cluster.lose_node("node-001")
    clock.advance(25)
    renewed = {
        lease["metadata"]["name"]: lease["spec"]["renewTime"] != first
        for lease in cluster.store.scan(LEASES, "kube-node-lease")
    }
    assert renewed == {"node-000": True, "node-001": False}


# One seed, one history


def history(seed: int, nodes: int = 30) -> str:
    """Everything that happens in an eventful hour, as one digest."""
    clock = VirtualClock()
    timing = Behaviour(start=Timing(5.0, sigma=0.6, stragglers=0.1, factor=8.0))
    fleet = Fleet(
        seed=seed,
        nodes=default_fleet(nodes).nodes,
        daemon_sets=(
            DaemonSetEntry(
                name="log-agent",
                namespace="logging",
                image="log-agent:2.3",
                strategy=UpdateStrategy("RollingUpdate", "20%"),
            ),
        ),
        default_behaviour=timing,
    )
    cluster = Cluster(clock, fleet)
    digest = hashlib.sha256()

    def note(event: Event) -> None:
        line = [event.version, event.type, round(clock.now(), 6), event.object]
        digest.update(json.dumps(line).encode())

    for resource in RESOURCES:
        cluster.store.subscribe(resource, note)
    cluster.start()
    cluster.set_image_fault("log-agent:2.4@node-003", read_fault("crash"))
    update(cluster)
    clock.advance(30)
    cluster.lose_zone("zone-b")
    cluster.join_node("node-new", zone="zone-a")
    clock.advance(200)
    cluster.restore_zone("zone-b")
    cluster.remove_node("node-000")
    update(cluster, "log-agent:2.5")
    clock.advance(3600)
    digest.update(json.dumps(list(cluster.store.scan(PODS))).encode())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_history_byte_for_byte() -> None:
    assert history(7) == history(7)


def test_another_seed_gives_another_history() -> None:
    assert history(7) != history(8)


def test_the_history_does_not_depend_on_the_hash_seed_of_the_process() -> None:
    program = "from tests.sim.test_cluster import history; print(history(7))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert outputs == {history(7) + "\n"}


# Size


def test_five_hundred_nodes_roll_in_seconds() -> None:
    clock = VirtualClock()
    cluster = Cluster(clock, default_fleet(500), QUIET)
    cluster.start()
    update(cluster, maxUnavailable="2%")
    began = time.thread_time()
    assert clock.run_until(lambda: updated(cluster, 500), 3600)
    assert time.thread_time() - began < 10


@pytest.mark.slow
def test_five_thousand_nodes_roll_for_half_an_hour_in_seconds() -> None:
    clock = VirtualClock()
    cluster = Cluster(clock, default_fleet(5000), QUIET)
    cluster.start()
    start = clock.now()
    update(cluster, maxUnavailable=7)
    began = time.thread_time()
    assert clock.run_until(lambda: updated(cluster, 5000), 7200)
    assert clock.now() - start > 1700
    assert time.thread_time() - began < 60


@pytest.mark.slow
def test_a_hundred_thousand_nodes_and_pods_fit_into_four_gibibytes() -> None:
    program = (
        "import resource\n"
        "from rollout.sim.clock import VirtualClock\n"
        "from rollout.sim.cluster import Cluster, Settings\n"
        "from rollout.sim.fleetfile import default_fleet\n"
        "from tests.sim.test_cluster import update\n"
        "clock = VirtualClock()\n"
        "cluster = Cluster(clock, default_fleet(100_000), Settings(track_managers=False))\n"
        "cluster.start()\n"
        "update(cluster, maxUnavailable='1%')\n"
        "clock.advance(10)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert int(done.stdout) < 4 * 2**20  # kibibytes


def test_the_current_revision_is_there_from_the_start() -> None:
    cluster = Cluster(VirtualClock(), default_fleet(2))
    (revision,) = cluster.store.scan(CONTROLLER_REVISIONS, "logging")
    hash_ = revision["metadata"]["labels"]["controller-revision-hash"]
    pods = cluster.store.scan(PODS, "logging")
    assert {p["metadata"]["labels"]["controller-revision-hash"] for p in pods} == {hash_}
