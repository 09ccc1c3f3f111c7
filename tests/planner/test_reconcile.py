from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.fleet.objects import Node
from rollout.fleet.snapshot import Fleet
from rollout.planner.graph import digraph
from rollout.planner.plan import Plan
from rollout.planner.reconcile import reconcile
from tests.planner.worlds import (
    NOW,
    fates_of,
    make_fleet,
    make_item,
    make_node,
    make_pod,
    make_spec,
    plan_of,
    the_daemon_set,
    waves_of,
)


def nodes(*numbers: int, **options: Any) -> list[Node]:
    return [make_node(f"n{i}", **options) for i in numbers]


def reconciled(before: Fleet, after: Fleet, **body: Any) -> Plan:
    return reconcile(plan_of(before, make_spec(**body)), {"agent": after}, NOW)


def test_without_drift_the_plan_stays_as_it_is() -> None:
    fleet = make_fleet(6)
    plan = plan_of(fleet)
    assert reconcile(plan, {"agent": fleet}, NOW) == plan


def test_a_node_that_joined_is_added_at_the_end_of_the_last_wave() -> None:
    plan = reconciled(make_fleet(3), make_fleet(nodes(0, 1, 2, 3)), waves=[1, 5])
    assert waves_of(plan) == [["n1"], ["n2", "n3", "n0"]]
    assert [wave.nodes for wave in plan.waves] == [1, 3]
    assert the_daemon_set(plan).nodes[0].wave == 2
    barrier = next(step for step in plan.steps if step.id == "barrier/2")
    assert "update/agent/n0" in barrier.after


def test_a_node_that_left_is_dropped() -> None:
    plan = reconciled(make_fleet(3), make_fleet(nodes(1, 3)), waves=[1, 5])
    assert waves_of(plan) == [["n1"], ["n3"]]
    assert plan.totals.nodes == 2


def test_the_order_of_waves_holds_when_a_whole_wave_is_gone() -> None:
    plan = reconciled(make_fleet(3), make_fleet(nodes(1, 3)), waves=[1, 1, 1])
    assert waves_of(plan) == [["n1"], [], ["n3"]]
    barriers = {step.id: step.after for step in plan.steps if step.kind == "barrier"}
    assert barriers["barrier/2"] == ("barrier/1",)


def test_a_node_that_somebody_updated_meanwhile_is_dropped() -> None:
    """Under a live target: its pod was deleted by hand and is of the target already."""
    pods = [make_pod("n1", hash_="h0", generation="0"), make_pod("n2", hash_="h0", generation="0")]
    before = make_fleet(2, pods)
    after = make_fleet(2, [pods[0], make_pod("n2", name="new")])
    plan = plan_of(before, make_spec(make_item(target={"live": True})))
    found = reconcile(plan, {"agent": after}, NOW)
    assert fates_of(found) == {"n1": "update", "n2": "current"}
    assert [name for wave in waves_of(found) for name in wave] == ["n1"]


def test_a_node_that_was_planned_for_one_daemonset_stays_in_its_wave_for_another() -> None:
    planned = {
        "driver": fleet_of("driver", (1, 2, 3), {2}),
        "plugin": fleet_of("plugin", (1, 2, 3), ()),
    }
    plan = linked("node", [1, 1, 1], ["driver", "plugin"], planned)
    found = reconcile(plan, planned | {"driver": fleet_of("driver", (1, 2, 3), ())}, NOW)
    assert waves_of(found) == [["n1"], ["n2"], ["n3"]]
    after = {step.id: step.after for step in found.steps}
    assert after["update/plugin/n2"] == ("update/driver/n2",)


def test_the_plan_stays_the_one_that_was_reviewed() -> None:
    plan = plan_of(make_fleet(3))
    found = reconcile(plan, {"agent": make_fleet(4)}, NOW)
    assert (found.id, found.digest) == (plan.id, plan.digest)


def test_a_daemonset_that_the_plan_does_not_touch_stays_untouched() -> None:
    plan = plan_of(make_fleet(2), make_spec(make_item(target={"live": True})))
    joined = make_fleet(nodes(1, 2, 3), [make_pod("n1"), make_pod("n2")])
    assert reconcile(plan, {"agent": joined}, NOW).steps == ()


def fleet_of(name: str, members: Iterable[int], stuck: Iterable[int]) -> Fleet:
    """Return a fleet in which some pods are stuck, so that the DaemonSet leaves their nodes out."""
    pods = [
        make_pod(f"n{i}", name, deleted=-500.0 if i in stuck else None) for i in sorted(members)
    ]
    return make_fleet(nodes(*sorted(members)), pods, name=name)


def linked(scope: str, waves: Any, names: list[str], fleets: dict[str, Fleet]) -> Plan:
    after = {"plugin": {"after": {"daemonSet": "driver", "scope": scope}}, "driver": {}}
    items = [make_item(n, {"set": {"image": {n: "x:2"}}}, **after[n]) for n in names]
    spec = make_spec(*items, waves=waves)
    return plan_of([fleets[name] for name in names], spec)


node_sets = st.sets(st.integers(0, 6), min_size=1)


@pytest.mark.parametrize("scope", ["node", "wave", "all"])
@settings(max_examples=50)
@given(
    before=node_sets,
    after=node_sets,
    stuck=st.fixed_dictionaries(
        {when: st.sets(st.integers(0, 6)) for when in ("driver", "plugin", "later")}
    ),
    waves=st.sampled_from(["fast", "manual", [1, 2]]),
    names=st.permutations(["driver", "plugin"]),
)
def test_the_graph_stays_whole_and_keeps_the_order_of_linked_daemonsets(
    scope: str,
    before: set[int],
    after: set[int],
    stuck: dict[str, set[int]],
    waves: Any,
    names: list[str],
) -> None:
    planned = {name: fleet_of(name, before, stuck[name]) for name in names}
    plan = linked(scope, waves, names, planned)
    fleets = {
        "driver": fleet_of("driver", after, stuck["later"]),
        "plugin": fleet_of("plugin", after, ()),
    }
    found = reconcile(plan, fleets, NOW)
    digraph(found.steps)  # refuses what is missing, twice or in a circle
    seen: set[str] = set()
    for step in found.steps:
        assert seen.issuperset(step.after), step
        seen.add(step.id)
    for ds in found.daemon_sets:
        updates = {n.name: n.wave for n in ds.nodes if n.fate == "update"}
        steps = {
            s.node: s.wave for s in found.steps if s.kind == "update" and s.daemon_set == ds.name
        }
        assert steps == (updates if any(updates.values()) else {})
    by_id = {step.id: step for step in found.steps}
    for step in found.steps:
        if step.kind == "update" and step.daemon_set == "plugin":
            drivers = [f"update/driver/{step.node}"]
            if scope != "node":  # the whole wave of the other, or all of it
                drivers = [
                    s.id
                    for s in found.steps
                    if s.kind == "update"
                    and s.daemon_set == "driver"
                    and (s.wave == step.wave or scope == "all")
                ]
            assert ancestors(found, step.id).issuperset(set(drivers) & by_id.keys())


def ancestors(plan: Plan, step_id: str) -> set[str]:
    after = {step.id: step.after for step in plan.steps}
    found: set[str] = set()
    front = [step_id]
    while front:
        for before in after[front.pop()]:
            if before not in found:
                found.add(before)
                front.append(before)
    return found
