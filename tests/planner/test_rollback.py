"""The way back as a plan: which revision, which nodes, in which order."""

from __future__ import annotations

import pytest

from rollout.errors import StaleError
from rollout.fleet.objects import LabelSelector
from rollout.fleet.revisions import template_digest
from rollout.fleet.selecting import Selecting, Selectors
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before, revision_to_undo_to, rollback_plan
from tests.planner.worlds import NOW, make_fleet, make_pod, make_revision, make_template

OLD, BAD = make_template(image="agent:1"), make_template(image="agent:bad")
HISTORY = [make_revision(1, OLD), make_revision(2, BAD)]


def test_undo_goes_to_the_newest_other_template_or_to_the_named_revision() -> None:
    fleet = make_fleet(template=BAD, revisions=HISTORY)

    assert revision_to_undo_to(fleet, None).revision == 1
    assert revision_to_undo_to(fleet, 2).revision == 2


def test_a_revision_that_history_does_not_hold_is_refused_with_those_that_it_holds() -> None:
    fleet = make_fleet(template=BAD, revisions=HISTORY)

    with pytest.raises(StaleError, match=r"does not hold revision 7; it holds revisions 1, 2"):
        revision_to_undo_to(fleet, 7)
    with pytest.raises(StaleError, match="template of before the run"):
        revision_before("0123456789abcdef", fleet)


def test_the_template_of_before_is_found_by_its_digest() -> None:
    fleet = make_fleet(template=BAD, revisions=HISTORY)

    assert revision_before(template_digest(OLD), fleet).revision == 1


def test_only_touched_nodes_go_back_broken_ones_first_then_the_newest() -> None:
    pods = [
        make_pod("n1"),
        make_pod("n2", hash_="h2", generation="2", created=-50),
        make_pod("n3", hash_="h2", generation="2", created=-40, ready=False),
        make_pod("n4", hash_="h2", generation="2", created=-30),
        make_pod("n5"),
    ]
    fleet = make_fleet(5, pods, template=BAD, revisions=HISTORY, generation=2)
    target = revision_before(template_digest(OLD), fleet)

    plan = rollback_plan("r", [fleet], {"agent": target}, "v1.36.0", NOW)

    assert [s.node for s in plan.steps if s.kind == "update"] == ["n3", "n4", "n2"]
    assert plan.daemon_sets[0].target.template_digest == template_digest(OLD)
    assert plan.daemon_sets[0].max_unavailable.text == "33% of 5 = 2"
    assert plan.health.soak_s == 0.0


def test_a_way_back_that_cannot_hand_over_any_more_deletes_instead_of_refusing() -> None:
    pods = [make_pod("n1"), make_pod("n2", hash_="h2", generation="2")]
    fleet = make_fleet(2, pods, template=BAD, revisions=HISTORY, generation=2)
    target = revision_before(template_digest(OLD), fleet)
    nothing = LabelSelector(match_expressions=({"key": "gpu", "operator": "DoesNotExist"},))
    others: dict[str, Selectors] = {
        "agent": Selectors((Selecting("ReplicaSet", "greedy", nothing),))
    }

    def back(selecting: dict[str, Selectors]) -> Plan:
        surges = ["agent"]
        return rollback_plan(
            "r", [fleet], {"agent": target}, "v1.36.0", NOW, surges, selecting=selecting
        )

    assert back({}).daemon_sets[0].hand_over is not None
    assert back(others).daemon_sets[0].hand_over is None
    assert [s.node for s in back(others).steps if s.kind == "update"] == ["n2"]
