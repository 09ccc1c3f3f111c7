"""Whole processes, measured from outside: wall time, CPU time and peak memory of each.

Nothing heavy may be imported here: a child begins with the memory of its parent, and its peak
counts that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

ROLLOUT: Final = str(Path(sys.executable).with_name("rollout"))
PYTHON: Final = sys.executable
SAMPLE_S: Final = 0.5
_MB: Final = 1024  # the system counts kilobytes


class CommandFailed(Exception):
    """A command that is measured ended with an exit code that was not expected."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process has used; `peak_mb` in MiB, `output` only where it was asked for."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: bytes
    memory_mb: tuple[float, ...] = ()  # a sample every `SAMPLE_S`


def measured(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    expected: Sequence[int] = (0,),
    keep_output: bool = False,
) -> Usage:
    """Run a command to its end and return what it used.

    Args:
        command: program and arguments.
        environment: added to our own.
        expected: the exit codes that are no failure.
        keep_output: return what it printed; else it only counts as the work that it was.

    Raises:
        CommandFailed: when it ends with another exit code.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: S603 - our own commands
            command, env={**os.environ, **(environment or {})}, stdout=out, stderr=errors
        ) as process:
            with _sampled(process.pid) as samples:
                _, status, used = os.wait4(process.pid, 0)
            wall_s = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in expected:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            raise CommandFailed(f"{' '.join(command)}: exit code {process.returncode}: {said}")
        out.seek(0)
        output = out.read() if keep_output else b""
    cpu_s, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / _MB
    return Usage(wall_s, cpu_s, peak_mb, output, tuple(samples))


@contextmanager
def _sampled(pid: int) -> Iterator[list[float]]:
    """Note how much memory another process has in use, until the block ends."""
    samples: list[float] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(SAMPLE_S):
            with suppress(OSError, StopIteration):  # it has ended in this moment
                samples.append(resident_mb(pid))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def resident_mb(pid: int | str = "self") -> float:
    """Return the memory that a process has in use now, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / _MB


def medians(
    commands: Mapping[str, Callable[[], Usage]], runs: int, *, warm_up: bool = True
) -> dict[str, Usage]:
    """Run commands in turns, so that what disturbs one disturbs all, and return the medians.

    Args:
        commands: by name; each call runs one of them once.
        runs: how often each is measured.
        warm_up: run each once before, unmeasured.
    """
    found: dict[str, list[Usage]] = {name: [] for name in commands}
    for turn in range(runs + warm_up):
        for name, run in commands.items():
            usage = run()
            if turn >= warm_up:
                found[name].append(usage)
    return {name: _median(usages) for name, usages in found.items()}


def child(name: str, *arguments: object) -> tuple[Any, Usage]:
    """Run one of `children.py` in a process of its own.

    Returns:
        What it found, and what the process used.
    """
    words = [str(argument) for argument in arguments]
    command = [PYTHON, "-m", "scripts.benchmarks.children", name, *words]
    usage = measured(command, keep_output=True)
    return json.loads(usage.output), usage


def _median(usages: Sequence[Usage]) -> Usage:
    return Usage(
        wall_s=median(u.wall_s for u in usages),
        cpu_s=median(u.cpu_s for u in usages),
        peak_mb=median(u.peak_mb for u in usages),
        output=usages[-1].output,
    )
