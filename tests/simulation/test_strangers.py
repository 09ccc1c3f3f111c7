"""Others act while a run goes: people, autoscalers, GitOps, dying nodes."""

from __future__ import annotations

import copy
import random
from typing import Any

import msgspec
import pytest

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Outcome, Prepare, ReadDaemonSet, Restore
from rollout.executor.engine.events import Answer, Answered, DaemonSetGone, DaemonSetSeen
from rollout.executor.engine.state import Phase
from rollout.executor.exitcodes import exit_code
from rollout.fleet import marks
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import DaemonSetEntry, default_fleet, read_fault
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from tests.simulation.driver import Oracle, VirtualRun, make_plan, read_fleet
from tests.simulation.world import SOMEBODY, TARGET, World


def test_a_template_edited_in_mid_run_stops_it_before_the_next_delete() -> None:
    world = World()
    world.until_deletes(2)
    image = {"name": "agent", "image": "log-agent:9"}
    world.patch({"spec": {"template": {"spec": {"containers": [image]}}}})
    world.advance(0.2)
    before = len(world.oracle.order)

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert "template" in finish.message
    assert len(world.oracle.order) == before


def test_a_strategy_turned_back_in_mid_run_stops_it() -> None:
    world = World()
    world.until_deletes(2)
    world.patch({"spec": {"updateStrategy": {"type": "RollingUpdate"}}})

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert "RollingUpdate" in finish.message


def test_a_deleted_daemon_set_ends_the_run_and_nothing_else_is_touched() -> None:
    world = World()
    world.until_deletes(2)
    world.oracle.close()  # the garbage collector deletes what is left
    world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert "deleted" in finish.message


def test_a_recreated_daemon_set_is_known_although_no_watch_told_of_its_end() -> None:
    """Its generation begins anew, so it must not pass for an older state of ours."""
    world = World()
    world.until_deletes(2)
    live = world.run.engine.daemon_sets["log-agent"].live
    assert live is not None
    metadata = msgspec.structs.replace(live.metadata, uid="another", generation=1)
    other = msgspec.structs.replace(live, metadata=metadata)
    world.run._take(DaemonSetSeen("log-agent", other))

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert "was recreated" in finish.message
    assert len(world.oracle.order) == 2


def test_what_a_list_without_the_daemon_set_leaves_in_flight_is_watched_to_its_end() -> None:
    world = World()
    world.until_deletes(2)
    world.run._take(DaemonSetGone("log-agent", is_certain=False))

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert "the list lacks it" in finish.message
    assert {s.state for s in world.run.engine.flying} == set()
    assert world.run.engine.done_count == 2


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RESTORING])
def test_a_template_edited_while_our_patch_is_on_its_way_ends_the_run(phase: Phase) -> None:
    world = World()
    engine = world.run.engine
    world.until(lambda: engine.daemon_sets["log-agent"].phase is phase)
    image = {"name": "agent", "image": "log-agent:9"}
    world.patch({"spec": {"template": {"spec": {"containers": [image]}}}})

    finish = world.run.run(600.0)

    assert finish.outcome is Outcome.DRIFT
    assert "the template of DaemonSet log-agent was edited" in finish.message


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RESTORING])
@pytest.mark.parametrize("answer", [Answer.UNKNOWN, Answer.NOT_DONE])
def test_a_daemon_set_deleted_while_our_patch_is_on_its_way_ends_the_run(
    phase: Phase, answer: Answer
) -> None:
    world = World()
    engine = world.run.engine
    world.until(lambda: engine.daemon_sets["log-agent"].phase is phase)
    world.oracle.close()
    world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)
    patch = Prepare("log-agent") if phase is Phase.PREPARING else Restore("log-agent")
    engine.observe(Answered(patch, answer, "connection reset"), world.now)

    finish = world.run.run(600.0)

    assert finish.outcome is Outcome.DRIFT
    assert finish.message == "DaemonSet log-agent was deleted"


@pytest.mark.parametrize("phase", [Phase.PREPARING, Phase.RESTORING])
def test_a_daemon_set_that_may_not_be_read_after_its_patch_ends_the_run(phase: Phase) -> None:
    world = World()
    engine = world.run.engine
    world.until(lambda: engine.daemon_sets["log-agent"].phase is phase)
    refused = Answered(ReadDaemonSet("log-agent"), Answer.REFUSED, "403", ExitCode.NOT_AUTHORISED)
    engine.observe(refused, world.now)

    finish = world.run.run(600.0)

    assert finish.outcome is Outcome.REFUSED
    assert exit_code(finish) == ExitCode.NOT_AUTHORISED
    assert "could not be read: 403" in finish.message


def test_a_node_that_leaves_is_dropped_and_one_that_joins_is_reported() -> None:
    world = World()
    world.until_deletes(2)
    world.cluster.remove_node("node-006")
    world.cluster.join_node("node-new", zone="zone-a")

    finish = world.finish()

    steps = {run.node: run for run in world.run.engine.steps.values() if run.node}
    assert finish.outcome is Outcome.DONE
    assert steps["node-006"].reason == "the node left the cluster"
    assert world.run.engine.joined == {"node-new"}
    assert world.oracle.deletes["log-agent", "node-new"] == 0


def remove(world: World, name: str) -> dict[str, Any]:
    """Delete a node; returns how it joins again."""
    node = copy.deepcopy(world.cluster.store.get(NODES, ("", name)))
    assert node is not None
    node["metadata"] = {"name": name, "labels": node["metadata"]["labels"]}
    world.cluster.registry.delete(NODES, "", name, SOMEBODY)
    return node


def register_anew(world: World, name: str, after: float) -> None:
    """Delete a node, and let it join again under its name."""
    node = remove(world, name)
    world.advance(after)
    world.cluster.registry.create(NODES, "", node, SOMEBODY)


@pytest.mark.parametrize("waves", ["fast", [1, "100%"]], ids=["its turn had come", "it had not"])
def test_a_node_that_comes_back_under_its_name_with_its_old_pod_has_its_turn(waves: Any) -> None:
    world = World(6, waves=waves)
    world.until_deletes(1)
    last = world.plan.daemon_sets[0].nodes[-1].name
    register_anew(world, last, after=1.0)

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert world.run.engine.done_count == 6
    assert world.run.engine.joined == set()
    assert world.oracle.deletes["log-agent", last] == 1
    assert any("node-returned" in line and last in line for line in world.run.log)


def test_a_node_that_comes_back_without_a_pod_is_a_new_one() -> None:
    world = World(6, health={"soak": 40, "nodeTimeout": "2m"})
    world.until_deletes(2)
    first = world.oracle.order[0]
    world.oracle.close()  # the garbage collector takes its pod, which is no deed of ours
    register_anew(world, first, after=60.0)

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert world.run.engine.joined == {first}


def test_a_node_that_comes_back_when_its_strategy_is_restored_is_the_controllers() -> None:
    """Both would take pods away there, each by a budget of its own (S1)."""
    names = ("log-agent", "net-agent")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image="log-agent:2.3") for name in names
    )
    fleet = msgspec.structs.replace(default_fleet(2, 1), daemon_sets=entries)
    strategy = {"maxUnavailable": 1}
    first, second = ({"name": n, "target": TARGET, "strategy": strategy} for n in names)
    behind = second | {"after": {"daemonSet": "log-agent", "scope": "all"}}
    world = World(fleet=fleet, daemonSets=[first, behind])
    world.until_deletes(1)
    (left,) = {node.name for node in world.plan.daemon_sets[0].nodes} - set(world.oracle.order)
    node = remove(world, left)
    restored = world.run.engine.daemon_sets["log-agent"]
    world.until(lambda: restored.phase is Phase.RESTORED)
    world.cluster.stop_controllers()  # else it takes the pod away at once, and so nobody else does
    world.cluster.registry.create(NODES, "", node, SOMEBODY)
    world.advance(5.0)

    assert world.oracle.deletes["log-agent", left] == 0
    assert not restored.view.held

    world.cluster.start_controllers()
    assert world.finish().outcome is Outcome.DONE


def test_a_pod_that_somebody_deletes_by_hand_counts_as_done_and_is_not_deleted_again() -> None:
    world = World()
    world.until_deletes(1)
    fleet = read_fleet(world.cluster, "logging", "log-agent")
    victim = fleet.pods["node-007"][0].metadata.name
    world.oracle.close()  # the person does not keep the budget
    watcher = Deletes(world.cluster)
    world.cluster.registry.delete(PODS, "logging", victim, SOMEBODY)

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert watcher.of_node["node-007"] == 1
    assert max(watcher.of_node.values()) == 1


class Deletes:
    """Counts how often a pod of each node begins to terminate."""

    def __init__(self, cluster: Cluster) -> None:
        self.of_node: dict[str, int] = {}
        cluster.store.subscribe(PODS, self._look)

    def _look(self, event: Any) -> None:
        ends = event.object["metadata"].get("deletionTimestamp")
        if ends and event.old and not event.old["metadata"].get("deletionTimestamp"):
            node = event.object["spec"].get("nodeName", "")
            self.of_node[node] = self.of_node.get(node, 0) + 1


def test_a_node_that_dies_after_its_update_is_a_failure_and_one_dead_before_is_not() -> None:
    fleet = default_fleet(8, 2)
    world = World(fleet=fleet)
    world.until_deletes(1)
    world.cluster.lose_node(world.oracle.order[0])

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert world.oracle.order[0] in finish.message


def test_nodes_dead_before_the_run_do_not_block_it() -> None:
    cluster = Cluster(VirtualClock(), default_fleet(10, 2), Settings(events=False))
    cluster.start()
    clock = cluster.clock
    assert isinstance(clock, VirtualClock)
    for name in ("node-002", "node-005", "node-008"):
        cluster.lose_node(name)
    clock.advance(120.0)
    strategy = {"maxUnavailable": 2}
    item = {"name": "log-agent", "target": TARGET, "strategy": strategy}
    plan = make_plan(
        cluster, {"daemonSets": [item], "waves": "fast", "health": {"soak": 0, "nodeTimeout": "2m"}}
    )
    oracle = Oracle(cluster, plan)
    run = VirtualRun(cluster, plan, random.Random(3))
    run.start()

    finish = run.run()

    assert finish.outcome is Outcome.DEFERRED
    assert finish.message == "complete with 3 deferred"
    assert plan.totals.deferred == 3
    ours = {node for _, node in oracle.deletes}
    assert {"node-002", "node-005", "node-008"}.isdisjoint(ours & set(run.engine.steps))


def test_while_the_controller_manager_is_down_no_more_pods_go_than_the_budget() -> None:
    world = World()
    world.until_deletes(1)
    world.cluster.stop_controllers()
    world.advance(60.0)
    assert len(world.oracle.deletes) <= 2

    world.cluster.start_controllers()
    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}


def test_an_approval_is_waited_for_and_the_run_goes_on_with_it() -> None:
    waves = [{"name": "canary", "size": 1, "pause": "approval"}, {"name": "rest"}]
    world = World(waves=waves)
    finish = world.finish()
    assert finish.outcome is Outcome.PAUSED
    assert "'rollout approve sim --wave canary " in finish.message
    assert len(world.oracle.order) == 1

    again = VirtualRun(
        world.cluster, world.plan, random.Random(8), resumed=True, approved=frozenset({1})
    )
    again.start()

    assert again.run().outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}


def test_a_wave_without_a_success_is_not_passed_whatever_failures_are_allowed() -> None:
    world = World(12, waves=[1, 5, 6], failure={"maxFailures": 10})
    world.cluster.set_image_fault("log-agent:2.4", read_fault("crash"))

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert finish.message == "no node of wave wave-1 succeeded"
    assert len(world.oracle.order) == 1


def test_a_stopped_run_finishes_what_is_in_flight_and_starts_nothing() -> None:
    world = World()
    world.until_deletes(2)
    world.run.ask_to_stop()

    finish = world.finish()

    assert finish.outcome is Outcome.PAUSED
    assert len(world.oracle.order) == 2
    fleet = read_fleet(world.cluster, "logging", "log-agent")
    assert all(p.ready for pods in fleet.pods.values() for p in pods)
    assert marks.ORIGINAL_STRATEGY in fleet.daemon_set.metadata.annotations


def test_a_daemon_set_that_is_on_delete_by_its_owner_is_neither_flipped_nor_restored() -> None:
    cluster = Cluster(VirtualClock(), default_fleet(5, 1), Settings(events=False))
    cluster.start()
    body = {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}
    cluster.registry.patch(DAEMONSETS, "logging", "log-agent", body, PatchType.STRATEGIC, SOMEBODY)
    clock = cluster.clock
    assert isinstance(clock, VirtualClock)
    clock.advance(5.0)
    item = {"name": "log-agent", "target": TARGET}
    plan = make_plan(cluster, {"daemonSets": [item], "waves": "fast", "health": {"soak": 0}})
    seen: list[Any] = []
    cluster.store.subscribe(
        DAEMONSETS, lambda e: seen.append(e.object["metadata"].get("annotations") or {})
    )
    oracle = Oracle(cluster, plan)
    run = VirtualRun(cluster, plan, random.Random(3))
    run.start()

    assert run.run().outcome is Outcome.DONE

    assert [s.kind for s in plan.steps if s.kind in ("prepare", "restore")] == ["prepare"]
    assert oracle.most_down == 1
    assert not any(mark in annotations for annotations in seen for mark in marks.ALL)
    live = cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
    assert live is not None
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}


@pytest.mark.parametrize("scope", ["node", "wave", "all"])
def test_a_daemon_set_follows_another_at_every_scope(scope: str) -> None:
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image=f"{name}:1", container="agent")
        for name in ("driver", "plugin")
    )
    fleet = msgspec.structs.replace(default_fleet(9, 3), daemon_sets=entries)
    cluster = Cluster(VirtualClock(), fleet, Settings(events=False))
    cluster.start()
    limit = {"maxUnavailable": 3}
    items = [
        {
            "name": "plugin",
            "target": {"set": {"image": {"agent": "plugin:2"}}},
            "strategy": limit,
            "after": {"daemonSet": "driver", "scope": scope},
        },
        {
            "name": "driver",
            "target": {"set": {"image": {"agent": "driver:2"}}},
            "strategy": limit,
        },
    ]
    plan = make_plan(
        cluster, {"daemonSets": items, "waves": [3, 6], "health": {"soak": 0, "nodeTimeout": "1m"}}
    )
    oracle = Oracle(cluster, plan)
    run = VirtualRun(cluster, plan, random.Random(1))
    run.start()

    assert run.run().outcome is Outcome.DONE

    assert set(oracle.deletes.values()) == {1}
    assert len(oracle.deletes) == 18
    place = {key: i for i, key in enumerate(oracle.history)}
    nodes = [n.name for n in plan.daemon_sets[0].nodes]
    assert all(place["driver", n] < place["plugin", n] for n in nodes)
    if scope == "all":
        assert {name for name, _ in oracle.history[:9]} == {"driver"}
    for node in nodes:  # a node belongs to one step at a time
        assert oracle.overlaps[node] == 0


def test_a_cordoned_node_is_updated_as_any_other_unless_the_spec_leaves_it_out() -> None:
    world = World(nodes={"cordoned": "exclude"})
    assert world.plan.totals.update == 8
    cluster = world.cluster
    world.run.kill()
    cluster.registry.patch(
        NODES, "", "node-003", {"spec": {"unschedulable": True}}, PatchType.MERGE, SOMEBODY
    )
    item = {"name": "log-agent", "target": TARGET}
    left_out = make_plan(cluster, {"daemonSets": [item], "nodes": {"cordoned": "exclude"}})
    included = make_plan(cluster, {"daemonSets": [item]})

    assert (left_out.totals.update, left_out.totals.deferred) == (7, 1)
    assert included.totals.update == 8


def test_where_a_node_comes_back_the_one_daemon_set_still_goes_before_the_other() -> None:
    names = ("log-agent", "net-agent")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image="log-agent:2.3") for name in names
    )
    fleet = msgspec.structs.replace(default_fleet(6, 1), daemon_sets=entries)
    strategy = {"maxUnavailable": 1}
    first, second = ({"name": n, "target": TARGET, "strategy": strategy} for n in names)
    behind = second | {"after": {"daemonSet": "log-agent", "scope": "node"}}
    world = World(fleet=fleet, daemonSets=[first, behind], health={"soak": 5})
    world.until_deletes(1)
    last = world.plan.daemon_sets[0].nodes[-1].name
    register_anew(world, last, after=1.0)

    assert world.finish().outcome is Outcome.DONE
    assert [name for name, node in world.oracle.history if node == last] == list(names)
