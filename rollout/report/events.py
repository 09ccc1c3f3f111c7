"""The event stream of a run: one JSON object a line, for CI and other programs.

The first line names the schema; `seq` rises by one from line to line. Readers must ignore keys
that they do not know.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from rollout import __version__

SCHEMA = "rollout.events/v1"


class EventStream:
    """Numbers events and writes them, the first of them behind a line that names the schema.

    A run that is refused before it has anything to tell writes nothing: the number after `start`
    may be that of an event of the process that is at work.

    Args:
        write: takes one line, without its end.
        start: number of the last event of an earlier part of the same run.
    """

    def __init__(self, write: Callable[[str], None], start: int = 0) -> None:
        self.sequence = start
        self._write = write
        self._has_version = False

    def emit(self, kind: str, **fields: Any) -> None:  # noqa: ANN401 - any JSON value
        """Write one event; empty fields are left out."""
        if not self._has_version:
            self._has_version = True
            self.emit("version", schema=SCHEMA, tool=__version__)
        self.sequence += 1
        event = {
            "seq": self.sequence,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "type": kind,
            **{key: value for key, value in fields.items() if value not in ("", None)},
        }
        self._write(msgspec.json.encode(event).decode())
