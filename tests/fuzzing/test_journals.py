"""Whatever bytes a journal holds: it is read, or refused with the documented error."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.cli.audit import _verdict
from rollout.cli.main import run
from rollout.errors import DocumentError, ExitCode
from rollout.executor.record import journalheads
from rollout.journal.chain import SCHEMA, Head, seal
from rollout.journal.file import read_journal
from tests.fuzzing.mutations import VALUES, damaged_value

LINES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"{}", b"[]", b'{"seq":1}', b"\x00" * 50, b"[" * 5000, b'"' + b"x" * 100_000]),
)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(LINES, max_size=6), end=st.sampled_from([b"", b"\n", b"\r\n"]))
def test_any_bytes_are_read_or_refused_with_the_documented_error(
    tmp_path: Path, lines: list[bytes], end: bytes
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"\n".join(lines) + end)
    with suppress(DocumentError):
        read_journal(path)
    assert path.read_bytes() == b"\n".join(lines) + end


REAL: list[dict[str, Any]] = [
    {"type": "version", "schema": SCHEMA, "tool": "0.1.0", "run": "a1", "rollout": "logging/x"},
    {"type": "begin", "event": 1, "resumed": False, "who": "ann"},
    {"type": "record", "phase": "running", "record": "{}"},
    {"type": "intent", "action": "delete", "daemonSet": "a", "node": "n", "pod": "p", "uid": "u"},
    {"type": "outcome", "action": "delete", "pod": "p", "uid": "u", "answer": "accepted"},
    {"type": "notice", "event": 2, "notice": "node-done", "node": "n", "wave": 1, "message": "m"},
    {"type": "end", "event": 3, "outcome": "done", "message": "every node is done"},
]
ENTRIES = st.one_of(
    st.sampled_from(REAL),
    st.sampled_from(REAL).flatmap(damaged_value).filter(lambda one: isinstance(one, dict)),
    st.dictionaries(st.sampled_from(["type", "event", "message", "node", "run"]), VALUES),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(entries=st.lists(ENTRIES, max_size=5), whole=st.booleans())
def test_lines_that_somebody_has_changed_and_sealed_anew_end_no_reader(
    tmp_path: Path, entries: list[dict[str, Any]], *, whole: bool
) -> None:
    """The chain has no key: who writes a journal anew can seal whatever he likes."""
    data, head = b"", Head()
    for entry in [*REAL[:whole], *entries]:
        with suppress(TypeError, ValueError):  # what cannot be written down
            line, head = seal(head, entry)
            data += line
    path = tmp_path / "journal.jsonl"
    path.write_bytes(data)

    reading = read_journal(path)
    assert isinstance(reading.told + 1, int)
    assert isinstance(_verdict(reading, journalheads.Testimony("")), str)
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = run(["audit", "show", str(path)])
    assert code in (ExitCode.DONE, ExitCode.BAD_DOCUMENT), said.getvalue()
    assert bool(reading.broken) == (code == ExitCode.BAD_DOCUMENT)
    assert "Traceback" not in said.getvalue()
    assert "\x1b" not in said.getvalue()
