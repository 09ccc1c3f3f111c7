"""The command answers at once: asking for help loads nothing but the command line itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("kubernetes", "msgspec", "networkx", "requests", "rich", "tabulate", "tenacity", "urllib3"),
    *("yaml", "asyncio", "concurrent", "http", "ssl"),
}


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rollout", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([c, "--help"] for c in ("plan", "apply", "show", "status"))],
    ids=" ".join,
)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    assert "click" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(HEAVY)


def test_help_loads_no_part_that_works() -> None:
    parts = {name for name in loaded_by("--help") if name.startswith("rollout.")}
    texts = {"rollout.errors", "rollout.printable"}
    assert parts <= {"rollout.__main__", "rollout.cli", "rollout.cli.main", *texts}
