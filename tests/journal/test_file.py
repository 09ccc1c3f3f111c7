"""Journals in real files, on real devices, and under a real limit of the kernel."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rollout.errors import DocumentError, JournalError, LockedError
from rollout.journal.chain import Reading
from rollout.journal.file import Journal, no_journal, open_journal, read_journal


@contextmanager
def opened(path: Path, run: str = "r1") -> Iterator[tuple[Journal, Reading | None]]:
    found = open_journal(path, run)
    try:
        yield found.journal, found.before
    finally:
        found.journal.close()


def written(path: Path, *kinds: str) -> list[bytes]:
    with opened(path) as (journal, _):
        for kind in kinds:
            journal.append(kind)
        journal.sync()
    return path.read_bytes().splitlines(keepends=True)


def test_a_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "r1.jsonl"
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_journal_that_was_opened_for_others_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    path.touch(0o644)
    written(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_process_of_the_run_writes_on(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    written(path, "begin", "end")
    with opened(path) as (journal, before):
        assert before is not None
        assert before.head.seq == 3
        journal.append("begin")
    reading = read_journal(path)
    assert (reading.broken, reading.head.seq) == ("", 4)


def test_faults_41_a_torn_end_is_dropped_and_the_next_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    lines = written(path, "begin", "intent")
    path.write_bytes(b"".join(lines)[:-7])
    assert read_journal(path).torn == len(lines[-1]) - 7
    with opened(path) as (journal, before):
        assert before is not None
        assert before.head.seq == 2
        journal.append("begin")
    reading = read_journal(path)
    assert (reading.broken, reading.torn, reading.head.seq) == ("", 0, 4)
    assert b'"type":"torn"' in path.read_bytes()


def test_a_journal_of_which_only_a_piece_was_written_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    path.write_bytes(b'{"prev":"00')
    with opened(path) as (_, before):
        assert before is None
    assert read_journal(path).head.seq == 1


def test_a_broken_chain_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    lines = written(path, "begin", "intent", "end")
    lines[1] = lines[1].replace(b"begin", b"begun")
    path.write_bytes(b"".join(lines))
    with pytest.raises(DocumentError, match=r"r1\.jsonl:2: the chain is broken") as caught:
        open_journal(path, "r1")
    assert "--recover-from-cluster" in str(caught.value)
    assert path.read_bytes() == b"".join(lines)


def test_the_journal_of_another_run_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    written(path)
    with pytest.raises(DocumentError, match="the journal of run r1, not of r2"):
        open_journal(path, "r2")


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    with opened(path), pytest.raises(LockedError, match="writes this journal") as refused:
        open_journal(path, "r1")
    assert "'rollout unlock' has taken the lock of the cluster" in str(refused.value)
    if sys.platform == "linux":
        assert f"process {os.getpid()} of this machine" in str(refused.value)
        assert f"'kill -KILL {os.getpid()}'" in str(refused.value)


def test_a_full_disk_is_told_at_once() -> None:
    with pytest.raises(JournalError, match=r"/dev/full cannot be written: No space left"):
        open_journal(Path("/dev/full"), "r1")


def test_a_place_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="--journal"):
        open_journal(tmp_path / "file" / "r1.jsonl", "r1")


FULL_FROM_THE_BEGIN = """
import resource, sys
from pathlib import Path
from rollout.errors import JournalError
from rollout.journal.file import open_journal
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    open_journal(Path(sys.argv[1]), "r1")
except JournalError:
    print("refused")
"""


def test_a_file_that_could_not_be_begun_is_not_left_empty(tmp_path: Path) -> None:
    """It would look like a journal that somebody has emptied, once there is room again."""
    path = tmp_path / "r1.jsonl"
    command = [sys.executable, "-c", FULL_FROM_THE_BEGIN, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    assert not path.exists()
    path.touch()
    with pytest.raises(DocumentError, match="lines are gone"):
        open_journal(path, "r1", lambda _: "lines are gone")


def test_a_journal_into_the_void_needs_no_disk() -> None:
    with opened(Path("/dev/null")) as (journal, _):
        journal.append("begin")
        journal.sync()


def test_no_journal_takes_everything() -> None:
    journal = no_journal()
    journal.append("begin")
    journal.sync()
    journal.close()


FULL_IN_MID_RUN = """
import resource, sys
from pathlib import Path
from rollout.errors import JournalError
from rollout.journal.file import open_journal
journal = open_journal(Path(sys.argv[1]), "r1").journal
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    while True:
        journal.append("intent", pod="log-agent-abcde")
except JournalError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
for again in (journal.append, lambda kind: journal.sync()):
    try:
        again("intent")
    except JournalError as error:
        print(error)
"""


def test_faults_43_what_failed_once_fails_for_ever_and_leaves_a_torn_end(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FULL_IN_MID_RUN, path], capture_output=True, text=True, check=True
    )
    said = done.stdout.splitlines()
    assert len(said) == 3
    assert len(set(said)) == 1
    assert "File too large" in said[0]
    assert path.stat().st_size == 1000
    with opened(path) as (_, before):
        assert before is not None
        assert before.torn > 0
    assert read_journal(path).torn == 0


def test_lines_from_several_threads_stay_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    with opened(path) as (journal, _), ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: journal.append("told", number=number), range(400)))
    reading = read_journal(path)
    assert (reading.broken, reading.head.seq) == ("", 401)


def test_what_comes_behind_the_end_does_not_count_as_written_down(tmp_path: Path) -> None:
    path = tmp_path / "r1.jsonl"
    with opened(path) as (journal, _):
        journal.append("end")
    with pytest.raises(JournalError, match="is closed"):
        journal.append("intent")
    with pytest.raises(JournalError, match="is closed"):
        journal.sync()
    assert read_journal(path).last["type"] == "end"
