"""Two plans side by side: what a reviewer wants to know."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from rollout.planner.compare import plan_changes
from rollout.planner.plan import Plan, seal
from tests.planner.worlds import NOW, make_fleet, make_item, make_spec, plan_of


def test_plans_of_the_same_fleet_made_at_other_times_mean_the_same() -> None:
    assert plan_changes(plan_of(), plan_of(now=NOW + 60)) == []


def test_how_long_a_run_may_begin_is_named() -> None:
    old = plan_of()
    new = seal(replace(plan_of(now=NOW + 60), valid_for_s=86400.0))

    assert [(c.what, c.old, c.new) for c in plan_changes(old, new)] == [("valid for", "ever", "1d")]
    later = seal(replace(plan_of(now=NOW + 120), valid_for_s=86400.0))
    assert plan_changes(new, later) == []


def test_a_node_that_joined_and_one_that_is_left_out_are_named_with_their_fates() -> None:
    old = plan_of(make_fleet(3))
    new = plan_of(make_fleet(4), make_spec(nodes={"exclude": ["n2"]}))

    told = {change.what: (change.old, change.new) for change in plan_changes(old, new)}

    assert told["node n4"] == ("absent", "update, wave 2")
    assert told["node n2"][1] == "deferred (excluded by name)"
    assert told["nodes.exclude"] == ("[]", '["n2"]')


def test_other_limits_and_waves_are_named() -> None:
    old = plan_of()
    limit = {"maxUnavailable": 3}
    new = plan_of(None, make_spec(make_item(strategy=limit), waves="fast", health={"soak": 1}))

    told = {change.what: (change.old, change.new) for change in plan_changes(old, new)}

    assert told["DaemonSet logging/agent maxUnavailable"] == ("1", "3")
    assert told["health.soakS"] == ("10.0", "1.0")
    assert told["waves"][1] == "wave-1 (5)"


def told_of(old: Plan, new: Plan) -> dict[str, tuple[str, str]]:
    return {change.what: (change.old, change.new) for change in plan_changes(old, new)}


@pytest.mark.parametrize(
    ("more", "what", "values"),
    [
        ({"pause": "approval"}, "pause", ("-", "approval")),
        ({"bake": "15m"}, "bake", ("-", "15m")),
        ({"maxUnavailable": "50%"}, "maxUnavailable", ("-", "50% of 5 = 3")),
    ],
)
def test_what_a_wave_has_for_itself_is_compared(
    more: dict[str, Any], what: str, values: tuple[str, str]
) -> None:
    def plan(**canary: Any) -> Plan:
        item = make_item(strategy={"maxUnavailable": 2})
        return plan_of(
            None, make_spec(item, waves=[{"name": "canary", "size": 1} | canary, "100%"])
        )

    assert told_of(plan(), plan(**more)) == {f"wave canary {what}": values}
    assert told_of(plan(**more), plan()) == {f"wave canary {what}": values[::-1]}


def test_the_limits_on_failures_are_compared_with_their_bases() -> None:
    failure = {"maxFailures": "20%", "maxFailuresPerWave": "40%", "onFailure": "rollback"}

    told = told_of(plan_of(), plan_of(None, make_spec(failure=failure)))

    assert told["failure.maxFailures"][1] == "20% of 5 = 1"
    assert told["wave wave-1 maxFailures"] == ("-", "40% of 1 = 1")
    assert told["failure.onFailure"] == ('"hold"', '"rollback"')


def test_other_templates_are_told_apart_by_what_becomes_of_them() -> None:
    def plan(image: str) -> Plan:
        return plan_of(None, make_spec(make_item(target={"set": {"image": {"agent": image}}})))

    image = "+      - image: agent:"
    assert told_of(plan("agent:2"), plan("agent:3")) == {
        "DaemonSet logging/agent change": (f"{image}2", f"{image}3")
    }


def test_what_a_mask_hides_is_told_by_its_digest_alone() -> None:
    def plan(word: str) -> Plan:
        env = {"agent": {"DB_PASSWORD": word}}
        return plan_of(None, make_spec(make_item(target={"set": {"env": env}})))

    ((what, digests),) = told_of(plan("letmein"), plan("opensesame")).items()
    assert what == "DaemonSet logging/agent target"
    assert "sesame" not in str(digests)
