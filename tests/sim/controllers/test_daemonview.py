"""The incremental view says at all times what a fresh look at everything would say."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.fleet.eligibility import compile_requirements
from rollout.fleet.objects import Taint
from rollout.sim.controllers.daemonview import DaemonView, NodeFacts, Rules
from rollout.sim.controllers.decisions import DaemonPod, Target

START = 1_000.0
REQUIREMENTS = compile_requirements({"spec": {"nodeSelector": {"run": "yes"}}})
NODES = [f"n{number}" for number in range(4)]
TAINTS = [(), (Taint("k", "NoSchedule"),), (Taint("k", "NoExecute"),)]

node_changes = st.tuples(
    st.just("node"), st.sampled_from(NODES), st.sampled_from(["yes", "no"]), st.sampled_from(TAINTS)
)
node_removals = st.tuples(st.just("gone"), st.sampled_from(NODES))
pod_changes = st.builds(
    lambda name, node, bound, phase, since, leaving, new: (
        "pod",
        DaemonPod(
            "ns",
            name,
            f"uid-{name}",
            node,
            bound,
            f"2026-01-01T00:00:0{len(name)}Z",
            phase,
            since,
            leaving,
            "new" if new else "old",
            "",
        ),
    ),
    st.sampled_from([f"p{number}" for number in range(8)]),
    st.sampled_from([*NODES, ""]),
    st.booleans(),
    st.sampled_from(["Running", "Pending", "Failed", "Succeeded"]),
    st.sampled_from([None, START - 100, START, START + 20]),
    st.booleans(),
    st.booleans(),
)
pod_removals = st.tuples(st.just("dropped"), st.sampled_from([f"p{number}" for number in range(8)]))
pauses = st.tuples(st.just("wait"), st.sampled_from([1.0, 10.0, 40.0]))
spec_changes = st.tuples(
    st.just("rules"), st.sampled_from(["new", "old"]), st.booleans(), st.sampled_from([0, 30])
)
histories = st.lists(
    st.one_of(node_changes, node_removals, pod_changes, pod_removals, pauses, spec_changes),
    max_size=40,
)


class World:
    def __init__(self) -> None:
        self.now = START
        self.nodes: dict[str, NodeFacts] = {}
        self.pods: dict[str, DaemonPod] = {}
        self.rules = Rules(REQUIREMENTS, Target("new", ""), surge=False, min_ready=0)
        self.view = DaemonView(self.nodes, random.Random(1))

    def apply(self, step: tuple[Any, ...]) -> None:
        match step:
            case "node", name, run, taints:
                self.nodes[name] = NodeFacts({"run": run}, taints)
                self.view.node_changed(name)
            case "gone", name:
                self.nodes.pop(name, None)
                self.view.node_changed(name)
            case "pod", pod:
                self.pods[pod.name] = pod
                self.view.put_pod(pod)
            case "dropped", name:
                self.pods.pop(name, None)
                self.view.drop_pod(name)
            case "wait", seconds:
                self.now += seconds
            case "rules", hash_, surge, min_ready:
                self.rules = Rules(REQUIREMENTS, Target(hash_, ""), surge, min_ready)
        self.view.refresh(self.rules, self.now)

    def fresh(self) -> DaemonView:
        view = DaemonView(self.nodes, random.Random(1))
        for pod in self.pods.values():
            view.put_pod(pod)
        view.refresh(self.rules, self.now)
        return view


def facts(view: DaemonView) -> object:
    return (
        view.totals,
        set(view.missing),
        {node: tuple(map(set, work[1:])) for node, work in view.deletions.items()},
        {situation: view.groups.count(situation) for situation in view.groups.known()},
    )


@settings(max_examples=300, deadline=None)
@given(histories)
def test_the_view_is_what_a_fresh_look_would_be(history: list[tuple[Any, ...]]) -> None:
    world = World()
    for step in history:
        world.apply(step)
        assert facts(world.view) == facts(world.fresh())


def test_a_pod_that_moves_leaves_its_old_node() -> None:
    world = World()
    world.apply(("node", "n0", "yes", ()))
    world.apply(("node", "n1", "yes", ()))
    pod = DaemonPod("ns", "p", "u", "n0", True, "", "Running", 0.0, False, "new", "")
    world.apply(("pod", pod))
    world.apply(("pod", replace(pod, node="n1")))
    assert world.view.pods_on("n0") == ()
    assert list(world.view.missing) == ["n0"]
