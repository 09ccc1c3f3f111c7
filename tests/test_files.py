from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rollout.errors import RolloutError
from rollout.files import write_private


def test_a_file_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    old_mask = os.umask(0)
    try:
        write_private(target, b"secret")
    finally:
        os.umask(old_mask)
    assert target.read_bytes() == b"secret"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_replaced_and_loses_its_wide_mode(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    target.write_bytes(b"old")
    target.chmod(0o644)
    write_private(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    target.write_bytes(b"old")
    with target.open("rb") as reader:  # opened before: keeps the whole old file
        write_private(target, b"new" * 100_000)
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new" * 100_000


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    write_private(tmp_path / "plan.json", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "plan.json"
    with pytest.raises(RolloutError, match=r"plan\.json: cannot be written: .*choose another"):
        write_private(target, b"x")


def test_a_failure_leaves_what_was_there_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "plan.json"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(RolloutError, match="cannot be written"):
        write_private(target, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert [p.name for p in target.iterdir()] == ["inside"]
