from __future__ import annotations

from pathlib import Path

import pytest

from rollout.journal.file import open_journal
from rollout.journal.place import Place, journals_of, series, state_directory, successor


def test_journals_lie_under_the_state_directory_apart_for_each_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = Place().of("c1", "logging.agent", "r1")
    assert path == tmp_path / "rollout" / "c1" / "logging.agent" / "r1.jsonl"


def test_without_a_state_directory_it_is_that_of_the_home() -> None:
    home = Path.home() / ".local" / "state" / "rollout"
    assert state_directory({}) == home
    assert state_directory({"XDG_STATE_HOME": "not/absolute"}) == home


def test_a_file_a_directory_or_none_may_be_chosen(tmp_path: Path) -> None:
    assert Place(str(tmp_path)).of("c1", "x", "r1") == tmp_path / "r1.jsonl"
    assert Place(f"{tmp_path}/new/").of("c1", "x", "r1") == tmp_path / "new" / "r1.jsonl"
    assert Place(f"{tmp_path}/j").of("c1", "x", "r1") == tmp_path / "j"
    assert Place("none").of("c1", "x", "r1") is None


def test_the_journals_of_a_run_are_found_with_their_successors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = Place().of("c1", "logging.agent", "r1")
    assert first is not None
    for path in (first, Place().of("c1", "logging.agent", "r10")):
        assert path is not None
        open_journal(path, path.stem).journal.close()
    second = successor(first)
    open_journal(second, "r1").journal.close()
    assert second.name == "r1.2.jsonl"
    assert successor(second).name == "r1.3.jsonl"
    assert series(first) == [first, second]
    assert sorted(journals_of("r1")) == [second, first]
