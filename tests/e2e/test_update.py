"""The main job: from a spec to an updated DaemonSet, in order and within the limit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rollout.sim.fleetfile import Fleet, UpdateStrategy
from rollout.sim.rbac import ADMIN
from tests.e2e.auditjudge import Json, judge
from tests.e2e.world import NAME, NEW, OLD, audit_into, fleet, world

ZONE = "topology.kubernetes.io/zone"
CANARY = [{"name": "canary", "size": 3, "spread": ZONE}, {"name": "rest"}]


def test_fifty_nodes_at_ten_percent_are_updated_within_the_limit(tmp_path: Path) -> None:
    strategy = UpdateStrategy(max_unavailable="7%")
    described, events = fleet(50, 3, strategy=strategy), list[Json]()
    with world(described, tmp_path, audit=audit_into(events)) as cluster:
        before = cluster.daemon_set()
        old_pods = cluster.pod_names()
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": "10%"}, waves=CANARY))
        done = cluster.rollout("apply", plan)
        after, images = cluster.daemon_set(), cluster.images()

    verdict = judge(events, before["metadata"]["uid"])
    deletes = verdict.deletes_by(ADMIN.name)
    assert done.code == 0, done.err
    assert "50 of 50 nodes updated" in done.out
    assert set(images.values()) == {NEW}
    assert len(images) == 50
    assert Counter(delete.pod for delete in deletes) == Counter(old_pods.values())
    assert {delete.node for delete in deletes[:3]} == {"node-000", "node-001", "node-002"}
    assert len(verdict.down) == 5
    assert after["spec"]["updateStrategy"] == before["spec"]["updateStrategy"]
    assert not {key for key in after["metadata"].get("annotations", {}) if "rollout" in key}


def test_a_wave_begins_when_the_one_before_is_done(tmp_path: Path) -> None:
    with world(fleet(6, 3), tmp_path) as cluster:
        done = cluster.rollout("apply", "-f", cluster.spec(waves=CANARY), "--yes", "-o", "jsonl")
    assert done.code == 0, done.err
    kinds = [event["type"] for event in done.events]
    second = kinds.index("wave-started", kinds.index("wave-started") + 1)
    assert kinds[:second].count("node-done") == 3
    assert kinds.index("wave-done") < second
    assert kinds[second:].count("node-done") == 3


def test_an_on_delete_daemon_set_is_finished_without_being_changed(tmp_path: Path) -> None:
    described = fleet(6, strategy=UpdateStrategy(type="OnDelete"), up_to_date=2)
    with world(described, tmp_path) as cluster:
        before = cluster.daemon_set()
        outdated = {
            node: pod for node, pod in cluster.pod_names().items() if cluster.images()[node] == OLD
        }
        spec = cluster.spec(target={"live": True})
        shown = cluster.rollout("plan", "-f", spec)
        done = cluster.rollout("apply", "-f", spec, "--yes")
        after = cluster.daemon_set()
        patches = [entry for entry in cluster.writes() if f"daemonsets/{NAME}" in entry.path]
        deleted = cluster.deleted_pods()
        images = set(cluster.images().values())
    assert done.code == 0, done.err
    assert "OnDelete by its owner's choice" in shown.out
    assert "4 to replace" in shown.out
    assert images == {NEW}
    assert patches == []
    assert sorted(deleted) == sorted(outdated.values())
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_an_on_delete_daemon_set_takes_a_new_template_and_stays_on_delete(tmp_path: Path) -> None:
    with world(fleet(4, strategy=UpdateStrategy(type="OnDelete")), tmp_path) as cluster:
        done = cluster.rollout("apply", "-f", cluster.spec(), "--yes")
        after, images = cluster.daemon_set(), set(cluster.images().values())
    assert done.code == 0, done.err
    assert images == {NEW}
    assert after["spec"]["updateStrategy"]["type"] == "OnDelete"
    assert after["metadata"]["generation"] == 2  # one patch, and none at the end


def test_the_strategy_of_a_manifest_is_there_at_the_end(tmp_path: Path) -> None:
    manifest = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log-agent, namespace: logging}
spec:
  selector: {matchLabels: {app: log-agent}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 3}}
  template:
    metadata: {labels: {app: log-agent}}
    spec: {containers: [{name: agent, image: "log-agent:2.4"}]}
"""
    with world(fleet(4), tmp_path) as cluster:
        (tmp_path / "manifest.yaml").write_text(manifest)
        spec = cluster.spec(target={"manifest": "manifest.yaml"})
        done = cluster.rollout("apply", "-f", spec, "--yes")
        after, images = cluster.daemon_set(), set(cluster.images().values())
        again = cluster.rollout("plan", "-f", spec, "--detailed-exitcode")
    assert done.code == 0, done.err
    assert images == {NEW}
    rolling = {"maxUnavailable": 3, "maxSurge": 0}
    assert after["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    assert (again.code, "Nothing to do" in again.out) == (0, True)


def test_a_node_that_is_not_ready_is_left_out_and_said_so(tmp_path: Path) -> None:
    with world(fleet(3, broken=1), tmp_path) as cluster:
        plan = cluster.plan(cluster.spec())
        shown = cluster.rollout("show", plan)
        done = cluster.rollout("apply", plan)
        deleted, names = cluster.deleted_pods(), cluster.pod_names()
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]["type"]
    assert "node was not ready before the run" in shown.out
    assert "3 to replace" in shown.out
    assert done.code == 12, done.err
    assert "deferred" in done.out
    assert names["broken"] not in deleted
    assert strategy == "RollingUpdate"


def test_excluded_nodes_keep_their_pod_and_so_the_strategy_stays(tmp_path: Path) -> None:
    with world(fleet(3), tmp_path) as cluster:
        spec = cluster.spec(nodes={"exclude": ["node-001"]})
        done = cluster.rollout("apply", "-f", spec, "--yes", "--allow-deferred")
        images, strategy = cluster.images(), cluster.daemon_set()["spec"]["updateStrategy"]["type"]
    assert done.code == 0, done.err
    assert images == {"node-000": NEW, "node-001": OLD, "node-002": NEW}
    assert strategy == "OnDelete"
    assert "node-001" in done.out
    assert "OnDelete" in done.out


def test_a_daemon_set_without_nodes_is_nothing_to_do(tmp_path: Path) -> None:
    with world(Fleet(daemon_sets=fleet(1).daemon_sets), tmp_path) as cluster:
        done = cluster.rollout("plan", "-f", cluster.spec(target={"live": True}))
    assert done.code == 0, done.err
    assert "Nothing to do: 0 of 0 nodes" in done.out
