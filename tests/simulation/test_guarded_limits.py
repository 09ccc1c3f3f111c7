"""One small rollout for each limit: taken away alone, it would be missed here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, DeletePod, Outcome
from rollout.executor.engine.health import judge
from rollout.fleet.objects import DaemonSet, Node, Pod
from rollout.gates.context import Context
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_fleet, default_nodes
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from rollout.sim.store import Event
from tests.simulation.driver import VirtualRun
from tests.simulation.gateworld import Script, gate
from tests.simulation.gateworld import World as GateWorld
from tests.simulation.world import SOMEBODY, TARGET, World

FREE: dict[str, Any] = {"replacementsPerSecond": 1000}


def daemon_sets(limit: int = 4, surge: int = 0) -> list[dict[str, Any]]:
    strategy = {"maxUnavailable": limit, "maxSurge": surge}
    return [{"name": "log-agent", "target": TARGET, "strategy": strategy}]


def delete_times(world: World) -> list[float]:
    """Let the run end, and return when each pod was deleted."""
    times: list[float] = []

    def look(event: Event) -> None:
        old = event.old or {"metadata": {}}
        if "deletionTimestamp" in event.object["metadata"]:
            times.extend([world.now] * ("deletionTimestamp" not in old["metadata"]))

    stop = world.cluster.store.subscribe(PODS, look)
    assert world.finish().outcome is Outcome.DONE
    stop()
    return times


@pytest.mark.parametrize(
    "limited",
    [
        {"waves": [{"name": "all", "maxUnavailable": 1}]},
        {"limits": {**FREE, "maxNodesInFlight": 1}},
        {"limits": {**FREE, "maxPerZone": 1}, "fleet": default_fleet(8, 1)},
    ],
    ids=["of the wave", "of nodes in flight", "of nodes in a zone"],
)
def test_a_limit_of_one_lets_one_node_go_down_at_a_time(limited: dict[str, Any]) -> None:
    spec = {"waves": [{"name": "all"}], "daemonSets": daemon_sets(), **limited}
    world = World(8, **spec)

    assert world.finish().outcome is Outcome.DONE
    assert world.oracle.most_down == 1


def test_replacements_follow_each_other_at_the_given_pace() -> None:
    limits = {"replacementsPerSecond": 0.1}
    world = World(5, waves=[{"name": "all"}], daemonSets=daemon_sets(), limits=limits)

    times = delete_times(world)

    assert all(later - sooner > 9.9 for sooner, later in pairwise(times))


def test_a_node_soaks_before_the_next_one_goes() -> None:
    health = {"soak": "30s", "nodeTimeout": "5m"}
    world = World(3, waves=[{"name": "all"}], daemonSets=daemon_sets(1), health=health)

    times = delete_times(world)

    assert all(later - sooner > 30.0 for sooner, later in pairwise(times))


def test_a_wave_bakes_before_the_next_one_begins() -> None:
    waves = [{"name": "first", "size": 1, "bake": "5m"}, {"name": "rest"}]
    world = World(4, waves=waves, daemonSets=daemon_sets())

    times = delete_times(world)

    assert times[1] - times[0] > 300.0


def test_in_a_hand_over_no_node_is_without_a_ready_pod() -> None:
    world = World(4, waves=[{"name": "all"}], daemonSets=daemon_sets(0, 1))

    assert world.finish().outcome is Outcome.DONE
    assert world.oracle.most_down == 0


def test_a_ready_pod_is_handed_over_although_it_does_not_count_as_available_yet() -> None:
    slow = DaemonSetEntry(
        name="log-agent", namespace="logging", image="log-agent:2.3", min_ready_seconds=600
    )

    def restart_all(cluster: Cluster) -> None:
        for pod in list(cluster.store.scan(PODS, "logging")):
            cluster.registry.delete(PODS, "logging", pod["metadata"]["name"], SOMEBODY)

    world = World(
        fleet=Fleet(nodes=default_nodes(4, 2), daemon_sets=(slow,)),
        before=restart_all,
        waves=[{"name": "all"}],
        daemonSets=daemon_sets(0, 2),
        health={"soak": 1, "nodeTimeout": "20m"},
    )
    assert not any(node.available for node in world.plan.daemon_sets[0].nodes)

    assert world.finish().outcome is Outcome.DONE
    assert world.oracle.most_down == 0


def test_a_node_whose_hand_over_failed_keeps_its_place_as_long_as_it_has_two_pods() -> None:
    world = World(
        6,
        waves=[{"name": "all"}],
        daemonSets=daemon_sets(0, 1),
        health={"soak": 1, "nodeTimeout": "30s"},
        failure={"maxFailures": 3},
    )
    world.break_release("never-ready", "node-000")
    world.until(lambda: world.run.engine.failures.total == 1)

    world.advance(20.0)

    view = world.run.engine.daemon_sets["log-agent"].view
    assert {*view.released} == {"node-000"}
    assert world.why() == "the budget of DaemonSet log-agent (maxSurge 1) is used up by node-000"
    world.cluster.clear_image_faults()
    assert world.finish().outcome is Outcome.DONE


# What is believed


def nodes_of(world: World) -> tuple[Node, ...]:
    return tuple(msgspec.convert(raw, Node) for raw in world.cluster.store.scan(NODES))


def pods_of(world: World) -> tuple[Pod, ...]:
    return tuple(msgspec.convert(raw, Pod) for raw in world.cluster.store.scan(PODS, "logging"))


def told(world: World, event: ev.Event) -> VirtualRun:
    """Tell the run something, and let it end."""
    world.until_deletes(1)
    world.run.engine.observe(event, world.now)
    world.finish()
    return world.run


def test_half_a_list_of_nodes_stops_the_run() -> None:
    world = World(8)
    run = told(world, ev.NodesListed(nodes_of(world)[:4]))

    assert run.finish is not None
    assert run.finish.outcome is Outcome.DRIFT
    assert "the list of nodes lacks 4 of 8" in run.finish.message
    assert len(world.oracle.order) < 8


def test_half_a_list_of_pods_stops_the_run() -> None:
    world = World(8)
    run = told(world, ev.PodsListed("log-agent", pods_of(world)[:2]))

    assert run.finish is not None
    assert run.finish.outcome is Outcome.DRIFT
    assert "the list of the pods of DaemonSet log-agent" in run.finish.message
    assert len(world.oracle.order) < 8


def test_a_daemon_set_that_was_made_anew_is_another_one() -> None:
    world = World(8)
    world.until_deletes(1)
    raw = world.cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
    assert raw is not None
    version = str(10 * int(raw["metadata"]["resourceVersion"]))
    again = {**raw, "metadata": {**raw["metadata"], "uid": "another", "resourceVersion": version}}
    run = told(world, ev.DaemonSetSeen("log-agent", msgspec.convert(again, DaemonSet)))

    assert run.finish is not None
    assert run.finish.outcome is Outcome.DRIFT
    assert "was recreated" in run.finish.message


@pytest.mark.parametrize("view", ["pods", "daemonsets/log-agent"])
def test_nothing_starts_while_a_view_is_lost(view: str) -> None:
    world = World(8)
    world.until_deletes(2)
    world.run.engine.observe(ev.ViewLost(view, "the line is cut"), world.now)
    world.advance(60.0)

    assert len(world.oracle.order) == 2
    world.run.engine.observe(ev.ViewBack(view), world.now)
    assert world.finish().outcome is Outcome.DONE


def test_a_gate_that_was_measured_without_a_view_of_the_cluster_is_measured_again() -> None:
    script = Script(errors=["ok"])
    world = GateWorld(4, gates=[gate("errors", "after-wave")])
    run = world.start(script)
    assert world.clock.run_until(lambda: world.deletes == 1, 600.0)
    run.engine.observe(ev.ViewLost("daemonsets/log-agent", "the line is cut"), world.clock.now())
    world.clock.advance(120.0)
    before = len(script.times("errors"))
    assert before > 1  # it was measured, again and again, and did not pass
    run.engine.observe(ev.ViewBack("daemonsets/log-agent"), world.clock.now())

    assert run.run().outcome is Outcome.DONE
    assert len(script.times("errors")) >= before + 2  # behind each of the waves


def test_a_gate_passes_on_no_measurement_in_which_a_view_was_away() -> None:
    world = GateWorld(4, gates=[gate("errors", "after-wave")])

    def unseen(context: Context) -> str:
        run.engine.observe(ev.ViewLost("pods/log-agent", "the line is cut"), context.now)
        run.engine.observe(ev.ViewBack("pods/log-agent"), context.now)
        return "ok"

    script = Script(errors=[unseen, "ok"])
    run = world.start(script)

    assert run.run().outcome is Outcome.DONE
    assert len(script.times("errors")) == 1 + 2  # behind each of the waves


def test_a_delete_that_was_not_done_is_not_repeated_after_a_stop() -> None:
    world = World(4, daemonSets=daemon_sets(1))
    perform, tried = world.run._perform, []

    def refuse(action: Action) -> None:
        if isinstance(action, DeletePod):
            tried.append(action)
            world.run._take(ev.Answered(action, ev.Answer.NOT_DONE))
        else:
            perform(action)

    world.run._perform = refuse  # type: ignore[method-assign]
    world.until(lambda: bool(tried))
    world.run.ask_to_stop()

    assert world.finish().outcome is Outcome.PAUSED
    world.advance(30.0)
    assert len(tried) == 1


# What counts as healthy


def soaking(world: World) -> tuple[str, Pod]:
    """Return a node whose new pod is ready and soaks, and that pod."""
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]
    world.until(lambda: any(r.state.value == "soaking" for r in ds.steps.values()))
    node = next(name for name, run in ds.steps.items() if run.state.value == "soaking")
    return node, next(pod for pod in ds.view.on(node) if ds.is_target(pod))


def test_a_pod_on_a_node_that_is_not_ready_is_not_healthy() -> None:
    world = World(3, daemonSets=daemon_sets(1), health={"soak": "30s", "nodeTimeout": "5m"})
    name, _ = soaking(world)
    engine = world.run.engine
    ds, rules = engine.daemon_sets["log-agent"], world.plan.health
    node = engine.nodes[name]
    conditions = tuple(
        msgspec.structs.replace(c, status="False") if c.type == "Ready" else c
        for c in node.status.conditions
    )
    status = msgspec.structs.replace(node.status, conditions=conditions)
    down = msgspec.structs.replace(node, status=status)

    assert judge(ds.steps[name], ds, node, world.now + 60.0, rules).healthy
    assert not judge(ds.steps[name], ds, down, world.now + 60.0, rules).healthy


def test_a_new_pod_of_another_template_is_a_failure() -> None:
    world = World(3, daemonSets=daemon_sets(1), health={"soak": "30s", "nodeTimeout": "5m"})
    name, pod = soaking(world)
    engine = world.run.engine
    ds = engine.daemon_sets["log-agent"]
    version = str(10 * int(pod.metadata.resource_version))
    labels = {
        **pod.metadata.labels,
        "controller-revision-hash": "of-a-stranger",
        "pod-template-generation": "99",
    }
    meta = msgspec.structs.replace(pod.metadata, labels=labels, resource_version=version)
    ds.view.see(msgspec.structs.replace(pod, metadata=meta), world.now)

    verdict = judge(ds.steps[name], ds, engine.nodes[name], world.now, world.plan.health)

    assert "is not of the target revision" in verdict.failed
