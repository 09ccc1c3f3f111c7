"""Whoever reviews a plan reads of each wave what follows behind it, and who must come."""

from __future__ import annotations

import re

from rollout.report.markdown import plan_markdown
from rollout.report.table import plan_text
from tests.planner.worlds import make_fleet, make_spec, plan_of

WAVES = [
    {"name": "canary", "size": 1, "bake": "15m", "pause": "approval"},
    {"name": "rest", "maxUnavailable": 1},
]


def test_the_table_of_the_waves_says_behind_which_one_somebody_must_approve() -> None:
    lines = plan_text(plan_of(make_fleet(5), make_spec(waves=WAVES))).splitlines()

    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["WAVE", "NAME"])
    columns, canary, rest = (re.split(r"\s{2,}", line) for line in lines[head : head + 3])
    assert columns[3:] == ["SIZE", "MAXUNAVAILABLE", "BAKE", "PAUSE"]
    assert canary[-3:] == ["-", "15m", "approval"]
    assert rest[-3:] == ["1", "-", "-"]


def test_the_plan_for_a_merge_request_says_it_as_well() -> None:
    text = plan_markdown(plan_of(make_fleet(5), make_spec(waves=WAVES)))

    assert "| wave | name | nodes | size | maxunavailable | bake | pause |" in text
    assert "| 1 | canary | 1 | 1 | - | 15m | approval |" in text
