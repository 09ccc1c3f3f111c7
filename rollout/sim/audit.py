"""What was asked of the API server, by whom, and how it answered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import msgspec

KEPT: Final = 500_000  # entries in memory


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
    """Keeps the last entries, and writes all of them to a file when there is one.

    Args:
        path: a file that gets one JSON object per line.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self._file: TextIO | None = path.open("a", encoding="utf-8") if path else None

    def record(self, entry: Entry) -> None:
        """Add an entry."""
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry).decode() + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
