"""Input without end: whatever it is, it is refused soon, and takes little memory meanwhile.

Commands run under a limit of their address space: one that reads on and on ends with MemoryError,
which is no documented error.
"""

from __future__ import annotations

import gzip
import itertools
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.cluster import transport
from rollout.cluster.answers import Effect, decode_status
from rollout.cluster.connect import load_target
from rollout.cluster.transport import Request, Transport
from rollout.errors import DocumentError, ExitCode, StaleError, Unreachable
from rollout.executor.record.history import HISTORY_KEY, decode_history
from rollout.executor.record.record import DATA_KEY, ConfigMap, decode_record
from rollout.fleet.marks import decode_strategy
from rollout.fleet.objects import Meta
from rollout.journal import chain
from rollout.planner.plan import decode
from tests.cluster.test_watch import Story, page, watching
from tests.cluster.world import (
    Asked,
    Reply,
    Streamed,
    serve,
    talking_to,
    write_kubeconfig,
)

ROOM = 1 << 30  # bytes of address space; what is read may take a part of it
ENDS_WITHIN_S = 60.0  # of a busy machine
MIB = 1 << 20
PATH = "/api/v1/pods"
HEAD = "apiVersion: rollout/v1\nkind: Rollout\nmetadata: {name: x}\nspec:\n"
DEEP = b"[" * 100_000 + b"]" * 100_000


def aliases_of_aliases() -> str:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(levels)


BOMBS = {  # what stands first, then again and again, so often, and last
    "many values": (f"{HEAD}  x: [", "a,", 12 * MIB, "a]"),
    "many keys": (f"{HEAD}  x: {{", "a: 1, b: 2, ", 2 * MIB, "}"),
    "a long word": (f"{HEAD}  daemonSets: ", "x", 30 * MIB, ""),
    "a long key": (f"{HEAD}  ? ", "x", 30 * MIB, "\n  : 1\n"),
    "a file of 70 MiB": (HEAD, "# much\n", 10 * MIB, ""),
    "many documents": (HEAD, "--- {a: 1}\n", 2 * MIB, ""),
    "brackets within brackets": (f"{HEAD}  x: ", "[", 100_000, "]"),
    "aliases of aliases": (aliases_of_aliases(), "", 1, ""),
}


def limited(arguments: list[str], given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run the command where there is little room."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({ROOM}, {ROOM}))\n"
        "from rollout.cli.main import run\n"
        "sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, timeout=ENDS_WITHIN_S, check=False
    )


def require_one_error(done: subprocess.CompletedProcess[bytes], place: str) -> None:
    said = done.stderr.decode()
    assert done.returncode == ExitCode.BAD_DOCUMENT, said[-2000:]
    assert place in said
    assert "Traceback" not in said
    assert len(said) < 2000, "too long to read"


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_spec_that_is_far_too_much_is_refused_in_little_room(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "spec.yaml"
    first, again, times, last = BOMBS[bomb]
    path.write_text(first + again * times + last)
    require_one_error(limited(["gate", "list", str(path)]), f"{path}:")


@pytest.mark.parametrize("file", ["/dev/zero", "-"])
def test_a_spec_without_end_is_refused(file: str) -> None:
    given = b"\0" * (40 * MIB) if file == "-" else None
    done = limited(["plan", "-f", file], given)
    require_one_error(done, "/dev/zero:1" if given is None else "<stdin>:1")
    assert b"larger than 32 MiB" in done.stderr


def test_a_spec_from_standard_input_that_is_no_text_is_refused() -> None:
    require_one_error(limited(["plan", "-f", "-"], b"kind: \xff\xfe"), "<stdin>:1: not text")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: DEEP, id="brackets within brackets"),
        pytest.param(lambda: b'{"kind":"Plan","schemaVersion":1,"x":%s}' % DEEP, id="deep inside"),
        pytest.param(lambda: b'{"x":[' + b"{}," * (20 * MIB) + b"{}]}", id="many values"),
        pytest.param(
            lambda: b'{"kind":"Plan","schemaVersion":1,"x":[' + b"{}," * (20 * MIB) + b"{}]}",
            id="many values where none belong",
        ),
        pytest.param(
            lambda: b'{"kind":"Plan","schemaVersion":"%s"}' % (b"9" * (20 * MIB)), id="long version"
        ),
        pytest.param(
            lambda: b'{"kind":"Plan","schemaVersion":%s}' % (b"9" * MIB), id="a number of a MiB"
        ),
    ],
)
def test_a_plan_that_is_far_too_much_is_refused_in_little_room(
    tmp_path: Path, text: Callable[[], bytes]
) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text())
    require_one_error(limited(["show", str(path)]), f"{path}:1:")


def test_a_plan_without_end_is_refused() -> None:
    require_one_error(limited(["show", "/dev/zero"]), "/dev/zero: larger than")


# What servers and others have written


@contextmanager
def at_most(limit_mib: float) -> Iterator[None]:
    """Require that the block takes no more memory than that at any moment."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < limit_mib * MIB, f"it took {peak / MIB:.0f} MiB"


def test_a_line_of_a_watch_without_end_breaks_the_watch(tmp_path: Path) -> None:
    chunk = b"x" * (1 << 16)
    sent = itertools.count()

    def endless() -> Iterator[bytes]:
        while next(sent) < 100 * MIB / len(chunk):
            yield chunk

    with (
        serve(lambda _: Streamed(endless())) as world,
        talking_to(world.url, tmp_path) as client,
        client.watch(PATH, "1", timeout_s=60, silence_s=30.0) as stream,
        at_most(3 * transport.LARGEST_EVENT / MIB),
        pytest.raises(Unreachable, match="an event of more than 16,777,216 bytes"),
    ):
        next(stream.lines())


def test_a_long_line_of_a_watch_in_small_pieces_is_read_once(tmp_path: Path) -> None:
    whole = b'{"x":"%s"}' % (b"y" * (8 * MIB))
    pieces = [whole[at : at + 1000] for at in range(0, len(whole), 1000)]
    with (
        serve(lambda _: Streamed([*pieces, b"\n", b"{}\n{"])) as world,
        talking_to(world.url, tmp_path) as client,
        client.watch(PATH, "1", timeout_s=60, silence_s=30.0) as stream,
        at_most(64),
    ):
        lines = stream.lines()
        assert next(lines) == whole
        assert next(lines) == b"{}"
        with pytest.raises(Unreachable, match="in the middle of an event"):
            next(lines)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path, *, zipped: bool) -> None:
    body = b"0" * (64 * MIB)
    headers = {"Content-Encoding": "gzip"} if zipped else {}
    answer = Reply(gzip.compress(body, 1) if zipped else body, headers=headers)
    write_kubeconfig(tmp_path / "config", "http://unused")
    with serve(lambda _: answer) as world:
        write_kubeconfig(tmp_path / "config", world.url)
        small = Transport(lambda name: load_target(tmp_path / "config", name), largest_answer=MIB)
        with at_most(8), pytest.raises(Unreachable, match="larger than 1,048,576 bytes"):
            small.send(Request("GET", PATH, {}, Effect.READ, gzip=True))
        small.close()


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_nested_without_end_is_one_that_cannot_be_read(
    tmp_path: Path, status: int
) -> None:
    def scenario(_: Asked) -> Reply:
        return Reply(b'{"items":%s}' % DEEP, status=status)

    with (
        serve(scenario) as world,
        talking_to(world.url, tmp_path) as client,
        pytest.raises(Unreachable),
    ):
        client.get(PATH, dict)


def test_what_is_nested_without_end_is_refused_wherever_it_stands() -> None:
    deep = DEEP.decode()
    meta = Meta(name="rollout-x", namespace="logging")
    with pytest.raises(StaleError, match="logging/rollout-x"):
        decode_record(ConfigMap(meta, {DATA_KEY: deep}))
    assert decode_history(ConfigMap(meta, {HISTORY_KEY: deep})) == ()
    assert decode_status(DEEP) is None
    with pytest.raises(StaleError, match="annotation"):
        decode_strategy(f'{{"x":{deep}}}')
    with pytest.raises(DocumentError):
        decode(DEEP, "plan.json")
    assert "no JSON object" in chain.read([b'{"x":%s}\n' % DEEP]).broken


def test_an_event_of_a_watch_that_is_nested_without_end_does_not_end_the_watch(
    tmp_path: Path,
) -> None:

    event: Any = msgspec.json.encode({"type": "ADDED", "object": {}})
    deep = event.replace(b"{}", b'{"x":%s}' % DEEP)
    story = Story([page()], [Streamed([deep + b"\n"]), Streamed([])])
    with watching(story, tmp_path) as told:
        assert told.next(3) == ["list 100:", "broken Unreachable", "resumed"]


def test_the_limit_of_room_is_one() -> None:
    """A command that took too much would be seen: here one does."""
    code = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({ROOM}, {ROOM}))\nb'x' * {ROOM}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"MemoryError" in done.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
