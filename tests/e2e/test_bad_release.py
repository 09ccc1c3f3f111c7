"""A release that does not work: few nodes are touched, the run holds, and there is a way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, fleet, world

LIMIT = 2
QUICK_VERDICT = {"soak": "300ms", "nodeTimeout": "2s"}
PATIENT_VERDICT = {"soak": "10s", "nodeTimeout": "60s"}  # a fault is seen, however late


@pytest.mark.parametrize(
    ("fault", "health", "reason"),
    [
        (
            Fault(FaultKind.CRASH, after=0.0),
            PATIENT_VERDICT,
            "agent restarted once, last exit code 1",
        ),
        (Fault(FaultKind.UNPULLABLE), PATIENT_VERDICT, "ErrImagePull"),
        (Fault(FaultKind.NEVER_READY), QUICK_VERDICT, "not done after 2s"),
        (Fault(FaultKind.CRASH, after=0.1), PATIENT_VERDICT, "restart"),
    ],
    ids=["crashes", "cannot be pulled", "never ready", "crashes after it was ready"],
)
def test_a_bad_release_is_held_after_no_more_nodes_than_the_limit(
    tmp_path: Path, fault: Fault, health: dict[str, str], reason: str
) -> None:
    with world(fleet(6), tmp_path) as cluster:
        cluster.break_image(NEW, fault)
        spec = cluster.spec(strategy={"maxUnavailable": LIMIT}, health=health)
        done = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
        touched = {node for node, image in cluster.images().items() if image == NEW}
        deleted, record = cluster.deleted_pods(), cluster.record()
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]["type"]
        status = cluster.rollout("status", NAME, "-n", NAMESPACE)
    assert done.code == 3, done.err
    assert 1 <= len(touched) <= LIMIT
    assert len(deleted) == len(touched)
    assert strategy == "OnDelete"  # or the controller would go on with the bad release
    end = done.events[-1]
    results = {node["node"]: node["result"] for node in end["nodes"]}
    failed = [node["reason"] for node in end["nodes"] if node["result"] == "failed"]
    assert failed
    assert any(reason in text for text in failed), failed
    assert [result for result in results.values() if result == "not reached"] == [
        "not reached" for _ in range(6 - len(touched))
    ]
    assert record is not None
    assert record["phase"] == "held"
    assert "is held" in status.out


def test_a_node_that_has_the_bad_pod_is_never_called_not_reached(tmp_path: Path) -> None:
    with world(fleet(6), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": LIMIT}, health=QUICK_VERDICT))
        assert cluster.rollout("apply", plan).code == 3
        again = cluster.rollout("apply", plan, "-o", "jsonl")  # which holds at the first one
        touched = {node for node, image in cluster.images().items() if image == NEW}
    assert again.code == 3, again.err
    results = {node["node"]: node["result"] for node in again.events[-1]["nodes"]}
    assert {results[node] for node in touched} == {"failed"}  # 'retry' is to name them all
    assert {result for node, result in results.items() if node not in touched} == {"not reached"}


def test_the_way_back_from_a_held_run_restores_the_strategy(tmp_path: Path) -> None:
    with world(fleet(6), tmp_path) as cluster:
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]
        cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
        bad = cluster.rollout("apply", "-f", cluster.spec(), "--yes")
        undo = cluster.spec("undo.yaml", target={"revision": 1})
        back = cluster.rollout("apply", "-f", undo, "--yes")
        images, after = set(cluster.images().values()), cluster.daemon_set()
    assert bad.code == 3
    assert back.code == 0, back.err + back.out
    assert images == {OLD}
    assert after["spec"]["updateStrategy"] == strategy
    assert not [key for key in after["metadata"].get("annotations", {}) if "rollout" in key]


def test_updates_53_the_same_release_again_does_not_pass_over_the_node_that_stopped_it(
    tmp_path: Path,
) -> None:
    """A CI job that is tried again must not roll a failed release on, and call it done."""
    with world(fleet(4), tmp_path) as cluster:
        cluster.break_image(f"{NEW}@node-000", Fault(FaultKind.NEVER_READY))
        spec = cluster.spec(waves=[1, 3], health=QUICK_VERDICT)
        first = cluster.rollout("apply", "-f", spec, "--yes")
        shown = cluster.rollout("plan", "-f", spec, "--detailed-exitcode")
        saved = cluster.plan(spec)
        again = cluster.rollout("apply", saved, "-o", "jsonl")
        deleted, images = cluster.deleted_pods(), cluster.images()
        cluster.break_image(f"{NEW}@node-000", None)
        cluster.kubectl("wait", "pods", "--all", "-n", NAMESPACE, "--for=condition=Ready")
        mended = cluster.rollout("apply", "-f", spec, "--yes")
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]["type"]
    assert first.code == 3, first.err
    assert "wave 1 is over: none of its nodes succeeded" in first.out
    assert "wave 1 is done" not in first.out
    assert shown.code == 2, shown.err
    assert "3 to replace in 2 waves, 1 to watch" in shown.out
    assert "of the target revision, but not available: is watched, not replaced" in shown.out
    assert again.code == 3, again.out + again.err
    results = {node["node"]: node["result"] for node in again.events[-1]["nodes"]}
    assert results == {"node-000": "failed"} | dict.fromkeys(sorted(images)[1:], "not reached")
    assert "not done after 2s" in again.events[-1]["message"]
    assert len(deleted) == 1  # S3
    assert mended.code == 0, mended.out + mended.err
    assert strategy == "RollingUpdate"


def test_updates_44_no_way_back_is_called_done_where_the_old_template_is_forgotten(
    tmp_path: Path,
) -> None:
    """No history, one node, what the first run has kept is gone: nothing holds the old template."""
    with world(fleet(1), tmp_path) as cluster:
        cluster.patch_daemon_set({"spec": {"revisionHistoryLimit": 0}})
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        spec = cluster.spec(health=QUICK_VERDICT)
        assert cluster.rollout("apply", "-f", spec, "--yes").code == 3
        cluster.kubectl("delete", "configmap", "rollout-log-agent-2.4-plan", "-n", NAMESPACE)
        again = cluster.rollout("apply", "-f", spec, "--yes")
        back = cluster.rollout("rollback", "log-agent-2.4", "-n", NAMESPACE)
    assert again.code == 3
    assert "there is no way back from this plan" in again.out
    assert back.code == 7, back.out
    assert "nothing tells which template its nodes had before the run" in back.err
    assert "Rolled back" not in back.out


def test_updates_53_a_plan_with_nothing_to_do_names_the_pods_that_are_not_well(
    tmp_path: Path,
) -> None:
    with world(fleet(3), tmp_path) as cluster:
        cluster.break_image(f"{NEW}@node-001", Fault(FaultKind.UNPULLABLE))
        spec = cluster.spec(failure={"maxFailures": 1})
        first = cluster.rollout("apply", "-f", spec, "--yes")
        again = cluster.rollout("apply", "-f", spec, "--yes")
    assert first.code == 3, first.err
    assert again.code == 0, again.err
    assert "3 of 3 nodes are up to date; not available: node-001." in again.out
    assert "its pod is not available" in again.out


def test_tolerated_failures_do_not_stop_the_run(tmp_path: Path) -> None:
    with world(fleet(6), tmp_path) as cluster:
        cluster.break_image(f"{NEW}@node-001", Fault(FaultKind.UNPULLABLE))
        spec = cluster.spec(failure={"maxFailures": 1})
        done = cluster.rollout("apply", "-f", spec, "--yes")
        images = cluster.images()
    assert done.code == 3, done.err
    assert set(images.values()) == {NEW}
    assert "5 of 6 nodes updated" in done.out
    assert "ErrImagePull" in done.out


def test_updates_35_the_status_of_a_held_run_says_when_its_cause_has_cleared(
    tmp_path: Path,
) -> None:
    with world(fleet(4), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        health = {"soak": "300ms", "nodeTimeout": "10s"}  # the second try has to keep within it
        plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}, health=health))
        held = cluster.rollout("apply", plan)
        before = cluster.rollout("status", NAME, "-n", NAMESPACE)
        cluster.break_image(NEW, None)
        cluster.kubectl("wait", "pods", "--all", "-n", NAMESPACE, "--for=condition=Ready")
        after = cluster.rollout("status", NAME, "-n", NAMESPACE)
        again = cluster.rollout("apply", plan)
    assert held.code == 3
    assert "cause has cleared" not in before.out
    cleared = "The cause has cleared, every updated node is available: apply the plan again."
    assert cleared in after.out
    assert again.code == 0, again.err


def test_a_run_on_which_nothing_gets_done_ends_at_its_deadline_with_exit_code_8(
    tmp_path: Path,
) -> None:
    health = {"soak": "300ms", "nodeTimeout": "1500ms", "progressDeadline": "2500ms"}
    with world(fleet(4), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
        strategy = {"maxUnavailable": 1}
        spec = cluster.spec(strategy=strategy, health=health, failure={"maxFailures": 3})
        done = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
        record = cluster.record()
    assert done.code == 8, done.err
    assert done.events[-1]["outcome"] == "deadline"
    assert "progressDeadline" in done.events[-1]["message"]
    assert record is not None
    assert record["phase"] == "held"


def test_a_run_that_aborts_awaits_nothing_and_says_so_in_its_record(tmp_path: Path) -> None:
    with world(fleet(6), tmp_path) as cluster:
        cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
        failure = {"onFailure": "abort"}
        spec = cluster.spec(strategy={"maxUnavailable": 2}, failure=failure)
        done = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
        record, strategy = cluster.record(), cluster.daemon_set()["spec"]["updateStrategy"]["type"]
    assert done.code == 3, done.err
    assert done.events[-1]["outcome"] == "aborted"
    assert "aborted" in [event["type"] for event in done.events]
    assert record is not None
    assert record["phase"] == "aborted"
    assert strategy == "OnDelete"
