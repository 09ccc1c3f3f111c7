from __future__ import annotations

import pytest

from rollout.executor.engine.accounting import Account
from rollout.report.accounts import time_object, time_text


@pytest.mark.parametrize(
    ("account", "lines"),
    [
        (
            Account(130.0, 1000.0, 45.0, 10, 100.0, {"tail": 20.0, "waves": 9.97, "x": 0.03}),
            [
                "It took 2m10s; the least possible was 1m40s (16m40s of all nodes / 10 in flight).",
                "The rest went to: tail 20.0 s, waves 10.0 s.",
            ],
        ),
        (
            Account(59.96, 70.0, 50.0, 10, 50.0, {}),
            ["It took 60.0 s; the least possible was 50.0 s (its longest node)."],
        ),
        (
            Account(7300.0, 70000.0, 50.0, 10, 7000.0, {"bake": 300.0}),
            [
                "It took 2h01m; the least possible was 1h56m (19h26m of all nodes / 10 in flight).",
                "The rest went to: bake 5m00s.",
            ],
        ),
        (Account(3.0, 0.0, 0.0, 4, 0.0, {"tail": 3.0}), []),
    ],
)
def test_an_account_is_told_in_two_sentences(account: Account, lines: list[str]) -> None:
    assert list(time_text(account)) == lines


def test_programs_get_seconds() -> None:
    account = Account(3.00049, 2.0, 1.0, 4, 1.0, {"tail": 2.00049})
    assert time_object(account) == {
        "makespan": 3.0,
        "least": 1.0,
        "nodes": 2.0,
        "longest": 1.0,
        "limit": 4,
        "lost": {"tail": 2.0},
    }
