"""Conditions of nodes, and how they change."""

from __future__ import annotations

from rollout.sim.nodestatus import (
    condition_status,
    ready_conditions,
    unknown_conditions,
    with_conditions,
)
from rollout.sim.store import Object


def conditions(status: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in status["conditions"]}


def test_a_condition_that_keeps_its_value_keeps_its_time() -> None:
    before = with_conditions({}, ready_conditions(ready=True), "t1")
    after = conditions(with_conditions(before, ready_conditions(ready=True), "t2"))
    assert after["Ready"]["lastTransitionTime"] == "t1"
    assert after["Ready"]["lastHeartbeatTime"] == "t2"


def test_a_condition_that_changes_gets_a_new_time() -> None:
    before = with_conditions({}, ready_conditions(ready=True), "t1")
    after = conditions(with_conditions(before, ready_conditions(ready=False, message="no"), "t2"))
    assert after["Ready"]["lastTransitionTime"] == "t2"
    assert (after["Ready"]["reason"], after["Ready"]["message"]) == ("KubeletNotReady", "no")
    assert after["DiskPressure"]["lastTransitionTime"] == "t1"


def test_unknown_conditions_keep_the_last_heartbeat() -> None:
    before = with_conditions({}, ready_conditions(ready=True), "t1")
    after = conditions(with_conditions(before, unknown_conditions(), "t2"))
    assert {c["status"] for c in after.values()} == {"Unknown"}
    assert after["Ready"]["lastHeartbeatTime"] == "t1"


def test_conditions_of_others_stay() -> None:
    other = {"type": "Other", "status": "True"}
    after = with_conditions({"conditions": [other]}, ready_conditions(ready=True), "t")
    assert other in after["conditions"]


def test_a_node_that_nobody_wrote_about_has_no_condition() -> None:
    assert condition_status({}, "Ready") == ""
