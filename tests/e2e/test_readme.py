"""The READMEs promise what there is: every command, option, exit code and key of the spec."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

import rollout
from rollout import errors, spec
from rollout.cli.main import cli
from rollout.errors import ExitCode
from rollout.executor.record.record import Counts
from rollout.report import progress
from rollout.report.events import EventStream
from rollout.report.runs import History, RevisionRow, RunRow
from rollout.report.state import DaemonSetState, NodeState
from tests.e2e.world import environment, run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLANS_README = (ROOT / "plans" / "README.md").read_text()
SYSTEM = {"cp", "export", "python3", "ssh-keygen"}  # commands of the machine, in the examples
BY_SIGNAL = {ExitCode.TERMINATED}  # 128 + the signal's number, so it's named nowhere


def shown_commands() -> list[str]:
    """Return the commands in the shell blocks of the README, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def all_commands(group: click.Group, name: str = "rollout") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}", command


COMMANDS = dict(all_commands(cli))


@pytest.mark.parametrize("line", shown_commands())
def test_a_shown_command_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.partition("&&")[0])
    if words[0].startswith("scripts/"):
        assert (ROOT / words[0]).stat().st_mode & 0o100
        return
    if words[0] != "rollout":
        assert words[0] in SYSTEM
        return
    name = next(n for n in COMMANDS if line.startswith(f"{n} "))
    options = {o for p in COMMANDS[name].params for o in (*p.opts, *p.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"`{name}" in README or f"\n{name} " in README


def test_the_quick_start_has_at_most_ten_lines() -> None:
    block = README.partition("## On your own cluster")[2].partition("```sh\n")[2]
    assert 3 <= len(block.partition("```")[0].splitlines()) <= 10


def used_names() -> set[str]:
    """Return every `ExitCode.NAME`, and every class of errors.py, that other modules mention."""
    used: set[str] = set()
    for path in Path(rollout.__file__).parent.rglob("*.py"):
        if path.name == "errors.py" and path.parent.name == "rollout":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used.add(f"{node.value.id}.{node.attr}")
            elif isinstance(node, ast.Name):
                used.add(node.id)
    return used


def test_the_table_of_exit_codes_is_what_commands_return() -> None:
    used = used_names()
    codes = {code for code in ExitCode if f"ExitCode.{code.name}" in used} | BY_SIGNAL
    codes |= {
        error.exit_code
        for name, error in inspect.getmembers(errors, inspect.isclass)
        if name in used and issubclass(error, errors.RolloutError)
    }
    table = README.partition("## Exit codes")[2].partition("\n## ")[0]
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert listed == sorted(codes)


def test_the_schema_of_the_event_stream_is_named_on_its_first_line() -> None:
    lines: list[str] = []
    EventStream(lines.append).emit("run-started")
    assert [msgspec.json.decode(line)["type"] for line in lines] == ["version", "run-started"]


FOR_PROGRAMS = README.partition("\n## Output for programs\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("command", "shapes"),
    [
        ("runs", (RunRow, Counts)),
        ("status", (DaemonSetState, NodeState)),
        ("history", (History, RevisionRow)),
    ],
)
def test_every_key_that_programs_get_is_there(command: str, shapes: tuple[type, ...]) -> None:
    (row,) = (line for line in FOR_PROGRAMS.splitlines() if line.startswith(f"| `{command}`"))
    keys = {key for shape in shapes for key in inspect.get_annotations(shape)}
    assert keys <= set(re.findall(r"`(\w+)`", row))


def test_every_notice_of_the_event_stream_is_there_and_no_other() -> None:
    notices = FOR_PROGRAMS.partition("Notices are ")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z-]+)`", notices)) == set(progress.SENTENCES)


def test_shells_complete_commands() -> None:
    words = {"COMP_WORDS": "rollout app", "COMP_CWORD": "1", "_ROLLOUT_COMPLETE": "bash_complete"}
    done = run(env=environment(**words))
    assert done.code == 0, done.err
    assert "plain,apply" in done.out.splitlines()


def test_every_key_of_the_spec_is_in_its_reference() -> None:
    structs = [
        item
        for _, item in inspect.getmembers(spec, inspect.isclass)
        if issubclass(item, msgspec.Struct) and item.__module__ == spec.__name__
    ]
    assert len(structs) > 8
    wanted = {field.encode_name for item in structs for field in msgspec.structs.fields(item)}
    missing = {key for key in wanted if not re.search(rf"[`.]{key}\b|\b{key}:", PLANS_README)}
    assert missing == set()


def test_every_profile_is_in_the_reference() -> None:
    assert [name for name in spec.PROFILES if f"`{name}`" not in PLANS_README] == []


@pytest.mark.parametrize("document", [README, PLANS_README], ids=["README", "plans/README"])
def test_links_lead_to_files(document: str) -> None:
    base = ROOT if document is README else ROOT / "plans"
    targets = re.findall(r"\]\(([^)#:]+)\)", document)
    assert targets
    assert [target for target in targets if not (base / target).exists()] == []
