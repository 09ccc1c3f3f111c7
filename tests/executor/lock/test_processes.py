"""Whether a process has ended: certain, or not claimed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from rollout.executor.lock.processes import has_ended, this_process

SAY_AND_WAIT = (
    "from rollout.executor.lock.processes import this_process\n"
    "print(this_process(), flush=True)\n"
    "input()"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def another() -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SAY_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.kill()


def test_a_process_has_one_name_without_spaces() -> None:
    assert this_process() == this_process()
    assert " " not in this_process()


def test_we_have_not_ended() -> None:
    assert not has_ended(this_process())


def test_another_process_ends_when_it_is_killed(
    another: tuple[subprocess.Popen[str], str],
) -> None:
    process, name = another
    assert name != this_process()
    assert not has_ended(name)
    process.kill()
    process.wait()
    assert has_ended(name)


def test_a_killed_process_that_nobody_has_waited_for_has_ended(
    another: tuple[subprocess.Popen[str], str],
) -> None:
    process, name = another
    process.kill()
    assert process.stdout is not None
    assert not process.stdout.read()  # closed by its end
    while not has_ended(name):
        pass
    assert process.returncode is None


def changed(part: int, value: str) -> str:
    parts = this_process().split(".")
    parts[part] = value
    return ".".join(parts)


def test_a_number_that_was_used_again_is_another_process() -> None:
    assert has_ended(changed(1, "1"))


@pytest.mark.parametrize(
    "name",
    [
        changed(2, "1"),  # another PID namespace
        changed(3, "0123456789ab"),  # another machine, or before it was started anew
        changed(0, "-1"),
        changed(0, "x"),
        "4711.9f3c2a10b7de",  # from a system that shows nothing
        "leader-7f9c",
        "",
    ],
    ids=["namespace", "machine", "no number", "no word", "nothing shown", "leader", "empty"],
)
def test_of_all_others_nothing_is_claimed(name: str) -> None:
    assert not has_ended(name)
