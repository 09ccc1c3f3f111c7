from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.gates.command import OUTPUT_LIMIT
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from tests.fleet.builders import make_node
from tests.gates.worlds import a_context, a_gate

ALLOWED = Settings(commands=True)


def run(code: str, *arguments: str, context: Any = None, **fields: Any) -> Measurement:
    """Run Python code as a gate's command."""
    gate = a_gate("command", argv=[sys.executable, "-c", code, *arguments], **fields)
    return measure(gate, context or a_context(settings=ALLOWED))


@pytest.mark.parametrize(
    ("code", "outcome"),
    [(0, Outcome.PASSED), (75, Outcome.INCONCLUSIVE), (1, Outcome.FAILED), (2, Outcome.FAILED)],
)
def test_the_exit_code_decides(code: int, outcome: Outcome) -> None:
    found = run(f"print('first'); print('why'); raise SystemExit({code})")
    assert (found.outcome, found.value, found.reason) == (
        outcome,
        f"exit {code}",
        f"exit {code}: why",
    )


def test_a_command_that_dies_of_a_signal_fails() -> None:
    found = run("import os; os.kill(os.getpid(), 9)")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "ended by signal 9")


def test_no_command_runs_where_the_caller_has_not_allowed_them(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = "import sys, pathlib; pathlib.Path(sys.argv[1]).touch()"
    found = run(code, str(witness), context=a_context())
    assert found.outcome is Outcome.ERROR
    assert "pass --allow-commands" in found.reason
    assert not witness.exists()


def test_a_program_that_is_not_there_is_an_error() -> None:
    gate = a_gate("command", argv=["/no/such/program"])
    found = measure(gate, a_context(settings=ALLOWED))
    assert found.outcome is Outcome.ERROR
    assert found.reason == "/no/such/program cannot be started: No such file or directory"


def test_arguments_reach_no_shell(tmp_path: Path) -> None:
    dangerous = f"$(touch {tmp_path}/x); `id` | * > {tmp_path}/y"
    found = run("import sys; print(sys.argv[1])", dangerous)
    assert found.reason == f"exit 0: {dangerous}"
    assert not list(tmp_path.iterdir())


def test_the_environment_is_clean_but_for_what_the_spec_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KUBECONFIG", "HOME", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "LD_PRELOAD_X"):
        monkeypatch.setenv(name, "leak")
    monkeypatch.setenv("KEY", "hunter2")
    code = "import os; print(os.environ['ROLLOUT_SECRET'] == 'hunter2', *os.environ)"
    found = run(code, env={"REGION": "eu"}, secretRef={"env": "KEY"})
    names = set(found.reason.removeprefix("exit 0: True ").split())
    assert {"PATH", "LANG", "REGION", "ROLLOUT_SECRET"} <= names
    assert names <= {
        *("PATH", "LANG", "TZ", "REGION", "ROLLOUT_SECRET", "ROLLOUT_GATE_MARK", "LC_CTYPE"),
    }


def test_the_document_comes_on_standard_input() -> None:
    nodes = tuple(f"node-{number}" for number in range(20_000))  # more than a pipe holds
    context = a_context(settings=ALLOWED, node=make_node("n1"), updated_nodes=nodes)
    code = "import sys, json; d = json.load(sys.stdin); print(d['node']['name'], len(d['nodes']))"
    assert run(code, context=context).reason == "exit 0: n1 20000"
    assert run("pass", context=context).outcome is Outcome.PASSED  # it needn't be read


def test_what_a_command_prints_can_be_judged() -> None:
    fields = {"successCondition": "result.depth < 5"}
    assert run("print('{\"depth\": 3}')", **fields).outcome is Outcome.PASSED
    assert run("print('{\"depth\": 7}')", **fields).outcome is Outcome.FAILED
    assert run("print('words')", **fields).outcome is Outcome.ERROR
    assert run("print('{\"depth\": 3}'); raise SystemExit(1)", **fields).outcome is Outcome.FAILED


def test_a_secret_that_is_shouted_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2")
    code = """
import base64, os
secret = os.environ["ROLLOUT_SECRET"]
print(secret, base64.b64encode(secret.encode()).decode())
raise SystemExit(1)
"""
    found = run(code, secretRef={"env": "KEY"})
    assert found.reason == "exit 1: *** ***"


def test_a_secret_that_would_be_cut_does_not_show_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "hunter2" * 20)
    code = "import os; print('x' * 150 + os.environ['ROLLOUT_SECRET'])"
    assert "hunter" not in repr(run(code, secretRef={"env": "KEY"}))
    code = f"import os; print('x' * {OUTPUT_LIMIT - 70} + os.environ['ROLLOUT_SECRET'])"
    assert "hunter" not in repr(run(code, secretRef={"env": "KEY"}))
    code = f"import os; print('x' * {OUTPUT_LIMIT - 30} + chr(10) + os.environ['ROLLOUT_SECRET'])"
    assert "hunter" not in repr(run(code, secretRef={"env": "KEY"}))


def test_a_command_that_shouts_is_heard_up_to_the_limit_and_not_held_up() -> None:
    code = f"import sys; sys.stdout.write('x' * {OUTPUT_LIMIT * 40}); raise SystemExit(75)"
    found = run(code)
    assert (found.outcome, len(found.reason) < 500) == (Outcome.INCONCLUSIVE, True)


def test_a_command_that_shouts_for_ever_is_ended() -> None:
    found = run("import sys\nwhile True: sys.stdout.write('x' * 65536)", timeout="1s")
    assert found.outcome is Outcome.FAILED
    assert found.reason.startswith("not ended within 1s, killed")


def gone(pid: int) -> bool:
    """Whether a process has ended; as an orphan it may wait for somebody to collect it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def wait_until_gone(pids: list[int]) -> None:
    end = time.monotonic() + 120
    while left := [pid for pid in pids if not gone(pid)]:
        assert time.monotonic() < end, f"still running: {left}"
        os.sched_yield()


FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
inside = subprocess.Popen([sys.executable, "-c", child])
outside = subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
print(os.getpid(), inside.pid, outside.pid, flush=True)
"""


def test_nodes_26_a_command_without_end_is_killed_with_all_its_children() -> None:
    found = run(FAMILY + "time.sleep(600)", timeout="10s")
    assert found.outcome is Outcome.FAILED
    said = found.reason.removeprefix("not ended within 10s, killed; last output: ")
    wait_until_gone([int(pid) for pid in said.split()])


def test_children_that_a_command_leaves_behind_are_ended_and_not_waited_for() -> None:
    found = run(FAMILY, timeout="60s")
    assert found.outcome is Outcome.PASSED
    wait_until_gone([int(pid) for pid in found.reason.removeprefix("exit 0: ").split()])


HOLDS = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
open(sys.argv[2], "w").close()
time.sleep(600)
"""


def leave_a_command_behind(locked: str, ready: str) -> None:
    """Run a command in a thread of the kind that gates are measured in, and end without it."""
    os.mkfifo(ready)
    threading.Thread(target=run, args=(HOLDS, locked, ready), daemon=True).start()
    Path(ready).read_bytes()  # comes back when the command has opened it, and closed it


def test_nothing_is_left_of_a_command_when_the_run_ends_without_it(tmp_path: Path) -> None:
    locked, ready = str(tmp_path / "locked"), str(tmp_path / "ready")
    code = "from tests.gates.test_command import *; leave_a_command_behind(*sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, locked, ready], check=True, timeout=120)

    with Path(locked).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
