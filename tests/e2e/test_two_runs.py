"""Two `rollout apply` of different DaemonSets at once: they share nodes, and one limit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import yaml

from rollout.sim.resources import PODS
from tests.e2e.world import NAMESPACE, World, fleet, spec_document, world
from tests.simulation.nodejudge import NodeJudge

NODES, LIMIT = 12, 4
SETS = ("log-agent", "metrics-agent")


def plan(cluster: World, name: str) -> Path:
    document = spec_document(
        target={"set": {"image": {"agent": f"{name}:9"}}},
        limits={"maxNodesInFlight": LIMIT, "replacementsPerSecond": 100},
        waves=["100%"],
    )
    document["metadata"]["name"] = name
    document["spec"]["daemonSets"][0]["name"] = name
    path = cluster.directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return cluster.plan(path, f"{name}.json")


def test_nodes_10_two_processes_share_nodes_and_a_limit(tmp_path: Path) -> None:
    described = fleet(NODES, 3)
    (first,) = described.daemon_sets
    second = msgspec.structs.replace(first, name=SETS[1], image=f"{SETS[1]}:1")
    described = msgspec.structs.replace(described, daemon_sets=(first, second))
    with world(described, tmp_path) as cluster:
        plans = [plan(cluster, name) for name in SETS]
        with cluster.cluster.lock:
            judge = NodeJudge(cluster.cluster.cluster.store)
        with cluster.start("apply", plans[0]) as one, cluster.start("apply", plans[1]) as two:
            ends = [one.end(), two.end()]
        images = Counter(
            pod["spec"]["containers"][0]["image"]
            for pod in cluster.objects(PODS)
            if pod["metadata"]["namespace"] == NAMESPACE
        )
        deleted = len(cluster.deleted_pods())

    assert [end.code for end in ends] == [0, 0], [end.err for end in ends]
    assert images == {f"{name}:9": NODES for name in SETS}
    assert deleted == 2 * NODES
    assert judge.shared == []
    assert 0 < judge.most <= LIMIT
