"""Starts commands in processes that have their libraries already, forked from `warmhost`.

A `Child` is what `subprocess.Popen` is for a command that starts cold, as far as tests use it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]


class Host:
    """The process that forks; one for all tests of this process."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.e2e.warmhost", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        self._control = ours

    def fork(self, line: socket.socket, stdin: int, stdout: int, stderr: int) -> None:
        """Ask for a command, which is told the rest over its own line."""
        socket.send_fds(self._control, [b"?"], [line.fileno(), stdin, stdout, stderr])

    def end(self) -> None:
        """End the process, but no command."""
        self._control.close()
        self._process.wait()


@cache
def host() -> Host:
    """Return the host; started when it is first needed."""
    return Host()


def end_host() -> None:
    """End the host, where one was started."""
    if host.cache_info().currsize:
        host().end()
        host.cache_clear()


class Child:
    """A command that runs; give it the numbers of its standard streams, or read them.

    Args:
        module: what `python -m` would run.
        arguments: of the command line.
        env: its whole environment. What the interpreter itself reads at its start is the host's.
        streams: standard input, output and error; without them there is no input, and the others
            are `stdout` and `stderr`.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        streams: tuple[int, int, int] | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._read: list[str] = []
        line, theirs = socket.socketpair()
        self._line = line.detach()
        with theirs:
            if streams is not None:
                host().fork(theirs, *streams)
            else:
                self._fork_with_pipes(theirs)
        request = {
            "module": module,
            "arguments": list(arguments),
            "environment": dict(env),
            "directory": str(Path.cwd()),
        }
        with socket.socket(fileno=os.dup(self._line)) as speaking:
            speaking.sendall(json.dumps(request).encode())
            speaking.shutdown(socket.SHUT_WR)
        self.pid = self._number()

    def _fork_with_pipes(self, theirs: socket.socket) -> None:
        out, their_out = os.pipe()
        errors, their_errors = os.pipe()
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(errors)
        nothing = os.open(os.devnull, os.O_RDONLY)
        host().fork(theirs, nothing, their_out, their_errors)
        for stream in (nothing, their_out, their_errors):
            os.close(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.wait()

    def __del__(self) -> None:
        os.close(self._line)

    def _number(self) -> int:
        """Read one number from who looks after the child."""
        found = b""
        while not found.endswith(b"\n"):
            piece = os.read(self._line, 1)
            assert piece, "the process that commands are forked from has failed; see its error"
            found += piece
        return int(found)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code, or the negative number of a signal.

        Raises:
            TimeoutExpired: it takes longer.
        """
        if self.returncode is None and select.select([self._line], [], [], timeout)[0]:
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._number()
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read both streams to their ends and wait; as `wait`, it may take too long."""
        if not self._read:
            with ThreadPoolExecutor(2) as pool, self.stdout, self.stderr:
                reading = pool.submit(self.stdout.read), pool.submit(self.stderr.read)
                try:
                    self.wait(timeout)
                except subprocess.TimeoutExpired:
                    self.kill()
                    raise
                self._read = [text.result() for text in reading]
        out, errors = self._read
        return out, errors


def run(
    module: str, arguments: Sequence[str], env: Mapping[str, str], stdin: str, timeout: float
) -> tuple[int, str, str]:
    """Run a command to its end; returns its exit code, output and errors."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as errors,
    ):
        given.write(stdin)
        given.seek(0)
        child = Child(module, arguments, env, (given.fileno(), out.fileno(), errors.fileno()))
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
        out.seek(0)
        errors.seek(0)
        return code, out.read(), errors.read()
