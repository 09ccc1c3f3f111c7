from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rollout.gatespec import WindowGate
from rollout.planner.compare import plan_changes
from rollout.planner.gateplaces import holds, places_in
from rollout.planner.plan import Plan, decode, encode
from rollout.planner.reconcile import reconcile
from rollout.report.dot import plan_dot
from rollout.report.markdown import plan_markdown
from rollout.report.mermaid import plan_mermaid
from rollout.report.table import plan_text
from rollout.report.tree import plan_tree
from tests.planner.worlds import (
    NOW,
    make_fleet,
    make_item,
    make_node,
    make_pod,
    make_spec,
    plan_of,
)

POD_LIMITS = make_item(strategy={"maxUnavailable": 2})


def gate(name: str = "errors", at: str = "after-wave", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "pods", "at": at, "controlGroup": False} | more


def gated(*gates: dict[str, Any], nodes: int = 5, **body: Any) -> Plan:
    return plan_of(
        make_fleet(nodes), make_spec(POD_LIMITS, gates=list(gates), waves=[1, 2, "100%"], **body)
    )


def vertices(plan: Plan) -> list[str]:
    return [step.id for step in plan.steps if step.kind == "gate"]


def test_a_gate_stands_around_every_wave_where_nothing_narrows_it() -> None:
    plan = gated(gate())
    assert vertices(plan) == [f"gate/after-wave/{wave}/errors" for wave in (1, 2, 3)]


def test_when_narrows_a_gate_to_the_waves_that_have_such_nodes() -> None:
    nodes = [
        make_node(f"n{i}", "a" if i < 3 else "b", labels={"odd": str(i % 2)}) for i in range(5)
    ]
    spec = make_spec(
        POD_LIMITS,
        waves=[1, 2, "100%"],
        gates=[
            gate("by-wave", when={"waves": ["wave-1"]}),
            gate("by-zone", when={"zones": ["b"]}),
            gate("by-label", when={"labels": "odd=1", "zones": ["a"]}),
        ],
    )
    plan = plan_of(make_fleet(nodes), spec)
    found = {place.name: sorted(place.waves) for place in places_in(plan)}
    names = [wave.name for wave in plan.waves]
    assert found["by-wave"] == [names.index("wave-1") + 1]
    assert found["by-zone"] == [3]
    assert found["by-label"] == [2]


def test_a_gate_of_each_node_is_no_vertex() -> None:
    assert vertices(gated(gate(at="after-node"), gate("b", "background"))) == []


def test_a_plan_with_nothing_to_do_asks_nothing() -> None:
    spec = make_spec(make_item(target={"live": True}), gates=[gate(at="preflight")])
    assert not plan_of(make_fleet(3), spec).has_changes


def test_gates_survive_the_saved_plan_byte_by_byte() -> None:
    plan = gated(
        gate(interval="1m", count=5, failureLimit=1),
        notify=[{"name": "ops", "kind": "webhook", "url": "https://example.com/x"}],
    )
    assert decode(encode(plan), "plan.json") == plan


def test_windows_are_gates_with_enough_time_for_a_node() -> None:
    plan = gated(
        windows=[{"allow": "0 22 * * *", "for": "6h", "timeZone": "Europe/Berlin"}],
        health={"soak": "30s"},
    )
    (window,) = plan.gates
    assert isinstance(window, WindowGate)
    assert (window.name, window.at) == ("windows", "before-node")
    assert [rule.time_zone for rule in window.windows] == ["Europe/Berlin"]
    assert window.enough is not None
    assert float(window.enough) >= 30


def test_a_gate_that_fits_no_node_is_named() -> None:
    plan = gated(gate(when={"zones": ["mars"]}))
    assert vertices(plan) == []
    assert any("gate errors is never asked" in warning for warning in plan.warnings)


def test_an_approval_that_only_the_author_could_give_is_named() -> None:
    spec = make_spec(
        POD_LIMITS,
        gates=[
            {
                "name": "two",
                "kind": "approval",
                "at": "preflight",
                "approvers": ["ann", "bob"],
                "minimum": 2,
            }
        ],
    )
    warnings = plan_of(make_fleet(3), spec, author="ann@laptop").warnings
    assert any("gate two can never open" in warning for warning in warnings)
    assert not plan_of(make_fleet(3), spec, author="cid@laptop").warnings


def test_a_control_group_that_proves_nothing_is_named() -> None:
    small = gated(gate(controlGroup=True), nodes=12).warnings
    large = gated(gate(controlGroup=True), nodes=13).warnings
    assert any("too few to be compared" in warning for warning in small)
    assert not large


def test_reconciling_keeps_every_gate_where_it_stands() -> None:
    plan = gated(gate(), gate("first", "preflight"), gate("last", "after-run"))
    fleet = make_fleet(7)
    again = reconcile(plan, {"agent": fleet}, NOW)
    assert vertices(again) == vertices(plan)
    assert again.totals.update == 7


def test_a_changed_gate_is_a_change_of_the_plan() -> None:
    changes = plan_changes(gated(gate()), gated(gate(failureLimit=0, interval="9s")))
    assert "gate errors" in {change.what for change in changes}


def test_the_author_is_bound_to_the_plan_but_not_to_its_digest() -> None:
    fleet, spec = make_fleet(3), make_spec()
    ann, bob = (plan_of(fleet, spec, author=name) for name in ("ann@a", "bob@b"))
    assert ann.digest == bob.digest
    assert ann.id != bob.id
    forged = msgspec.structs.replace(ann, author="bob@b")
    with pytest.raises(Exception, match="changed after it was made"):
        decode(encode(forged), "plan.json")


@pytest.mark.parametrize("render", [plan_text, plan_tree, plan_dot, plan_mermaid, plan_markdown])
@pytest.mark.parametrize("nodes", [5, 120])
def test_every_picture_of_a_plan_shows_its_gates(render: Any, nodes: int) -> None:
    plan = gated(gate("errors"), gate("first", "preflight"), nodes=nodes)
    text = render(plan)
    assert "errors" in text
    assert "first" in text


@pytest.mark.parametrize(
    ("when", "answer"),
    [
        ({}, True),
        ({"waves": ["canary"]}, True),
        ({"waves": ["rest"]}, False),
        ({"zones": ["a"], "labels": "pool=edge"}, True),
        ({"zones": ["b"]}, False),
        ({"labels": "pool!=edge"}, False),
    ],
)
def test_all_that_when_says_must_hold(when: dict[str, Any], *, answer: bool) -> None:
    plan = gated(gate(when=when))
    assert holds(plan.gates[0].when, "canary", "a", {"pool": "edge"}) is answer


def test_a_fleet_that_is_already_unhealthy_is_named_in_the_plan() -> None:
    nodes = [make_node(f"n{number}") for number in range(1, 21)]
    pods = [make_pod(node.metadata.name, ready=node.metadata.name != "n7") for node in nodes]
    spec = make_spec(POD_LIMITS, gates=[gate("before", "preflight")])
    (warning,) = plan_of(make_fleet(nodes, pods), spec).warnings
    assert warning == (
        "gate before would fail now: already unhealthy: 1 of 20 pods are unavailable before the "
        "start, more than 2%: n7"
    )
    borne = make_spec(POD_LIMITS, gates=[gate("before", "preflight", unavailableBefore="5%")])
    assert not plan_of(make_fleet(nodes, pods), borne).warnings
