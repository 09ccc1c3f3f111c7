"""Surge, rollback, approvals and requests from elsewhere, as the README promises them."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import yaml

from rollout.fleet.objects import parse_time
from rollout.sim.fleetfile import Rule, User
from rollout.sim.images import Fault, FaultKind
from rollout.sim.resources import CONFIG_MAPS
from tests.e2e.auditjudge import Json, judge
from tests.e2e.world import (
    NAME,
    NAMESPACE,
    NEW,
    OLD,
    World,
    audit_into,
    environment,
    fleet,
    run,
    world,
)

ROLLOUT = "log-agent-2.4"
THERE = ("-n", NAMESPACE)
READ = ("get", "list", "watch")
NO_PATCH = User(
    "weak",
    "weak-token",
    rules=(
        Rule((*READ, "create", "update"), ("",), ("*",)),
        Rule(READ, ("apps",), ("*",)),
        Rule(("*",), ("coordination.k8s.io",), ("leases",)),
    ),
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(6), tmp_path) as made:
        yield made


def untouched_settings(cluster: World, strategy: object) -> None:
    daemon_set = cluster.daemon_set()
    assert daemon_set["spec"]["updateStrategy"] == strategy
    assert not [key for key in daemon_set["metadata"].get("annotations", {}) if "rollout" in key]


def test_with_surge_no_node_is_ever_without_a_ready_pod(tmp_path: Path) -> None:
    events: list[Json] = []
    with world(fleet(6), tmp_path, audit=audit_into(events)) as cluster:
        before = cluster.daemon_set()
        plan = cluster.plan(cluster.spec(strategy={"maxSurge": 2, "maxUnavailable": 0}))
        done = cluster.rollout("apply", plan)
        images = cluster.images()
        untouched_settings(cluster, before["spec"]["updateStrategy"])
    verdict = judge(events, before["metadata"]["uid"])
    assert done.code == 0, done.err + done.out
    assert set(images.values()) == {NEW}
    assert verdict.created == 6
    assert not verdict.down
    assert 1 <= len(verdict.doubled) <= 2


def test_a_failure_takes_the_touched_nodes_back_where_the_spec_says_so(cluster: World) -> None:
    strategy, before = cluster.daemon_set()["spec"]["updateStrategy"], cluster.pod_names()
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    spec = cluster.spec(strategy={"maxUnavailable": 2}, failure={"onFailure": "rollback"})
    done = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}
    kept = set(before.items()) & set(cluster.pod_names().items())
    assert len(kept) >= 4
    untouched_settings(cluster, strategy)
    assert done.events[-1]["exitCode"] == 4


def test_a_held_run_is_rolled_back_by_hand(cluster: World) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 3
    done = cluster.rollout("rollback", ROLLOUT, *THERE)
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}
    untouched_settings(cluster, strategy)


def test_undo_goes_to_the_revision_before(cluster: World) -> None:
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    done = cluster.rollout("undo", NAME, *THERE, "--yes")
    assert done.code == 0, done.err + done.out
    assert set(cluster.images().values()) == {OLD}


def test_a_run_waits_for_its_approval_and_goes_on_with_it(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    first = cluster.rollout("apply", plan)
    assert first.code == 6, first.err + first.out
    assert next_commands(first.out)[0] == ["approve", ROLLOUT, "--wave", "canary", *THERE]
    assert list(cluster.images().values()).count(NEW) == 1
    again = cluster.rollout("apply", plan, "--success-on-pause")
    assert again.code == 0, again.err
    assert list(cluster.images().values()).count(NEW) == 1
    approved = cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "canary")
    assert approved.code == 0, approved.err
    assert cluster.rollout("apply", plan).code == 0
    assert set(cluster.images().values()) == {NEW}


def test_a_running_apply_is_paused_from_elsewhere(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        asked = cluster.rollout("pause", ROLLOUT, *THERE, "--reason", "a look at it")
        cluster.break_image(NEW, None)
        done = running.end()
    assert asked.code == 0, asked.err
    assert done.code == 6, done.err
    status = cluster.rollout("status", NAME, *THERE).out.splitlines()[1]
    assert re.search(r" is paused by \S+: a look at it; ", status), status
    assert list(cluster.images().values()).count(NEW) == 1
    assert cluster.rollout("apply", plan).code == 0
    assert set(cluster.images().values()) == {NEW}


def test_verify_names_what_would_be_in_the_way(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    assert cluster.rollout("verify", plan).code == 0
    cluster.patch_daemon_set({"spec": {"template": {"metadata": {"annotations": {"by": "x"}}}}})
    done = cluster.rollout("verify", plan)
    assert done.code == 7, done.err
    assert "failed" in done.out


CANARY = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]


def waits_for_approval(cluster: World) -> Path:
    plan = cluster.plan(cluster.spec(waves=CANARY))
    assert cluster.rollout("apply", plan).code == 6
    return plan


def new_nodes(cluster: World) -> list[str]:
    return [node for node, image in cluster.images().items() if image == NEW]


def said(cluster: World) -> list[tuple[str, str]]:
    record = cluster.record()
    assert record is not None
    assert all(word["by"] and word["at"] for word in record["said"])
    return [(word["verb"], word["reason"]) for word in record["said"]]


def test_commands_26_a_run_goes_on_from_another_machine_without_the_plan(cluster: World) -> None:
    waits_for_approval(cluster).unlink()
    approved = cluster.rollout("approve", ROLLOUT, *THERE, "--reason", "graphs are fine")
    assert approved.code == 0, approved.err
    done = cluster.rollout("resume", ROLLOUT, *THERE, "--journal", cluster.directory / "other")
    assert done.code == 0, done.err + done.out
    assert set(cluster.images().values()) == {NEW}
    assert said(cluster) == [("approve", "graphs are fine"), ("resume", "")]
    kept = {c["metadata"]["name"]: c for c in cluster.objects(CONFIG_MAPS)}
    assert not kept[f"rollout-{ROLLOUT}-plan"].get("binaryData")  # the run is over
    again = cluster.rollout("resume", ROLLOUT, *THERE)
    assert again.code == 7
    assert "complete" in again.err


def test_a_plan_that_is_not_in_the_cluster_is_asked_for(cluster: World) -> None:
    plan = waits_for_approval(cluster)
    name = f"rollout-{ROLLOUT}-plan"
    assert cluster.kubectl("delete", "configmap", name, *THERE).code == 0
    refused = cluster.rollout("resume", ROLLOUT, *THERE)
    assert refused.code == 7
    assert f"rollout resume {ROLLOUT} PLAN" in refused.err
    done = cluster.rollout("resume", ROLLOUT, plan, *THERE)
    assert done.code == 6, done.err


def test_nodes_57_approving_a_node_of_a_waiting_run_moves_only_that_node(cluster: World) -> None:
    waits_for_approval(cluster)
    (canary,) = new_nodes(cluster)
    wanted = max(set(cluster.images()) - {canary})
    done = cluster.rollout("approve", ROLLOUT, *THERE, "--node", wanted)
    assert done.code == 0, done.err + done.out
    assert new_nodes(cluster) == sorted([canary, wanted])
    assert cluster.rollout("approve", ROLLOUT, *THERE).code == 0
    assert cluster.rollout("resume", ROLLOUT, *THERE).code == 0
    assert sorted(Counter(cluster.deleted_pods()).values()) == [1] * 6


def test_a_rejected_approval_holds_until_it_is_given(cluster: World) -> None:
    plan = waits_for_approval(cluster)
    rejected = cluster.rollout("reject", ROLLOUT, *THERE, "--reason", "5xx up")
    assert rejected.code == 0, rejected.err
    stands = cluster.rollout("status", "log-agent", *THERE).out
    assert "5xx up" in stands
    assert "cause has cleared" not in stands
    held = cluster.rollout("apply", plan)
    assert held.code == 3, held.err + held.out
    assert "5xx up" in held.out
    assert cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "canary").code == 0
    assert cluster.rollout("apply", plan).code == 0


def test_a_rejected_approval_takes_the_run_back_where_that_is_wanted(cluster: World) -> None:
    waits_for_approval(cluster)
    done = cluster.rollout("reject", ROLLOUT, *THERE, "--then", "rollback")
    assert done.code == 4, done.err + done.out
    assert set(cluster.images().values()) == {OLD}


def test_a_skipped_node_is_left_alone_and_the_strategy_stays(cluster: World) -> None:
    plan = waits_for_approval(cluster)
    (canary,) = new_nodes(cluster)
    left = max(set(cluster.images()) - {canary})
    assert cluster.rollout("skip", ROLLOUT, left, *THERE).code == 64  # without a reason
    assert cluster.rollout("skip", ROLLOUT, left, *THERE, "--reason", "bad disk").code == 0
    assert cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "1").code == 0
    done = cluster.rollout("apply", plan, "--allow-deferred")
    assert done.code == 0, done.err + done.out
    assert "bad disk" in done.out
    assert set(cluster.images()) - set(new_nodes(cluster)) == {left}
    assert cluster.daemon_set()["spec"]["updateStrategy"] == {"type": "OnDelete"}
    again = cluster.rollout("apply", plan, "--idempotent")  # no better than the first time
    assert again.code == 12, again.out


def test_names_that_are_not_there_are_refused_and_change_nothing(cluster: World) -> None:
    waits_for_approval(cluster)
    before = cluster.record()
    why = ("--reason", "slip of the pen")
    said = [
        cluster.rollout("skip", ROLLOUT, "no-such-node", *THERE, *why),
        cluster.rollout("retry", ROLLOUT, "--node", "no-such-node", *THERE, *why),
        cluster.rollout("approve", ROLLOUT, "--node", "no-such-node", *THERE, *why),
        cluster.rollout("approve", ROLLOUT, "--gate", "no-such-gate", *THERE, *why),
    ]
    assert [word.code for word in said] == [64] * 4
    assert all("no-such-" in word.err for word in said)
    assert cluster.record() == before


def let_the_second_pass(cluster: World) -> None:
    """Look at the run until every pod is older than a second: the API's times are whole ones.

    A wish for another try is for pods that are certainly older than it.
    """
    born = max(parse_time(pod["metadata"]["creationTimestamp"]) for pod in cluster.pods().values())
    while time.time() < born + 1.0:
        cluster.rollout("status", NAME, "-n", NAMESPACE)


def test_failed_nodes_are_tried_again(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    plan = cluster.plan(cluster.spec(waves=[1, 5]))
    assert cluster.rollout("apply", plan).code == 3
    record = cluster.record()
    assert record is not None
    assert record["failedCount"] == len(record["failed"]) == 1
    cluster.break_image(NEW, None)
    let_the_second_pass(cluster)
    asked = cluster.rollout("retry", ROLLOUT, *THERE, "--reason", "registry is back")
    assert asked.code == 0, asked.err
    done = cluster.rollout("resume", ROLLOUT, *THERE)
    assert done.code == 0, done.err + done.out
    assert set(cluster.images().values()) == {NEW}


def test_a_stopped_run_is_aborted_and_taken_back(cluster: World) -> None:
    plan = waits_for_approval(cluster)
    aborted = cluster.rollout("abort", ROLLOUT, *THERE, "--reason", "wrong release")
    assert aborted.code == 0, aborted.err
    assert "half-updated" in aborted.out
    said = cluster.rollout("status", NAME, *THERE).out.splitlines()[1]
    assert said.count("half-updated") == 1
    assert "comes back with the next plan, 'rollout rollback' or 'rollout cleanup'" in said
    again = cluster.rollout("apply", plan)
    assert again.code == 7, again.err + again.out
    assert "aborted" in again.err
    back = cluster.rollout("rollback", ROLLOUT, *THERE)
    assert back.code == 4, back.err + back.out
    assert set(cluster.images().values()) == {OLD}
    again = cluster.rollout("rollback", ROLLOUT, *THERE, "-o", "jsonl")
    assert (again.code, again.out) == (0, "")  # always accepted
    assert "is rolled back already" in again.err
    for word in ("approve", "reject"):
        late = cluster.rollout(word, ROLLOUT, *THERE)
        assert late.code == 7, late.err
        assert "is rolled back; nothing was changed" in late.err


def test_a_running_apply_hears_every_word(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves, strategy={"maxUnavailable": 1}))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        assert cluster.rollout("pause", ROLLOUT, *THERE).code == 0
        running.event("pausing")
        assert cluster.rollout("resume", ROLLOUT, *THERE).code == 0
        running.event("resumed")
        assert cluster.rollout("approve", ROLLOUT, *THERE, "--wave", "canary").code == 0
        assert cluster.rollout("abort", ROLLOUT, *THERE).code == 0
        running.event("aborting")
        cluster.break_image(NEW, None)
        done = running.end()
    assert done.code == 3, done.err
    record = cluster.record()
    assert record is not None
    assert record["phase"] == "aborted"
    assert [verb for verb, _ in said(cluster)] == ["pause", "resume", "approve", "abort"]


def test_words_from_many_shells_at_once_are_all_kept_in_one_order(cluster: World) -> None:
    waits_for_approval(cluster)
    nodes = sorted(cluster.images())[1:]
    commands = [("skip", ROLLOUT, node, *THERE, "--reason", node) for node in nodes]
    with ThreadPoolExecutor(len(commands)) as pool:
        done = list(pool.map(lambda arguments: cluster.rollout(*arguments), commands))
    assert [d.code for d in done] == [0] * len(nodes), [d.err for d in done]
    record = cluster.record()
    assert record is not None
    assert [word["number"] for word in record["said"]] == list(range(1, len(nodes) + 1))
    assert {word["node"] for word in record["skips"]} == set(nodes)


def test_a_stage_of_a_pipeline_ends_with_0_at_an_approval_and_with_3_at_a_failure(
    cluster: World,
) -> None:
    plan = cluster.plan(cluster.spec(waves=CANARY))
    staged = cluster.rollout("apply", plan, "--until-paused")
    assert staged.code == 0, staged.err
    assert len(new_nodes(cluster)) == 1
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    assert cluster.rollout("approve", ROLLOUT, *THERE).code == 0
    assert cluster.rollout("resume", ROLLOUT, *THERE, "--until-paused").code == 3


def test_a_run_ends_behind_the_wave_that_was_chosen(cluster: World) -> None:
    plan = cluster.plan(cluster.spec(waves=[1, 2, 3]))
    wrong = cluster.rollout("apply", plan, "--stop-at", "canary")
    assert wrong.code == 64
    assert "wave-1, wave-2, wave-3" in wrong.err
    assert cluster.rollout("apply", plan, "--stop-at", "wave-2").code == 6
    assert len(new_nodes(cluster)) == 3
    assert cluster.rollout("resume", ROLLOUT, *THERE, "--stop-at", "3").code == 0


def test_updates_37_an_approval_for_another_plan_is_refused(cluster: World) -> None:
    waits_for_approval(cluster)
    refused = cluster.rollout("approve", ROLLOUT, *THERE, "--plan", "aaaaaaaaaaaa")
    assert refused.code == 7
    assert "aaaaaaaaaaaa" in refused.err
    assert said(cluster) == []


def test_updates_37_the_same_spec_again_does_not_pass_over_the_approval_that_its_run_waits_for(
    cluster: World,
) -> None:
    """A CI job that is tried again is no approval; with one it goes on where the run stopped."""
    spec = cluster.spec(waves="manual")
    first = cluster.rollout("apply", "-f", spec, "--yes")
    again = cluster.rollout("apply", "-f", spec, "--yes")
    after_two = new_nodes(cluster)
    assert cluster.rollout("approve", ROLLOUT, *THERE).code == 0
    approved = cluster.rollout("apply", "-f", spec, "--yes", "-o", "jsonl")
    after_approval = new_nodes(cluster)
    assert cluster.rollout("reject", ROLLOUT, *THERE).code in (0, 3)
    refused = cluster.rollout("apply", "-f", spec, "--yes")
    assert [first.code, again.code, approved.code, refused.code] == [6, 6, 6, 3]
    assert "waits for somebody's word: it goes on with its own plan" in again.out
    assert len(after_two) == 1
    assert len(after_approval) == 2
    assert new_nodes(cluster) == after_approval
    assert cluster.rollout("abort", ROLLOUT, *THERE).code == 0
    anew = cluster.rollout("apply", "-f", cluster.spec(waves="fast"), "--yes")
    assert anew.code == 0, anew.err
    assert len(new_nodes(cluster)) == 6


def test_updates_37_a_new_plan_to_the_same_template_does_not_take_the_place_of_an_open_approval(
    cluster: World,
) -> None:
    waits_for_approval(cluster)
    fresh = cluster.plan(cluster.spec(waves="fast"), "fresh.json")
    done, refused = new_nodes(cluster), cluster.rollout("apply", fresh)
    assert refused.code == 7, refused.err
    assert "waits for somebody's word, and plan" in refused.err
    assert new_nodes(cluster) == done
    assert cluster.rollout("abort", ROLLOUT, *THERE).code == 0
    after = cluster.rollout("apply", fresh)
    assert after.code == 0, after.err
    assert len(new_nodes(cluster)) == 6


def test_updates_43_a_plan_that_another_one_replaced_is_superseded(cluster: World) -> None:
    old = waits_for_approval(cluster)
    third = {"set": {"image": {"agent": "log-agent:2.5"}}}
    newer = cluster.plan(cluster.spec(waves=CANARY, target=third), "newer.json")
    done = cluster.rollout("apply", newer)
    assert done.code == 6, done.err + done.out
    assert "takes the place of run" in done.out
    again = cluster.rollout("apply", old)
    assert again.code == 7
    assert "superseded" in again.err
    images = Counter(cluster.images().values())
    assert images == {"log-agent:2.5": 1, OLD: 5}  # what the old plan had broken or changed first


def test_commands_30_the_commands_of_an_incomplete_rollback_do_the_rest(cluster: World) -> None:
    strategy = cluster.daemon_set()["spec"]["updateStrategy"]
    plan = cluster.plan(
        cluster.spec(
            waves=[2, 4],
            strategy={"maxUnavailable": 2},
            health={"soak": "100ms", "nodeTimeout": "3s"},
        )
    )
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    assert cluster.rollout("apply", plan).code == 3
    old = cluster.kubectl("get", "controllerrevisions", *THERE, "-o", "name").out
    assert len(old.split()) == 2
    with cluster.start("rollback", ROLLOUT, *THERE, "--grace", "1s") as running:
        cluster.break_image(OLD, Fault(FaultKind.NEVER_READY))
        running.read_until(lambda line: "is set" in line or "are set" in line)
        running.send(signal.SIGINT)
        done = running.end()
    assert done.code == 5, done.err + done.out
    commands = by_hand(done.out)
    assert commands[0].startswith("  kubectl "), done.out
    cluster.break_image(OLD, None)
    for command in commands:
        ran = cluster.kubectl(*shlex.split(command)[1:])
        assert ran.code == 0, command + ran.err
    settled(cluster, OLD)
    untouched_settings(cluster, strategy)


def test_a_forgotten_template_is_set_by_hand_without_a_word_of_what_it_holds(
    tmp_path: Path,
) -> None:
    """A value of its environment may be a secret; what leads back only says where it is kept."""
    secret = "planted-7f3a9c"  # noqa: S105 - it is nobody's
    with world(fleet(3, users=(NO_PATCH,)), tmp_path) as cluster:
        cluster.kubectl("set", "env", f"daemonset/{NAME}", *THERE, f"PASSWORD={secret}")
        settled(cluster, OLD)
        strategy = cluster.daemon_set()["spec"]["updateStrategy"]
        cluster.patch_daemon_set({"spec": {"revisionHistoryLimit": 0}})
        cluster.break_image(f"{NEW}@node-002", Fault(FaultKind.UNPULLABLE))
        spec = cluster.spec(failure={"onFailure": "abort"})
        assert cluster.rollout("apply", "-f", spec, "--yes").code == 3
        weak = cluster.write_kubeconfig("weak", "weak-token")
        back = ("rollback", ROLLOUT, *THERE, "--kubeconfig", weak)
        done = cluster.rollout(*back)
        assert done.code == 5, done.err + done.out
        first, *_ = commands = by_hand(done.out)
        assert f"{ROLLOUT}-plan" in first
        assert first.count(f" --kubeconfig {weak}") == 2  # one for each kubectl
        assert secret not in f"{done.out}{done.err}"
        for command in commands:
            line = command.replace(str(weak), str(cluster.kubeconfig))  # as somebody who may
            ran = subprocess.run(
                ["bash", "-o", "pipefail", "-c", line], capture_output=True, check=False
            )
            assert ran.returncode == 0, (command, ran.stderr)
        settled(cluster, OLD)
        env = cluster.daemon_set()["spec"]["template"]["spec"]["containers"][0]["env"]
        assert env == [{"name": "PASSWORD", "value": secret}]
        untouched_settings(cluster, strategy)


def settled(cluster: World, image: str) -> None:
    """Wait until every node runs the image and is ready."""
    done = cluster.kubectl("rollout", "status", f"daemonset/{NAME}", *THERE, "--timeout=60s")
    assert done.code == 0, done.err
    assert set(cluster.images().values()) == {image}


def test_the_commands_by_hand_lead_back_from_a_hand_over_too(tmp_path: Path) -> None:
    with world(fleet(4, users=(NO_PATCH,)), tmp_path) as cluster:
        strategy, before = cluster.daemon_set()["spec"]["updateStrategy"], cluster.pod_names()
        cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
        surge = {"maxSurge": 2, "maxUnavailable": 0}
        assert cluster.rollout("apply", cluster.plan(cluster.spec(strategy=surge))).code == 3
        weak = cluster.write_kubeconfig("weak", "weak-token")
        done = cluster.rollout("rollback", ROLLOUT, *THERE, "--kubeconfig", weak)
        assert done.code == 5, done.err + done.out
        commands = by_hand(done.out)
        assert [c.split()[1] for c in commands] == ["rollout", *["label", "annotate"] * 2, "patch"]
        for command in commands:
            words = shlex.split(command)[1:]
            assert words[-2:] == ["--kubeconfig", str(weak)]
            ran = cluster.kubectl(*words[:-2])  # as somebody who may
            assert ran.code == 0, command + ran.err
        settled(cluster, OLD)
        untouched_settings(cluster, strategy)
        assert cluster.pod_names() == before  # no old pod was restarted


def by_hand(out: str) -> list[str]:
    """Return the commands that a rollback prints when it can't go on."""
    block = out.partition("\nBy hand, in this order")[2].partition("\n\n")[0]
    return block.splitlines()[1:]


def test_a_stage_of_a_pipeline_is_no_success_where_pods_fail_and_the_run_pauses(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.CRASH))
    spec = cluster.spec(
        health={"soak": "100ms", "pauseRestarts": 0, "maxRestarts": 5, "failFast": []}
    )
    done = cluster.rollout("apply", "-f", spec, "--yes", "--until-paused")
    assert done.code == 6, done.err + done.out
    assert "last exit code" in done.out


def next_commands(out: str) -> list[list[str]]:
    """Return the words of the commands that are shown at the end, without their program."""
    lines = out.partition("\nNext:\n")[2].splitlines()
    return [shlex.split(line.partition("#")[0])[1:] for line in lines]


def test_a_held_run_names_the_commands_that_lead_on_and_they_work_as_they_stand(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    held = cluster.rollout("apply", plan, "--kubeconfig", cluster.kubeconfig)
    assert held.code == 3, held.err
    retry, skip, on, back = next_commands(held.out)
    env = environment(XDG_STATE_HOME=str(cluster.directory / "state"))
    assert (retry[0], on[0], skip[:3]) == ("retry", "resume", ["skip", ROLLOUT, "node-000"])
    assert all(str(cluster.kubeconfig) in command for command in (retry, skip, back))

    assert run(*retry, env=env).code == 0
    done = run(*back, env=env)

    assert done.code == 4, done.err + done.out
    assert "going back to revision 1" in done.out
    assert "node-000: back (1 of 1)" in done.out
    assert "1 of 1 nodes are back after" in done.out
    assert not {"wave", "new template", "updated"} & set(done.out.replace(":", "").split())
    assert next_commands(done.out) == []


def test_an_approval_lets_one_wave_pass_where_two_daemon_sets_have_the_same_names(
    tmp_path: Path,
) -> None:
    described = fleet(3)
    other = msgspec.structs.replace(described.daemon_sets[0], name="other")
    described = msgspec.structs.replace(described, daemon_sets=(*described.daemon_sets, other))
    items = [
        {"name": NAME, "target": {"set": {"image": {"agent": NEW}}}},
        {"name": "other", "target": {"set": {"image": {"agent": NEW}}}}
        | {"after": {"daemonSet": NAME, "scope": "all"}},
    ]
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    with world(described, tmp_path) as cluster:
        plan = cluster.plan(cluster.spec(daemonSets=items, waves=waves))
        stop = cluster.rollout("apply", plan, "--stop-at", "canary")
        first = cluster.rollout("apply", plan)
        by_name = cluster.rollout("approve", ROLLOUT, "--wave", "rest", *THERE)
        given = cluster.rollout("approve", ROLLOUT, "--wave", "canary", *THERE)
        second = cluster.rollout("resume", ROLLOUT, *THERE)
        record = cluster.record()
    assert stop.code == 64, stop.err
    assert "several waves 'canary': give the number, one of 1, 3" in stop.err
    assert first.code == 6, first.err
    assert f"rollout approve {ROLLOUT} --wave 1 -n {NAMESPACE}" in first.out
    assert by_name.code == 64
    assert "several waves 'rest': give the number, one of 2, 4" in by_name.err
    assert given.code == 0, given.err
    assert second.code == 6, "the canary of the other one waits for a word of its own"
    assert f"rollout approve {ROLLOUT} --wave 3 -n {NAMESPACE}" in second.out
    assert record is not None
    assert record["waitsFor"] == "3"


@pytest.mark.parametrize("verb", ["resume", "rollback", "abort"])
def test_a_run_is_not_called_at_work_where_the_lock_is_another_run_s(
    cluster: World, verb: str
) -> None:
    plan = cluster.plan(cluster.spec(waves=[1, 5]))
    assert cluster.rollout("apply", plan, "--stop-at", "1").code == 6
    spec = cluster.spec("other.yaml", windows=[{"deny": "* * * * *", "for": "2h"}])
    document = yaml.safe_load(spec.read_text())
    document["metadata"]["name"] = "other"
    spec.write_text(yaml.safe_dump(document))
    with cluster.start("apply", "-f", spec, "--yes", "-o", "jsonl") as other:
        holder = other.event("run-started")["run"]  # has the lock, and waits for its window
        done = cluster.rollout(verb, ROLLOUT, *THERE)
        other.send(signal.SIGINT)
        other.end()
    assert done.code == 10, done.out + done.err
    assert f"is locked by run {holder} of " in done.err
