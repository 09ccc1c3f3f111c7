"""Whole rollouts under the virtual clock: random fleets, specs, delays and crashes, by seed."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from rollout.executor.engine.actions import Outcome
from rollout.fleet import marks
from rollout.planner.plan import Plan
from rollout.planner.rollback import revision_before, rollback_plan
from rollout.quantity import parse_amount
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import Fleet, default_fleet, read_fault
from rollout.sim.images import Behaviour, Timing
from rollout.sim.resources import DAEMONSETS, PODS
from tests.simulation.driver import Oracle, VirtualRun, make_plan, read_fleet

TARGET = {"set": {"image": {"agent": "log-agent:2.4"}}}


def virtual_cluster(fleet: Fleet) -> Cluster:
    cluster = Cluster(VirtualClock(), fleet, Settings(track_managers=False, events=False))
    cluster.start()
    return cluster


def random_fleet(rng: random.Random) -> Fleet:
    fleet = default_fleet(rng.randint(1, 40), rng.randint(1, 4), seed=rng.randrange(2**32))
    start = Timing(rng.uniform(0.5, 5.0), sigma=0.6)
    behaviour = Behaviour(start=start).over(fleet.default_behaviour)
    return msgspec.structs.replace(fleet, default_behaviour=behaviour)


def random_spec(rng: random.Random) -> dict[str, Any]:
    limit = rng.choice([1, 2, 5, "10%", "34%", "100%"])
    waves: Any = rng.choice(
        ["standard", "fast", "critical", [1, "50%"], [{"name": "canary", "size": 2}]]
    )
    spec: dict[str, Any] = {
        "daemonSets": [
            {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": limit}}
        ],
        "waves": waves,
        "health": {"soak": rng.choice([0, 1, 5]), "nodeTimeout": "5m"},
    }
    if rng.random() < 0.3:
        spec["limits"] = {"maxPerZone": rng.randint(1, 3), "maxNodesInFlight": rng.randint(1, 6)}
    return spec


@pytest.mark.parametrize("seed", range(150))
def test_a_healthy_release_reaches_every_node_once_within_the_budget(seed: int) -> None:
    rng = random.Random(seed)
    cluster = virtual_cluster(random_fleet(rng))
    before = read_fleet(cluster, "logging", "log-agent").daemon_set.spec.update_strategy
    spec = random_spec(rng)
    plan = make_plan(cluster, spec)
    oracle = Oracle(cluster, plan)
    run = VirtualRun(cluster, plan, rng, lose_answers=rng.choice([0.0, 0.0, 0.3]))
    run.start()

    finish = run.run()

    after = read_fleet(cluster, "logging", "log-agent")
    nodes = [n.name for n in plan.daemon_sets[0].nodes]
    assert finish.outcome is Outcome.DONE
    assert oracle.deletes == {("log-agent", node): 1 for node in nodes}
    assert oracle.most_down <= parse_amount(
        spec["daemonSets"][0]["strategy"]["maxUnavailable"]
    ).resolve(len(nodes))
    assert after.daemon_set.spec.update_strategy == before
    assert not any(mark in after.daemon_set.metadata.annotations for mark in marks.ALL)
    assert all(after.is_current(pod) for pods in after.pods.values() for pod in pods)
    in_order = [s.node for s in plan.steps if s.kind == "update"]
    first_wave = plan.waves[0].nodes
    assert set(oracle.order[:first_wave]) == set(in_order[:first_wave])


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_is_killed_again_and_again_deletes_no_pod_twice(seed: int) -> None:
    rng = random.Random(seed)
    cluster = virtual_cluster(random_fleet(rng))
    plan = make_plan(cluster, random_spec(rng))
    oracle = Oracle(cluster, plan)
    clock = cluster.clock
    assert isinstance(clock, VirtualClock)
    resumed = False
    for _ in range(rng.randint(1, 8)):
        run = VirtualRun(cluster, plan, rng, resumed=resumed, lose_answers=0.1)
        run.start()
        clock.advance(rng.uniform(0.05, 8.0))
        run.kill()
        resumed = True
    run = VirtualRun(cluster, plan, rng, resumed=True)
    run.start()

    finish = run.run()

    after = read_fleet(cluster, "logging", "log-agent")
    assert finish.outcome is Outcome.DONE
    assert set(oracle.deletes.values()) == {1}
    assert len(oracle.deletes) == plan.totals.update
    assert after.daemon_set.spec.update_strategy == plan.daemon_sets[0].original_strategy


def test_a_release_that_never_gets_ready_touches_no_more_than_the_budget() -> None:
    fleet = default_fleet(10, 2)
    cluster = virtual_cluster(fleet)
    cluster.set_image_fault("log-agent:2.4", read_fault("never-ready"))
    plan = make_plan(
        cluster,
        {
            "daemonSets": [
                {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": 3}}
            ],
            "waves": "fast",
            "health": {"soak": 1, "nodeTimeout": "1m"},
        },
    )
    oracle = Oracle(cluster, plan)
    run = VirtualRun(cluster, plan, random.Random(1))
    run.start()

    finish = run.run()

    assert finish.outcome is Outcome.HELD
    assert len(oracle.deletes) == 3
    live = cluster.store.get(DAEMONSETS, ("logging", "log-agent"))
    assert live is not None
    assert live["spec"]["updateStrategy"] == {"type": "OnDelete"}


def surge_spec(rng: random.Random) -> dict[str, Any]:
    spec = random_spec(rng)
    surge = rng.choice([1, 3, "20%", "100%"])
    spec["daemonSets"][0]["strategy"] = {"maxUnavailable": 0, "maxSurge": surge}
    return spec


@pytest.mark.parametrize("seed", range(100))
def test_under_hand_over_no_node_is_ever_without_a_ready_pod(seed: int) -> None:
    rng = random.Random(seed)
    cluster = virtual_cluster(random_fleet(rng))
    plan = make_plan(cluster, surge_spec(rng))
    oracle = Oracle(cluster, plan)  # maxUnavailable is 0: one node down fails
    resumed = False
    clock = cluster.clock
    assert isinstance(clock, VirtualClock)
    for _ in range(rng.choice([0, 0, 1, 4])):
        killed = VirtualRun(cluster, plan, rng, resumed=resumed, lose_answers=0.1)
        killed.start()
        clock.advance(rng.uniform(0.05, 8.0))
        killed.kill()
        resumed = True
    run = VirtualRun(cluster, plan, rng, resumed=resumed, lose_answers=rng.choice([0.0, 0.3]))
    run.start()

    finish = run.run()

    after = read_fleet(cluster, "logging", "log-agent")
    clock.advance(60.0)
    assert finish.outcome is Outcome.DONE, run.log
    assert set(oracle.deletes.values()) == {1}
    assert len(oracle.deletes) == plan.totals.update
    assert oracle.most_down == 0
    assert after.daemon_set.spec.update_strategy == plan.daemon_sets[0].original_strategy
    left = [p for p in cluster.store.scan(PODS) if marks.RELEASED_FROM in p["metadata"]["labels"]]
    assert left == []


def bad_spec(rng: random.Random, *, surge: bool) -> dict[str, Any]:
    spec = surge_spec(rng) if surge else random_spec(rng)
    spec["health"] = {"soak": 1, "nodeTimeout": "1m"}
    spec["waves"] = "fast"
    return spec


@pytest.mark.parametrize("surge", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_a_bad_release_is_rolled_back_on_the_touched_nodes_only(seed: int, *, surge: bool) -> None:
    rng = random.Random(seed)
    cluster = virtual_cluster(random_fleet(rng))
    cluster.set_image_fault("log-agent:2.4", read_fault(rng.choice(["never-ready", "crash"])))
    plan = make_plan(cluster, bad_spec(rng, surge=surge))
    before = read_fleet(cluster, "logging", "log-agent")
    forward_oracle = Oracle(cluster, plan)
    forward = VirtualRun(cluster, plan, rng)
    forward.start()
    assert forward.run().outcome is Outcome.HELD
    touched = {s.node for s in forward.engine.steps.values() if s.replaced_uid}
    forward_oracle.close()

    back = rollback_of(cluster, plan)
    oracle = Oracle(cluster, back)
    clock = cluster.clock
    assert isinstance(clock, VirtualClock)
    resumed = False
    for _ in range(rng.choice([0, 0, 2])):
        killed = VirtualRun(cluster, back, rng, resumed=resumed, lose_answers=0.1)
        killed.start()
        clock.advance(rng.uniform(0.05, 3.0))
        killed.kill()
        resumed = True
    run = VirtualRun(cluster, back, rng, resumed=resumed, lose_answers=rng.choice([0.0, 0.2]))
    run.start()
    finish = run.run()
    clock.advance(60.0)

    after = read_fleet(cluster, "logging", "log-agent")
    assert finish.outcome is Outcome.DONE, run.log
    assert after.daemon_set.spec.template == before.daemon_set.spec.template
    assert after.daemon_set.spec.update_strategy == before.daemon_set.spec.update_strategy
    assert all(after.is_current(pod) for pods in after.pods.values() for pod in pods)
    assert {node for _, node in oracle.deletes} == touched
    old = {uid for node, pods in before.pods.items() for p in pods if (uid := p.metadata.uid)}
    now = {pod.metadata.uid for pods in after.pods.values() for pod in pods}
    if surge:
        assert now == old  # the way back restarts nothing
    else:
        assert len(old - now) == len(touched)


def rollback_of(cluster: Cluster, plan: Plan) -> Plan:
    fleet = read_fleet(cluster, "logging", "log-agent")
    target = revision_before(plan.daemon_sets[0].current.template_digest, fleet)
    surges = [ds.name for ds in plan.daemon_sets if ds.hand_over is not None]
    now = cluster.clock.now()
    return rollback_plan("sim", [fleet], {"log-agent": target}, "v1.36.2", now, surges)
