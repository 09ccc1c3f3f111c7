"""Two plans side by side: what a reviewer wants to know."""

from __future__ import annotations

from msgspec.structs import replace

from rollout.planner.compare import plan_changes
from rollout.planner.plan import seal
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
