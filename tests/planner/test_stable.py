"""Where a rollback of a plan leads."""

from __future__ import annotations

from typing import Any

from rollout.fleet.objects import Pod
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.stable import stable_digest
from tests.planner.worlds import make_fleet, make_pod, make_revision, make_template

V1, V2, V3 = (make_template(image=f"agent:{n}") for n in (1, 2, 3))
HISTORY = [make_revision(1, V1), make_revision(2, V2)]


def at_v2(*nodes: str) -> list[Pod]:
    return [make_pod(node, hash_="h2", generation="2") for node in nodes]


def fleet_of(pods: list[Pod], history: list[Any] = HISTORY) -> Fleet:
    return make_fleet(4, pods, template=V2, revisions=history, template_generation="2")


HALF = fleet_of([make_pod("n1"), *at_v2("n2", "n3", "n4")])


def test_a_rollback_leads_to_the_live_template_that_runs_somewhere() -> None:
    assert stable_digest(HALF, V3) == template_digest(V2)


def test_updates_42_a_release_that_an_earlier_run_left_half_way_is_not_what_it_leads_to() -> None:
    assert stable_digest(HALF, V3, led_from=template_digest(V1)) == template_digest(V1)


def test_where_the_target_is_live_already_it_leads_to_what_most_other_nodes_run() -> None:
    assert stable_digest(HALF, V2) == template_digest(V1)
    assert stable_digest(HALF, V2, led_from=template_digest(V2)) == template_digest(V1)


def test_a_template_that_is_on_no_node_is_not_what_it_leads_to() -> None:
    staged = fleet_of([make_pod("n1"), make_pod("n2")])

    assert stable_digest(staged, V3) == template_digest(V1)


def test_what_the_history_does_not_hold_any_more_is_not_what_it_leads_to() -> None:
    forgotten = fleet_of(at_v2("n1", "n2"), HISTORY[1:])

    assert stable_digest(forgotten, V3, led_from=template_digest(V1)) == template_digest(V2)
    assert stable_digest(fleet_of([], HISTORY[1:]), V3) == template_digest(V2)


def test_what_only_an_earlier_run_keeps_is_what_it_leads_to() -> None:
    forgotten, first = fleet_of(at_v2("n1", "n2"), HISTORY[1:]), template_digest(V1)

    assert stable_digest(forgotten, V3, led_from=first, kept={first}) == first
    assert stable_digest(forgotten, V1, led_from=first, kept={first}) == template_digest(V2)
