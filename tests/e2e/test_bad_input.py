"""What cannot be done: one clear message, the exit code of the contract, and nothing is written."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec import structs

from rollout.cli.main import run as run_here
from rollout.cli.saved import read_plan
from rollout.errors import DocumentError
from rollout.planner.plan import encode, seal
from rollout.sim.fleetfile import Rule, User
from tests.e2e.world import Done, World, environment, fleet, run, spec_document, world

READ = ("get", "list", "watch")
READER = User(
    "reader",
    "reader-token",
    rules=(
        Rule(READ, ("",), ("nodes", "pods", "namespaces", "configmaps")),
        Rule(READ, ("apps",), ("daemonsets", "controllerrevisions")),
    ),
)
NOBODY = User("nobody", "nobody-token")
NO_DELETE = User(
    "half",
    "half-token",
    rules=(
        *READER.rules,
        Rule(("create", "update", "patch"), ("",), ("configmaps",)),
        Rule(("patch",), ("apps",), ("daemonsets",)),
        Rule(("get", "create", "update"), ("coordination.k8s.io",), ("leases",)),
    ),
)


Command = Callable[..., Done]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One cluster for all: nothing here may change it."""
    users = (READER, NOBODY, NO_DELETE)
    with world(fleet(4, users=users), tmp_path_factory.mktemp("cluster")) as made:
        before = made.daemon_set(), made.pod_names()
        yield made
        assert (made.daemon_set(), made.pod_names()) == before
        assert [e for e in made.writes() if e.status < 300] == []


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process, where a process for each case would take long."""

    def run(*arguments: str | Path) -> Done:
        code = run_here([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return run


@pytest.fixture(scope="module")
def plan(cluster: World) -> Path:
    return cluster.plan(cluster.spec(), "good.json")


def refused(done: Done, code: int, *parts: str) -> None:
    """One message on standard error, of one paragraph, with these parts; nothing else."""
    assert done.code == code, done.err
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def changed_spec(directory: Path, old: str, new: str) -> Path:
    """Write the spec with one piece of its text replaced."""
    text = yaml.safe_dump(spec_document())
    assert old in text
    path = directory / "spec.yaml"
    path.write_text(text.replace(old, new, 1))
    return path


# Specs that are wrong by themselves


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("maxUnavailable:", "maxUnavailabel:", ["unknown key", "did you mean 'maxUnavailable'?"]),
        ("daemonSets:", "daemonsets:", ["daemonsets", "unknown key", "daemonSets"]),
        ("soak: 100ms", "soak: [1]", ["spec.health.soak", "array"]),
        ("soak: 100ms", "soak: soon", ["spec.health.soak", "'soon' is not a duration"]),
        ("maxUnavailable: 50%", "maxUnavailable: 150%", ["maxUnavailable", "over 100%"]),
        ("maxUnavailable: 50%", "maxUnavailable: 0", ["cannot be 0 when maxSurge is 0"]),
        ("maxUnavailable: 50%", "maxUnavailable: {a: 1}", ["maxUnavailable"]),
        ("waves: fast", "waves: quick", ["spec.waves", "'quick' is not a profile"]),
        ("name: log-agent\n", "name: 7\n", ["daemonSets[0].name", "quotes"]),
        ("apiVersion: rollout/v1", "apiVersion: rollout/v9", ["rollout/v9", "rollout/v1"]),
        ("kind: Rollout", "kind: Rolout", ["kind"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_spec_is_refused_with_its_line(
    tmp_path: Path, here: Command, old: str, new: str, parts: list[str]
) -> None:
    spec = changed_spec(tmp_path, old, new)
    done = here("plan", "-f", spec, "--kubeconfig", tmp_path / "none")
    where = f"{spec}:{line_of(spec, new.strip().splitlines()[0])}: "
    if "cannot be 0" in parts[0]:  # said of the strategy as a whole, or of one of its lines
        where = f"{spec}:"
    refused(done, 65, where, *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: [1\nb: 2\n", [":2: ", "not valid YAML"]),
        ("a: 1\n\tb: 2\n", [":2: ", "not valid YAML"]),
        ("a: 1\na: 2\n", [":2: ", "'a' stands twice"]),
        ("a: !!python/object:os.system {}\n", [":1: ", "tag"]),
        ("a: &x 1\n<<: {b: 1}\n", [":2: ", "merge"]),
        ("", [":1: ", "is empty"]),
        ("a: 1\n---\nb: 2\n", [":1: ", "2 documents"]),
        ("- 1\n", [":1: ", "mapping"]),
        ("just text\n", [":1: ", "mapping"]),
        ("[" * 5000, [":1: ", "nested deeper"]),
    ],
    ids=["open", "tab", "twice", "tag", "merge", "empty", "many", "list", "text", "deep"],
)
def test_broken_yaml_is_refused_with_its_line(
    tmp_path: Path, here: Command, text: str, parts: list[str]
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(text)
    done = here("plan", "-f", spec, "--kubeconfig", tmp_path / "none")
    refused(done, 65, str(spec), *parts)


def test_a_file_that_is_no_text_or_not_there_is_refused_by_name(tmp_path: Path) -> None:
    binary = tmp_path / "spec.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    refused(run("plan", "-f", binary), 65, f"{binary}:1: not text in UTF-8")
    missing = tmp_path / "missing.yaml"
    refused(run("plan", "-f", missing), 65, f"{missing}: cannot be read")


# Specs that do not fit the cluster


@pytest.mark.parametrize(
    ("changes", "text", "parts"),
    [
        ({"nodes": {"selector": "pool=gpu"}}, "selector: pool", ["'pool=gpu' matches no node"]),
        ({"nodes": {"exclude": ["node-9"]}}, "- node-9", ["no node 'node-9'"]),
        ({"waves": [{"selector": "a=b"}]}, "selector: a=b", ["'a=b' matches no node"]),
        ({"waves": [{"nodes": ["node-9"]}]}, "- node-9", ["no node 'node-9'"]),
        ({"target": {"revision": 9}}, "revision: 9", ["no revision 9; known are 1"]),
        ({"target": {"set": {"image": {"x": "y"}}}}, "x: y", ["no container 'x'", "agent"]),
        ({"target": {"manifest": "m.yaml"}}, "", ["m.yaml: cannot be read"]),
    ],
    ids=["selector", "exclude", "wave selector", "wave nodes", "revision", "container", "manifest"],
)
def test_a_spec_that_names_what_is_not_there_is_refused_with_its_line(
    cluster: World, here: Command, changes: dict[str, Any], text: str, parts: list[str]
) -> None:
    spec = cluster.spec(**changes)
    where = f"{spec}:{line_of(spec, text)}: " if text else "error: "
    to = ("--kubeconfig", cluster.kubeconfig)
    refused(here("plan", "-f", spec, *to), 65, where, *parts)
    refused(here("apply", "-f", spec, "--yes", *to), 65, where, *parts)


def test_a_daemon_set_that_is_not_there_is_named(cluster: World) -> None:
    spec = cluster.spec(namespace="default")
    for done in (
        cluster.rollout("plan", "-f", spec),
        cluster.rollout("apply", "-f", spec, "--yes"),
        cluster.rollout("status", "log-agent"),
    ):
        refused(done, 1, "default/log-agent")


def test_two_namespaces_for_one_daemon_set_are_wrong_usage(cluster: World) -> None:
    refused(
        cluster.rollout("plan", "-f", cluster.spec(), "-n", "default"), 64, "logging", "default"
    )


# Who may not, and where nobody answers


def test_nobody_may_not_even_plan(cluster: World) -> None:
    kubeconfig = cluster.write_kubeconfig("nobody", NOBODY.token)
    for arguments in (("plan", "-f", cluster.spec()), ("status", "log-agent", "-n", "logging")):
        done = cluster.rollout(*arguments, "--kubeconfig", kubeconfig)
        refused(done, 11, "nobody", "cannot")


def test_commands_43_a_reader_may_plan_and_look_and_verify_names_what_apply_lacks(
    cluster: World,
) -> None:
    kubeconfig = cluster.write_kubeconfig("reader", READER.token)
    plan = cluster.directory / "reader.json"
    spec = cluster.spec()
    made = cluster.rollout("plan", "-f", spec, "--out", plan, "--kubeconfig", kubeconfig)
    assert made.code == 0, made.err
    done = cluster.rollout("apply", plan, "--kubeconfig", kubeconfig)
    refused(done, 11, "delete pods in namespace logging", "patch daemonsets.apps", "create configm")
    status = ("status", "log-agent", "-n", "logging")
    assert cluster.rollout(*status, "--kubeconfig", kubeconfig).code == 0
    assert cluster.rollout("show", plan).code == 0
    verified = cluster.rollout("verify", plan, "--kubeconfig", kubeconfig)
    assert verified.code == 11
    for verb in ("delete pods", "patch daemonsets.apps", "create configmaps", "create leases"):
        assert verb in verified.out + verified.err
    assert cluster.writes() == []


def test_who_may_patch_but_not_delete_is_refused_before_the_patch(
    cluster: World, plan: Path
) -> None:
    kubeconfig = cluster.write_kubeconfig("half", NO_DELETE.token)
    done = cluster.rollout("apply", plan, "--kubeconfig", kubeconfig)
    refused(done, 11, "not allowed: delete pods in namespace logging; ")


def test_an_unknown_token_is_not_authorised(cluster: World) -> None:
    kubeconfig = cluster.write_kubeconfig("stranger", "stranger-token")
    done = cluster.rollout("plan", "-f", cluster.spec(), "--kubeconfig", kubeconfig)
    refused(done, 11, "401 Unauthorized", "log in again")


def test_a_cluster_that_does_not_answer_is_an_error(cluster: World, plan: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
        config = cluster.cluster.kubeconfig()
        config["clusters"][0]["cluster"]["server"] = server
        kubeconfig = cluster.directory / "closed"
        kubeconfig.write_text(yaml.safe_dump(config))
        for arguments in (
            ("plan", "-f", cluster.spec(), "-o", "json"),
            ("apply", plan),
            ("status", "log-agent", "-n", "logging"),
        ):
            done = cluster.rollout(*arguments, "--kubeconfig", kubeconfig)
            refused(done, 1, server)


def test_without_any_kubeconfig_it_says_where_it_looked(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(spec_document()))
    bare = environment(HOME=str(tmp_path))
    refused(run("plan", "-f", spec, env=bare), 1, str(tmp_path / ".kube" / "config"))
    missing = tmp_path / "missing"
    refused(run("plan", "-f", spec, "--kubeconfig", missing, env=bare), 64, str(missing))


def test_a_context_that_is_not_there_is_named(cluster: World) -> None:
    done = cluster.rollout("plan", "-f", cluster.spec(), "--context", "other")
    refused(done, 64, "other", "rollout-sim")


def test_faults_46_a_plan_for_another_cluster_is_refused(plan: Path, tmp_path: Path) -> None:
    with world(fleet(4, seed=1), tmp_path) as other:
        done = other.rollout("apply", plan)
        assert other.writes() == []
    assert done.code == 7, done.err
    assert "was made for cluster" in done.err


def test_a_plan_from_before_an_upgrade_is_refused(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    made = read_plan(plan)
    before = structs.replace(made.cluster, version="v1.35.0")
    plan.write_bytes(encode(seal(structs.replace(made, cluster=before))))
    done = cluster.rollout("apply", plan)
    assert done.code == 7, done.err
    assert "v1.35.0" in done.err


# Plans that are not as they were written


def test_faults_47_any_changed_byte_of_a_plan_is_noticed(cluster: World, plan: Path) -> None:
    data = plan.read_bytes()
    broken = cluster.directory / "broken.json"
    unnoticed = []
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= (1, 2, 32, 128)[position % 4]
        broken.write_bytes(changed)
        try:
            read_plan(broken)
        except DocumentError:
            continue
        unnoticed.append(position)
    assert unnoticed == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data + b" ",
        lambda data: b" " + data,
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda _: b"{}",
        lambda _: b"null",
        lambda data: b"\xff" + data,
        lambda data: json.dumps(json.loads(data), indent=2).encode(),
        lambda data: re.sub(rb'"maxUnavailable":', b'"maxunavailable":', data, count=1),
    ],
)
def test_a_changed_plan_is_refused_by_every_command(
    cluster: World, here: Command, plan: Path, change: Callable[[bytes], bytes]
) -> None:
    broken = cluster.directory / "broken.json"
    broken.write_bytes(change(plan.read_bytes()))
    refused(here("show", broken), 65, f"{broken}:1: ")
    refused(here("apply", broken, "--kubeconfig", cluster.kubeconfig), 65, f"{broken}:1: ")


def test_a_flipped_byte_is_refused_by_the_command_itself(cluster: World, plan: Path) -> None:
    broken = cluster.directory / "broken.json"
    broken.write_bytes(plan.read_bytes().replace(b"node-000", b"node-001", 1))
    refused(cluster.rollout("apply", broken), 65, f"{broken}:1: the plan was changed")


def test_a_plan_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    refused(run("show", missing), 65, f"{missing}: cannot be read")


# Usage


@pytest.mark.parametrize(
    "arguments",
    ["nonsense", "plan", "plan -o yaml", "show", "status", "show a b", "--nonsense"],
)
def test_wrong_usage_has_its_own_exit_code(arguments: str, here: Command) -> None:
    done = here(*arguments.split())
    assert done.code == 64
    assert "Usage: rollout" in done.err


def test_a_daemon_set_that_there_is_not_is_shown_in_the_spec(cluster: World) -> None:
    spec = cluster.spec("none.yaml", daemonSets=[{"name": "gone", "target": {"restart": True}}])
    done = cluster.rollout("plan", "-f", spec)
    assert done.code == 1
    where = next(n for n, at in enumerate(spec.read_text().splitlines(), 1) if "name: gone" in at)
    said = f"error: {spec}:{where}: spec.daemonSets[0].name: DaemonSet logging/gone does not exist"
    assert done.err.startswith(said)


def test_what_the_server_refuses_is_shown_in_the_spec_and_nothing_is_said_back(
    cluster: World,
) -> None:
    target = {
        "set": {
            "env": {"agent": {"PASSWORD": 'planted"]: 7f3a9c'}},
            "field": {"spec.containers[agent].bogus": "x"},
        }
    }
    spec = cluster.spec("refused.yaml", target=target)
    done = cluster.rollout("plan", "-f", spec)
    assert done.code == 65
    where = next(n for n, at in enumerate(spec.read_text().splitlines(), 1) if " set:" in at)
    assert done.err.startswith(f"error: {spec}:{where}: spec.daemonSets[0].target.set: ")
    assert 'unknown field "spec.template.spec.containers[0].bogus"' in done.err
    assert "7f3a9c" not in done.err, "the server says the whole patch back"


def test_a_mistyped_command_is_told_the_one_that_it_looks_like(here: Command) -> None:
    done = here("aply", "plan.json")
    assert done.code == 64
    assert "No such command 'aply'. Did you mean 'apply'?" in done.err


def test_of_an_option_that_there_is_not_only_what_looks_like_it_is_named(here: Command) -> None:
    assert "'--ouput'. Did you mean '--output'?" in here("apply", "x", "--ouput").err
    done = here("resume", "x", "--yes")
    assert done.code == 64
    assert done.err.endswith("No such option '--yes'.\n")


def test_nodes_55_a_walk_without_a_terminal_stops_and_a_broken_plan_is_told_first(
    cluster: World, here: Command
) -> None:
    plan = cluster.plan(cluster.spec())
    stopped = cluster.rollout("step", plan, stdin="y\n")
    plan.write_text("{}")
    broken = here("step", plan)
    assert (stopped.code, stopped.out) == (6, "")
    assert "no terminal to ask on: nothing was done" in stopped.err
    assert broken.code == 65
