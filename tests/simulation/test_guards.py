"""What a run does when the control plane does not do its part: it stops deleting, and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.errors import ExitCode
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, DeletePod, Outcome, Prepare, ReadPod
from rollout.executor.engine.state import StepState
from rollout.executor.exitcodes import exit_code
from rollout.sim.cluster import Cluster
from rollout.sim.errors import StatusError
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_nodes, read_fault
from rollout.sim.registry import Caller, PatchType
from rollout.sim.resources import DAEMONSETS, PODS
from tests.simulation.driver import read_fleet
from tests.simulation.world import SOMEBODY, World

QUOTA = (
    'pods "log-agent-x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=7, '
    "limited: pods=7"
)


def item(limit: int) -> dict[str, Any]:
    return {
        "name": "log-agent",
        "target": {"set": {"image": {"agent": "log-agent:2.4"}}},
        "strategy": {"maxUnavailable": limit},
    }


def refuse(world: World, verb: str, who: str, message: str, only: str = "") -> Callable[[], int]:
    """Let the registry refuse what this caller asks of pods (or of one).

    Returns:
        What undoes it, and says how often it refused.
    """
    registry = world.cluster.registry
    original = getattr(registry, verb)
    refused: list[str] = []

    def refusing(resource: Any, *args: Any) -> Any:
        callers = [a.user for a in args if isinstance(a, Caller)]
        if resource is PODS and who in callers and (not only or only in args):
            refused.append(verb)
            raise StatusError(403, "Forbidden", message)
        return original(resource, *args)

    setattr(registry, verb, refusing)

    def undo() -> int:
        setattr(registry, verb, original)
        return len(refused)

    return undo


def test_faults_34_while_the_controller_is_down_deleting_stops_and_goes_on_with_it() -> None:
    world = World(
        20,
        daemonSets=[item(10)],
        limits={"replacementsPerSecond": 0.1},
        health={"soak": 1, "nodeTimeout": "10m"},
    )
    world.until_deletes(1)
    world.cluster.stop_controllers()
    world.advance(40.0)
    begun = len(world.oracle.order)
    assert 1 < begun <= 5  # one every ten seconds, for thirty seconds
    world.advance(300.0)
    assert len(world.oracle.order) == begun
    assert "kube-controller-manager may be down; nothing more is deleted" in world.why()

    world.cluster.start_controllers()
    finish = world.finish()

    assert finish.outcome is Outcome.DONE
    assert set(world.oracle.deletes.values()) == {1}
    kinds = [line for line in world.run.log if "controller-" in line]
    assert ["controller-silent" in kinds[0], "controller-back" in kinds[1]] == [True, True]


def test_faults_34_the_controller_of_one_daemon_set_is_that_of_all() -> None:
    names = ("one", "two")
    entries = tuple(
        DaemonSetEntry(name=name, namespace="logging", image="log-agent:2.3") for name in names
    )
    world = World(
        fleet=Fleet(nodes=default_nodes(4, 1), daemon_sets=entries),
        daemonSets=[{**item(1), "name": name} for name in names],
        limits={"replacementsPerSecond": 0.02},
        health={"soak": 1, "nodeTimeout": "10m"},
    )
    world.until_deletes(1)
    world.cluster.stop_controllers()
    world.advance(300.0)

    assert len(world.oracle.order) == 1, "the other DaemonSet's pods would not come back either"
    assert "kube-controller-manager may be down" in world.why()
    world.cluster.start_controllers()
    assert world.finish().outcome is Outcome.DONE


def test_a_controller_that_stays_down_is_not_held_against_the_release() -> None:
    world = World(
        8,
        daemonSets=[item(2)],
        health={"soak": 1, "nodeTimeout": "2m"},
        failure={"onFailure": "rollback"},
    )
    world.until_deletes(1)
    world.cluster.stop_controllers()

    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert not finish.by_release
    assert "kube-controller-manager may be down" in finish.message
    assert len(world.oracle.order) <= 2


@pytest.mark.parametrize("surge", [False, True])
def test_faults_10_and_36_pods_that_are_refused_stop_the_deleting_and_are_quoted(
    *, surge: bool
) -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 4} if surge else {"maxUnavailable": 4}
    world = World(
        12,
        events=True,
        daemonSets=[{**item(4), "strategy": strategy}],
        limits={"replacementsPerSecond": 0.5},
        health={"soak": 1, "nodeTimeout": "10m"},
    )
    undo = refuse(world, "create", "system:serviceaccount:kube-system:daemon-set-controller", QUOTA)
    world.until(lambda: any("pods-refused" in line for line in world.run.log))
    begun = world.run.engine.in_flight
    assert begun < 4

    world.advance(60.0)

    assert world.run.engine.in_flight == begun
    assert "new pods of DaemonSet log-agent are refused (" in world.why()
    assert "exceeded quota: small" in world.why()
    assert undo() > 0
    assert world.finish().outcome is Outcome.DONE


def test_a_refusal_that_lasts_fails_the_node_with_the_servers_words() -> None:
    world = World(8, events=True, daemonSets=[item(2)], health={"soak": 1, "nodeTimeout": "1m"})
    undo = refuse(world, "create", "system:serviceaccount:kube-system:daemon-set-controller", QUOTA)

    finish = world.finish()

    assert undo() > 0
    assert finish.outcome is Outcome.HELD
    assert "exceeded quota: small" in finish.message


def test_an_event_from_before_the_run_stops_nothing() -> None:
    world = World(4, daemonSets=[item(1)])
    engine = world.run.engine
    engine.observe(ev.CreationRefused("log-agent", QUOTA, world.now - 60.0), world.now)

    assert world.finish().outcome is Outcome.DONE
    assert not any("pods-refused" in line for line in world.run.log)


@pytest.mark.parametrize("left", [0, 3, 17])
def test_faults_13_a_list_of_nodes_that_lacks_many_is_not_believed(left: int) -> None:
    world = World(20)
    world.until_deletes(2)
    engine = world.run.engine
    nodes = tuple(engine.nodes.values())[:left]
    before = {step.id: step.state for step in engine.steps.values()}

    engine.observe(ev.NodesListed(nodes), world.now)

    gone = [step.id for step in engine.steps.values() if step.state is StepState.GONE]
    assert gone == []
    assert {step.id: step.state for step in engine.steps.values()} == before
    finish = world.finish()
    assert finish.outcome is Outcome.DRIFT
    assert f"the list of nodes lacks {20 - left} of 20 that were there before" in finish.message


def test_faults_13_an_empty_list_of_nodes_ends_no_run_that_goes_on() -> None:
    world = World(20)
    world.until_deletes(2)
    world.run.kill()
    world.begin(resumed=True)
    world.run.engine.observe(ev.NodesListed(()), world.now)

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert finish.message.startswith("the list of nodes lacks 20 of 20")
    assert world.live["spec"]["updateStrategy"] == {"type": "OnDelete"}


def test_faults_13_a_list_of_pods_that_lacks_many_is_not_believed_and_nothing_is_deleted() -> None:
    world = World(20)
    world.until_deletes(2)
    before = len(world.oracle.order)

    world.run.engine.observe(ev.PodsListed("log-agent", ()), world.now)

    finish = world.finish()
    assert finish.outcome is Outcome.DRIFT
    assert "of DaemonSet log-agent, by their nodes, lacks" in finish.message
    assert len(world.oracle.order) == before


def test_a_list_that_lacks_the_node_that_an_autoscaler_took_is_believed() -> None:
    world = World(20)
    world.until_deletes(2)
    nodes = tuple(n for n in world.run.engine.nodes.values() if n.metadata.name != "node-019")

    world.run.engine.observe(ev.NodesListed(nodes), world.now)

    assert world.step("node-019").state is StepState.GONE
    assert world.run.engine.drift_why == ""


def test_a_permission_that_is_taken_away_in_mid_run_holds_it_and_fails_no_node() -> None:
    world = World(10, failure={"maxFailures": 5, "onFailure": "rollback"})
    world.until_deletes(2)
    why = (
        'pods "log-agent-x" is forbidden: User "rollout" cannot delete resource "pods" in API '
        'group "" in the namespace "logging"'
    )
    undo = refuse(world, "delete", "rollout", why)

    finish = world.finish()

    assert undo() >= 1
    assert finish.outcome is Outcome.REFUSED
    assert not finish.by_release
    assert finish.message.startswith(f"a permission was taken away: {why}; nothing was done to ")
    assert world.run.engine.failures.total == 0
    assert len(world.oracle.order) == 2
    world.begin(resumed=True)
    assert world.finish().outcome is Outcome.DONE


def test_a_run_that_holds_waits_for_its_nodes_without_a_view_no_longer_than_the_deadline() -> None:
    """L3: an outage prolongs the time of a node, but not for ever."""
    world = World(6, health={"soak": 1, "nodeTimeout": "1m", "progressDeadline": "3m"})
    world.until_deletes(2)
    engine, began = world.run.engine, world.now
    engine.observe(ev.ViewLost("pods/log-agent", "connection refused"), world.now)
    engine.hold("somebody has seen enough")
    world.advance(120.0)
    assert engine.in_flight == 2, "a node fails by nothing that was seen"

    finish = world.finish()

    assert finish.outcome is Outcome.HELD
    assert world.now < began + 5 * 60.0
    reasons = {run.reason for run in engine.steps.values() if run.state is StepState.FAILED}
    assert reasons == {"not done after 4m: no view of pods/log-agent (connection refused)"}


@pytest.mark.parametrize("answer", [ev.Answer.UNKNOWN, ev.Answer.NOT_DONE])
def test_deletes_that_are_never_done_end_the_run_at_its_deadline_with_the_servers_words(
    answer: ev.Answer,
) -> None:
    """L3: each try begins its step anew; the run as a whole still ends."""
    world = World(6, health={"soak": 1, "nodeTimeout": "1m", "progressDeadline": "3m"})
    perform, began, tries = world.run._perform, world.now, []

    def fail(action: Action) -> None:
        if isinstance(action, DeletePod):
            tries.append(action)
            world.run._take(ev.Answered(action, answer, "500 the webhook is down"))
        else:
            perform(action)

    world.run._perform = fail  # type: ignore[method-assign]  # what the server does
    finish = world.finish()

    assert finish.outcome is Outcome.DEADLINE
    assert finish.message.endswith(": 500 the webhook is down")
    assert world.now < began + 4 * 60.0
    assert 2 < len(tries) < 250, "every two seconds, for each node in flight"


def test_a_patch_that_nobody_knows_the_fate_of_is_not_repeated_in_a_storm() -> None:
    world = World(4, health={"soak": 1, "nodeTimeout": "30s", "progressDeadline": "1m"})
    perform, tries = world.run._perform, []

    def fail(action: Action) -> None:
        if isinstance(action, Prepare):
            tries.append(action)
            world.run._take(ev.Answered(action, ev.Answer.UNKNOWN, "500 no leader"))
        else:
            perform(action)

    world.run._perform = fail  # type: ignore[method-assign]  # what the server does
    assert world.finish().outcome is Outcome.DEADLINE
    assert 2 < len(tries) <= 31


def test_a_webhook_that_refuses_one_delete_fails_that_node_only() -> None:
    world = World(6, daemonSets=[item(2)], failure={"maxFailures": 1})
    victim = read_fleet(world.cluster, "logging", "log-agent").pods["node-003"][0].metadata.name
    why = 'admission webhook "guard.example.com" denied the request: not on my node'
    refuse(world, "delete", "rollout", why, only=victim)

    finish = world.finish()

    assert finish.outcome is Outcome.FAILED_NODES
    assert world.step("node-003").reason.startswith("the pod was not touched: admission webhook")
    assert exit_code(finish) is ExitCode.HELD


def test_a_daemon_set_that_is_being_deleted_stops_the_run_at_once() -> None:
    world = World(8)
    world.until_deletes(2)
    world.oracle.close()  # the garbage collector deletes what is left
    world.patch({"metadata": {"finalizers": ["example.com/wait"]}})
    world.cluster.registry.delete(DAEMONSETS, "logging", "log-agent", SOMEBODY)

    finish = world.finish()

    assert finish.outcome is Outcome.DRIFT
    assert finish.message == "DaemonSet log-agent is being deleted"


def test_faults_35_while_the_scheduler_is_down_the_canary_stops_the_run() -> None:
    world = World(12, waves=[1, "100%"], health={"soak": 1, "nodeTimeout": "1m"})
    world.cluster.scheduler.pause()

    finish = world.finish()

    pods = world.cluster.store.scan(PODS)
    unscheduled = [pod for pod in pods if not pod["spec"].get("nodeName")]
    assert len(unscheduled) == 1
    assert finish.outcome is Outcome.HELD
    assert len(world.oracle.order) == 1
    assert "not done after 1m: pod log-agent-" in finish.message


def test_a_cluster_that_was_set_back_ends_the_run_and_the_next_process_goes_on() -> None:
    world = World(5, health={"soak": 30, "nodeTimeout": "10m"})
    world.until_deletes(2)
    world.run._take(ev.WentBack("pods/log-agent", "90", "120"))
    world.advance(1.0)

    finish = world.run.finish
    assert finish is not None, "nodes in flight cannot be judged by what is forgotten"
    assert finish.outcome is Outcome.DRIFT
    assert "went back from version 120 to 90 and stays there" in finish.text
    world.run.kill()
    world.begin(resumed=True)
    assert world.finish().outcome is Outcome.DONE
    assert world.oracle.deletes.total() == 5


def test_a_daemon_set_that_stays_behind_the_plan_ends_the_run_as_drift() -> None:
    """Its store was set back before this process began, which has seen no newer version of it."""
    world = World(4)
    world.run.kill()
    (ds,) = world.plan.daemon_sets
    ahead = replace(ds, generation=ds.generation + 3)
    world.plan = replace(world.plan, daemon_sets=(ahead,))
    world.begin()
    began = world.now
    world.advance(30.0)
    assert "is at generation 1, the plan was made at 4: waiting for the API server" in world.why()

    finish = world.finish()

    assert (finish.outcome, exit_code(finish)) == (Outcome.DRIFT, ExitCode.STALE)
    assert "is at generation 1, the plan was made at 4 and stays there" in finish.text
    assert world.now - began < 100.0
    assert world.oracle.deletes.total() == 0


def test_a_daemon_set_that_was_behind_the_plan_for_a_while_is_updated() -> None:
    world = World(4)
    world.run.kill()
    (ds,) = world.plan.daemon_sets
    world.plan = replace(world.plan, daemon_sets=(replace(ds, generation=ds.generation + 1),))
    world.begin()
    world.advance(30.0)
    assert world.oracle.deletes.total() == 0
    world.patch({"spec": {"revisionHistoryLimit": 7}})

    assert world.finish().outcome is Outcome.DONE


@pytest.mark.parametrize("seconds", [40, 0])
def test_min_ready_seconds_count_as_they_are_now_for_what_is_available(seconds: int) -> None:
    world = World(4, daemonSets=[item(1)])
    world.until_deletes(1)
    world.advance(0.5)
    world.patch({"spec": {"minReadySeconds": 40}})
    world.advance(0.5)
    world.patch({"spec": {"minReadySeconds": seconds}})

    assert world.finish().outcome is Outcome.DONE

    first, second = world.oracle.times[:2]
    assert second - first > 40 if seconds else second - first < 10
    assert any("min-ready-changed" in line for line in world.run.log)


def test_a_delete_without_an_answer_is_not_repeated_while_nobody_can_read_its_pod() -> None:
    """The view may lag as well: what it shows tells nothing of a write that may have been done."""
    world = World(4, daemonSets=[item(1)])
    call, take = world.run._call, world.run._take
    deletes, reads = list[str](), list[float]()

    def losing(action: Any) -> ev.Answered:
        if isinstance(action, DeletePod) and not deletes:
            call(action)
            deletes.append(action.uid)
            return ev.Answered(action, ev.Answer.UNKNOWN, "connection reset")
        if isinstance(action, ReadPod) and len(reads) < 3:
            reads.append(world.now)
            return ev.Answered(action, ev.Answer.NOT_DONE, "connection refused")
        if isinstance(action, DeletePod):
            deletes.append(action.uid)
        return call(action)

    def lagging(event: ev.Event) -> None:
        if len(reads) == 3 or not isinstance(event, ev.PodSeen | ev.PodGone):
            take(event)

    world.until(lambda: world.run.engine.daemon_sets["log-agent"].resolved)
    world.run._call = losing  # type: ignore[method-assign]
    world.run._take = lagging  # type: ignore[method-assign]
    world.until(lambda: len(reads) == 3)

    assert len(deletes) == 1


def test_a_controller_is_not_called_silent_by_a_view_that_is_lost() -> None:
    world = World(4, daemonSets=[item(1)], health={"soak": 1, "nodeTimeout": "10m"})
    run, take = world.run, world.run._take

    def cut(event: ev.Event) -> None:
        if not isinstance(event, ev.PodSeen):
            take(event)

    world.until_deletes(1)
    run._take = cut  # type: ignore[method-assign]
    world.until(lambda: bool(run.engine.guards["log-agent"].bereft))
    take(ev.ViewLost("pods/log-agent", "the line is cut"))
    world.advance(120.0)

    assert not any("controller-silent" in line for line in run.log)


def test_nothing_is_deleted_before_the_controller_has_seen_that_it_is_to_delete_nothing() -> None:
    """Where the template is there already, its revision tells nothing of that (S1)."""

    def half_way(cluster: Cluster) -> None:
        cluster.set_image_fault("log-agent:2.4", read_fault("never-ready"))
        containers = [{"name": "agent", "image": "log-agent:2.4"}]
        body = {"spec": {"template": {"spec": {"containers": containers}}}}
        kind = PatchType.STRATEGIC
        cluster.registry.patch(DAEMONSETS, "logging", "log-agent", body, kind, SOMEBODY)
        cluster.clock.call_later(100.0, cluster.stop_controllers)

    world = World(6, before=half_way, daemonSets=[{**item(2), "target": {"live": True}}])
    world.cluster.clear_image_faults()
    world.until(lambda: world.live["spec"]["updateStrategy"]["type"] == "OnDelete")
    world.advance(60.0)
    assert world.oracle.order == []

    world.cluster.start_controllers()
    assert world.finish().outcome is Outcome.DONE
