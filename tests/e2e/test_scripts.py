"""The scripts that a newcomer runs: they say what they do, and what is missing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "cksum", "dirname", "env", "id", "mktemp", "rm")


def copy_of_the_scripts(directory: Path) -> Path:
    shutil.copytree(ROOT / "scripts", directory / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, directory)
    return directory


def machine(directory: Path, python: str) -> dict[str, str]:
    """Return the environment of a machine with few tools, and this text as its `python3`."""
    tools = directory / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    if python:
        (tools / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (tools / "python3").chmod(0o755)
    return {"PATH": str(tools), "HOME": str(directory)}


@pytest.mark.parametrize("script", ["demo", "test"])
@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("", "error: Python 3.11 or newer is needed and was not found; "),
        ("exit 1", "error: Python 3.11 or newer is needed and was not found; "),
        (
            'case "$2" in *ensurepip*) exit 1 ;; *print*) echo python3.11-venv ;; esac',
            "has no venv module; install it (Debian: apt-get install python3.11-venv)",
        ),
    ],
    ids=["no python", "old python", "no venv module"],
)
def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, script: str, python: str, message: str
) -> None:
    directory = copy_of_the_scripts(tmp_path)
    done = subprocess.run(
        [directory / "scripts" / script],
        env=machine(tmp_path, python),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith(f"scripts/{script}: makes ")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (directory / ".venv").exists()


def test_every_package_of_the_project_is_pinned() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    assert {"click", "kubernetes", "networkx", "pytest", "mypy", "ruff", "hatchling"} <= pinned


@pytest.mark.slow
def test_the_demo_ends_well_and_leaves_nothing(tmp_path: Path) -> None:
    with run_demo(tmp_path) as demo:
        done = demo.communicate()[0]
    assert demo.returncode == 0
    assert "20 of 20 nodes updated" in done
    assert "Up to date and available on all 20 nodes." in done
    assert processes() == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_the_demo_leaves_nothing_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    with run_demo(tmp_path) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "(canary) begins" in line:
                os.killpg(demo.pid, number)
                break
        demo.communicate()
    assert demo.returncode == 128 + number
    assert processes() == set()
    assert list(tmp_path.iterdir()) == []


def run_demo(temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ROOT / "scripts" / "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
        start_new_session=True,
    )


def processes() -> set[str]:
    """Return the commands of this project's environment that run a cluster of their own."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if f"{ROOT}/.venv/bin/rollout sim start" in line:
            found.add(line)
    return found
