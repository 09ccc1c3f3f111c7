"""The live view on a real pseudo-terminal: drawn in place, taken away, the table below."""

from __future__ import annotations

import os
import pty
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollout.sim.images import Fault, FaultKind
from tests.e2e import warm
from tests.e2e.world import (
    NAME,
    NAMESPACE,
    NEW,
    PATIENCE_S,
    World,
    fleet,
    run_in_terminal,
    world,
)

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    with world(fleet(4), tmp_path) as made:
        yield made


def text_of(screen: str) -> str:
    return ESCAPE.sub("", screen).replace("\r", "")


def test_a_terminal_gets_a_live_view_and_the_table_below_it(cluster: World) -> None:
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    env = cluster.environment(TERM="xterm-256color", COLUMNS="100", LINES="40")
    code, screen = run_in_terminal(["apply", str(plan)], "", env)
    assert code == 0, screen
    assert screen.count(HIDE) == screen.count(SHOW) == 1
    view, below = screen.split(SHOW)
    assert " of 4 done" in text_of(view)
    assert "maxUnavailable 1 in use" in text_of(view)
    assert "wave 1" in text_of(view)
    assert "node-000: done" not in text_of(view), "what the view shows does not scroll up"
    shown = text_of(below)
    assert not ESCAPE.search(below.partition("NODE ")[2])
    assert shown.count("updated") >= 4
    assert "It took " in shown


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_must_not_be_drawn_on_gets_lines(
    cluster: World, name: str, value: str
) -> None:
    plan = cluster.plan(cluster.spec())
    env = cluster.environment(**{"TERM": "xterm", name: value})
    code, screen = run_in_terminal(["apply", str(plan)], "", env)
    assert code == 0, screen
    assert "\x1b" not in screen
    assert screen.count(": done (") == 4


def test_an_error_gives_the_terminal_back(cluster: World) -> None:
    plan = cluster.plan(cluster.spec())
    cluster.patch_daemon_set({"spec": {"template": {"metadata": {"annotations": {"by": "x"}}}}})
    env = cluster.environment(TERM="xterm", COLUMNS="100")
    code, screen = run_in_terminal(["apply", str(plan)], "", env)
    assert code == 7, screen
    assert screen.count(HIDE) == screen.count(SHOW) == 1
    assert "error: the cluster is not what the plan was made for" in screen.split(SHOW)[1]


class Terminal:
    """A command on a terminal that the test reads while it runs."""

    def __init__(self, arguments: list[str], env: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        self.process = warm.Child("rollout", arguments, env, (theirs, theirs, theirs))
        os.close(theirs)
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()
        self.screen = ""

    def read_until(self, wanted: Callable[[str], bool]) -> None:
        while not wanted(self.screen):
            self.screen += os.read(self._ours, 65536).decode()

    def hang_up(self) -> None:
        os.close(self._ours)
        self._ours = -1

    def end(self) -> int:
        try:
            self.read_until(lambda _: False)
        except OSError:  # EIO: the other end is closed; EBADF: ours is
            pass
        finally:
            code = self.process.wait()
            self._watchdog.cancel()
            if self._ours >= 0:
                os.close(self._ours)
        return code


def test_a_prompt_is_never_drawn_over(cluster: World) -> None:
    plan = cluster.plan(cluster.spec(waves="manual", strategy={"maxUnavailable": 1}))
    env = cluster.environment(TERM="xterm", COLUMNS="100")
    code, screen = run_in_terminal(["step", str(plan)], "y\nn\n", env)
    assert code == 6, screen
    assert HIDE not in screen
    assert screen.count("May it go?") == 2
    assert (
        screen.rindex("May it go?") > screen.rindex("wave 1 is done") > screen.rindex("done (1 of")
    )


@pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    reason="SIGHUP is ignored (nohup), and a command that is started so leaves it ignored",
)
def test_a_terminal_that_is_closed_stops_a_run_as_a_signal_does(cluster: World) -> None:
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    terminal = Terminal(["apply", str(plan), "--grace", "1h"], cluster.environment(TERM="xterm"))
    terminal.read_until(lambda screen: "is not ready" in screen)
    terminal.hang_up()
    for _ in range(2):  # the shell and the kernel each send one
        terminal.process.send_signal(signal.SIGHUP)
    while "pausing (1 in flight)" not in cluster.rollout("status", NAME, "-n", NAMESPACE).out:
        assert terminal.process.poll() is None
    cluster.break_image(NEW, None)
    assert terminal.end() == 6, "what was in flight is awaited"
    record = cluster.record()
    assert record is not None
    assert (record["phase"], record["message"]) == ("paused", "stopped by SIGHUP")
    assert len(cluster.deleted_pods()) == 1


@pytest.mark.parametrize("times", [1, 2])
def test_signals_work_beside_the_view(cluster: World, times: int) -> None:
    plan = cluster.plan(cluster.spec(strategy={"maxUnavailable": 1}))
    cluster.break_image(NEW, Fault(FaultKind.NEVER_READY))
    env = cluster.environment(TERM="xterm", COLUMNS="120")
    terminal = Terminal(["apply", str(plan), "--grace", "1h"], env)
    terminal.read_until(lambda screen: "is not ready" in screen)
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_until(lambda screen: "pausing (1 in flight): stopped by SIGINT" in screen)
    assert "a second signal ends at once" in terminal.screen
    if times == 2:
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "goes on where it stopped" in terminal.screen.rpartition(SHOW)[2]
    else:
        cluster.break_image(NEW, None)
        assert terminal.end() == 6
        assert "Paused: 1 of 4 nodes updated" in terminal.screen.rpartition(SHOW)[2]
