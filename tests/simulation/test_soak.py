"""The soak says what failed, how to see it again and how small it can be, and always ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rollout.executor.engine.state import DaemonSetRun
from tests.simulation import kept, soak

ROOT = Path(__file__).parents[2]
SOAK = [sys.executable, "-m", "tests.simulation.soak"]


def test_a_failing_seed_is_made_smaller_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "FILE", tmp_path / "kept.json")
    kept.FILE.write_text("[]")
    monkeypatch.setattr(DaemonSetRun, "drift", lambda *_: "")
    seed = next(seed for seed in range(5000, 5100) if soak.failure_of(seed))
    found = soak.failure_of(seed)

    small = soak.keep(seed, found)

    (one,) = kept.read()
    assert one.scenario == small
    assert one.name.startswith(f"seed {seed}: S9: log-agent is patched over ")
    assert soak.kind_of(soak.failure(small)) == soak.kind_of(found) == "AssertionError S9"
    assert small.nodes == 1
    soak.keep(seed, found)
    assert len(kept.read()) == 1


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seeds", "-4"], ["--jobs", "0"]])
def test_a_soak_of_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        soak.main(words)

    assert refused.value.code == 2


def test_the_soak_ends_at_once_on_ctrl_c() -> None:
    with subprocess.Popen(
        [*SOAK, "--seeds", "100000", "--first", "-2", "--jobs", "2"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("100000 seeds from -2 on")
        running.send_signal(signal.SIGINT)
        said, wrong = running.communicate(timeout=300)

    assert running.returncode == soak.INTERRUPTED
    assert "interrupted" in said
    assert "of 100000 seeds passed" in said
    assert wrong == ""
