"""Whatever bytes a journal holds: it is read, or refused with the documented error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.errors import DocumentError
from rollout.journal.file import read_journal

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
