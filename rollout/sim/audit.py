"""What was asked of the API server, by whom, and how it answered.

Every request leaves a compact entry in memory. Where a file or a consumer asks for it there is the
whole event as well, in the form of `audit.k8s.io/v1` (`auditevents` builds it): nobody pays for
objects that nobody reads.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from rollout.sim.store import Object

KEPT: Final = 500_000  # entries in memory
_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
Consumer = Callable[[Object], None]
"""Gets each audit event, under the cluster's lock."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request.

    Attributes:
        time: when it was answered, in seconds since the Unix epoch.
        user: who sent it.
        verb: what it was for (`watch`, `delete`, ...).
        path: the request target, with its query.
        status: the HTTP status of the answer.
        fault: the injected fault that it met, "" for none.
        uid: the UID that a delete was bound to, "" for none.
    """

    time: float
    user: str
    verb: str
    path: str
    status: int
    fault: str = ""
    uid: str = ""


class AuditLog:
    """Keeps the last requests in memory, and hands audit events to a file and to consumers.

    Args:
        path: a file that gets one event per line, behind what is there; mode 0600 when it is new,
            for pods are in it as they were sent.
        on_failure: told once when the file takes no more; nothing is written to it from then on,
            and the cluster goes on.

    Raises:
        OSError: when the file cannot be opened.
    """

    def __init__(
        self, path: Path | None = None, on_failure: Callable[[OSError], None] | None = None
    ) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.failed: OSError | None = None  # why the file lacks events
        self._on_failure = on_failure
        self._consumers: list[Consumer] = []
        self._file: FileIO | None = None
        if path is not None:
            self._file = FileIO(os.open(path, _APPEND, 0o600), "ab")
            self._consumers.append(self._write)

    @property
    def asked_for(self) -> bool:
        """Whether anybody wants audit events."""
        return bool(self._consumers)

    def subscribe(self, consumer: Consumer) -> None:
        """Give a consumer all events from now on."""
        self._consumers.append(consumer)

    def record(self, entry: Entry) -> None:
        """Remember a request."""
        self.entries.append(entry)

    def tell(self, event: Object) -> None:
        """Hand an event to all who asked."""
        for consumer in tuple(self._consumers):
            consumer(event)

    def close(self) -> None:
        """Close the file; what ends later leaves no line."""
        file, self._file = self._file, None
        if file is not None:
            self._consumers.remove(self._write)
            file.close()

    def _write(self, event: Object) -> None:
        if self._file is None:
            return
        try:
            left = memoryview(msgspec.json.encode(event) + b"\n")
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            self.failed = error
            self.close()
            if self._on_failure is not None:
                self._on_failure(error)
