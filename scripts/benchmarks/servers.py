"""Embedded clusters in processes of their own, reached over loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.processes import PYTHON, ROLLOUT

_END_S: Final = 60.0  # seconds that a server has to end


@contextmanager
def sim_start(nodes: int, kubeconfig: Path) -> Iterator[None]:
    """Run `rollout sim start` until the block ends.

    Args:
        nodes: how many it has.
        kubeconfig: where it writes the way to reach it.
    """
    command = [ROLLOUT, "sim", "start", "--nodes", str(nodes), "--kubeconfig", str(kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own words
        assert process.stdout is not None
        try:
            process.stdout.readline()
            yield
        finally:
            process.terminate()
            process.wait(_END_S)


@dataclass(slots=True)
class ServedCluster:
    """A cluster whose process also takes orders, a line each, and answers each with JSON."""

    process: subprocess.Popen[bytes]
    url: str
    kubeconfig: Path

    def order(self, *words: object) -> Any:  # noqa: ANN401 - what the order asks for
        """Give an order (`served_cluster.py`) and return the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = " ".join(str(word) for word in words)
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def served_cluster(
    nodes: int, start_s: float, directory: Path, *, again: float = 0.0, seed: int = 1
) -> Iterator[ServedCluster]:
    """Run a cluster that takes orders until the block ends.

    Args:
        nodes: how many it has.
        start_s: median of the time that its pods take to start.
        directory: where its kubeconfig goes.
        again: how much of that is chance, as in `uneven_fleet`.
        seed: of that chance.
    """
    kubeconfig = directory / "kubeconfig"
    arguments = [str(nodes), str(start_s), str(kubeconfig), str(again), str(seed)]
    command = [PYTHON, "-m", "scripts.benchmarks.served_cluster", *arguments]
    with subprocess.Popen(  # noqa: S603 - ourselves
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())
            yield ServedCluster(process, url, kubeconfig)
        finally:
            process.terminate()
            process.wait(_END_S)
