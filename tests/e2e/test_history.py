"""`rollout runs` and `rollout history`: what the cluster itself remembers, over HTTP."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollout.sim.fleetfile import Rule, User
from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAME, NAMESPACE, NEW, OLD, World, fleet, world

HERE = ("-n", NAMESPACE)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(3), tmp_path) as made:
        yield made


def test_a_run_its_rollback_and_the_way_back_are_remembered(cluster: World) -> None:
    none = "No runs are known in namespace {}; -A asks in all.\n"
    assert cluster.rollout("runs", *HERE).out == none.format(NAMESPACE)
    assert cluster.rollout("runs", "-A").out == "No runs are known in any namespace.\n"
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    assert cluster.rollout("undo", NAME, *HERE, "--yes").code == 0
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    again = cluster.spec(failure={"onFailure": "rollback"})
    assert cluster.rollout("apply", "-f", again, "--yes").code == 4

    found = cluster.rollout("runs", *HERE, "-o", "json")
    assert found.code == 0, found.err
    rows = found.json
    assert {(r["rollout"], r["phase"]) for r in rows} == {
        ("log-agent-2.4", "rolled back"),
        ("log-agent-2.4", "complete"),
        (f"undo-{NAME}", "complete"),
    }
    assert len({r["run"] for r in rows}) == 3
    assert all("@" in r["by"] and r["started"] <= r["finished"] for r in rows)
    assert all(r["lock"] == "" for r in rows)
    assert all(r["nodes"]["total"] >= r["nodes"]["updated"] > 0 for r in rows)
    assert [r["nodes"] for r in rows if r["phase"] == "complete"] == [
        {"updated": 3, "failed": 0, "deferred": 0, "total": 3, "skipped": 0}
    ] * 2
    assert cluster.rollout("runs", "-A", "-o", "json").json == rows
    table = cluster.rollout("runs", *HERE).out
    assert all(r["run"] in table for r in rows)
    assert cluster.rollout("runs", "-n", "kube-system").out == none.format("kube-system")

    told = cluster.rollout("history", NAME, *HERE, "-o", "json").json
    kubectl = cluster.kubectl("rollout", "history", f"ds/{NAME}", *HERE)
    theirs = [int(n) for n in re.findall(r"^(\d+) ", kubectl.out, re.MULTILINE)]
    assert [r["revision"] for r in told["revisions"]] == theirs
    old, new = sorted(told["revisions"], key=lambda r: r["pods"], reverse=True)
    assert (old["pods"], old["current"], new["pods"], new["current"]) == (3, True, 0, False)
    assert [r["phase"] for r in new["runs"]] == ["rolled back", "complete"]
    assert [r["rollout"] for r in old["runs"]] == [f"undo-{NAME}"]
    assert [r["phase"] for r in old["back"]] == ["rolled back"]  # the rollback led here
    assert old["back"][0]["run"] == new["runs"][0]["run"]
    assert new["back"] == []
    text = cluster.rollout("history", f"ds/{NAME}", *HERE).out
    assert f"{old['revision']} (current)" in text
    assert "rolled back, to this one" in text


def test_a_killed_run_is_shown_as_interrupted_and_a_live_one_with_its_lock(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    with cluster.start("apply", plan, "-o", "jsonl") as running:
        running.event("node-started")
        (live,) = cluster.rollout("runs", *HERE, "-o", "json").json
        running.send(signal.SIGINT)
        assert "stopping" in running.read_error_line()
        cluster.break_image(NEW, None)
        assert running.end().code == 6
    (paused,) = cluster.rollout("runs", *HERE, "-o", "json").json
    assert live["phase"] == "running"
    assert re.fullmatch(r"\S+@\S+, renewed \S+ ago", live["lock"])
    assert (paused["phase"], paused["lock"]) == ("paused", "")


def test_two_revisions_are_compared_and_one_is_shown(cluster: World) -> None:
    cluster.patch_daemon_set(
        {
            "spec": {
                "updateStrategy": {"type": "OnDelete", "rollingUpdate": None},
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "agent",
                                "image": NEW,
                                "env": [{"name": "API_TOKEN", "value": "hunter2"}],
                            }
                        ]
                    }
                },
            }
        }
    )
    waited = cluster.kubectl("rollout", "history", f"ds/{NAME}", *HERE, "--revision", "2")
    assert waited.code == 0, waited.err
    diff = cluster.rollout("history", NAME, *HERE, "--diff", "1..2")
    assert diff.code == 0, diff.err
    lines = diff.out.splitlines()
    assert lines[:2] == ["--- revision 1", "+++ revision 2"]
    assert any(line.startswith("-") and OLD in line for line in lines)
    assert any(line.startswith("+") and NEW in line for line in lines)
    assert cluster.rollout("history", "--diff", "1", "2", NAME, *HERE).out == diff.out
    assert cluster.rollout("history", NAME, *HERE, "--diff", "1", "2").out == diff.out
    back = cluster.rollout("history", NAME, *HERE, "--diff", "2..1", "-o", "json").json
    assert any(line.startswith("+") and OLD in line for line in back["diff"])
    shown = cluster.rollout("history", NAME, *HERE, "--revision", "2")
    assert f"image: {NEW}" in shown.out
    as_json = cluster.rollout("history", NAME, *HERE, "--revision", "2", "-o", "json")
    assert as_json.json["template"]["spec"]["containers"][0]["image"] == NEW
    for done in (diff, shown, as_json):
        assert "hunter2" not in done.out
    same = cluster.rollout("history", NAME, *HERE, "--diff", "1..1").out
    assert "the same template" in same


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--diff", "1-2"), 64, "such as 2 3 or 2..3"),
        (("--diff", "1"), 64, "such as 2 3 or 2..3"),
        (("--diff", "1..2", "--revision", "1"), 64, "either --revision or --diff"),
        (("--revision", "7"), 1, "has no revision 7; it has 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    cluster: World, options: tuple[str, ...], code: int, said: str
) -> None:
    done = cluster.rollout("history", NAME, *HERE, *options)
    assert done.code == code
    assert said in done.err


def test_undo_after_a_rollback_does_not_go_to_the_bad_release_unless_it_is_named(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    spec = cluster.spec(failure={"onFailure": "rollback"})
    assert cluster.rollout("apply", "-f", spec, "--yes").code == 4
    before = cluster.pod_names()

    done = cluster.rollout("undo", NAME, *HERE, "--yes")

    assert done.code == 7
    assert "--to-revision 2" in done.err
    assert "is rolled back" in done.err
    assert cluster.pod_names() == before
    named = cluster.rollout("undo", NAME, *HERE, "--to-revision", "2", "--dry-run")
    assert named.code == 0, named.err
    assert NEW in named.out
    assert cluster.pod_names() == before


def test_undo_without_a_terminal_shows_the_way_back_and_asks_for_a_yes(cluster: World) -> None:
    assert cluster.rollout("apply", "-f", cluster.spec(), "--yes").code == 0
    before = cluster.pod_names()

    done = cluster.rollout("undo", NAME, *HERE)

    assert done.code == 64
    assert "3 to replace" in done.out
    assert "--yes" in done.err
    assert cluster.pod_names() == before


def test_an_undo_that_was_stopped_goes_on_with_the_same_command(cluster: World) -> None:
    spec = cluster.spec(strategy={"maxUnavailable": 1})
    assert cluster.rollout("apply", "-f", spec, "--yes").code == 0
    cluster.break_image(OLD, Fault(FaultKind.NEVER_READY))
    with cluster.start("undo", NAME, *HERE, "--yes", "-o", "jsonl") as running:
        running.event("node-started")
        running.send(signal.SIGINT)
        assert "stopping" in running.read_error_line()
        cluster.break_image(OLD, None)
        done = running.end()
    assert done.code == 6, done.err
    assert set(cluster.images().values()) == {OLD, NEW}

    again = cluster.rollout("undo", NAME, *HERE, "--yes", "--until-paused")

    assert again.code == 0, again.err
    assert set(cluster.images().values()) == {OLD}


def test_who_may_not_read_records_sees_the_revisions_all_the_same(tmp_path: Path) -> None:
    looks = Rule(("get", "list"), ("", "apps"), ("namespaces", "nodes", "pods", "daemonsets"))
    revisions = Rule(("get", "list"), ("apps",), ("controllerrevisions",))
    with world(
        fleet(2, users=(User("dev", "dev-token", rules=(looks, revisions)),)), tmp_path
    ) as w:
        kubeconfig = w.write_kubeconfig("dev", "dev-token")

        done = w.rollout("history", NAME, *HERE, "--kubeconfig", kubeconfig)

    assert done.code == 0, done.err
    assert "1 (current)" in done.out
    assert "which run led to which revision is not known" in done.err
