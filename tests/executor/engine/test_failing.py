"""How many failures are too many, counted by numbers alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.failing import Failures
from rollout.planner.plan import Plan
from tests.planner.worlds import make_fleet, make_spec, plan_of


def plan_with(nodes: int = 20, waves: Any = "fast", **failure: Any) -> Plan:
    return plan_of(make_fleet(nodes), make_spec(waves=waves, failure=failure))


def fail(failures: Failures, wave: int = 1, times: int = 1, *, excused: bool = False) -> None:
    for _ in range(times):
        failures.failed(wave, excused=excused, new=True)


@pytest.mark.parametrize(
    ("rules", "within", "beyond"),
    [
        ({}, 0, 1),  # not a single one
        ({"maxFailures": 3}, 3, 4),
        ({"maxFailures": "11%"}, 3, 4),  # of 20, rounded up
        ({"maxFailures": 20, "maxFailuresPerWave": "10%"}, 2, 3),
        ({"maxFailures": 20, "maxConsecutive": 0}, 0, 1),
        ({"maxFailures": 19, "maxConsecutive": 4}, 4, 5),
    ],
)
def test_a_limit_stops_when_it_is_exceeded_and_not_when_it_is_reached(
    rules: dict[str, Any], within: int, beyond: int
) -> None:
    failures = Failures(plan_with(**rules))
    fail(failures, times=within)
    assert failures.too_many(1) == ""
    fail(failures, times=beyond - within)
    assert failures.too_many(1) != ""


def test_an_excused_failure_is_no_ground_to_stop_but_a_wave_needs_a_success() -> None:
    failures = Failures(plan_with())
    fail(failures, excused=True)

    assert failures.too_many(1) == ""
    assert failures.without_success(1)
    failures.succeeded(1)
    assert not failures.without_success(1)


def test_a_failure_that_an_earlier_process_saw_pauses_nothing() -> None:
    failures = Failures(plan_with(maxFailures=5, pauseAfter=1))
    for _ in range(3):
        failures.failed(1, excused=False, new=False)
    assert failures.pauses() == ""
    fail(failures)
    assert failures.pauses() == "4 nodes failed (pauseAfter 1)"


def test_a_way_back_bears_every_failure() -> None:
    failures = Failures(plan_with(maxFailures="100%", sequentialTest=False))
    fail(failures, times=20)
    assert failures.too_many(1) == ""
    assert not failures.without_success(1)
    assert failures.most_at_once(1) is None


def test_a_wave_behind_one_with_failures_has_its_size_and_that_counts_on() -> None:
    failures = Failures(plan_with(waves=[2, 4, 6, 8], maxFailures=10))
    assert failures.most_at_once(1) is None
    fail(failures, 1)
    assert failures.most_at_once(2) == 2
    fail(failures, 2)
    assert failures.most_at_once(3) == 2  # it did not grow, so neither does the next
    assert failures.most_at_once(4) is None  # the third was without a failure


RESULTS = st.lists(st.sampled_from(["done", "failed", "excused", "healed"]), max_size=40)


@given(RESULTS, st.integers(0, 20))
def test_counts_never_go_below_nothing_and_getting_well_never_makes_it_worse(
    results: list[str], limit: int
) -> None:
    failures = Failures(plan_with(maxFailures=limit, sequentialTest=False))
    for result in results:
        before = bool(failures.too_many(1))
        match result:
            case "done":
                failures.succeeded(1)
            case "failed" | "excused":
                fail(failures, excused=result == "excused")
            case "healed" if failures.total:
                failures.healed(1, excused=False)
        after = bool(failures.too_many(1))
        assert after <= before or result == "failed"
        assert failures.total >= 0
        assert failures.in_a_row <= failures.total
        assert failures.total == failures.failed_in[1]
