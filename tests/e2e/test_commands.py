"""What the commands print, write and answer, on a cluster that nobody disturbs."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click import unstyle

from rollout.sim.images import Fault, FaultKind
from rollout.sim.kubeconfigfile import kubeconfig
from tests.e2e.world import (
    COMMAND,
    NEW,
    OLD,
    PATIENCE_S,
    Done,
    World,
    fleet,
    run,
    run_in_terminal,
    world,
)

ESCAPE = "\x1b"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# plan


def test_a_plan_says_what_happens_to_every_node(cluster: World) -> None:
    spec = cluster.spec(nodes={"exclude": ["node-002"]}, waves=[1, "100%"])
    done = cluster.rollout("plan", "-f", spec)
    assert done.code == 0, done.err
    assert re.search(r"-/\+ +node-000 +1 ", done.out)
    assert re.search(r"-/\+ +node-001 +2 ", done.out)
    assert re.search(r"! +node-002 .*excluded by name", done.out)
    assert "50% of 4 = 2" in done.out
    assert f"+      - image: {NEW}" in done.out
    assert "3 to replace in 2 waves, 0 up to date, 1 left out" in done.out


def test_planning_writes_nothing_to_the_cluster(cluster: World) -> None:
    before = cluster.daemon_set()
    cluster.plan(cluster.spec())
    assert cluster.writes() == []
    assert cluster.daemon_set() == before


def test_commands_2_the_detailed_exit_code_tells_changes_from_none(cluster: World) -> None:
    changes = cluster.rollout("plan", "-f", cluster.spec(), "--detailed-exitcode")
    none = cluster.spec("none.yaml", target={"live": True})
    assert changes.code == 2
    assert cluster.rollout("plan", "-f", none, "--detailed-exitcode").code == 0
    assert cluster.rollout("plan", "-f", none).code == 0


def test_commands_3_planning_twice_gives_the_same_bytes_but_for_time_and_id(cluster: World) -> None:
    spec = cluster.spec()
    first, second = (cluster.rollout("plan", "-f", spec, "-o", "json").out for _ in range(2))

    def bare(text: str) -> str:
        document = json.loads(text)
        for key in ("id", "createdAt"):
            text = text.replace(json.dumps(document[key]), '""')
        return text

    assert bare(first) == bare(second)
    assert json.loads(first)["digest"] == json.loads(second)["digest"]


def test_json_on_screen_is_the_saved_plan(cluster: World) -> None:
    path = cluster.directory / "plan.json"
    done = cluster.rollout("plan", "-f", cluster.spec(), "-o", "json", "--out", path)
    assert done.out.encode() == path.read_bytes()
    document = done.json
    assert document["apiVersion"] == "rollout/v1"
    assert document["schemaVersion"] == 1
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", document["digest"])


def test_saved_plans_are_private_and_replace_what_was_there(cluster: World) -> None:
    path = cluster.directory / "plan.json"
    path.write_text("old")
    path.chmod(0o644)
    cluster.plan(cluster.spec())
    assert mode(path) == 0o600
    assert [p.name for p in cluster.directory.iterdir() if "plan" in p.name] == ["plan.json"]


def test_a_plan_that_cannot_be_saved_is_an_error(cluster: World) -> None:
    path = cluster.directory / "nowhere" / "plan.json"
    done = cluster.rollout("plan", "-f", cluster.spec(), "--out", path)
    assert done.code == 1
    assert done.err.startswith(f"error: {path}: cannot be written: ")
    assert done.out == ""


def test_a_spec_may_come_from_standard_input(cluster: World) -> None:
    done = cluster.rollout("plan", "-f", "-", stdin=cluster.spec().read_text())
    assert done.code == 0, done.err
    assert "4 to replace" in done.out


# show


@pytest.mark.parametrize("output", ["table", "json", "dot"])
def test_a_saved_plan_is_shown_without_a_cluster(cluster: World, output: str) -> None:
    plan = cluster.plan(cluster.spec())
    planned = cluster.rollout("plan", "-f", cluster.spec()).out
    cluster.cluster.server.stop()
    done = run("show", plan, "-o", output)
    assert done.code == 0, done.err
    match output:
        case "json":
            assert done.out.encode() == plan.read_bytes()
        case "dot":
            assert done.out.startswith("digraph ")
            assert all(f"node-00{i}" in done.out for i in range(4))
        case _:
            assert done.out.splitlines()[2:] == planned.splitlines()[2:]


# apply


def test_applying_a_spec_plans_shows_and_does_it(cluster: World) -> None:
    done = cluster.rollout("apply", "-f", cluster.spec(), "--yes")
    assert done.code == 0, done.err
    assert "4 to replace in 1 wave" in done.out
    assert len(re.findall(r"^node-00\d .* updated ", done.out, re.MULTILINE)) == 4
    assert set(cluster.images().values()) == {NEW}


def test_without_a_terminal_and_without_yes_it_refuses_at_once(cluster: World) -> None:
    done = cluster.rollout("apply", "-f", cluster.spec())
    assert done.code == 64
    assert "--yes" in done.err
    assert cluster.entries() == []


@pytest.mark.parametrize(
    ("answer", "expected"), [("n\n", OLD), ("\n", OLD), ("y\n", NEW)], ids=["no", "empty", "yes"]
)
def test_on_a_terminal_it_asks(cluster: World, answer: str, expected: str) -> None:
    arguments = ["apply", "-f", str(cluster.spec())]
    code, screen = run_in_terminal(arguments, answer, cluster.environment(TERM="xterm"))
    assert code == 0, screen
    assert "Apply this plan? [y/N]" in screen
    assert set(cluster.images().values()) == {expected}
    assert bool(cluster.writes()) is (expected == NEW)


def test_nothing_to_do_is_done(cluster: World) -> None:
    done = cluster.rollout("apply", "-f", cluster.spec(target={"live": True}), "--yes")
    assert done.code == 0, done.err
    assert "Nothing to do: 4 of 4 nodes are up to date" in done.out
    assert cluster.writes() == []


def test_commands_15_a_plan_is_applied_once(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    assert cluster.rollout("apply", plan).code == 0
    writes = len(cluster.writes())
    again = cluster.rollout("apply", plan)
    idempotent = cluster.rollout("apply", plan, "--idempotent")
    assert again.code == 7
    assert "already applied by run" in again.err
    assert idempotent.code == 0
    assert len(cluster.writes()) == writes


def test_commands_15_nodes_that_were_left_out_are_no_success_under_idempotent_either(
    cluster: World,
) -> None:
    deferred = cluster.plan(cluster.spec(nodes={"exclude": ["node-000"]}))
    assert cluster.rollout("apply", deferred).code == 12
    again = cluster.rollout("apply", deferred, "--idempotent")
    assert again.code == 12, again.out
    assert "already applied, with 1 nodes deferred or skipped, by run" in again.out
    assert cluster.rollout("apply", deferred, "--idempotent", "--allow-deferred").code == 0


def test_commands_15_a_plan_that_was_rolled_back_is_no_success_under_idempotent(
    cluster: World,
) -> None:
    cluster.break_image(NEW, Fault(FaultKind.UNPULLABLE))
    plan = cluster.plan(cluster.spec(failure={"onFailure": "rollback"}))
    assert cluster.rollout("apply", plan).code == 4
    again = cluster.rollout("apply", plan, "--idempotent")
    assert again.code == 7, "a job that is run again must not turn green"
    assert "was already rolled back by run" in again.err


def test_commands_16_a_plan_and_a_spec_together_are_wrong_usage(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    assert cluster.rollout("apply", plan, "-f", cluster.spec()).code == 64
    assert cluster.rollout("apply").code == 64
    assert cluster.rollout("apply", plan, "--waves", "2").code == 64
    assert cluster.writes() == []


def test_commands_40_the_event_stream_is_one_json_object_a_line(cluster: World) -> None:
    done = cluster.rollout("apply", "-f", cluster.spec(), "--yes", "-o", "jsonl")
    assert done.code == 0, done.err
    events = done.events
    assert events[0]["type"] == "version"
    assert events[0]["schema"] == "rollout.events/v1"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds[1] == "run-started"
    assert kinds.count("node-started") == kinds.count("node-done") == 4
    assert kinds[-1] == "run-finished"
    assert all(isinstance(event["time"], str) for event in done.events)
    assert events[-1]["exitCode"] == 0
    results = {node["node"]: node["result"] for node in events[-1]["nodes"]}
    assert results == {f"node-00{i}": "updated" for i in range(4)}


def test_the_record_of_the_run_stays(cluster: World) -> None:
    original = cluster.daemon_set()["spec"]["updateStrategy"]
    cluster.rollout("apply", "-f", cluster.spec(), "--yes")
    record = cluster.record()
    assert record is not None
    assert record["phase"] == "complete"
    assert record["daemonSets"][0]["originalStrategy"] == original


# how it looks


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1", "TERM": "xterm-256color"}], ids=str)
def test_commands_41_pipes_get_no_escape_sequences(
    cluster: World, variables: dict[str, str]
) -> None:
    plan = cluster.plan(cluster.spec())
    outputs = [
        cluster.rollout(*arguments, **variables)
        for arguments in (
            ("plan", "-f", cluster.spec()),
            ("show", plan),
            ("apply", plan),
            ("status", "log-agent", "-n", "logging"),
            ("apply", "nothing.json"),
            ("--help",),
        )
    ]
    assert not [done for done in outputs if ESCAPE in done.out + done.err]


def test_no_color_holds_on_a_terminal_too(cluster: World) -> None:
    arguments = ["apply", str(cluster.plan(cluster.spec()))]
    code, screen = run_in_terminal(arguments, "", cluster.environment(TERM="xterm", NO_COLOR="1"))
    assert code == 0, screen
    assert ESCAPE not in screen


def test_color_always_wins_over_a_pipe_and_no_color_wherever_it_stands(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    plain = cluster.rollout("show", plan)
    before = cluster.rollout("--color", "always", "show", plan, NO_COLOR="1")
    behind = cluster.rollout("show", plan, "--color=always", NO_COLOR="1")
    status = cluster.rollout("status", "log-agent", "-n", "logging", "--color", "always")
    as_json = cluster.rollout("show", plan, "-o", "json", "--color", "always")
    assert [done.code for done in (plain, before, behind, status, as_json)] == [0] * 5
    assert ESCAPE not in plain.out + as_json.out
    assert before.out == behind.out
    assert ESCAPE in before.out
    assert ESCAPE in status.out
    assert unstyle(before.out) == plain.out


def test_color_never_holds_on_a_terminal(cluster: World) -> None:
    arguments = ["apply", "-f", str(cluster.spec()), "--color", "never"]
    code, screen = run_in_terminal(arguments, "y\n", cluster.environment(TERM="xterm"))
    assert code == 0, screen
    assert ESCAPE not in screen


def test_a_color_that_there_is_not_is_wrong_usage() -> None:
    assert run("--color", "red", "runs").code == 64


def test_every_command_has_help_with_an_example() -> None:
    listed = run("--help").out.partition("Commands:")[2]
    commands = re.findall(r"^  (\w[\w-]*) ", listed, re.MULTILINE)
    assert {"plan", "apply", "show", "status", "sim"} <= set(commands)
    for command in [*commands, "sim start"]:
        done = run(*command.split(), "--help")
        assert done.code == 0
        assert command == "sim" or f"rollout {command}" in done.out.partition("Example")[2]


# An output that nobody reads


def unread(cluster: World, *arguments: str | Path, both: bool = False) -> Done:
    """Run a command whose standard output is a pipe that nobody reads any more.

    Args:
        cluster: that it works on.
        arguments: of the command.
        both: its standard error goes into the same pipe, as with `2>&1 | head`.
    """
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer if both else subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=cluster.environment(),
        )
    finally:
        os.close(writer)
    return Done(done.returncode, "", done.stderr or "")


def test_a_command_whose_reader_has_gone_ends_without_a_word(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    for shown in (["show", plan], ["show", plan, "-o", "json"], ["status", "log-agent"]):
        done = unread(cluster, *shown, *(["-n", "logging"] if "status" in shown else []))
        assert (done.code, done.err) == (141, "")


def test_a_run_whose_reader_has_gone_goes_on_to_its_end(cluster: World) -> None:
    done = unread(cluster, "apply", cluster.plan(cluster.spec()))
    assert done.code == 0
    assert "the run goes on" in done.err
    assert done.err.count("\n") == 1
    assert set(cluster.images().values()) == {NEW}


def test_a_run_both_of_whose_streams_nobody_reads_goes_on_to_its_end(cluster: World) -> None:
    done = unread(cluster, "apply", cluster.plan(cluster.spec()), both=True)
    assert done.code == 0
    assert set(cluster.images().values()) == {NEW}


def test_a_disk_that_is_full_is_one_clear_error(cluster: World) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "show", str(cluster.plan(cluster.spec()))],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env=cluster.environment(),
        )
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


# A cluster that says nothing, or no


def test_an_error_says_which_cluster_was_tried_and_how_to_choose_another(cluster: World) -> None:
    url = cluster.cluster.server.url
    for server, code in (("http://127.0.0.1:9", 1), (url, 11)):
        config = cluster.directory / "wrong.yaml"
        config.write_text(yaml.safe_dump(kubeconfig(server, "wrong-token")))
        done = run("status", "log-agent", "--kubeconfig", config)
        assert done.code == code
        assert f"(tried: context 'rollout-sim' of {config})" in done.err
        assert "--context" in done.err
