"""How fast replacements may follow each other."""

from __future__ import annotations

from rollout.executor.engine.pacing import Pace


def test_what_was_not_used_while_nothing_started_makes_no_longer_burst() -> None:
    pace = Pace(2.0)
    assert [pace.take(0.0) for _ in range(3)] == [None, None, 0.5]

    assert [pace.take(3600.0) for _ in range(3)] == [None, None, 3600.5]


def test_less_than_one_a_second_still_lets_the_first_go_at_once() -> None:
    pace = Pace(0.1)

    assert pace.take(0.0) is None
    assert pace.take(5.0) == 10.0
    assert pace.next_at == 10.0
