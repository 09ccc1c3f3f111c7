"""Commands that are forked from a process with their libraries are commands like all others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import warm
from tests.e2e.world import PATIENCE_S, Running, environment, run

# A module of the standard library that runs what it is told on its standard input.
INTERPRETER = "code"


def ask(code: str, **env: str) -> tuple[int, str, str]:
    return warm.run(INTERPRETER, ["-q"], {**environment(), **env}, code, PATIENCE_S)


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["plan"], ["plan", "-f", "missing.yaml"], ["nonsense"]],
    ids=" ".join,
)
def test_a_command_says_and_returns_what_it_does_when_it_starts_cold(arguments: list[str]) -> None:
    cold = subprocess.run(
        [sys.executable, "-m", "rollout", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    done = run(*arguments)
    assert (done.code, done.out, done.err) == (cold.returncode, cold.stdout, cold.stderr)


def test_a_command_has_an_environment_of_its_own(tmp_path: Path) -> None:
    before = dict(os.environ)
    code, out, err = ask("import os\nprint(os.environ['ONLY_HERE'], os.getcwd())", ONLY_HERE="yes")
    assert code == 0, err
    assert f"yes {Path.cwd()}" in out
    assert dict(os.environ) == before
    assert run("plan", "-f", tmp_path / "none.yaml").code == 65


def test_a_process_that_is_killed_says_so_and_the_next_one_lives() -> None:
    killed = ask("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    assert killed[0] == -signal.SIGKILL
    assert ask("import sys\nsys.exit(3)")[0] == 3


def test_signals_reach_the_command_alone() -> None:
    with Running(module="http.server", env={**environment(), "PYTHONUNBUFFERED": "1"}) as command:
        assert command.process.poll() is None
        command.send(signal.SIGSTOP)
        command.send(signal.SIGCONT)
        command.process.kill()
        assert command.process.wait(PATIENCE_S) == -signal.SIGKILL
        assert command.process.poll() == -signal.SIGKILL
    assert run("--version").code == 0


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        warm.run(INTERPRETER, ["-q"], environment(), "import time\ntime.sleep(999)\n\n", 0.01)
