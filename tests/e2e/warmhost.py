"""A process that has loaded all of `rollout` once, and forks a command whenever it is asked.

Most of what a short command costs is loading its libraries. A command that is forked from here is
a process of its own, with its own standard streams, environment, signals and end; only the loading
is done. Run as `python -m tests.e2e.warmhost FD`, where FD is its end of a socket pair; it ends
with the other end. `tests/e2e/warm.py` is who asks.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys
from importlib import import_module
from typing import Any

import rollout

LAZY = (
    *("celpy.adapter", "celpy.evaluation", "cronsim", "re2", "rich.console", "rich.live"),
    *("rich.table", "yaml"),
)


def load() -> None:
    """Load all that a command may need."""
    for found in pkgutil.walk_packages(rollout.__path__, "rollout."):
        if not found.name.endswith("__main__"):
            import_module(found.name)
    for name in LAZY:
        import_module(name)
    gc.collect()
    gc.freeze()  # what is loaded is never looked through again, and stays shared


def serve(control: socket.socket) -> dict[str, Any]:
    """Fork a command for every message; returns, in the command's own process, what to run."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # guardians are waited for by nobody
    while True:
        _, streams, _, _ = socket.recv_fds(control, 1, 4)
        if not streams:
            sys.exit(0)
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return adopt(socket.socket(fileno=streams[0]), streams[1:])
        for stream in streams:
            os.close(stream)


def adopt(line: socket.socket, streams: list[int]) -> dict[str, Any]:
    """Fork once more: the child is the command, this process tells of its birth and its end."""
    with line.makefile() as text:
        request: dict[str, Any] = json.load(text)
    pid = os.fork()
    if pid == 0:
        line.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    try:
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(OSError):  # nobody may listen any more
            line.sendall(b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            line.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    finally:
        os._exit(0)


def become(request: dict[str, Any]) -> None:
    """Be the command: what follows is what `python -m MODULE ARGUMENTS` does."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as the interpreter's own
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.stderr = open(2, "w", 1, None, "backslashreplace", closefd=False)  # noqa: SIM115 - lives as long as the process
    sys.argv = ["", *request["arguments"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    load()
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
