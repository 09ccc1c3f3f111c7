"""What `ssh-keygen` is asked, and what it may do to us; whose signature counts: `test_signed`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from rollout import signature
from rollout.errors import RolloutError
from rollout.signature import check

needs_ssh_keygen = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing"
)


@needs_ssh_keygen
def test_a_line_for_many_people_names_the_one_who_is_wanted(tmp_path: Path) -> None:
    key, plan = tmp_path / "key", tmp_path / "plan.json"
    plan.write_bytes(b"{}\n")
    for words in (
        ("-q", "-t", "ed25519", "-N", "", "-f", key),
        ("-q", "-Y", "sign", "-f", key, "-n", "rollout", plan),
    ):
        command = ["ssh-keygen", *map(str, words)]
        subprocess.run(command, capture_output=True, timeout=60, check=True)
    signed = (tmp_path / "plan.json.sig").read_bytes()
    signers = b"*@example.com " + key.with_suffix(".pub").read_bytes()

    assert check(b"{}\n", signed, signers).by == "*@example.com"
    assert check(b"{}\n", signed, signers, "ann@example.com").by == "ann@example.com"
    with pytest.raises(RolloutError, match=r"signed by \*@example.com .* and not by ann@other"):
        check(b"{}\n", signed, signers, "ann@other.com")
    but_bob = b"!bob@example.com," + signers
    assert check(b"{}\n", signed, but_bob).by == "*@example.com"
    with pytest.raises(RolloutError, match=r"signed by \*@example.com .* and not by bob@example"):
        check(b"{}\n", signed, but_bob, "bob@example.com")


def test_a_program_that_does_not_end_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "ssh-keygen"
    hangs.write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    hangs.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(signature, "_LIMIT_S", 0.1)
    with pytest.raises(RolloutError, match="ssh-keygen has not ended within"):
        check(b"{}\n", b"", b"")


def test_a_disk_without_room_for_the_copies_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(RolloutError, match=r"its copy cannot be written: .*missing"):
        check(b"{}\n", b"", b"")
