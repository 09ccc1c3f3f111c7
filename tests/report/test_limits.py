"""The plan prints every limit with the base that its number was taken of."""

from __future__ import annotations

from rollout.report.table import plan_text
from tests.planner.worlds import make_fleet, make_spec, plan_of


def test_the_limits_on_failures_are_printed_with_their_bases() -> None:
    failure = {
        "maxFailures": "10%",
        "maxFailuresPerWave": "50%",
        "maxConsecutive": 2,
        "pauseAfter": "5%",
        "onFailure": "rollback",
    }
    spec = make_spec(waves=[1, 19], failure=failure, health={"nodeTimeout": "5m"})

    text = plan_text(plan_of(make_fleet(20), spec))

    assert (
        "Failures: more than 10% of 20 = 2 -> rollback; in a wave more than 50% of 1 = 1, "
        "50% of 19 = 10 -> rollback; more than 2 in a row -> rollback; more than 5% of 20 = 1 -> "
        "pause; unreachable more than 10% of 20 = 2 -> hold. "
    ) in text
    assert "node timeout 5m, progress deadline 10m, " in text
