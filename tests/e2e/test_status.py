"""`rollout status`: where every node stands, and one sentence on what is going on."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from rollout.sim.fleetfile import UpdateStrategy
from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, World, fleet, world

HERE = ("status", NAME, "-n", NAMESPACE)


def sentence(cluster: World, *options: str) -> str:
    done = cluster.rollout(*HERE, *options)
    assert done.code == 0, done.err
    assert cluster.writes() == []
    return done.out.splitlines()[1]


def test_up_to_date(tmp_path: Path) -> None:
    with world(fleet(3), tmp_path) as cluster:
        done = cluster.rollout(*HERE)
        assert sentence(cluster) == "Up to date and available on all 3 nodes."
    assert done.out.startswith("DaemonSet logging/log-agent: revision 1 (")
    assert "strategy RollingUpdate" in done.out
    assert len(re.findall(r"^node-00\d +current +1 ", done.out, re.MULTILINE)) == 3


def test_on_delete_with_outdated_nodes_says_how_to_go_on(tmp_path: Path) -> None:
    described = fleet(5, strategy=UpdateStrategy(type="OnDelete"), up_to_date=2)
    with world(described, tmp_path) as cluster:
        said = sentence(cluster)
        state = cluster.rollout(*HERE, "-o", "json").json
    assert said.startswith("2 of 5 nodes are on the current revision; under OnDelete the other 3")
    assert "rollout apply" in said
    assert state["strategy"] == "OnDelete"
    assert sorted(node["fate"] for node in state["nodes"]) == ["current"] * 2 + ["outdated"] * 3
    assert {node["revision"] for node in state["nodes"]} == {"1", "2"}
    assert state["sentence"] == said


def test_a_broken_pod_is_named_with_its_reason(tmp_path: Path) -> None:
    described = fleet(3, strategy=UpdateStrategy(type="OnDelete"))
    with world(described, tmp_path) as cluster:
        cluster.break_image(f"{OLD}@node-001", Fault(FaultKind.NEVER_READY))
        wait = cluster.kubectl(
            *("wait", "pod", cluster.pod_names()["node-001"], "-n", NAMESPACE),
            *("--for", "condition=Ready=False", "--timeout=60s"),
        )
        assert wait.code == 0, wait.err
        said = sentence(cluster)
    assert said == "3 of 3 nodes are on the current revision; not available yet: node-001."


def test_a_run_in_the_middle_names_itself_and_the_strategy_that_comes_back(
    tmp_path: Path,
) -> None:
    with world(fleet(4), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
        with cluster.start("apply", plan, "-o", "jsonl") as running:
            run = running.event("run-started")["run"]
            node = running.event("node-started")["node"]
            done = cluster.rollout(*HERE)
            cluster.break_image(NEW, None)
            assert running.end().code == 0
    said = done.out.splitlines()[1]
    assert said.startswith(f"Run {run} of rollout log-agent-2.4 (")
    assert re.search(r" is running[:;] ", said)
    assert "the original strategy (RollingUpdate) comes back at its end" in said
    assert "strategy OnDelete" in done.out
    others = re.findall(r"^(node-00\d) +outdated +1 ", done.out, re.MULTILINE)
    # The node that moves is among them as long as its old pod ends.
    assert len(others) == len(set(others))
    assert sorted({*others, node}) == [f"node-00{i}" for i in range(4)]


def test_a_failed_hand_over_shows_in_its_node_s_row_and_so_does_the_old_pod(
    tmp_path: Path,
) -> None:
    with world(fleet(3), tmp_path) as cluster:
        before = cluster.pod_names()
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        surge = {"maxSurge": 1, "maxUnavailable": 0}
        health = {"nodeTimeout": "1s", "startGrace": "0s", "soak": 0}
        failed = cluster.rollout(
            "apply", "-f", cluster.spec(strategy=surge, health=health), "--yes", "-o", "jsonl"
        )
        assert failed.code == 3, failed.err
        node = next(e["node"] for e in failed.events if e["type"] == "node-failed")
        nodes = cluster.rollout(*HERE, "-o", "json").json["nodes"]
    reasons = {entry["node"]: entry["reason"] for entry in nodes}
    assert reasons.pop(node) == f"failed in the run; old pod {before[node]} still serves"
    assert set(reasons.values()) == {""}


def test_a_node_that_may_not_run_it_says_why(tmp_path: Path) -> None:
    with world(fleet(2), tmp_path) as cluster:
        tainted = cluster.kubectl("taint", "node", "node-001", "dedicated=gpu:NoExecute")
        assert tainted.code == 0, tainted.err
        done = cluster.rollout(*HERE)
    assert re.search(r"node-001 +ineligible .*taint dedicated=gpu:NoExecute", done.out)


def test_the_nodes_are_shown_also_where_the_record_of_their_run_was_broken_by_hand(
    tmp_path: Path,
) -> None:
    with world(fleet(4), tmp_path) as cluster:
        plan = cluster.plan(cluster.spec(waves=[1, 3]))
        assert cluster.rollout("apply", plan, "--stop-at", "1").code == 6
        broken = cluster.kubectl(
            *("patch", "configmap", "rollout-log-agent-2.4", "-n", NAMESPACE),
            *("--type", "merge", "-p", '{"data": {"record": "{broken"}}'),
        )
        assert broken.code == 0, broken.err
        done = cluster.rollout(*HERE)
    assert done.code == 0, done.err
    assert len(re.findall(r"^node-00\d +(?:outdated|current) ", done.out, re.MULTILINE)) == 4
    assert done.err.startswith("warning: ConfigMap logging/rollout-log-agent-2.4 holds no run")


def test_nodes_64_status_says_why_a_run_at_work_does_not_move(tmp_path: Path) -> None:
    with world(fleet(4), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
        with cluster.start("apply", plan, "-o", "jsonl") as running:
            run = running.event("run-started")["run"]
            node = running.event("node-started")["node"]
            said, why = "", f"waiting for {node}: pod log-agent-"
            while (
                why not in said and running.process.poll() is None
            ):  # each renewal of the lock takes it along
                said = cluster.rollout(*HERE).out.splitlines()[1]
            state = cluster.rollout(*HERE, "-o", "json").json
            running.send(signal.SIGKILL)
            running.end()
            gone = cluster.rollout(*HERE).out.splitlines()[1]
    assert said.startswith(f"Run {run} of rollout log-agent-2.4 (")
    assert f"is running: {why}" in said
    assert state["run"]["why"].startswith(why)
    assert "interrupted" in gone
    assert why not in gone, "nobody waits any more"


def test_nodes_16_status_says_which_window_a_run_waits_for_that_has_changed_nothing(
    tmp_path: Path,
) -> None:
    with world(fleet(4), tmp_path) as cluster:
        plan = cluster.plan(cluster.spec(windows=[{"deny": "* * * * *", "for": "2h"}]))
        with cluster.start("apply", plan, "-o", "jsonl") as running:
            run = running.event("run-started")["run"]
            said = ""
            while "waiting for windows: " not in said and running.process.poll() is None:
                said = cluster.rollout(*HERE).out.splitlines()[1]
            running.send(signal.SIGINT)
            assert running.end().code == 6
            over = cluster.rollout(*HERE).out.splitlines()[1]
    assert said.startswith(f"Run {run} (")
    assert "has begun and changed nothing yet: waiting for windows: " in said
    assert said.endswith("; 4 of 4 nodes are on the current revision.")
    assert over == "Up to date and available on all 4 nodes."


def test_a_crashing_pod_is_told_by_its_crashes_also_while_it_runs_between_two(
    tmp_path: Path,
) -> None:
    with world(fleet(3), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.CRASH))
        plan = cluster.plan(cluster.spec(waves=[1, 2]))
        assert cluster.rollout("apply", plan).code == 3
        failed = cluster.record()
        assert failed is not None
        nodes = {n["node"]: n for n in cluster.rollout(*HERE, "-o", "json").json["nodes"]}
    crashed = nodes[failed["failed"][0]]
    assert crashed["state"] in {"CrashLoopBackOff", "restarted"}
    assert re.match(r"container agent restarted .*last exit code 1 \(Error\)", crashed["reason"])
    assert [n for n in nodes.values() if n is not crashed and n["reason"]] == []
