"""Whether the time that a node has is enough, on the way on and on the way back."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.errors import DocumentError
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.rollback import revision_before, rollback_plan
from tests.planner.worlds import (
    NOW,
    make_fleet,
    make_pod,
    make_revision,
    make_spec,
    make_template,
    plan_of,
)


def patient_fleet(*, min_ready_s: int = 0, grace_s: int = 30) -> Fleet:
    old, bad = make_template(image="agent:1"), make_template(image="agent:bad")
    for template in (old, bad):
        template["spec"]["terminationGracePeriodSeconds"] = grace_s
    return make_fleet(
        2,
        [make_pod("n1", hash_="h2", generation="2"), make_pod("n2")],
        template=bad,
        revisions=[make_revision(1, old), make_revision(2, bad)],
        generation=2,
        spec={"minReadySeconds": min_ready_s},
    )


def test_a_plan_under_which_no_node_could_get_done_is_refused() -> None:
    with pytest.raises(DocumentError) as caught:
        plan_of(patient_fleet(min_ready_s=600))
    assert "no node of DaemonSet agent could get done within 10m" in str(caught.value)
    assert "its minReadySeconds are 600; write a longer nodeTimeout" in str(caught.value)

    longer: dict[str, Any] = {"nodeTimeout": "15m"}
    assert plan_of(patient_fleet(min_ready_s=600), make_spec(health=longer)).totals.update == 2


def test_pods_that_may_take_longer_to_end_than_a_node_has_are_warned_of() -> None:
    def told(grace_s: int) -> list[str]:
        plan = plan_of(patient_fleet(grace_s=grace_s))
        return [warning for warning in plan.warnings if "terminationGracePeriodSeconds" in warning]

    assert told(599) == told(30) == []
    (warning,) = told(3600)
    assert warning == (
        "DaemonSet agent: a pod may take 1h to end (terminationGracePeriodSeconds), and a node "
        "fails after 10m (health.nodeTimeout): write a longer one if the pods use that time"
    )


@pytest.mark.parametrize(
    ("patience", "timeout_s"),
    [({}, 600.0), ({"min_ready_s": 900}, 1500.0), ({"grace_s": 3630, "min_ready_s": 5}, 4205.0)],
)
def test_a_way_back_gives_each_node_the_time_that_its_pods_need(
    patience: dict[str, int], timeout_s: float
) -> None:
    fleet = patient_fleet(**patience)
    target = revision_before(template_digest(fleet.revisions[0].template), fleet)

    plan = rollback_plan("r", [fleet], {"agent": target}, "v1.36.0", NOW)

    assert plan.health.node_timeout_s == timeout_s
