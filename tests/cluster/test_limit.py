from __future__ import annotations

import pytest

from rollout.cluster.limit import LONGEST_PAUSE_S, MIN_RATE, Rate, WriteLimiter


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limiter(rate: float, burst: int) -> tuple[WriteLimiter, Clock]:
    clock = Clock()
    return WriteLimiter(Rate(rate, burst), clock=clock), clock


def test_a_burst_goes_at_once_and_the_rest_in_a_queue() -> None:
    limit, _ = limiter(10.0, 3)
    waits = [limit.reserve() for _ in range(6)]
    assert waits == [0.0, 0.0, 0.0, *map(pytest.approx, (0.1, 0.2, 0.3))]


def test_the_bucket_fills_with_time_and_not_beyond_its_size() -> None:
    limit, clock = limiter(10.0, 2)
    for _ in range(2):
        limit.reserve()
    clock.now = 3600.0
    assert [limit.reserve() for _ in range(3)] == [0.0, 0.0, pytest.approx(0.1)]


def test_a_refusal_halves_the_rate_and_takes_the_burst_away() -> None:
    limit, _ = limiter(10.0, 100)
    limit.refused(None)
    assert limit.per_second == 5.0
    assert limit.reserve() == pytest.approx(0.2)


def test_many_refusals_of_one_moment_count_once() -> None:
    limit, clock = limiter(80.0, 10)
    for _ in range(5):
        limit.refused(None)
    assert limit.per_second == 40.0
    clock.now = 2.0
    limit.refused(None)
    assert limit.per_second == 20.0


def test_the_rate_never_falls_to_nothing() -> None:
    limit, clock = limiter(8.0, 1)
    for second in range(0, 40, 2):
        clock.now = float(second)
        limit.refused(None)
    assert limit.per_second == MIN_RATE


def test_success_brings_the_rate_back_step_by_step_and_no_further() -> None:
    limit, _ = limiter(10.0, 1)
    limit.refused(None)
    limit.accepted()
    assert limit.per_second == 6.0
    for _ in range(20):
        limit.accepted()
    assert limit.per_second == 10.0


def test_a_wish_that_would_stop_a_run_for_an_hour_is_asked_about_again() -> None:
    limit, clock = limiter(10.0, 1)
    limit.refused(3600.0)
    clock.now = LONGEST_PAUSE_S
    assert limit.reserve() <= 1.0 / MIN_RATE


def test_the_servers_wish_stops_all_writes_for_so_long() -> None:
    limit, clock = limiter(10.0, 5)
    limit.refused(7.0)
    assert limit.reserve() >= 7.0
    clock.now = 7.0
    assert limit.reserve() < 1.0
