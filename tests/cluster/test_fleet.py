"""What is read of a cluster for a plan, over HTTP."""

from __future__ import annotations

from pathlib import Path

from rollout.cluster.fleet import read_selecting
from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.faultfile import read_faults
from rollout.sim.fleetfile import default_fleet
from tests.cluster.world import talking_to


def test_what_selects_pods_and_may_not_be_listed_is_named(tmp_path: Path) -> None:
    match = "{verbs: [list], resources: [replicasets, services]}"
    faults = read_faults(None, f"faults: [{{name: rights, revoke: true, match: {match}}}]")
    with EmbeddedCluster(default_fleet(nodes=1), faults=faults) as cluster:
        user = cluster.kubeconfig()["users"][0]["user"]
        with talking_to(cluster.server.url, tmp_path, user=user) as client:
            selectors = read_selecting(client, "logging")
    assert [(one.kind, one.name) for one in selectors.found] == [("DaemonSet", "log-agent")]
    assert selectors.unseen == ("Service", "ReplicaSet")
