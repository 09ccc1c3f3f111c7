from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.fleet.objects import Node, Pod
from rollout.fleet.snapshot import Fleet
from rollout.planner.accounting import planned_node
from rollout.planner.fates import (
    WATCHED,
    NodeFate,
    is_available,
    node_fates,
    start_time,
    target_matcher,
    unproven,
    watched_still,
)
from rollout.spec import NodeRules
from tests.planner.worlds import (
    NOW,
    ON_DELETE,
    make_fleet,
    make_node,
    make_pod,
    make_revision,
    make_template,
)

NEW = make_template(image="agent:2")
NOT_READY = [
    ("node.kubernetes.io/unreachable", "NoSchedule"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
]


def fate_of(
    node: Node,
    *pods: Pod,
    template: dict[str, Any] = NEW,
    rules: NodeRules | None = None,
    **more: Any,
) -> NodeFate:
    fleet = make_fleet([node], pods or None, **more)
    (only,) = node_fates(fleet, template, rules or NodeRules(), NOW)
    return only


def short(fate: NodeFate) -> tuple[str, str, str]:
    return fate.fate, fate.deferred_by, fate.reason


def test_a_node_with_an_old_pod_is_updated() -> None:
    assert short(fate_of(make_node("n1"))) == ("update", "", "")


def test_a_node_on_the_target_is_current() -> None:
    assert short(fate_of(make_node("n1"), template=make_template())) == ("current", "", "")


def test_a_node_without_a_pod_is_updated_by_the_controller() -> None:
    fleet = make_fleet([make_node("n1")], [])
    (fate,) = node_fates(fleet, NEW, NodeRules(), NOW)
    assert short(fate) == ("update", "", "no pod yet; the controller creates it")
    assert fate.pod is None
    assert not fate.available


@pytest.mark.parametrize(
    ("node", "rules", "by", "reason"),
    [
        pytest.param(
            make_node("n1"),
            NodeRules(exclude=("n1",)),
            "excluded",
            "excluded by name",
            id="by name",
        ),
        pytest.param(
            make_node("n1", labels={"pool": "spot"}),
            NodeRules(selector="pool!=spot"),
            "excluded",
            "excluded: nodes.selector pool!=spot does not match",
            id="by selector",
        ),
        pytest.param(
            make_node("n1", cordoned=True),
            NodeRules(cordoned="exclude"),
            "cordoned",
            "cordoned",
            id="cordoned",
        ),
        pytest.param(
            make_node("n1", ready=False),
            NodeRules(),
            "not-ready",
            "node was not ready before the run",
            id="not ready",
        ),
        pytest.param(
            make_node("n1", ready=False, taints=NOT_READY),
            NodeRules(),
            "not-ready",
            "node was not ready before the run",
            id="not ready, tainted",
        ),
        pytest.param(
            make_node("n1", ready=False, taints=NOT_READY),
            NodeRules(defer_not_ready=False),
            "not-ready",
            "node was not ready before the run",
            id="not ready, wanted, but the controller makes no pod there",
        ),
    ],
)
def test_a_node_that_is_left_out_says_why(
    node: Node, rules: NodeRules, by: str, reason: str
) -> None:
    assert short(fate_of(node, rules=rules)) == ("deferred", by, reason)


def test_a_cordoned_node_is_treated_as_usual_by_default() -> None:
    node = make_node(
        "n1", cordoned=True, taints=[("node.kubernetes.io/unschedulable", "NoSchedule")]
    )
    assert fate_of(node).fate == "update"


def test_a_node_that_is_not_ready_is_updated_when_the_user_wants_it_so() -> None:
    rules = NodeRules(defer_not_ready=False)
    assert fate_of(make_node("n1", ready=False), rules=rules).fate == "update"


def test_a_pod_that_tolerates_everything_is_wanted_on_a_dead_node_too() -> None:
    template = make_template(image="agent:2", tolerations=[{"operator": "Exists"}])
    fate = fate_of(make_node("n1", ready=False, taints=NOT_READY), template=template)
    assert fate.should_run
    assert fate.deferred_by == "not-ready"
    rules = NodeRules(defer_not_ready=False)
    node = make_node("n1", ready=False, taints=NOT_READY)
    assert fate_of(node, template=template, rules=rules).fate == "update"


@pytest.mark.parametrize(
    ("deleted", "fate"), [(-61.0, "deferred"), (-59.0, "update"), (30.0, "update")]
)
def test_a_pod_is_stuck_a_minute_after_its_grace_period(deleted: float, fate: str) -> None:
    pod = make_pod("n1", deleted=deleted)
    found = fate_of(make_node("n1"), pod)
    assert found.fate == fate
    if fate == "deferred":
        assert short(found)[1:] == ("stuck", "pod agent-n1 is stuck terminating")


@pytest.mark.parametrize(
    ("template", "taints", "labels", "reason", "removes"),
    [
        (
            make_template(nodeSelector={"pool": "gpu"}),
            [],
            {"pool": "cpu"},
            "nodeSelector pool=gpu does not match",
            True,
        ),
        (NEW, [("dedicated", "NoSchedule")], {}, "taint dedicated:NoSchedule is not", False),
        (NEW, [("dedicated", "NoExecute")], {}, "taint dedicated:NoExecute is not", True),
        (make_template(nodeName="n9"), [], {}, "the template is bound to node n9", True),
    ],
)
def test_an_ineligible_node_names_what_keeps_the_pod_away_and_whether_it_goes(
    template: dict[str, Any],
    taints: list[tuple[str, str]],
    labels: dict[str, str],
    reason: str,
    *,
    removes: bool,
) -> None:
    fate = fate_of(make_node("n1", labels=labels, taints=taints), template=template)
    assert fate.fate == "ineligible"
    assert fate.reason.startswith(reason)
    assert fate.removes_pod is removes
    assert not fate.should_run
    assert not fate.in_budget


def test_eligibility_is_that_of_the_new_template() -> None:
    live = make_template(nodeSelector={"pool": "cpu"})
    node = make_node("n1", labels={"pool": "gpu"})
    wider = make_template(image="agent:2")
    fleet = make_fleet([node], [], template=live)
    (fate,) = node_fates(fleet, wider, NodeRules(), NOW)
    assert fate.fate == "update"


def test_a_node_that_is_down_and_would_not_fit_anyway_is_ineligible() -> None:
    node = make_node("n1", ready=False, taints=[*NOT_READY, ("dedicated", "NoSchedule")])
    assert fate_of(node).fate == "ineligible"


def test_dead_nodes_are_outside_of_the_budget_and_excluded_ones_inside() -> None:
    assert not fate_of(make_node("n1", ready=False)).in_budget
    assert not fate_of(make_node("n1"), make_pod("n1", deleted=-100)).in_budget
    assert fate_of(make_node("n1"), rules=NodeRules(exclude=("n1",))).in_budget
    assert fate_of(make_node("n1")).in_budget
    dead = make_node("n1", ready=False)
    assert not fate_of(dead, rules=NodeRules(exclude=("n1",))).in_budget


def test_among_several_pods_the_old_one_that_lives_is_the_one_to_replace() -> None:
    new = make_pod("n1", hash_="h2", generation="2", name="new")
    dying = make_pod("n1", deleted=30, name="dying")
    old = make_pod("n1", name="old", ready=False)
    fate = fate_of(
        make_node("n1"),
        new,
        dying,
        old,
        revisions=[make_revision(1, make_template()), make_revision(2, NEW)],
    )
    assert fate.pod is not None
    assert (fate.fate, fate.pod.metadata.name) == ("update", "old")
    assert fate.available  # the new one works


def test_a_pod_that_is_terminal_and_terminating_is_gone() -> None:
    gone = make_pod("n1", deleted=-500, phase="Failed")
    assert short(fate_of(make_node("n1"), gone))[2] == "no pod yet; the controller creates it"


# Which revision counts as the target.


def matched(fleet: Fleet, template: dict[str, Any], pod: Pod) -> bool:
    return target_matcher(fleet, template)(pod)


def test_for_the_live_template_hash_or_generation_decides() -> None:
    fleet = make_fleet(1, template_generation="4")
    live = make_template()
    assert matched(fleet, live, make_pod("n1", hash_="h1", generation="3"))
    assert matched(fleet, live, make_pod("n1", hash_="h0", generation="4"))
    assert not matched(fleet, live, make_pod("n1", hash_="h0", generation="3"))


def test_for_a_remembered_template_its_hash_decides_and_no_generation() -> None:
    history = [make_revision(1, make_template(image="agent:0")), make_revision(2, make_template())]
    fleet = make_fleet(1, revisions=history, template_generation="2")
    target = make_template(image="agent:0")
    assert matched(fleet, target, make_pod("n1", hash_="h1", generation="1"))
    assert not matched(fleet, target, make_pod("n1", hash_="h2", generation="2"))


def test_for_a_new_template_no_pod_is_up_to_date() -> None:
    fleet = make_fleet(1)
    assert not matched(fleet, NEW, make_pod("n1"))


def test_while_the_controller_has_not_recorded_a_new_template_old_pods_are_old() -> None:
    """The live template was edited a moment ago; the highest revision still holds the old one."""
    fleet = make_fleet(
        1,
        template=NEW,
        revisions=[make_revision(1, make_template())],
        template_generation="2",
        strategy=ON_DELETE,
    )
    assert not matched(fleet, NEW, make_pod("n1", hash_="h1", generation="1"))
    assert matched(fleet, NEW, make_pod("n1", hash_="h2", generation="2"))


def test_a_serialisation_that_changed_with_the_control_plane_keeps_pods_current() -> None:
    """V41: a second revision of the same meaning, with another hash; pods carry the first."""
    live = make_template()
    odd = live | {"metadata": live["metadata"] | {"creationTimestamp": None}}
    fleet = make_fleet(
        1, revisions=[make_revision(1, odd), make_revision(2, live)], template_generation="1"
    )
    assert matched(fleet, live, make_pod("n1", hash_="h1", generation="1"))


# Availability.


@pytest.mark.parametrize(
    ("pod", "min_ready", "expected"),
    [
        (make_pod("n"), 0, True),
        (make_pod("n", ready=False), 0, False),
        (make_pod("n", deleted=30), 0, False),
        (make_pod("n", ready_since=-30), 30, True),
        (make_pod("n", ready_since=-29), 30, False),
        (make_pod("n", ready_since=5), 0, True),
        (make_pod("n", ready_since=5), 1, False),
    ],
)
def test_available_is_ready_for_long_enough_and_not_leaving(
    pod: Pod, min_ready: float, *, expected: bool
) -> None:
    assert is_available(pod, min_ready, NOW) is expected


@pytest.mark.parametrize(
    ("pod", "seconds"),
    [
        (make_pod("n", created=-100, ready_since=-88), 12.0),
        (make_pod("n", created=-100, ready_since=-88, restarts=1), 0.0),
        (make_pod("n", created=-100, ready_since=-88, ready=False), 0.0),
        (make_pod("n", created=-100, ready_since=-101), 0.0),
        (None, 0.0),
    ],
)
def test_a_pods_start_time_is_known_when_it_never_restarted(
    pod: Pod | None, seconds: float
) -> None:
    assert start_time(pod) == seconds


# Every node, exactly one fate.

node_options = st.fixed_dictionaries(
    {
        "labels": st.sampled_from([{}, {"pool": "spot"}, {"pool": "gpu"}]),
        "ready": st.booleans(),
        "cordoned": st.booleans(),
        "taints": st.lists(
            st.sampled_from([*NOT_READY, ("dedicated", "NoSchedule"), ("dedicated", "NoExecute")]),
            max_size=2,
            unique=True,
        ),
    }
)
pod_options = st.none() | st.fixed_dictionaries(
    {
        "hash_": st.sampled_from(["h1", "h2"]),
        "ready": st.booleans(),
        "deleted": st.sampled_from([None, -500.0, 20.0]),
        "phase": st.sampled_from(["Running", "Failed"]),
    }
)
rule_options = st.builds(
    NodeRules,
    selector=st.sampled_from(["", "pool!=spot"]),
    exclude=st.sampled_from([(), ("n0", "n1")]),
    defer_not_ready=st.booleans(),
    cordoned=st.sampled_from(["include", "exclude"]),
)
templates = st.sampled_from(
    [
        NEW,
        make_template(),
        make_template(nodeSelector={"pool": "gpu"}),
        make_template(nodeName="n1"),
    ]
)


@given(
    st.lists(st.tuples(node_options, pod_options), max_size=6),
    rule_options,
    templates,
)
def test_every_node_has_exactly_one_fate_and_a_reason_when_it_is_left_out(
    world: list[tuple[dict[str, Any], dict[str, Any] | None]],
    rules: NodeRules,
    template: dict[str, Any],
) -> None:
    nodes = [make_node(f"n{i}", **options) for i, (options, _) in enumerate(world)]
    pods = [
        make_pod(f"n{i}", generation="0", **options)
        for i, (_, options) in enumerate(world)
        if options is not None
    ]
    fates = node_fates(make_fleet(nodes, pods), template, rules, NOW)
    assert [f.node.metadata.name for f in fates] == [n.metadata.name for n in nodes]
    for fate in fates:
        assert fate.fate in ("update", "current", "deferred", "ineligible")
        assert bool(fate.deferred_by) == (fate.fate == "deferred")
        assert bool(fate.reason) or fate.fate in ("update", "current")
        assert fate.should_run or fate.fate != "update"
        assert fate.should_run or not fate.in_budget
        assert not fate.removes_pod or fate.fate == "ineligible"


def test_a_node_that_is_ready_again_is_not_passed_over_for_the_taint_that_lingers() -> None:
    fate = fate_of(make_node("n1", taints=NOT_READY))
    assert (fate.fate, fate.deferred_by, fate.in_budget) == ("deferred", "not-ready", False)


def test_updates_53_what_an_unfinished_run_has_not_proved_is_watched_by_the_next_plan() -> None:
    nodes = [make_node(name) for name in ("bare", "down", "ill", "left-out", "old", "well")]
    nodes[1] = make_node("down", ready=False)
    pods = [make_pod(node.metadata.name, ready=node.metadata.name == "well") for node in nodes[1:]]
    pods[3] = make_pod("old", hash_="h0", generation="0", ready=False)
    fleet, rules = make_fleet(nodes, pods), NodeRules(exclude=("left-out",))
    target = make_template()

    found = unproven(fleet, target, rules, NOW)
    fates = {fate.node.metadata.name: fate for fate in node_fates(fleet, target, rules, NOW, found)}

    assert found == {"bare", "ill"}
    assert (fates["ill"].fate, fates["ill"].reason) == ("update", WATCHED)
    assert fates["bare"].fate == "update"
    assert fates["well"].fate == fates["left-out"].fate == "current"
    assert unproven(fleet, NEW, rules, NOW) == frozenset()  # another template: all are replaced

    planned = [planned_node(fleet, fate, 1) for fate in fates.values()]
    assert watched_still(fleet, target, planned) == {"bare", "ill"}
    anew = make_fleet(nodes, [make_pod("ill", name="another")])
    assert watched_still(anew, target, planned) == {"bare"}  # somebody replaced the other one
