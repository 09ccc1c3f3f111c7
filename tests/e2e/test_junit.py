"""The result as JUnit XML: what a CI system shows is never better than the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, parse

import pytest

from rollout.sim.images import Fault, FaultKind
from tests.e2e.world import NAMESPACE, NEW, World, fleet, world

ALLOW = ("--allow-commands", "--allow-host", "127.0.0.1:9", "--allow-network", "127.0.0.0/8")
WAVES = [{"name": "canary", "size": 1}, {"name": "rest"}]
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def read(path: Path) -> Element:
    """Read a report; the counts in each header must agree with the cases below it."""
    root = parse(path).getroot()  # noqa: S314 - our own
    assert root.tag == "testsuites"
    for suite in [root, *root.iter("testsuite")]:
        cases = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(cases))
        for header, kind in COUNTED.items():
            assert suite.get(header) == str(len([c for c in cases if c.find(kind) is not None]))
    return root


def kinds(root: Element, suite: str) -> dict[str, str]:
    """Return how each case of a suite went; "" where it passed."""
    (found,) = [s for s in root.iter("testsuite") if s.get("name") == suite]
    return {
        case.get("name", ""): next((k for k in COUNTED.values() if case.find(k) is not None), "")
        for case in found
    }


def command(shell: str, **more: Any) -> dict[str, Any]:
    argv = ["/bin/sh", "-c", shell]
    return {
        "kind": "command",
        "at": "after-wave",
        "when": {"waves": ["canary"]},
        "argv": argv,
    } | more


def test_commands_45_a_failed_gate_is_a_failure_and_unreached_nodes_are_skipped(
    cluster: World,
) -> None:
    gates = [
        {"name": "smoke", **command("printf '<bad> & \"\\033[1m\\001\"'; exit 1")},
        {"name": "told", **command("exit 1", at="before-wave", dryRun=True)},
    ]
    path = cluster.directory / "report.xml"
    plan = cluster.plan(cluster.spec(waves=WAVES, gates=gates), "plan.json", "--allow-commands")
    done = cluster.rollout("apply", plan, "--junit", path, "-o", "jsonl", *ALLOW)
    assert done.code == 3, done.err
    assert done.events[-1]["exitCode"] == 3, "beside another output"
    root = read(path)
    assert kinds(root, "run") == {"rollout log-agent-2.4": "failure"}
    assert list(kinds(root, "wave 1: canary").values()) == [""]
    assert list(kinds(root, "wave 2: rest").values()) == ["skipped"] * 3
    said = kinds(root, "gates")
    assert said["smoke after wave canary"] == "failure"
    assert said["told before wave canary"] == "skipped", "it decides nothing"
    assert root.attrib["failures"] == "2"


def test_commands_45_an_unmeasurable_gate_is_an_error(cluster: World) -> None:
    gate: dict[str, Any] = {
        "name": "up",
        "kind": "http",
        "at": "after-wave",
        "url": "http://127.0.0.1:9/",
    }
    gate |= {"interval": "1s", "consecutiveErrorLimit": 0, "when": {"waves": ["canary"]}}
    path = cluster.directory / "report.xml"
    spec = cluster.spec(waves=WAVES, gates=[gate])
    done = cluster.rollout("apply", "-f", spec, "--yes", "--junit", path, *ALLOW)
    assert done.code == 9, done.err
    root = read(path)
    assert kinds(root, "gates") == {"up after wave canary": "error"}
    assert kinds(root, "run") == {"rollout log-agent-2.4": "error"}
    assert root.attrib["failures"] == "0"


def test_a_report_of_a_run_that_went_back_names_what_had_failed(cluster: World) -> None:
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    path = cluster.directory / "report.xml"
    spec = cluster.spec(waves=WAVES, failure={"onFailure": "rollback"})
    done = cluster.rollout("apply", "-f", spec, "--yes", "--junit", path)
    assert done.code == 4, done.err
    root = read(path)
    assert list(kinds(root, "wave 1: canary").values()) == ["failure"]
    assert list(kinds(root, "way back").values()) == [""]
    (message,) = [f.get("message", "") for f in root.findall("testsuite[@name='run']//failure")]
    assert message.startswith("rolled back (exit code 4): node-00")
    assert "It went back because node-00" in done.out


def test_a_report_is_written_where_a_run_pauses_goes_on_and_has_nothing_to_do(
    cluster: World,
) -> None:
    path = cluster.directory / "report.xml"
    spec = cluster.spec(waves=WAVES)
    plan = cluster.plan(spec)
    assert cluster.rollout("apply", plan, "--stop-at", "1", "--junit", path).code == 6
    assert kinds(read(path), "run") == {"rollout log-agent-2.4": "skipped"}
    there = ("-n", NAMESPACE, "--junit", path)
    assert cluster.rollout("resume", "log-agent-2.4", *there).code == 0
    assert read(path).attrib["failures"] == read(path).attrib["skipped"] == "0"
    path.unlink()
    assert cluster.rollout("apply", "-f", spec, "--yes", "--junit", path).code == 0
    assert read(path).attrib["tests"] == "1"


def test_a_report_that_can_be_nowhere_is_refused_before_anything_is_done(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    done = cluster.rollout("apply", plan, "--junit", cluster.directory / "none" / "report.xml")
    assert done.code == 64
    assert "is no file in a directory that there is" in done.err
    assert cluster.writes() == []


def test_what_ends_a_command_before_its_run_is_an_error(cluster: World) -> None:
    path = cluster.directory / "report.xml"
    there = ("--junit", path)
    missing = cluster.rollout("apply", "-f", "nofile.yaml", "--yes", "-o", "jsonl", *there)
    assert (missing.code, missing.out) == (65, "")
    root = read(path)
    assert kinds(root, "run") == {"rollout": "error"}
    (error,) = root.iter("error")
    assert error.get("message", "").startswith("no run (exit code 65): nofile.yaml: ")

    for command in (("undo", "nobody", "--yes"), ("resume", "nobody"), ("rollback", "nobody")):
        path.unlink()
        done = cluster.rollout(*command, "-n", NAMESPACE, *there)
        assert done.code not in (0, 64), done.out
        assert kinds(read(path), "run") == {"rollout": "error"}
