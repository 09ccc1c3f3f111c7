"""What stands in a run's journal, in a real file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.errors import DocumentError
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import DeletePod, Finish, Outcome, Prepare, ReadPod
from rollout.executor.engine.notices import Notice
from rollout.executor.record.journalheads import JournalHead
from rollout.executor.record.record import RunRecord, Wish
from rollout.executor.record.wishes import Wishes
from rollout.executor.runlog import RunLog, open_log
from rollout.fleet.objects import Meta, Node
from rollout.journal.file import no_journal, open_journal
from rollout.journal.place import Place

DELETE = DeletePod("agent", "n1", "agent-abc", "u1")
PREPARE = Prepare("agent")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "r1.jsonl"


@pytest.fixture
def log(path: Path) -> Iterator[RunLog]:
    made = RunLog(open_journal(path, "r1").journal)
    yield made
    made.close()


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def test_the_intents_of_a_round_are_on_the_disk_with_one_sync(
    log: RunLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert log.intend([PREPARE, DELETE, ReadPod(DELETE), Finish(Outcome.DONE, "")])
    assert len(synced) == 1
    prepare, delete = entries(path)
    assert (prepare["type"], prepare["action"], prepare["daemonSet"]) == (
        "intent",
        "prepare",
        "agent",
    )
    assert (delete["action"], delete["node"], delete["pod"], delete["uid"]) == (
        *("delete", "n1", "agent-abc", "u1"),
    )


def test_a_round_without_writes_costs_no_sync(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    assert log.intend([ReadPod(DELETE)])
    assert synced == []


def test_a_failed_sync_is_final(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        assert not log.intend([DELETE])
    assert "Input/output error" in log.failed
    assert not log.intend([DELETE])
    assert not log.intend_message("holding")
    assert not log.conclude(outcome="held")


def test_outcomes_wishes_and_losses_are_written_and_sights_are_not(log: RunLog, path: Path) -> None:
    log.heard(ev.NodeSeen(Node(Meta(name="n1"))))
    log.heard(ev.Answered(ReadPod(DELETE), ev.Answer.ACCEPTED))
    log.heard(ev.Answered(DELETE, ev.Answer.UNKNOWN, "no answer"))
    log.heard(ev.LockLost("taken over"))
    log.heard(ev.StopAsked("Ctrl-C"))
    outcome, lost, stop = entries(path)
    assert (outcome["type"], outcome["answer"], outcome["uid"]) == ("outcome", "unknown", "u1")
    assert (lost["type"], lost["why"]) == ("lock-lost", "taken over")
    assert (stop["type"], stop["why"]) == ("stop-asked", "Ctrl-C")


def test_what_people_say_is_written_when_it_changes(log: RunLog, path: Path) -> None:
    quiet = ev.Said(Wishes())
    paused = ev.Said(Wishes(stop=Wish("pause", "me@here", "t"), waves=frozenset({2, 1})))
    for said in (quiet, quiet, paused, paused):
        log.heard(said)
    first, second = entries(path)
    assert first["type"] == second["type"] == "said"
    assert second["wishes"]["stop"]["by"] == "me@here"
    assert second["wishes"]["waves"] == [1, 2]


def test_a_notice_carries_its_number_in_the_event_stream(log: RunLog, path: Path) -> None:
    log.told(Notice("node-done", daemon_set="agent", node="n1", wave=2, done=1), 17)
    (entry,) = entries(path)
    assert (entry["event"], entry["notice"], entry["node"], entry["wave"]) == (
        *(17, "node-done", "n1", 2),
    )


def test_without_a_journal_everything_is_allowed() -> None:
    log = RunLog(no_journal())
    assert log.intend([DELETE])
    assert log.path is None
    assert log.failed == ""


@pytest.mark.parametrize("left", [1, 2])
def test_faults_42_a_journal_whose_last_lines_were_cut_off_is_not_written_on(
    path: Path, left: int
) -> None:
    """Its chain holds: only the record knows better, and would name the new end once it went on."""
    head, whole = written(path)
    record = record_that_names(head)
    path.write_bytes(b"".join(whole[:left]))

    with pytest.raises(DocumentError, match=rf"from {left + 1} on are missing\. It is not written"):
        reopened(path, record)
    assert path.read_bytes() == b"".join(whole[:left])

    other = reopened(path, record, recover=True)
    assert other.path == path.with_name("r1.2.jsonl")
    assert "are missing" in other.found
    other.close()


def test_a_journal_that_went_on_behind_what_the_record_names_is_written_on(path: Path) -> None:
    head, whole = written(path)
    path.write_bytes(b"".join(whole) + b'{"half')

    log = reopened(
        path, record_that_names(msgspec.structs.replace(head, seq=2, hash=head_of(2, whole)))
    )

    assert log.path == path
    assert "was cut off in the middle of a write" in log.found
    log.close()


def written(path: Path) -> tuple[JournalHead, list[bytes]]:
    """Write a journal of three lines."""
    log = RunLog(open_journal(path, "r1").journal)
    assert log.intend([PREPARE, DELETE])
    head = log.head
    log.close()
    assert head is not None
    return head, path.read_bytes().splitlines(keepends=True)


def head_of(line: int, lines: list[bytes]) -> str:
    found: str = json.loads(lines[line - 1])["hash"]
    return found


def record_that_names(head: JournalHead) -> RunRecord:
    return RunRecord(
        schema_version=1,
        run_id="r1",
        plan_id="p1",
        plan_digest="d1",
        name="agent-2",
        phase="paused",
        started_at="2026-01-01T00:00:00Z",
        started_by="ann@host",
        daemon_sets=(),
        journals=(head,),
    )


def reopened(path: Path, record: RunRecord, *, recover: bool = False) -> RunLog:
    place = Place(str(path))
    return open_log(place, record, "logging", "uid", resumed=True, recover=recover)
