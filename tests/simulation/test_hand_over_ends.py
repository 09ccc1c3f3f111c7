"""How hand-overs end that do not end well: no run leaves a released pod that nobody looks after."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.errors import ExitCode
from rollout.executor.engine import events as ev
from rollout.executor.engine import settling
from rollout.executor.engine.actions import DeletePod, Outcome, ReleasePod, TakeBack
from rollout.executor.engine.state import StepState
from rollout.executor.record.wishes import Wishes
from rollout.fleet import marks
from rollout.sim.cluster import Cluster
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.registry import PatchType
from rollout.sim.resources import DAEMONSETS, PODS, REPLICA_SETS
from tests.simulation import virtual
from tests.simulation.oracles import _node, _ready
from tests.simulation.test_guards import refuse
from tests.simulation.test_strangers import register_anew
from tests.simulation.world import SOMEBODY, TARGET, World

AGENT = {"name": "agent", "image": "log-agent:2.3"}
HEALTH = {"soak": 1, "nodeTimeout": "1m"}


def surging(nodes: int = 4, surge: int = 2, **more: Any) -> World:
    strategy = {"maxUnavailable": 0, "maxSurge": surge}
    item = {"name": "log-agent", "target": TARGET, "strategy": strategy}
    return World(nodes, daemonSets=[item], **{"health": HEALTH, **more})


def pods_on(world: World, node: str) -> list[dict[str, Any]]:
    pods = world.cluster.store.scan(PODS, "logging")
    return [p for p in pods if _node(p) == node and "deletionTimestamp" not in p["metadata"]]


def released(world: World) -> list[dict[str, Any]]:
    pods = world.cluster.store.scan(PODS, "logging")
    return [
        p
        for p in pods
        if marks.RELEASED_FROM in (p["metadata"].get("labels") or {})
        and "deletionTimestamp" not in p["metadata"]
    ]


def until_released(world: World, count: int = 1) -> None:
    world.until(lambda: len(released(world)) >= count)


def without_controller(surge: int = 2) -> World:
    """Return a world in which pods are handed over, and nobody makes their successors."""
    world = surging(surge=surge)
    world.until(lambda: world.run.engine.daemon_sets["log-agent"].resolved)
    world.cluster.stop_controllers()
    until_released(world)
    return world


def test_a_hand_over_waits_for_the_controller_beyond_the_time_of_its_node() -> None:
    world = without_controller()
    world.advance(80.0)
    assert not any("node-failed" in line for line in world.run.log)
    assert "kube-controller-manager may be down" in world.why()
    world.cluster.start_controllers()

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert not released(world)


def test_a_hand_over_that_the_controller_never_takes_up_ends_at_the_progress_deadline() -> None:
    world = without_controller()

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert not finish.by_release
    assert "kube-controller-manager may be down" in finish.message
    left = len(released(world))
    assert left
    world.cluster.start_controllers()
    world.begin(resumed=True)
    assert world.finish().outcome is Outcome.DONE
    assert not released(world)


def test_the_time_without_a_controller_is_not_held_against_its_successor() -> None:
    world = without_controller()
    world.advance(55.0)
    slow = Behaviour(start=Timing(40.0))
    world.cluster.set_image("log-agent:2.4", slow)
    world.cluster.start_controllers()

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert not any("node-failed" in line for line in world.run.log)


def test_a_failed_hand_over_is_taken_back_before_the_run_is_complete() -> None:
    world = surging(failure={"maxFailures": 1}, waves="fast")
    world.break_release("never-ready", "node-002")
    (old,) = pods_on(world, "node-002")

    finish = world.finish()
    world.advance(60.0)

    assert finish.outcome is Outcome.FAILED_NODES
    assert not released(world)
    (pod,) = pods_on(world, "node-002")
    assert pod["metadata"]["uid"] == old["metadata"]["uid"]
    assert _ready(pod)
    assert world.step("node-002").reason.endswith("; its old pod is taken back")
    # Else the controller would at once take down what works, for what is known to be bad.
    assert world.live["spec"]["updateStrategy"] == {"type": "OnDelete"}
    assert marks.ORIGINAL_STRATEGY in world.live["metadata"]["annotations"]
    assert any("strategy-kept" in line and "node-002" in line for line in world.run.log)


def native_surge(cluster: Cluster) -> None:
    rolling = {"maxUnavailable": 0, "maxSurge": 1}
    body = {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}
    cluster.registry.patch(DAEMONSETS, "logging", "log-agent", body, PatchType.STRATEGIC, SOMEBODY)


def test_a_strategy_that_takes_no_pod_down_is_restored_beside_one_that_was_taken_back() -> None:
    item = {"name": "log-agent", "target": TARGET}
    world = World(
        4,
        before=native_surge,
        daemonSets=[item],
        health=HEALTH,
        failure={"maxFailures": 1},
    )
    world.break_release("never-ready", "node-002")
    (old,) = pods_on(world, "node-002")

    finish = world.finish()
    world.advance(600.0)

    assert finish.outcome is Outcome.FAILED_NODES
    assert world.live["spec"]["updateStrategy"] == world.plan.daemon_sets[0].original_strategy
    assert not released(world)
    ready = [pod["metadata"]["uid"] for pod in pods_on(world, "node-002") if _ready(pod)]
    assert ready == [old["metadata"]["uid"]]


def test_the_old_pod_of_a_node_that_has_just_got_done_is_not_said_to_go_on_working() -> None:
    """Its deletion is accepted, and the watch has not told of it yet."""
    world = surging()
    world.until(lambda: world.step("node-000").state is StepState.DONE)
    engine = world.run.engine
    assert not engine.daemon_sets["log-agent"].view.released["node-000"].terminating

    assert "node-000" not in settling.at_work(engine)


def test_a_failed_node_that_is_skipped_has_its_old_pod_back() -> None:
    world = surging()
    world.break_release("never-ready", "node-002")
    (old,) = pods_on(world, "node-002")
    held = world.finish()
    assert held.outcome is Outcome.HELD
    assert "; the old pods on node-002 are handed over and go on working" in held.message
    assert [_node(pod) for pod in released(world)] == ["node-002"]
    world.begin(resumed=True, wishes=Wishes(skipped={"node-002": "broken disk"}))

    finish = world.finish()
    world.advance(30.0)

    assert finish.outcome is Outcome.DEFERRED
    assert not released(world)
    assert [p["metadata"]["uid"] for p in pods_on(world, "node-002")] == [old["metadata"]["uid"]]


def test_where_there_is_no_strategy_to_restore_old_pods_are_taken_back_all_the_same() -> None:
    def on_delete(cluster: Cluster) -> None:
        body = {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}}
        cluster.registry.patch(
            DAEMONSETS, "logging", "log-agent", body, PatchType.STRATEGIC, SOMEBODY
        )

    strategy = {"maxUnavailable": 0, "maxSurge": 2}
    world = World(
        4,
        before=on_delete,
        daemonSets=[{"name": "log-agent", "target": TARGET, "strategy": strategy}],
        health=HEALTH,
        failure={"maxFailures": 1},
    )
    assert "restore/log-agent" not in world.run.engine.steps
    world.break_release("never-ready", "node-002")

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert not released(world)


def test_an_old_pod_that_may_not_be_taken_back_is_named_with_who_can() -> None:
    world = surging(failure={"maxFailures": 1})
    world.break_release("never-ready", "node-002")
    until_released(world)
    world.until(lambda: world.step("node-002").state is StepState.FAILED)
    (pod,) = released(world)[:1]
    refuse(world, "patch", "rollout", "pods are frozen", pod["metadata"]["name"])

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert "the released pods on node-002 could not be taken back (pods are frozen)" in (
        finish.message
    )
    assert "'rollout cleanup --daemonset log-agent -n logging'" in finish.message


@pytest.mark.parametrize(
    ("answer", "arrives"),
    [(ev.Answer.NOT_DONE, False), (ev.Answer.UNKNOWN, True), (ev.Answer.UNKNOWN, False)],
    ids=["refused", "lost behind the server", "lost before the server"],
)
def test_taking_back_is_tried_until_the_server_says_what_became_of_it(
    answer: ev.Answer, *, arrives: bool
) -> None:
    world = surging(failure={"maxFailures": 1})
    world.break_release("never-ready", "node-002")
    call = world.run._call
    lost: list[Any] = []

    def losing(action: Any) -> ev.Answered:
        if isinstance(action, TakeBack) and len(lost) < 3:
            lost.append(action)
            if arrives:
                call(action)
            return ev.Answered(action, answer, "connection reset")
        return call(action)

    world.run._call = losing  # type: ignore[method-assign]

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert lost
    assert not released(world)


def test_a_node_that_comes_back_with_nothing_but_its_released_pod_has_its_turn() -> None:
    world = without_controller(surge=1)
    (pod,) = released(world)
    node = _node(pod)
    register_anew(world, node, after=1.0)
    world.cluster.start_controllers()

    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert world.run.engine.joined == set()
    assert not released(world)


def test_a_node_that_was_healthy_has_the_time_without_a_view_as_well() -> None:
    gate = {"name": "well", "kind": "node", "at": "after-node", "interval": "50s", "count": 5}
    world = surging(gates=[gate], surge=1)
    world.until(lambda: any(s.state is StepState.PROVING for s in world.run.engine.steps.values()))
    (run,) = [s for s in world.run.engine.steps.values() if s.state is StepState.PROVING]
    engine = world.run.engine
    engine.observe(ev.ViewLost("pods/log-agent", "the line is cut"), world.now)
    world.advance(70.0)
    engine.observe(ev.ViewBack("pods/log-agent"), world.now)
    world.advance(1.0)
    world.break_release("never-ready", run.node)
    world.advance(5.0)

    assert not run.reason
    world.advance(70.0)
    assert "not done after 2m" in run.reason


def test_a_released_pod_that_another_controller_adopts_is_left_to_it() -> None:
    world = surging(surge=1)
    until_released(world)
    (pod,) = released(world)
    template = {"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [AGENT]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"x": "y"}}, "template": template}
    greedy = {"metadata": {"name": "greedy", "namespace": "logging"}, "spec": spec}
    made = world.cluster.registry.create(REPLICA_SETS, "logging", greedy, SOMEBODY)
    uid = made["metadata"]["uid"]
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "greedy", "uid": uid}
    body = {"metadata": {"ownerReferences": [{**owner, "controller": True}]}}
    name = pod["metadata"]["name"]
    world.advance(0.5)
    world.cluster.registry.patch(PODS, "logging", name, body, PatchType.MERGE, SOMEBODY)

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert f"ReplicaSet greedy has taken over the old pod {name}" in finish.message
    assert [p["metadata"]["name"] for p in released(world)] == [name]
    assert world.step(_node(pod)).state is StepState.DONE


def test_undo_hands_over_where_the_owner_lets_no_pod_go_before_its_successor() -> None:
    with virtual.World(default_fleet(3, 1)) as world:
        rolling = {"maxUnavailable": 0, "maxSurge": 1}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        world.patch(DAEMONSETS, "log-agent", {"spec": {"updateStrategy": strategy}})
        world.advance(5.0)
        plan = world.plan({"daemonSets": [{"name": "log-agent", "target": TARGET}]})
        there = ("-n", "logging")
        assert world.run("apply", world.save(plan)).end() == ExitCode.DONE
        before = len(world.judge.writes)

        undone = world.run("undo", "log-agent", *there, "--yes")

        assert undone.end() == ExitCode.DONE, undone.text
        writes = [w.split()[2:4] for w in world.judge.writes[before:]]
        verbs = [verb for verb, path in writes if "/pods/" in path]
        assert verbs.count("patch") == verbs.count("delete") == 3
        live = world.cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
        assert live is not None
        assert live["spec"]["updateStrategy"] == strategy


def test_undo_of_a_killed_run_takes_its_released_pods_back() -> None:
    with virtual.World(default_fleet(2, 1)) as world:
        world.cluster.set_image_fault("log-agent:2.4", read_fault("never-ready"))
        strategy = {"maxUnavailable": 0, "maxSurge": 2}
        item = {"name": "log-agent", "target": TARGET, "strategy": strategy}
        plan = world.plan({"daemonSets": [item], "waves": [{"name": "all"}]})
        old = {pod["metadata"]["uid"] for pod in world.pods()}
        killed = world.start("apply", world.save(plan))
        world.wait_until(lambda: len(world.judge.writes) >= 3)
        killed.kill()
        world.advance(60.0)

        undone = world.run("undo", "log-agent", "-n", "logging", "--yes")
        undone.end()
        world.advance(30.0)

        assert {pod["metadata"]["uid"] for pod in world.pods()} == old
        assert not any(
            marks.RELEASED_FROM in (pod["metadata"].get("labels") or {}) for pod in world.pods()
        )


def test_a_failed_node_that_gets_well_gives_no_slot_back_twice_where_its_old_pod_stays() -> None:
    """It holds none any more: a count of nodes in flight that is too low lets others begin (S1)."""
    world = surging(surge=2, failure={"maxFailures": 0})
    world.break_release("unpullable", "node-000")
    world.break_release("never-ready", "node-001")
    first, second = (world.step(name) for name in ("node-000", "node-001"))
    call, refused = world.run._call, list[str]()

    def refusing(action: Any) -> ev.Answered:
        if isinstance(action, DeletePod):
            refused.append(action.node)
            return ev.Answered(action, ev.Answer.NOT_DONE, "the server is busy")
        return call(action)

    world.run._call = refusing  # type: ignore[method-assign]
    world.until(lambda: first.state is StepState.FAILED)
    assert (second.state, world.run.engine.in_flight) == (StepState.REPLACING, 1)
    world.cluster.clear_image_faults()
    world.break_release("never-ready", "node-001")
    world.until(lambda: first.node in refused)
    world.advance(0.5)

    assert (first.state, second.state) == (StepState.FAILED, StepState.REPLACING)
    assert world.run.engine.in_flight == 1


def test_a_release_that_was_lost_before_the_server_is_made_after_all() -> None:
    world = surging()
    call, lost = world.run._call, list[ReleasePod]()

    def losing(action: Any) -> ev.Answered:
        if isinstance(action, ReleasePod) and not lost:
            lost.append(action)
            return ev.Answered(action, ev.Answer.UNKNOWN, "connection reset")
        return call(action)

    world.run._call = losing  # type: ignore[method-assign]

    assert world.finish().outcome is Outcome.DONE
    assert lost
    assert world.oracle.deletes["log-agent", lost[0].node] == 1
