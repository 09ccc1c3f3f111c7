"""The live view, drawn on a console of fixed width that no terminal stands behind."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from rollout.report.gatelines import GateLine
from rollout.report.liveview import Flying, Picture, WaveLine
from rollout.report.screen import frame

PICTURE = Picture(
    now=1000.0,
    done=5,
    total=24,
    failed=1,
    failed_limit="2 (10% of 24)",
    waves=(
        WaveLine("canary", 1, 1, "done"),
        WaveLine("some", 4, 6, "running"),
        WaveLine("rest", 0, 17, "waiting"),
    ),
    waves_hidden=0,
    flying=(
        Flying("node-005", "log-agent", "soaking", 996.0, "pod a is ready and soaks for 1 s more"),
        Flying("node-006", "log-agent", "replacing", 998.0, "the old pod [b] is terminating"),
    ),
    flying_hidden=3,
    gates=(
        GateLine("errors", "after wave canary", "2 passed of 5", "0.002: [ok]", 1012.0, now=False),
        GateLine("people", "before wave rest", "0 passed", "", None, now=False),
        GateLine("well", "after node-004", "1 passed of 3", "is well", None, now=True),
    ),
    gates_hidden=2,
    budgets=("log-agent: 2 of maxUnavailable 4 in use",),
    why="waiting for node-005 and 4 more: pod a is ready and soaks for 1 s more",
    eta_s=65.0,
)


def drawn(picture: Picture, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    console.print(frame("run 3f2a of log-agent-2.4", picture, age_s=1.0, elapsed_s=17.0))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_frame_shows_waves_nodes_budget_failures_and_why() -> None:
    lines = drawn(PICTURE)
    assert lines[0] == "run 3f2a of log-agent-2.4"
    assert lines[1] == (
        "5 of 24 done   1 failed (limit 2 (10% of 24))   17s   about 1m5s left   "
        "log-agent: 2 of maxUnavaila…"
    )
    assert [line.split() for line in lines[2:5]] == [
        ["canary", "━" * 24, "1/1", "done"],
        ["some", "━" * 16, "4/6", "running"],
        ["rest", "0/17", "waiting"],
    ]
    assert lines[5].split() == ["NODE", "DAEMONSET", "PHASE", "AGE", "WAITS", "FOR"]
    assert lines[6].split()[:4] == ["node-005", "log-agent", "soaking", "5s"]
    assert lines[7].endswith("3s   the old pod [b] is terminating"), "no markup is read in it"
    assert lines[8] == "and 3 more"
    assert lines[9].split() == ["GATE", "AT", "SO", "FAR", "NEXT", "LAST"]
    columns = re.split(" {2,}", lines[10])
    assert columns == ["errors", "after wave canary", "2 passed of 5", "in 11s", "0.002: [ok]"]
    assert lines[11].split() == ["people", "before", "wave", "rest", "0", "passed", "-"]
    assert lines[12].split()[-3:] == ["now", "is", "well"]
    assert lines[13] == "and 2 more"
    assert lines[14] == PICTURE.why
    assert len(lines) == 15


def test_nothing_wraps_on_a_narrow_terminal() -> None:
    lines = drawn(PICTURE, width=60)
    assert len(lines) == 15
    assert max(map(len, lines)) <= 60
    assert lines[14].endswith("…")
    assert lines[6].split()[:4] == ["node-005", "log-agent", "soaking", "5s"]
    assert lines[6].endswith("…"), "what is cut is the long text"


@pytest.mark.parametrize("width", [40, 30])
def test_on_a_very_narrow_terminal_the_nodes_can_still_be_told_apart(width: int) -> None:
    lines = drawn(PICTURE, width)
    assert len(lines) == 15
    assert [line.split()[0] for line in lines[6:8]] == ["node-005", "node-006"]


@pytest.mark.parametrize("width", [40, 30, 12, 3, 1])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    assert max(map(len, drawn(PICTURE, width))) <= width
