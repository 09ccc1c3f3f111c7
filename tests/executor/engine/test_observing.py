"""News that comes late must not undo what is known."""

from __future__ import annotations

import msgspec

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Restore
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.state import Phase
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, Node
from rollout.fleet.snapshot import Fleet
from rollout.planner.delta import apply_difference
from rollout.planner.plan import Plan
from rollout.planner.rollback import rollback_plan
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet
from tests.simulation.driver import make_plan, read_fleet
from tests.simulation.world import World as SimulatedWorld

NOW = 1_790_000_000.0


def test_the_answer_to_the_patch_that_comes_behind_the_watch_is_old_news() -> None:
    plan, fleet, engine = _before_the_patch()
    (prepare,) = engine.decide(NOW)
    patched = _patched(fleet.raw, plan, version="500", observed=1)
    observed = _patched(fleet.raw, plan, version="510", observed=2)
    template = observed.spec.template
    newest = msgspec.structs.replace(
        fleet.revisions[-1], revision=2, data={"spec": {"template": template}}
    )

    engine.observe(ev.DaemonSetSeen("log-agent", observed), NOW)  # by the watch
    engine.observe(ev.RevisionsSeen("log-agent", (*fleet.revisions, newest)), NOW)
    engine.observe(ev.DaemonSetSeen("log-agent", patched), NOW)  # by the answer, too late
    engine.observe(ev.Answered(prepare, ev.Answer.ACCEPTED, generation=2), NOW)

    assert engine.daemon_sets["log-agent"].phase is Phase.OPEN
    assert engine.drift_why == ""


def test_the_status_that_comes_before_a_way_back_has_restored_is_no_other_run() -> None:
    """Nothing but the strategy is left: the marks there are of the way back before."""
    world = SimulatedWorld(3)
    world.run.kill()
    kept = msgspec.json.encode(world.live["spec"]["updateStrategy"]).decode()
    marked = {marks.PLAN: "sha256:of-the-way-back-before", marks.ORIGINAL_STRATEGY: kept}
    strategy = {"type": "OnDelete", "rollingUpdate": None}
    world.patch({"metadata": {"annotations": marked}, "spec": {"updateStrategy": strategy}})
    world.advance(5.0)
    fleet = read_fleet(world.cluster, "logging", "log-agent")
    assert fleet.current is not None
    targets = {"log-agent": fleet.current}
    engine = Engine(rollback_plan("back", [fleet], targets, "v1.36.0", NOW), resumed=True)
    engine.observe(ev.NodesListed(tuple(fleet.nodes.values())), NOW)
    pods = tuple(pod for group in fleet.pods.values() for pod in group)
    engine.observe(ev.PodsListed("log-agent", pods), NOW)
    engine.observe(ev.ReleasedListed("log-agent", ()), NOW)
    engine.observe(ev.RevisionsSeen("log-agent", fleet.revisions), NOW)
    engine.observe(ev.DaemonSetSeen("log-agent", fleet.daemon_set), NOW)
    assert engine.decide(NOW) == [Restore("log-agent")]

    metadata = msgspec.structs.replace(fleet.daemon_set.metadata, resource_version="100000")
    later = msgspec.structs.replace(fleet.daemon_set, metadata=metadata)
    engine.observe(ev.DaemonSetSeen("log-agent", later), NOW)

    assert engine.drift_why == ""


def test_updates_16_which_template_a_node_that_joins_gets_depends_on_when_it_joins() -> None:
    plan, fleet, engine = _before_the_patch()

    engine.observe(ev.NodeSeen(_renamed(fleet.nodes["node-000"], "early")), NOW)
    engine.decide(NOW)  # to patch
    patched = _patched(fleet.raw, plan, version="510", observed=2)
    engine.observe(ev.DaemonSetSeen("log-agent", patched), NOW)
    engine.observe(ev.NodeSeen(_renamed(fleet.nodes["node-000"], "late")), NOW)

    assert [n.message for n in engine.notices if n.kind == "node-joined"] == [
        "the controller gives it the old template: the new one is not set yet",
        "the controller gives it the new template",
    ]


def _before_the_patch() -> tuple[Plan, Fleet, Engine]:
    """Return an engine that has seen its DaemonSet and not its nodes and pods."""
    cluster = Cluster(VirtualClock(), default_fleet(3, 1))
    cluster.start()
    target = {"set": {"image": {"agent": "log-agent:2.4"}}}
    plan = make_plan(cluster, {"daemonSets": [{"name": "log-agent", "target": target}]})
    fleet = read_fleet(cluster, "logging", "log-agent")
    engine = Engine(plan)
    engine.observe(ev.DaemonSetSeen("log-agent", fleet.daemon_set), NOW)
    engine.observe(ev.RevisionsSeen("log-agent", fleet.revisions), NOW)
    return plan, fleet, engine


def _renamed(node: Node, name: str) -> Node:
    metadata = msgspec.structs.replace(node.metadata, name=name, uid=f"uid-of-{name}")
    return msgspec.structs.replace(node, metadata=metadata)


def _patched(raw: dict[str, object], plan: Plan, *, version: str, observed: int) -> DaemonSet:
    live = msgspec.convert(raw, DaemonSet)
    stored = msgspec.json.encode(plan.daemon_sets[0].original_strategy).decode()
    ours = {marks.PLAN: plan.digest, marks.ORIGINAL_STRATEGY: stored}
    metadata = msgspec.structs.replace(
        live.metadata,
        generation=2,
        resource_version=version,
        annotations={**live.metadata.annotations, **ours},
    )
    spec = msgspec.structs.replace(
        live.spec,
        template=apply_difference(live.spec.template, plan.daemon_sets[0].template_changes),
        update_strategy={"type": "OnDelete"},
    )
    status = msgspec.structs.replace(live.status, observed_generation=observed)
    return msgspec.structs.replace(live, metadata=metadata, spec=spec, status=status)
