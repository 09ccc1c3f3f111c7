"""`rollout cleanup`: what a run that nobody resumes has left behind, over HTTP."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.fleet import marks
from rollout.sim.images import Fault, FaultKind
from rollout.sim.resources import CONFIG_MAPS, PODS
from rollout.sim.store import Object
from tests.e2e.world import NAME, NAMESPACE, NEW, World, fleet, world

ROLLOUT = "log-agent-2.4"
HERE = ("-n", NAMESPACE)
SURGE = {"maxSurge": 1, "maxUnavailable": 0}
CANARY = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(3), tmp_path) as made:
        yield made


def released(cluster: World) -> list[Object]:
    pods = cluster.objects(PODS)
    return [pod for pod in pods if marks.RELEASED_FROM in pod["metadata"].get("labels", {})]


def our_marks(cluster: World) -> set[str]:
    return set(cluster.daemon_set()["metadata"].get("annotations", {})) & set(marks.ALL)


def kill_in_mid_hand_over(cluster: World) -> str:
    """Leave a released pod beside a successor that never becomes ready; returns the run's id."""
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy=SURGE))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        run = str(running.event("run-started")["run"])
        running.event("node-started")
        running.send(signal.SIGKILL)
    (pod,) = released(cluster)
    assert pod["metadata"]["labels"][marks.RUN] == run
    assert pod["metadata"]["labels"][marks.RELEASED_FROM] == cluster.daemon_set()["metadata"]["uid"]
    return run


def bring_all_to_the_new_revision(cluster: World) -> None:
    """Delete the old pods by hand; under OnDelete their successors are of the new template."""
    there = cluster.pod_names()
    old = [name for node, name in there.items() if cluster.images()[node] != NEW]
    done = cluster.kubectl("delete", "pod", *HERE, *old)
    assert done.code == 0, done.err
    for count in ("updatedNumberScheduled", "numberAvailable"):
        wanted = f"--for=jsonpath={{.status.{count}}}={len(there)}"
        done = cluster.kubectl("wait", f"daemonset/{NAME}", *HERE, wanted, "--timeout=60s")
        assert done.code == 0, done.err


def test_nothing_left_is_said_so(cluster: World) -> None:
    assert cluster.rollout("cleanup", *HERE, "--yes").out == "Nothing is left over.\n"
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    for scope in ([], ["--daemonset", NAME], [ROLLOUT]):
        done = cluster.rollout("cleanup", *scope, *HERE, "--yes")
        assert done.code == 0, done.err
        assert "DaemonSet" not in done.out


def test_a_killed_hand_over_is_undone_and_the_strategy_stays_where_pods_would_go(
    cluster: World,
) -> None:
    before = cluster.pod_names()
    run = kill_in_mid_hand_over(cluster)
    dry = cluster.rollout("cleanup", ROLLOUT, *HERE, "--dry-run")
    assert dry.code == 0, dry.err
    (pod,) = released(cluster)
    name = pod["metadata"]["name"]
    assert f"take back  pod {name}" in dry.out
    assert f"run {run}" in dry.out
    assert "Lock of DaemonSet logging/log-agent: " in dry.out
    unasked = cluster.rollout("cleanup", ROLLOUT, *HERE)
    assert unasked.code == 64
    assert f"take back  pod {name}" in unasked.out
    assert "nothing was changed: there is no terminal to ask on; give --yes" in unasked.err
    done = cluster.rollout("cleanup", ROLLOUT, *HERE, "--yes")
    assert done.code == 3, done.err
    assert "would at once replace the pods of" in done.err
    assert "The strategy of DaemonSet logging/log-agent is not restored: " in done.err
    assert "stays as it is" not in done.err, "its pods were taken back"
    assert f"rollout rollback {ROLLOUT}" in done.err
    assert (
        f"let the controller do it with 'rollout cleanup {ROLLOUT} -n logging --force'" in done.err
    )
    assert f"Pod {name}" in done.out
    assert released(cluster) == []
    (journal,) = (cluster.directory / "state").glob("rollout/*/logging.cleanup/*.jsonl")
    assert '"action":"take back"' in journal.read_text()
    verified = cluster.rollout("audit", "verify", journal)
    assert verified.code == 0
    assert "ended: done" in verified.out
    (back,) = [pod for pod in cluster.objects(PODS) if pod["metadata"]["name"] == name]
    assert marks.RELEASED_LABEL not in back["metadata"].get("annotations", {})
    assert marks.RUN not in back["metadata"]["labels"]
    assert cluster.daemon_set()["spec"]["updateStrategy"]["type"] == "OnDelete"
    again = cluster.rollout("rollback", ROLLOUT, *HERE)
    assert again.code == 4, again.err
    assert cluster.pod_names() == before
    assert our_marks(cluster) == set()


def test_a_run_whose_nodes_are_all_new_gets_its_strategy_back_exactly(cluster: World) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    plan = cluster.plan(cluster.spec(waves=CANARY))
    assert cluster.rollout("apply", plan).code == 6
    bring_all_to_the_new_revision(cluster)
    done = cluster.rollout("cleanup", *HERE, "--daemonset", NAME, "--yes")
    assert done.code == 0, done.err
    assert "strategy restored" in done.out
    assert cluster.daemon_set()["spec"]["updateStrategy"] == strategy
    assert our_marks(cluster) == set()
    (row,) = cluster.rollout("runs", *HERE, "-o", "json").json
    assert row["phase"] == "cleaned up"
    again = cluster.rollout("apply", plan)
    assert again.code == 7
    assert "was already cleaned up by run" in again.err
    assert cluster.rollout("cleanup", *HERE, "--yes").out == "Nothing is left over.\n"


def test_with_force_the_controller_does_the_rest(cluster: World) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    assert cluster.rollout("apply", cluster.plan(cluster.spec(waves=CANARY))).code == 6
    assert cluster.rollout("cleanup", ROLLOUT, *HERE, "--yes").code == 3
    done = cluster.rollout("cleanup", ROLLOUT, *HERE, "--yes", "--force")
    assert done.code == 0, done.err
    assert cluster.daemon_set()["spec"]["updateStrategy"] == strategy
    assert our_marks(cluster) == set()


def test_while_a_run_is_alive_nothing_is_touched(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy=SURGE))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        for options in (("--yes",), ("--dry-run",)):
            done = cluster.rollout("cleanup", ROLLOUT, *HERE, *options)
            assert done.code == 10, done.out
            assert "is locked by run" in done.err
        cluster.break_image(NEW, None)
        assert running.end().code == 0


def test_without_any_stored_state_leftovers_are_named_by_their_marks(cluster: World) -> None:
    run = kill_in_mid_hand_over(cluster)
    (node,) = [pod["spec"]["nodeName"] for pod in released(cluster)]
    deleted = cluster.kubectl("delete", "configmap", *HERE, f"rollout-{ROLLOUT}")
    assert deleted.code == 0, deleted.err
    annotations = dict.fromkeys(marks.ALL)
    cluster.patch_daemon_set({"metadata": {"annotations": annotations}})
    planned = cluster.rollout("plan", "-f", cluster.spec(strategy=SURGE))
    status = cluster.rollout("status", NAME, *HERE)
    for done in (planned, status):
        assert done.code == 0, done.err
        assert f"left over from an earlier run {run}: released pods on {node}" in done.out
        assert f"rollout cleanup --daemonset {NAME} -n {NAMESPACE}" in done.out
    done = cluster.rollout("cleanup", *HERE, "--yes")
    assert done.code == 0, done.err
    assert released(cluster) == []


def test_pods_whose_daemon_set_is_gone_are_deleted(cluster: World) -> None:
    kill_in_mid_hand_over(cluster)
    gone = cluster.kubectl("delete", "daemonset", NAME, *HERE)
    assert gone.code == 0, gone.err
    done = cluster.rollout("cleanup", *HERE, "--yes")
    assert done.code == 0, done.err
    assert "its DaemonSet is gone" in done.out
    assert [pod for pod in released(cluster) if "deletionTimestamp" not in pod["metadata"]] == []


def test_the_plan_of_a_run_that_is_over_is_deleted(cluster: World) -> None:
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    left = cluster.kubectl(
        *("create", "configmap", f"rollout-{ROLLOUT}-plan", *HERE, "--from-literal=plan=x")
    )
    known = [c["metadata"]["name"] for c in cluster.objects(CONFIG_MAPS)]
    assert left.code == 0 or f"rollout-{ROLLOUT}-plan" in known, left.err
    labelled = cluster.kubectl(
        *("label", "configmap", f"rollout-{ROLLOUT}-plan", *HERE, "--overwrite"),
        "app.kubernetes.io/managed-by=rollout",
    )
    assert labelled.code == 0, labelled.err
    done = cluster.rollout("cleanup", *HERE, "--yes")
    assert done.code == 0, done.err
    names = [c["metadata"]["name"] for c in cluster.objects(CONFIG_MAPS)]
    assert f"rollout-{ROLLOUT}" in names
    assert f"rollout-{ROLLOUT}-plan" not in names


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("nothing", "--yes"), 1, "there is no run of nothing"),
        (("--daemonset", "nothing", "--yes"), 1, "does not exist"),
        (("x", "--daemonset", "y", "--yes"), 64, "either NAME or --daemonset"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cluster: World, options: tuple[str, ...], code: int, said: str
) -> None:
    done = cluster.rollout("cleanup", *HERE, *options)
    assert done.code == code
    assert said in done.err
    assert cluster.writes() == []


def test_updates_47_a_plan_after_the_annotations_were_taken_away_knows_the_strategy_from_the_record(
    cluster: World,
) -> None:
    """Whoever strips annotations must not make a DaemonSet OnDelete for ever."""
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    plan = cluster.plan(cluster.spec(waves=CANARY))
    assert cluster.rollout("apply", plan).code == 6
    gone = [f"{mark}-" for mark in marks.ALL]
    assert cluster.kubectl("annotate", "daemonset", NAME, *HERE, *gone).code == 0
    status = cluster.rollout("status", NAME, *HERE)
    undo = cluster.rollout("undo", NAME, *HERE, "--dry-run")
    again = cluster.rollout("apply", "-f", cluster.spec(waves="fast"), "--yes")
    after = cluster.daemon_set()
    assert "the original strategy (RollingUpdate) comes back" in status.out
    assert "OnDelete by its owner's choice" not in undo.out
    assert again.code == 0, again.out + again.err
    assert "left over from an earlier run" in again.out
    assert after["spec"]["updateStrategy"] == strategy
    assert not our_marks(cluster)


def test_updates_47_what_an_old_aborted_run_recorded_does_not_undo_the_owners_choice(
    cluster: World,
) -> None:
    """A later run has put the strategy back; that it is OnDelete now is its owner's choice."""
    first = cluster.plan(cluster.spec(waves=CANARY))
    assert cluster.rollout("apply", first).code == 6
    assert cluster.rollout("abort", ROLLOUT, *HERE).code == 0
    assert cluster.rollout("undo", NAME, *HERE, "--yes").code == 0
    cluster.patch_daemon_set(
        {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}
    )
    done = cluster.rollout("cleanup", *HERE, "--yes")
    shown = cluster.rollout("plan", "-f", cluster.spec())
    assert done.code == 0, done.err
    assert cluster.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert "the strategy is OnDelete by its owner's choice and stays so" in shown.out


def test_the_status_of_a_run_that_left_nodes_out_says_when_the_strategy_comes_back(
    cluster: World,
) -> None:
    spec = cluster.spec(nodes={"exclude": ["node-002"]})
    assert cluster.rollout("apply", "-f", spec, "--yes").code == 12
    left_out = cluster.rollout("status", NAME, *HERE)
    canary = cluster.spec(waves=CANARY, target={"restart": True})
    assert cluster.rollout("apply", "-f", canary, "--yes").code == 6
    assert cluster.rollout("abort", ROLLOUT, *HERE).code == 0
    aborted = cluster.rollout("status", NAME, *HERE)
    comes_back = "the original strategy (RollingUpdate) comes back with"
    assert f"{comes_back} a plan that leaves no node out." in left_out.out
    assert f"{comes_back} the next plan, 'rollout rollback' or 'rollout cleanup'." in aborted.out
