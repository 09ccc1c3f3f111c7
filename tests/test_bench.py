"""Every benchmark runs, in worlds too small for its figures to mean anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "sim": ["rolling update of", "memory per node", "list of 8 pods", "changes to 2 watches"],
    "plan": ["rollout plan -o json, 8 nodes", "peak memory", "20 nodes in process", "n log n"],
    "apply": [
        "pod ready to next delete, p50; 4 of 8 nodes",
        "writes per node beyond the record",
        "beyond the record in a hand-over",
        "memory of a run over 40 changes",
        "ours over the built-in update, 2 nodes, 2 in flight, real: median of 1",
        "stragglers times, 20 nodes, 10% in flight",
    ],
    "cli": ["rollout --help", "completion of 'rollout apply --'", "over importing click"],
}


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("which", EXPECTED)
def test_a_benchmark_prints_its_rows(which: str) -> None:
    done = bench(which, "--tiny")

    assert done.returncode == 0, done.stderr
    heading = next(line for line in done.stdout.splitlines() if line.startswith(which.upper()))
    assert heading.split() == [which.upper(), "FIGURE", "TARGET"]
    assert [words for words in EXPECTED[which] if words not in done.stdout] == []


def test_an_unknown_benchmark_is_refused_with_the_ones_that_there_are() -> None:
    done = bench("everything")

    assert done.returncode == 2
    assert "'sim', 'plan', 'apply', 'cli', 'all'" in done.stderr
