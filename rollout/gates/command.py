"""`command`: a program's exit code decides: 0 passes, 75 is inconclusive, anything else fails.

Only where the caller allows commands; no shell, a clean environment, the document as JSON on
standard input. It runs in a session of its own, of which nothing is left when it has ended, its
time is over, or the run ends without it: not its children, and not those that left the session
(found by a mark in their environment, where the system has /proc). Output beyond the limit is read
and dropped.
"""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from rollout.gates.conditions import has_conditions
from rollout.gates.context import Context, quote
from rollout.gates.document import describe
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gates.outside import OutsideError
from rollout.gates.permissions import check_commands
from rollout.gatespec import CommandGate
from rollout.quantity import format_duration, parse_duration
from rollout.unreadable import UNREADABLE

OUTPUT_LIMIT = 64 * 1024  # bytes that are kept
INCONCLUSIVE_CODE = 75  # EX_TEMPFAIL
MARK = "ROLLOUT_GATE_MARK"
SECRET = "ROLLOUT_SECRET"  # noqa: S105 - the variable's name
_GRACE_S = 2.0  # between asking to end and ending
_ROUNDS = 20  # of looking for processes that were started while we looked
_INHERITED = ("PATH", "TZ")
_running: dict[str, subprocess.Popen[bytes]] = {}  # by mark


def measure(gate: CommandGate, context: Context) -> Reading | Measurement:
    """Run the program once.

    Raises:
        TargetRefused: the caller doesn't allow commands.
        OutsideError: it can't be started.
    """
    check_commands(context.settings)
    code, output = _run(gate, context)
    last = quote(context, _last_line(output), 200)
    if code is None:
        limit = format_duration(parse_duration(gate.timeout))
        text = f"not ended within {limit}, killed" + (f"; last output: {last}" if last else "")
        return Measurement(Outcome.FAILED, context.now, "timeout", text)
    if code == 0 and has_conditions(gate):
        return Reading(_result(output))
    said = f"exit {code}" if code >= 0 else f"ended by signal {-code}"
    return Measurement(_outcome(code), context.now, said, f"{said}: {last}" if last else said)


def _last_line(output: bytes) -> str:
    """Return the last line that is there as a whole: half of one might be half of a secret."""
    whole = output if len(output) < OUTPUT_LIMIT else output.rpartition(b"\n")[0]
    lines = whole.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _outcome(code: int) -> Outcome:
    if code == INCONCLUSIVE_CODE:
        return Outcome.INCONCLUSIVE
    return Outcome.PASSED if code == 0 else Outcome.FAILED


def _result(output: bytes) -> object:
    """Return what a program printed: JSON, or else text."""
    try:
        return msgspec.json.decode(output)
    except UNREADABLE:
        return output.decode(errors="replace").strip()


def _run(gate: CommandGate, context: Context) -> tuple[int | None, bytes]:
    """Return exit code (None: not in time) and output."""
    mark = secrets.token_hex(16)
    with tempfile.TemporaryFile() as given:
        given.write(msgspec.json.encode(describe(gate, context)))
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - argv from the plan, which the caller allowed
                gate.argv,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(gate, context, mark),
                start_new_session=True,
            )
        except OSError as error:
            raise OutsideError(f"{gate.argv[0]} cannot be started: {error.strerror}") from None
    assert process.stdout is not None
    _running[mark] = process
    with process.stdout as pipe:
        kept = bytearray()
        reader = threading.Thread(target=_drain, args=(pipe, kept), daemon=True)
        reader.start()
        code = _wait(process, parse_duration(gate.timeout))
        _end_all(process.pid, mark)
        del _running[mark]
        reader.join(_GRACE_S)
    return code, bytes(kept)


@atexit.register
def _end_left() -> None:
    """End what still runs for measurements that a run has left behind at its end."""
    for mark, process in list(_running.items()):
        _end_all(process.pid, mark)
        process.wait()


def _environment(gate: CommandGate, context: Context, mark: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    secret = {} if context.secret is None else {SECRET: context.secret.reveal()}
    return {**inherited, "LANG": "C.UTF-8", **gate.env, **secret, MARK: mark}


def _drain(pipe: IO[bytes], kept: bytearray) -> None:
    """Read to the end, so that a program that shouts isn't held up, and keep the first part."""
    with suppress(OSError, ValueError):  # closed under us: somebody kept it open to the end
        while chunk := os.read(pipe.fileno(), OUTPUT_LIMIT):
            kept.extend(chunk[: OUTPUT_LIMIT - len(kept)])


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> int | None:
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()
    return None


def _end_all(group: int, mark: str) -> None:
    _signal_group(group, signal.SIGKILL)
    for _ in range(_ROUNDS):
        left = _marked(mark)
        if not left:
            return
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _marked(mark: str) -> list[int]:
    """Return the processes that carry our mark; none where the system has no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found
