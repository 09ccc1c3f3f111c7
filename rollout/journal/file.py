"""The file of a journal: lines go to its end, and are on the disk when `sync` has returned.

Whatever fails once fails for ever in this process: after a failed fsync nobody knows what is on
the disk, and asking again can answer "all well" (that is how fsync works on Linux).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from rollout import __version__
from rollout.errors import DocumentError, JournalError, LockedError
from rollout.journal.chain import SCHEMA, Head, Reading, read, seal
from rollout.journal.place import series
from rollout.unreadable import UNREADABLE

_LINE_LIMIT = 1 << 24  # bytes; no line of ours is nearly as long


class Journal:
    """A journal that is open for writing; `open_journal` makes one.

    Args:
        path: for messages.
        descriptor: of the file, at its end; None: nothing is kept.
        head: of the chain so far.
    """

    def __init__(self, path: Path | None, descriptor: int | None, head: Head) -> None:
        self.path = path
        self._descriptor = descriptor
        self._head = self._kept = head
        self.first = ""  # hash of the first line: which journal it is
        self._durable = descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._unsynced = False
        self._turn = threading.RLock()  # a line is chained to the one before: one writer at a time
        self.failed = ""  # why nothing can be written any more

    @property
    def head(self) -> Head:
        """Where the chain ends."""
        return self._head

    @property
    def kept(self) -> Head:
        """How far the chain is on the disk."""
        return self._kept

    def append(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Add a line; empty fields are left out.

        Raises:
            JournalError: when it cannot be written, now or before.
        """
        kept = {key: value for key, value in fields.items() if value not in ("", None)}
        with self._turn, self._for_ever():
            if self._descriptor is None:
                return
            line, head = seal(self._head, {**kept, "type": kind, "time": _now()})
            _write_all(self._descriptor, line)
            self._head = head
            self._unsynced = True

    def sync(self) -> None:
        """Return when all lines are on the disk.

        Raises:
            JournalError: when they may not be, now or before.
        """
        with self._turn, self._for_ever():
            if self._unsynced and self._durable and self._descriptor is not None:
                os.fsync(self._descriptor)
            self._unsynced = False
            self._kept = self._head

    def close(self) -> None:
        """Close the file; the lock on it ends.

        A thread that is left behind, such as a gate's, may still come with a line: none of it goes
        into the file that has the descriptor's number by then, and nothing counts as written down.
        """
        with self._turn:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                self.failed = self.failed or f"the journal {self.path} is closed"
                os.close(descriptor)

    @contextlib.contextmanager
    def _for_ever(self) -> Iterator[None]:
        if self.failed:
            raise JournalError(self.failed)
        try:
            yield
        except OSError as error:
            self.failed = _failed(self.path, error)
            raise JournalError(self.failed) from None


@dataclass(frozen=True, slots=True)
class Opened:
    """A journal, and what was found in it.

    Attributes:
        journal: open for writing.
        before: what an earlier process of the run left in it; None: it begins here.
    """

    journal: Journal
    before: Reading | None


def no_journal() -> Journal:
    """Return a journal that keeps nothing."""
    return Journal(None, None, Head())


def open_journal(
    path: Path,
    run_id: str,
    missing: Callable[[Reading], str] = lambda _: "",
    /,
    **about: Any,  # noqa: ANN401 - JSON values
) -> Opened:
    """Open the journal of a run, or begin it; a torn last line is cut off.

    Args:
        path: of the file; its directory is made.
        run_id: whose journal it must be.
        missing: returns what a journal lacks whose chain holds, as others know; "" when nothing.
        about: what the first line shall say about the run.

    Raises:
        JournalError: when it cannot be opened or written.
        DocumentError: when the file is broken, or no journal of this run.
        LockedError: when another process writes it.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, is_new = _descriptor(path)
    except OSError as error:
        raise JournalError(_failed(path, error)) from None
    try:
        checks = (lambda _: "") if is_new else missing
        return _opened(path, descriptor, run_id, checks, about)
    except BaseException as error:
        os.close(descriptor)
        if is_new and isinstance(error, JournalError):
            path.unlink(missing_ok=True)  # left empty, it would look like one that was emptied
        raise


def _descriptor(path: Path) -> tuple[int, bool]:
    """Return a file at its end, and whether it was not there before."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_EXCL, 0o600), True
    except FileExistsError:
        return os.open(path, flags, 0o600), False


def read_journal(path: Path) -> Reading:
    """Follow the chain of a journal.

    Raises:
        DocumentError: when there is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DocumentError(f"{path}: not a file; give a journal or a run id")
            return read(iter(lambda: file.readline(_LINE_LIMIT), b""))
    except OSError as error:
        reason = error.strerror or str(error)
        raise DocumentError(
            f"{path}: cannot be read: {reason}; see 'rollout audit verify'"
        ) from None


def hash_at(path: Path, seq: int) -> str:
    """Return the hash of a line (1-based) of a journal whose chain holds up to there.

    Raises:
        DocumentError: when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return read(islice(iter(lambda: file.readline(_LINE_LIMIT), b""), seq)).head.hash
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from None


def owner(path: Path) -> str:
    """Return the run whose journal this says it is; "" where it does not say."""
    try:
        with path.open("rb") as file:
            line = (
                file.readline(_LINE_LIMIT) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
            )
        return str(msgspec.json.decode(line, type=dict).get("run", ""))
    except (OSError, *UNREADABLE):
        return ""


def broken_text(path: Path, reading: Reading) -> str:
    """Return what is wrong with a journal: the file, the line, and why."""
    return f"{path}:{reading.head.seq + 1}: {reading.broken}"


def recovered_in(path: Path) -> Path | None:
    """Return the journal with which the run went on from the cluster, this one left as it was."""
    for later in series(path)[1:]:
        if Path(str(read_journal(later).first.get("recovers", ""))).name == path.name:
            return later
    return None


def _opened(
    path: Path,
    descriptor: int,
    run_id: str,
    missing: Callable[[Reading], str],
    about: dict[str, Any],
) -> Opened:
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    before = None
    if regular:
        _own(path, descriptor)
        before = _continued(path, descriptor, run_id, missing)
    journal = Journal(path, descriptor, before.head if before else Head())
    if before is None:
        journal.append("version", schema=SCHEMA, tool=__version__, run=run_id, **about)
        journal.sync()
        journal.first = journal.head.hash
        if regular:
            _sync_directory(path)  # or a crash could take the new name away again
    elif before.torn:
        journal.append("torn", message=torn_text(before), bytes=before.torn)
    if before is not None:
        journal.first = str(before.first["hash"])
    return Opened(journal, before)


def torn_text(reading: Reading) -> str:
    """Return what is known of a last line that was cut off."""
    return (
        f"line {reading.head.seq + 1} was cut off in the middle of a write ({reading.torn} bytes "
        "dropped)"
    )


def _own(path: Path, descriptor: int) -> None:
    """Keep other processes out, and other users too."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, 0o600)
    except BlockingIOError:
        raise LockedError(_locked_text(path, descriptor)) from None
    except OSError as error:
        raise JournalError(_failed(path, error)) from None


def _locked_text(path: Path, descriptor: int) -> str:
    """Say who writes the journal, and what to do: also behind `unlock`, which ends no process."""
    pid = _writer(descriptor)
    kill = f"'kill -KILL {pid}'" if pid else "kill -KILL"
    return (
        f"{path}: {f'process {pid}' if pid else 'another process'} of this machine writes this "
        "journal until it has ended, also where 'rollout unlock' has taken the lock of the cluster "
        f"from it, without which it writes nothing there; wait for its end, or end it ({kill}, "
        "where it is stopped or hangs), or give another place with --journal"
    )


def _writer(descriptor: int) -> int | None:
    """Return the process that has the file locked; None where the system does not tell (Linux)."""
    status = os.fstat(descriptor)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    # "1: FLOCK ADVISORY WRITE <pid> <file> 0 EOF"; the pid is 0 for a process of another container.
    locks = [line.split() for line in lines]
    pids = [int(lock[4]) for lock in locks if lock[1] == "FLOCK" and lock[5] == file]
    return next((pid for pid in pids if pid > 0), None)


def _continued(
    path: Path, descriptor: int, run_id: str, missing: Callable[[Reading], str]
) -> Reading | None:
    """Return what is in the file, without a torn end; None when nothing is left."""
    reading = read_journal(path)
    if reading.broken:
        raise DocumentError(_refusal(broken_text(path, reading)))
    if reading.first and reading.first.get("run") != run_id:
        raise DocumentError(
            f"{path}: the journal of run {reading.first.get('run')}, not of {run_id}; give another "
            "place with --journal"
        )
    if lacks := missing(reading):
        raise DocumentError(_refusal(f"{path}: {lacks}"))
    try:
        os.ftruncate(descriptor, reading.size)
    except OSError as error:
        raise JournalError(_failed(path, error)) from None
    return reading if reading.size else None


def _refusal(why: str) -> str:
    return (
        f"{why}. It is not written on. The state of the run is in the cluster: "
        "--recover-from-cluster goes on from there with a new journal"
    )


def _sync_directory(path: Path) -> None:
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise JournalError(_failed(path, error)) from None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _failed(path: Path | None, error: OSError) -> str:
    return (
        f"the journal {path} cannot be written: {error.strerror or error}; nothing is written to "
        "the cluster without it. Make room, or give another place with --journal, and apply again"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
