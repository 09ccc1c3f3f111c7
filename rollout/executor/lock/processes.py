"""Which process is this, and has that one ended? Certain, or not claimed at all.

A run that was killed may go on at once on the same machine, without waiting until its lease runs
out, if its old process has certainly ended. The text that names a process says on which machine
(boot), in which PID namespace, under which number and since when it runs; only a process that
shares the first two can tell. Where the system doesn't show these things nothing is certain.
"""

from __future__ import annotations

import functools
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _START = 0, 19  # fields of /proc/PID/stat behind the name, see proc(5)
_BOOT_DIGITS = 12  # of the boot id: enough to tell machines apart


@dataclass(frozen=True, slots=True)
class _World:
    """Where PIDs have the same meaning."""

    namespace: str
    boot: str


def this_process() -> str:
    """Return a text, without spaces, that names this process and no other one."""
    return _name(os.getpid())


@functools.cache
def _name(pid: int) -> str:
    """Return the text for ourselves; by PID, for a fork is another process."""
    world, stat = _world(), _stat(pid)
    if world is None or stat is None:
        return f"{pid}.{secrets.token_hex(6)}"
    return f"{pid}.{stat[_START]}.{world.namespace}.{world.boot}"


def has_ended(process: str) -> bool:
    """Return whether the process with this text has certainly ended.

    Args:
        process: from `this_process`, there or here; anything else has not certainly ended.
    """
    try:
        pid, start, namespace, boot = process.split(".")
        number = int(pid)
    except ValueError:
        return False
    if number <= 0 or _world() != _World(namespace, boot):
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is there, and somebody else's
    stat = _stat(number)
    return stat is not None and (stat[_START] != start or _is_corpse(number, stat))


def _world() -> _World | None:
    """Return where we are; None where `/proc` doesn't show it, or shows another namespace's."""
    try:
        if (_PROC / "self").readlink().name != str(os.getpid()):
            return None
        namespace = (_PROC / "self/ns/pid").readlink().name
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
    except OSError:
        return None
    return _World(
        namespace.partition("[")[2].rstrip("]"), boot.strip().replace("-", "")[:_BOOT_DIGITS]
    )


def _stat(pid: int) -> list[str] | None:
    """Return the fields of `/proc/PID/stat` behind the name, or None if it can't be read."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _is_corpse(pid: int, stat: list[str]) -> bool:
    """Whether only its exit code is left: no thread of it can run."""
    try:
        threads = len(list((_PROC / str(pid) / "task").iterdir()))
    except OSError:
        return False
    return stat[_STATE] in "ZX" and threads <= 1
