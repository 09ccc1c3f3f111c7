from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.fleet.snapshot import Fleet
from rollout.planner.drift import Change, Drift, compare
from rollout.planner.plan import Plan
from tests.planner.worlds import (
    NOW,
    ON_DELETE,
    ZONE,
    make_fleet,
    make_item,
    make_node,
    make_pod,
    make_revision,
    make_spec,
    make_template,
    plan_of,
    the_daemon_set,
)

NODES = [make_node("n1", "a"), make_node("n2", "b"), make_node("n3", "a")]


def drift(fleet: Fleet, plan: Plan | None = None) -> Drift:
    return compare(plan or plan_of(make_fleet(NODES)), {"agent": fleet}, NOW)


def hard(fleet: Fleet) -> tuple[Change, ...]:
    found = drift(fleet)
    assert found
    assert found.soft == ()
    return found.hard


def soft(fleet: Fleet, plan: Plan | None = None) -> list[tuple[str, str, str]]:
    found = drift(fleet, plan)
    assert found.hard == ()
    return [(change.what, change.old, change.new) for change in found.soft]


def test_the_same_cluster_is_no_drift() -> None:
    assert not drift(make_fleet(NODES))


def test_what_does_not_matter_is_no_drift() -> None:
    """Other annotations, status, labels and taints that change no fate."""
    nodes = [
        make_node("n1", "a", labels={"new": "label"}),
        make_node("n2", "b", taints=[("x", "PreferNoSchedule")]),
        make_node("n3", "a", cordoned=True),
    ]
    assert not drift(make_fleet(nodes, annotations={"someone": "else"}))


# Hard: the plan is worthless.


def test_another_cluster_is_all_that_is_said() -> None:
    other = msgspec.structs.replace(
        plan_of(make_fleet(NODES)),
        cluster=msgspec.structs.replace(plan_of().cluster, uid="uid-of-yesterday"),
    )
    found = compare(other, {"agent": make_fleet(1, template=make_template(image="x"))}, NOW)
    assert found == Drift((Change("cluster", "uid-of-yesterday", "uid-cluster"),), ())


def test_a_daemonset_that_was_deleted_and_made_anew_is_another_one() -> None:
    pods = [make_pod(n.metadata.name) for n in NODES]
    fleet = make_fleet(NODES, pods, uid="uid-reborn", template=make_template(image="x"))
    assert hard(fleet) == (Change("DaemonSet logging/agent uid", "uid-agent", "uid-reborn"),)


def test_an_edited_template_is_shown_with_its_revision_and_digest() -> None:
    edited = make_template(image="agent:1.5")
    history = [make_revision(1, make_template()), make_revision(2, edited)]
    (change,) = hard(make_fleet(NODES, template=edited, revisions=history, generation=2))
    assert change.what == "DaemonSet logging/agent template"
    assert change.old.startswith("revision 1, digest ")
    assert change.new.startswith("revision 2 (h2), digest ")


def test_a_template_that_the_controller_has_not_recorded_yet_is_shown_by_its_digest() -> None:
    edited = make_template(image="agent:1.5")
    (change,) = hard(
        make_fleet(NODES, template=edited, revisions=[make_revision(1, make_template())])
    )
    assert change.new.startswith("digest ")


def test_a_changed_strategy_is_hard() -> None:
    (change,) = hard(make_fleet(NODES, strategy=ON_DELETE, generation=2))
    assert change.what == "DaemonSet logging/agent strategy"
    assert "OnDelete" in change.new


def test_another_generation_alone_is_hard_too() -> None:
    """Something of the spec changed that is neither template nor strategy: minReadySeconds."""
    assert hard(make_fleet(NODES, generation=2)) == (
        Change("DaemonSet logging/agent generation", "1", "2"),
    )


def test_template_and_strategy_are_both_named() -> None:
    fleet = make_fleet(NODES, template=make_template(image="x"), strategy=ON_DELETE, generation=3)
    assert [change.what.split()[-1] for change in hard(fleet)] == ["template", "strategy"]


# Soft: which nodes there are to update.


def test_a_node_that_joined_is_soft() -> None:
    fleet = make_fleet([*NODES, make_node("n4", "c")])
    assert soft(fleet) == [("node n4", "absent", "joined")]


def test_a_node_that_left_is_soft() -> None:
    assert soft(make_fleet(NODES[:2])) == [("node n3", "present", "left")]


def test_a_node_of_the_same_name_is_another_node() -> None:
    raw = msgspec.to_builtins(NODES[2])
    raw["metadata"]["uid"] = "uid-reborn"
    reborn = msgspec.convert(raw, type(NODES[2]))
    assert soft(make_fleet([*NODES[:2], reborn])) == [("node n3 uid", "uid-n3", "uid-reborn")]


def test_a_pod_that_was_replaced_by_somebody_is_soft() -> None:
    pods = [make_pod("n1"), make_pod("n2", name="agent-other"), make_pod("n3")]
    assert soft(make_fleet(NODES, pods)) == [("pod of n2", "agent-n2", "agent-other")]


def test_a_pod_that_is_gone_is_soft() -> None:
    pods = [make_pod("n1"), make_pod("n3")]
    assert soft(make_fleet(NODES, pods)) == [("pod of n2", "agent-n2", "none")]


def test_a_node_that_moved_to_another_zone_is_soft() -> None:
    moved = [make_node("n1", "c"), *NODES[1:]]
    assert soft(make_fleet(moved)) == [("node n1 zone", "a", "c")]
    bare = [make_node("n1"), *NODES[1:]]
    assert soft(make_fleet(bare)) == [("node n1 zone", "a", "none")]


@pytest.mark.parametrize(
    ("node", "new"),
    [
        (make_node("n1", "a", ready=False), "deferred (node was not ready before the run)"),
        (
            make_node("n1", "a", taints=[("dedicated", "NoSchedule")]),
            "ineligible (taint dedicated:NoSchedule is not tolerated)",
        ),
    ],
)
def test_a_node_with_another_fate_now_is_soft_and_says_why(node: Any, new: str) -> None:
    assert soft(make_fleet([node, *NODES[1:]])) == [("node n1", "update", new)]


def test_a_node_that_came_back_is_soft() -> None:
    plan = plan_of(make_fleet([make_node("n1", "a", ready=False), *NODES[1:]]))
    assert soft(make_fleet(NODES), plan) == [
        ("node n1", "deferred (node was not ready before the run)", "update")
    ]


def test_a_label_by_which_the_spec_selects_is_soft() -> None:
    spec = make_spec(nodes={"selector": f"{ZONE}!=c"})
    plan = plan_of(make_fleet(NODES), spec)
    (change,) = soft(make_fleet([make_node("n1", "c"), *NODES[1:]]), plan)
    assert change[:2] == ("node n1", "update")


def test_several_daemonsets_name_a_node_that_joined_once() -> None:
    names = ("a", "b")
    spec = make_spec(*(make_item(name, {"set": {"image": {name: "x:2"}}}) for name in names))
    plan = plan_of([make_fleet(NODES, name=name) for name in names], spec)
    more = [*NODES, make_node("n4")]
    found = compare(plan, {name: make_fleet(more, name=name) for name in names}, NOW)
    assert [change.what for change in found.soft] == ["node n4"]


def test_a_settings_only_plan_minds_no_pod() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}
    manifest = {
        "metadata": {"name": "agent"},
        "spec": {"template": make_template(), "updateStrategy": strategy},
    }
    spec = make_spec(make_item(target={"manifest": "m"}), manifests={"agent": manifest})
    plan = plan_of(make_fleet(NODES), spec)
    assert the_daemon_set(plan).changes_settings
    pods = [make_pod(n.metadata.name, name=f"new-{n.metadata.name}") for n in NODES]
    assert not drift(make_fleet(NODES, pods), plan)
