from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from rollout.cli.allowing import Allowed, allow_options
from rollout.errors import UsageError
from rollout.gates.settings import Settings
from tests.gates.worlds import a_gate


@pytest.fixture(autouse=True)
def _no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@click.command()
@allow_options
def asked(allowed: Allowed) -> None:
    settings = allowed.settings()
    click.echo(f"{settings.hosts} {settings.private} {settings.commands}")


def said(*arguments: str) -> str:
    result = CliRunner().invoke(asked, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output.strip()


def test_nothing_is_allowed_unless_somebody_says_so() -> None:
    assert said() == "() () False"


def test_flags_add_to_the_configuration_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("gates: {hosts: [a.example]}")
    flags = ("--allow-host", "b.example", "--allow-host", "c.example", "--allow-commands")
    assert said(
        "--config", str(tmp_path / "own.yaml"), *flags, "--allow-network", "10.0.0.0/8"
    ) == ("('a.example', 'b.example', 'c.example') ('10.0.0.0/8',) True")


def test_gates_that_want_more_are_named_with_the_cure() -> None:
    gates = [
        a_gate("webhook", name="hook", url="https://h.example/"),
        a_gate("command", name="script", argv=["true"]),
    ]
    with pytest.raises(UsageError) as caught:
        Allowed((), (), commands=False, config=None).settings_for(gates)
    hook, script = str(caught.value).splitlines()
    assert hook.startswith("gate hook: host h.example is not allowed; add it to 'hosts' in the")
    assert hook.endswith("or pass --allow-host h.example")
    assert script.startswith("gate script: commands are not allowed; set 'commands: true'")
    assert script.endswith("or pass --allow-commands")
    enough = Allowed(("h.example",), (), commands=True, config=None)
    assert enough.settings_for(gates) == Settings(("h.example",), (), commands=True)
