from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec
import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import DocumentError
from rollout.planner.graph import (
    GatePlace,
    GraphInput,
    Link,
    build_steps,
    check_names,
    check_steps,
    cycle_edges,
    digraph,
    order_daemon_sets,
)
from rollout.planner.plan import Step
from tests.planner.worlds import make_fleet, plan_of


def given_(
    waves: Sequence[Sequence[str]],
    *,
    groups: Sequence[Sequence[str]] = (("a",),),
    links: Sequence[Link] = (),
    updates: Mapping[str, Iterable[str]] | None = None,
    approvals: Iterable[int] = (),
    patched: Iterable[str] | None = None,
) -> GraphInput:
    """All groups have the same waves; each DaemonSet updates all nodes and is patched."""
    names = [name for group in groups for name in group]
    everything = [node for wave in waves for node in wave]
    touched = frozenset(names if patched is None else patched)
    return GraphInput(
        groups=groups,
        waves=[waves for _ in groups],
        updates={name: frozenset((updates or {}).get(name, everything)) for name in names},
        prepares=touched,
        restores=touched,
        links=links,
        approvals=frozenset(approvals),
    )


def before(steps: Sequence[Step], first: str, then: str) -> bool:
    return nx.has_path(digraph(steps), first, then)


def test_one_daemonset_goes_from_prepare_over_waves_to_restore() -> None:
    steps = build_steps(given_([["n1"], ["n2", "n3"]]))
    assert [(step.id, step.after) for step in steps] == [
        ("prepare/a", ()),
        ("update/a/n1", ("prepare/a",)),
        ("barrier/1", ("update/a/n1",)),
        ("update/a/n2", ("barrier/1",)),
        ("update/a/n3", ("barrier/1",)),
        ("barrier/2", ("update/a/n2", "update/a/n3")),
        ("restore/a", ("barrier/2",)),
    ]


def test_vertices_are_typed() -> None:
    graph = digraph(build_steps(given_([["n1"]], approvals=[])))
    assert graph.nodes["prepare/a"]["kind"] == "prepare"
    assert graph.nodes["update/a/n1"]["step"].node == "n1"


def test_an_approval_stands_between_its_wave_and_the_next() -> None:
    steps = build_steps(given_([["n1"], ["n2"]], approvals=[1]))
    by_id = {step.id: step for step in steps}
    assert by_id["approval/1"].after == ("barrier/1",)
    assert by_id["update/a/n2"].after == ("approval/1",)


def test_settings_alone_are_one_patch() -> None:
    made = GraphInput((("a",),), ([],), {"a": frozenset()}, frozenset(), frozenset(["a"]), ())
    assert [step.id for step in build_steps(made)] == ["restore/a"]


def test_nothing_to_do_is_no_step() -> None:
    nothing = GraphInput((("a",),), ([],), {"a": frozenset()}, frozenset(), frozenset(), ())
    assert build_steps(nothing) == ()


# Several DaemonSets.


def link(name: str, awaited: str, scope: str = "node") -> Link:
    return Link(name, awaited, scope)


def test_after_on_a_node_orders_the_two_pods_of_that_node_only() -> None:
    links = [link("b", "a", "node")]
    steps = build_steps(given_([["n1", "n2"]], groups=[("a", "b")], links=links))
    assert before(steps, "update/a/n1", "update/b/n1")
    assert not before(steps, "update/a/n1", "update/b/n2")
    assert not before(steps, "update/a/n2", "update/b/n1")


def test_driver_plugin_and_exporter_go_one_after_another_on_each_node() -> None:
    links = [link("plugin", "driver"), link("exporter", "plugin")]
    names = ("driver", "plugin", "exporter")
    steps = build_steps(given_([["n1"], ["n2"]], groups=[names], links=links))
    for node in ("n1", "n2"):
        chain = [f"update/{name}/{node}" for name in names]
        assert all(before(steps, first, then) for first, then in pairwise(chain))


def test_after_by_wave_waits_for_the_whole_wave_of_the_other() -> None:
    links = [link("b", "a", "wave")]
    steps = build_steps(given_([["n1", "n2"], ["n3"]], groups=[("a", "b")], links=links))
    for first in ("n1", "n2"):
        for then in ("n1", "n2"):
            assert before(steps, f"update/a/{first}", f"update/b/{then}")
    assert not before(steps, "update/a/n3", "update/b/n1")
    assert before(steps, "update/b/n1", "update/a/n3")  # waves stay waves


def test_after_all_puts_the_second_behind_the_end_of_the_first() -> None:
    steps = build_steps(
        given_([["n1"], ["n2"]], groups=[("a",), ("b",)], links=[link("b", "a", "all")])
    )
    assert before(steps, "restore/a", "prepare/b")
    assert before(steps, "update/a/n2", "update/b/n1")


def test_two_daemonsets_behind_the_end_of_a_third_make_no_cycle() -> None:
    links = [link("b", "a", "all"), link("c", "a", "all")]
    steps = build_steps(given_([["n1"], ["n2"]], groups=[("a",), ("b", "c")], links=links))
    assert before(steps, "restore/a", "prepare/c")
    assert before(steps, "prepare/b", "update/c/n1")


def test_a_node_that_the_awaited_one_does_not_update_is_not_waited_for() -> None:
    links = [link("b", "a", "node")]
    updates = {"a": ["n1"], "b": ["n1", "n2"]}
    steps = build_steps(given_([["n1", "n2"]], groups=[("a", "b")], links=links, updates=updates))
    assert not before(steps, "update/a/n1", "update/b/n2")
    assert before(steps, "prepare/b", "update/b/n2")


@pytest.mark.parametrize(
    ("links", "groups"),
    [
        ([], [["a", "b", "c"]]),
        ([link("b", "a")], [["a", "b", "c"]]),
        ([link("a", "b")], [["b", "a", "c"]]),
        ([link("a", "b", "wave"), link("b", "c")], [["c", "b", "a"]]),
        ([link("b", "a", "all")], [["a", "c"], ["b"]]),
        ([link("b", "a", "all"), link("c", "b", "all")], [["a"], ["b"], ["c"]]),
        ([link("b", "a", "all"), link("c", "b")], [["a"], ["b", "c"]]),
        ([link("b", "a", "all"), link("c", "a", "all")], [["a"], ["b", "c"]]),
    ],
)
def test_daemonsets_are_grouped_by_what_they_wait_for(
    links: list[Link], groups: list[list[str]]
) -> None:
    assert order_daemon_sets(["a", "b", "c"], links) == groups


@pytest.mark.parametrize(
    ("links", "cycle"),
    [
        ([link("a", "a")], "a -> a"),
        ([link("a", "b"), link("b", "a")], "a -> b -> a"),
        ([link("b", "a"), link("c", "b", "all"), link("a", "c", "wave")], "a -> b -> c -> a"),
    ],
)
def test_a_cycle_is_printed_vertex_by_vertex(links: list[Link], cycle: str) -> None:
    with pytest.raises(DocumentError, match="makes a cycle: ") as caught:
        order_daemon_sets(["a", "b", "c", "d"], links)
    text = str(caught.value)
    found = text.partition(": ")[2].partition(";")[0].split(" -> ")
    assert found[0] == found[-1]
    assert sorted(set(found)) == sorted(set(cycle.split(" -> ")))
    assert set(pairwise(found)) == {(k.daemon_set, k.name) for k in links}


def test_the_edges_of_a_cycle_are_known_for_drawing() -> None:
    links = [link("b", "a"), link("a", "b"), link("c", "b")]
    assert cycle_edges(["a", "b", "c"], links) == {("a", "b"), ("b", "a")}
    assert cycle_edges(["a", "b", "c"], links[2:]) == frozenset()
    assert cycle_edges(["a"], [link("a", "a")]) == {("a", "a")}


# What comes out of a file is checked again.


def test_a_step_that_is_named_but_missing_is_refused() -> None:
    with pytest.raises(DocumentError, match="step 'update/a/n9' is named but missing; plan again"):
        check_steps([Step("barrier/1", "barrier", after=("update/a/n9",))])


def test_steps_that_wait_for_each_other_are_refused() -> None:
    ring = [Step("x", "barrier", after=("y",)), Step("y", "barrier", after=("x",))]
    with pytest.raises(DocumentError, match=r"cycle: (x -> y -> x|y -> x -> y); plan again"):
        check_steps(ring)


def test_two_steps_of_one_name_are_refused() -> None:
    with pytest.raises(DocumentError, match="step 'x' stands twice"):
        check_steps([Step("x", "barrier"), Step("x", "restore")])


def test_steps_that_stand_before_what_they_wait_for_are_as_good() -> None:
    check_steps([Step("x", "barrier", after=("y",)), Step("y", "barrier")])


# Any spec that a user may write: one `after` for each DaemonSet, waves of any shape.


@st.composite
def inputs(draw: st.DrawFn) -> GraphInput:
    names = ["a", "b", "c", "d"][: draw(st.integers(1, 4))]
    links = [
        link(name, draw(st.sampled_from(names[:i])), draw(st.sampled_from(["node", "wave", "all"])))
        for i, name in enumerate(names)
        if i and draw(st.booleans())
    ]
    groups = order_daemon_sets(names, links)
    nodes = [f"n{i}" for i in range(draw(st.integers(0, 6)))]
    updates = {
        name: frozenset(draw(st.sets(st.sampled_from(nodes)))) if nodes else frozenset()
        for name in names
    }
    waves = []
    for group in groups:
        left = [n for n in nodes if any(n in updates[name] for name in group)]
        made = []
        while left:
            size = draw(st.integers(1, len(left)))
            made.append(left[:size])
            left = left[size:]
        waves.append(made)
    total = sum(len(group) for group in waves)
    patched = draw(st.sets(st.sampled_from(names)))
    prepares = frozenset(patched)
    restores = frozenset(draw(st.sets(st.sampled_from(names))))
    approvals = frozenset(draw(st.sets(st.integers(1, total)))) if total else frozenset()
    return GraphInput(groups, waves, updates, prepares, restores, links, approvals)


@given(inputs())
def test_the_graph_has_no_cycle_and_each_step_comes_after_its_predecessors(
    made: GraphInput,
) -> None:
    steps = build_steps(made)
    assert nx.is_directed_acyclic_graph(digraph(steps))
    assert len({step.id for step in steps}) == len(steps)
    seen: set[str] = set()
    for step in steps:
        assert seen.issuperset(step.after), step
        seen.add(step.id)


@given(inputs())
def test_every_update_is_one_step(made: GraphInput) -> None:
    steps = build_steps(made)
    planned = {(s.daemon_set, s.node) for s in steps if s.kind == "update"}
    assert planned == {(name, node) for name, nodes in made.updates.items() for node in nodes}
    assert {s.daemon_set for s in steps if s.kind == "prepare"} == made.prepares
    assert {s.daemon_set for s in steps if s.kind == "restore"} == made.restores


@given(inputs())
def test_edges_grow_as_nodes_and_waves_and_never_as_their_product(made: GraphInput) -> None:
    steps = build_steps(made)
    edges = sum(len(step.after) for step in steps)
    updates = sum(len(nodes) for nodes in made.updates.values())
    waves = sum(len(group) for group in made.waves)
    patches = len(made.prepares) + len(made.restores)
    daemon_sets = len(made.updates)
    assert edges <= 3 * updates + (daemon_sets + 2) * waves + 4 * (patches + daemon_sets) ** 2


@given(inputs(), st.randoms(use_true_random=False))
def test_any_order_that_the_edges_allow_keeps_what_the_spec_says(
    made: GraphInput, rng: random.Random
) -> None:
    order = linear_extension(build_steps(made), rng)
    place = {step.id: i for i, step in enumerate(order)}
    wave_of = {
        (name, node): (g, w)
        for g, (group, waves) in enumerate(zip(made.groups, made.waves, strict=True))
        for w, wave in enumerate(waves)
        for node in wave
        for name in group
        if node in made.updates[name]
    }
    updates = [step for step in order if step.kind == "update"]
    for first, then in pairwise(updates):  # waves of a group, and groups, one after another
        assert wave_of[first.daemon_set, first.node] <= wave_of[then.daemon_set, then.node]
    for step in updates:
        prepare = place.get(f"prepare/{step.daemon_set}", -1)
        restore = place.get(f"restore/{step.daemon_set}", len(order))
        assert prepare < place[step.id] < restore
    for k in made.links:
        both = made.updates[k.name] & made.updates[k.daemon_set]
        for node in both:
            assert place[f"update/{k.daemon_set}/{node}"] < place[f"update/{k.name}/{node}"]
        if k.scope == "wave":
            assert_wave_order(k, updates, wave_of)


def assert_wave_order(
    k: Link, updates: list[Step], wave_of: dict[tuple[str, str], tuple[int, int]]
) -> None:
    done: set[tuple[int, int]] = set()
    for step in updates:
        wave = wave_of[step.daemon_set, step.node]
        if step.daemon_set == k.name:
            done.add(wave)
        elif step.daemon_set == k.daemon_set:
            assert wave not in done


def linear_extension(steps: Sequence[Step], rng: random.Random) -> list[Step]:
    """Return the steps in a random order in which each comes after its predecessors."""
    left, done, order = list(steps), set[str](), []
    while left:
        ready = [step for step in left if done.issuperset(step.after)]
        chosen = rng.choice(ready)
        left.remove(chosen)
        done.add(chosen.id)
        order.append(chosen)
    return order


@given(
    inputs(),
    st.randoms(use_true_random=False),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_any_order_with_the_pools_ends_and_keeps_every_limit(
    made: GraphInput, rng: random.Random, max_unavailable: int, max_in_flight: int
) -> None:
    """Steps start whenever edges and counted pools allow, and end whenever they like."""
    steps = build_steps(made)
    waiting, done, flying = list(steps), set[str](), list[Step]()

    def fits(step: Step) -> bool:
        if step.kind != "update":
            return True
        same = [s for s in flying if s.daemon_set == step.daemon_set]
        busy = {s.node for s in flying}
        return len(same) < max_unavailable and len(flying) < max_in_flight and step.node not in busy

    while waiting or flying:
        ready = [s for s in waiting if done.issuperset(s.after) and fits(s)]
        assert ready or flying, "the pools and the edges block each other"
        if ready and (not flying or rng.random() < 0.5):
            step = rng.choice(ready)
            waiting.remove(step)
            flying.append(step)
        else:
            step = flying.pop(rng.randrange(len(flying)))
            done.add(step.id)
        for name in made.updates:
            down = [s for s in flying if s.kind == "update" and s.daemon_set == name]
            assert len(down) <= max_unavailable
    assert len(done) == len(steps)


GATES = (
    GatePlace("ready", "preflight"),
    GatePlace("quiet", "before-wave", frozenset([1, 2])),
    GatePlace("calm", "before-wave", frozenset([2])),
    GatePlace("errors", "after-wave", frozenset([1])),
    GatePlace("smoke", "after-run"),
)


def gated(waves: Sequence[Sequence[str]], gates: Sequence[GatePlace] = GATES) -> tuple[Step, ...]:
    return build_steps(dataclasses.replace(given_(waves), gates=gates))


def test_gates_stand_where_their_place_says() -> None:
    after = {step.id: step.after for step in gated([["n1"], ["n2"]])}
    assert after["gate/preflight/ready"] == ()
    assert after["prepare/a"] == ("gate/preflight/ready",)
    assert after["gate/before-wave/1/quiet"] == ("prepare/a",)
    assert after["update/a/n1"] == ("gate/before-wave/1/quiet",)
    assert after["updated/1"] == ("update/a/n1",)
    assert after["gate/after-wave/1/errors"] == ("updated/1",)
    assert after["barrier/1"] == ("gate/after-wave/1/errors",)
    assert after["gate/before-wave/2/quiet"] == ("barrier/1",)
    assert after["gate/after-run/smoke"] == ("barrier/2",)
    assert after["restore/a"] == ("gate/after-run/smoke",)


def test_several_gates_are_asked_side_by_side_and_meet_before_the_nodes() -> None:
    after = {step.id: step.after for step in gated([["n1"], ["n2", "n3"]])}
    both = ("gate/before-wave/2/quiet", "gate/before-wave/2/calm")
    assert after["before/2"] == both
    assert after["update/a/n2"] == after["update/a/n3"] == ("before/2",)


def test_a_gate_behind_a_wave_stands_before_its_approval_and_the_next_wave() -> None:
    given = dataclasses.replace(given_([["n1"], ["n2"]], approvals=[1]), gates=GATES)
    steps = build_steps(given)
    assert before(steps, "gate/after-wave/1/errors", "approval/1")
    assert before(steps, "approval/1", "gate/before-wave/2/quiet")


def test_gates_alone_are_no_change() -> None:
    nothing = GraphInput((("a",),), ([],), {"a": frozenset()}, frozenset(), frozenset(), ())
    assert build_steps(dataclasses.replace(nothing, gates=GATES)) == ()


def test_edges_grow_as_nodes_plus_gates() -> None:
    nodes = [f"n{i}" for i in range(100)]
    places = [GatePlace(f"g{i}", "before-wave", frozenset([1])) for i in range(20)]
    places += [GatePlace(f"h{i}", "after-wave", frozenset([1])) for i in range(20)]
    graph = digraph(gated([nodes], places))
    assert graph.number_of_edges() < len(nodes) * 2 + len(places) * 2 + 10


@pytest.mark.parametrize(
    ("step", "missing"),
    [
        (Step("barrier/9", "barrier", wave=9), "wave 9"),
        (Step("barrier/x", "barrier", wave=-1), "wave -1"),
        (Step("update/log-agent/n", "update", daemon_set="log-agent", node="n"), "wave 0"),
        (Step("gate/1/none", "gate", wave=1), "gate 'none'"),
        (Step("restore/other", "restore", daemon_set="other"), "DaemonSet 'other'"),
    ],
)
def test_a_step_of_a_wave_gate_or_daemon_set_that_there_is_not_is_refused(
    step: Step, missing: str
) -> None:
    plan = plan_of(make_fleet(3))
    check_names(plan)
    forged = msgspec.structs.replace(plan, steps=(*plan.steps, step))
    with pytest.raises(DocumentError, match=f"step '{step.id}' is of {missing}, which it lacks"):
        check_names(forged)
