"""What a run leaves in its journal, and what it does when it can't: the real command over HTTP."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rollout.sim.images import Fault, FaultKind
from rollout.sim.kubeconfigfile import kubeconfig
from tests.e2e.world import NAMESPACE, NEW, OLD, Running, World, fleet, world


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def the_journal(cluster: World) -> Path:
    (path,) = (cluster.directory / "state" / "rollout").glob("*/*/*.jsonl")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_write_stands_in_the_journal_before_its_outcome(cluster: World) -> None:
    done = cluster.rollout("apply", cluster.plan(cluster.spec()), "-o", "jsonl")
    assert done.code == 0, done.err
    path = the_journal(cluster)
    found = lines(path)
    run = done.events[1]["run"]
    assert path.parent.name == f"{NAMESPACE}.log-agent-2.4"
    assert path.stem == run
    assert found[0]["schema"] == "rollout.journal/v1"
    assert (found[0]["run"], found[0]["digest"]) == (run, done.events[1]["digest"])
    intents = [(e["action"], e.get("node")) for e in found if e["type"] == "intent"]
    outcomes = [(e["action"], e.get("node")) for e in found if e["type"] == "outcome"]
    assert sorted(map(str, intents)) == sorted(map(str, outcomes))
    assert {action for action, _ in intents} == {"prepare", "delete", "restore"}
    assert len([a for a, _ in intents if a == "delete"]) == 4
    for node in (f"node-00{i}" for i in range(4)):
        order = [e["type"] for e in found if e.get("node") == node]
        assert order.index("intent") < order.index("outcome") < order.index("notice")
    assert [e["phase"] for e in found if e["type"] == "record"] == ["running"]
    assert found[-1]["type"] == "end"
    checked = cluster.rollout("audit", "verify", run)
    assert checked.code == 0, checked.err
    assert f"{len(found)} lines are whole" in checked.out
    shown = cluster.rollout("audit", "show", run)
    assert shown.code == 0, shown.err
    assert shown.out.count(" delete ") == 8
    same = cluster.rollout("audit", "show", run, "-o", "jsonl")
    assert same.out == path.read_text()


def test_the_second_part_of_a_run_writes_on_and_counts_on_even_after_a_kill(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        running.send(signal.SIGKILL)
        first = running.end()
    cluster.break_image(NEW, None)
    done = cluster.rollout("apply", plan, "-o", "jsonl")
    assert done.code == 0, done.err
    told = [json.loads(line)["seq"] for line in first.out.splitlines()]
    assert [*told, *(e["seq"] for e in done.events)] == list(
        range(1, len(told) + len(done.events) + 1)
    )
    begins = [e for e in lines(the_journal(cluster)) if e["type"] == "begin"]
    assert [e["resumed"] for e in begins] == [False, True]
    assert cluster.rollout("audit", "verify").code == 0


def test_on_another_machine_the_run_goes_on_with_a_journal_of_its_own(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    first = cluster.rollout("apply", plan, "-o", "jsonl")
    assert first.code == 6, first.err
    other = cluster.directory / "other.jsonl"
    again = cluster.rollout("apply", plan, "--journal", other, "-o", "jsonl")
    assert again.code == 6, again.err
    run, last = first.events[1]["run"], first.events[-1]["seq"]
    assert lines(other)[0]["continues"] == {"run": run, "event": last}
    assert again.events[0]["seq"] == last + 1


def test_a_full_disk_lets_nothing_be_written_to_the_cluster(cluster: World) -> None:
    before = cluster.pod_names()
    done = cluster.rollout("apply", cluster.plan(cluster.spec()), "--journal", "/dev/full")
    assert done.code == 1
    assert "/dev/full cannot be written: No space left on device" in done.err
    assert "--journal" in done.err
    assert cluster.pod_names() == before
    assert [e.path for e in cluster.writes() if "/leases" not in e.path] == []
    assert cluster.images() == dict.fromkeys(before, OLD)


def test_faults_40_a_disk_that_fills_up_holds_the_run_and_what_is_in_flight_is_watched(
    cluster: World,
) -> None:
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    with full_at(cluster, 5500, "apply", str(plan)) as running:
        done = running.end()
    assert done.code == 3, done.err + done.out
    assert "holding: the journal" in done.out
    assert "File too large" in done.out
    path = the_journal(cluster)
    new = list(cluster.images().values()).count(NEW)
    assert 1 <= new < 4
    deletes = [e for e in lines_that_are_whole(path) if e.get("action") == "delete"]
    intents = {e["uid"] for e in deletes if e["type"] == "intent"}
    assert len(cluster.deleted_pods()) == new
    assert new <= len(intents)
    assert cluster.daemon_set()["spec"]["updateStrategy"]["type"] == "OnDelete"
    again = cluster.rollout("apply", plan)
    assert again.code == 0, again.err
    assert "was cut off" in again.out
    assert set(cluster.images().values()) == {NEW}
    assert len(cluster.deleted_pods()) == 4
    assert cluster.rollout("audit", "verify").code == 0


def lines_that_are_whole(path: Path) -> list[dict[str, Any]]:
    whole, _, _ = path.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def full_at(cluster: World, size: int, *arguments: str) -> Running:
    """Start `rollout` with a limit of the kernel on the size of the files that it writes."""
    env = cluster.environment()
    return Running(str(size), *arguments, env=env, module="tests.e2e.smallfiles")


def test_faults_42_a_broken_journal_is_not_written_on_but_the_run_can_go_on_from_the_cluster(
    cluster: World,
) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    assert cluster.rollout("apply", plan).code == 6
    path = the_journal(cluster)
    broken = path.read_bytes().replace(b'"action":"delete"', b'"action":"lament"', 1)
    number = broken[: broken.index(b"lament")].count(b"\n") + 1
    path.write_bytes(broken)
    checked = cluster.rollout("audit", "verify")
    assert checked.code == 65
    assert f"{path}:{number}: the chain is broken" in checked.err
    assert "a run that has not ended goes on with --recover-from-cluster" in checked.err
    refused = cluster.rollout("apply", plan)
    assert refused.code == 65
    assert "--recover-from-cluster" in refused.err
    assert path.read_bytes() == broken
    recovered = cluster.rollout("apply", plan, "--recover-from-cluster")
    assert recovered.code == 6, recovered.err
    second = path.with_suffix(".2.jsonl")
    assert lines(second)[0]["recovers"] == str(path)
    assert path.read_bytes() == broken
    both = cluster.rollout("audit", "verify")
    assert both.code == 65
    assert f"the run has left it for {second}, this file stays as it is" in both.err
    assert "goes on with --recover-from-cluster" not in both.err
    assert f"{second}: run " in both.out
    approved = cluster.rollout("approve", "log-agent-2.4", "-n", NAMESPACE, "--wave", "canary")
    assert approved.code == 0, approved.err
    assert cluster.rollout("apply", plan).code == 0
    assert cluster.rollout("audit", "verify", second).code == 0


def test_an_emptied_journal_is_no_journal_that_has_not_begun(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    assert cluster.rollout("apply", plan).code == 6
    path = the_journal(cluster)
    path.write_bytes(b"")
    assert cluster.rollout("audit", "verify").code == 65
    refused = cluster.rollout("apply", plan)
    assert refused.code == 65, refused.out
    assert "all lines are missing. It is not written on." in refused.err
    assert path.read_bytes() == b""
    recovered = cluster.rollout("apply", plan, "--recover-from-cluster")
    assert recovered.code == 6, recovered.err
    assert lines(path.with_suffix(".2.jsonl"))[0]["recovers"] == str(path)


def test_faults_45_a_journal_of_a_newer_version_is_refused_by_name(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    plan = cluster.plan(cluster.spec(waves=waves))
    assert cluster.rollout("apply", plan).code == 6
    path = the_journal(cluster)
    path.write_bytes(path.read_bytes().replace(b"rollout.journal/v1", b"rollout.journal/v2", 1))
    refused = cluster.rollout("apply", plan)
    assert refused.code == 65
    assert "rollout.journal/v2" in refused.err
    assert "reads rollout.journal/v1 only" in refused.err


def test_a_run_without_a_journal_is_possible_where_it_is_asked_for(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    assert cluster.rollout("apply", plan, ROLLOUT_JOURNAL="none").code == 0
    assert not (cluster.directory / "state").exists()
    assert "no journals" in cluster.rollout("audit", "verify").out


def test_what_is_no_journal_is_told_so(cluster: World) -> None:
    done = cluster.rollout("audit", "verify", "deadbeef")
    assert done.code == 65
    assert "neither a file nor the id of a run" in done.err
    empty = cluster.directory / "empty.jsonl"
    empty.touch()
    done = cluster.rollout("audit", "verify", empty)
    assert done.code == 65
    assert f"{empty}: it is empty: all lines are missing" in done.err
    done = cluster.rollout("audit", "verify", cluster.spec())
    assert done.code == 65
    assert "spec.yaml:1:" in done.err


def test_a_file_may_be_named_for_one_run_after_the_other(cluster: World) -> None:
    file = cluster.directory / "all.jsonl"
    there = {"ROLLOUT_JOURNAL": str(file)}
    assert cluster.rollout("apply", cluster.plan(cluster.spec()), **there).code == 0
    undone = cluster.rollout("undo", "log-agent", "-n", NAMESPACE, "--yes", **there)
    assert undone.code == 0, undone.err
    second = file.with_name("all.2.jsonl")
    assert lines(file)[0]["run"] != lines(second)[0]["run"]
    for path in (file, second):
        assert cluster.rollout("audit", "verify", path).code == 0


def test_lines_cut_off_at_the_end_are_missed_by_the_cluster_s_record(cluster: World) -> None:
    assert cluster.rollout("apply", cluster.plan(cluster.spec())).code == 0
    path = the_journal(cluster)
    whole = path.read_bytes().splitlines(keepends=True)
    proven = cluster.rollout("audit", "verify")
    assert proven.code == 0, proven.err
    assert "the run's record in the cluster names this very end" in proven.out
    again = cluster.spec("again.yaml", target={"restart": True})
    assert cluster.rollout("apply", "-f", again, "--yes", "--journal", "none").code == 0
    assert "this very end" in cluster.rollout("audit", "verify").out  # by the history

    path.write_bytes(b"".join(whole[:-2]))

    missed = cluster.rollout("audit", "verify")
    assert missed.code == 65
    assert f"lines from {len(whole) - 1} on are missing" in missed.err
    alone = cluster.directory / "nobody.yaml"
    alone.write_text(yaml.safe_dump(kubeconfig("http://127.0.0.1:9", "t")))
    unproven = cluster.rollout("audit", "verify", "--kubeconfig", alone)
    assert unproven.code == 0, unproven.err
    assert "nothing proves that no line is missing at its end" in unproven.out


def test_a_run_that_another_command_ended_is_not_said_to_go_on(cluster: World) -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    assert cluster.rollout("apply", cluster.plan(cluster.spec(waves=waves))).code == 6
    aborted = cluster.rollout("abort", "log-agent-2.4", "-n", NAMESPACE)
    assert aborted.code == 0, aborted.err
    verified = cluster.rollout("audit", "verify")
    assert verified.code == 0, verified.err
    assert "no end in it: another command ended the run (aborted); the run's record" in verified.out
    assert "no end yet" not in verified.out
