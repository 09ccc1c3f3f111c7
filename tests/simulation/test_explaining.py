"""L3: in whatever state a run is, one sentence says what it waits for, and it is true."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest

from rollout.executor.engine import guarding
from rollout.executor.engine.state import IN_FLIGHT, Phase, StepState
from rollout.executor.explain import NOTHING, explain
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet, read_fault
from rollout.sim.resources import NODES
from tests.simulation.driver import VirtualRun, make_plan
from tests.simulation.world import TARGET

FAULTS = ["none", "never-ready", "crash", "unpullable", "flap", "kills-node", "missing-configmap"]


class Explained(VirtualRun):
    """Asks after every decision what the run waits for, and holds the answer to the truth."""

    sentences: set[str]

    def _decide(self) -> None:
        super()._decide()
        if not hasattr(self, "sentences"):
            self.sentences = set()
        if self.finish is None:
            said = explain(self.engine, self.clock.now())
            self.sentences.add(said)
            self._hold_to_the_truth(said)

    def _hold_to_the_truth(self, said: str) -> None:
        engine, now = self.engine, self.clock.now()
        assert said.strip()
        assert "\n" not in said
        flying = {r.node for r in engine.steps.values() if r.node and r.state in IN_FLIGHT}
        aside = {r.node for r in engine.unreachable.waiting.values()}
        if said == NOTHING:
            assert engine.actions or engine.next_wake() == now, "nothing to wait for, yet not over"
        if "waiting for node-" in said:
            node = said.partition("waiting for ")[2].split()[0].strip(":,")
            assert node in flying | aside, said
        elif flying and not engine.lost_views:
            raise AssertionError(f"{sorted(flying)} are in flight, but: {said}")
        if "rate limit" in said:
            assert engine.pace.next_at > now
        if "bake time" in said:
            barriers = [r for r in engine.steps.values() if r.step.kind == "barrier"]
            assert any(r.state is StepState.SOAKING for r in barriers)
        if "is used up by" in said:
            assert any(len(ds.view.used) for ds in engine.daemon_sets.values())
            assert not said.endswith("by ")
        if "to take the patch" in said:
            phases = {ds.phase for ds in engine.daemon_sets.values()}
            assert phases & {Phase.PREPARING, Phase.RESTORING}
        if "kube-controller-manager" in said:
            assert any(guarding.reason(engine, ds) for ds in engine.daemon_sets.values())


def random_world(rng: random.Random) -> tuple[Cluster, dict[str, Any]]:
    cluster = Cluster(
        VirtualClock(),
        default_fleet(rng.randint(2, 24), rng.randint(1, 4), seed=rng.randrange(2**32)),
        Settings(track_managers=False, events=False),
    )
    cluster.start()
    surges = rng.random() < 0.25
    strategy = {"maxUnavailable": 0, "maxSurge": 3} if surges else {"maxUnavailable": 3}
    spec: dict[str, Any] = {
        "daemonSets": [{"name": "log-agent", "target": TARGET, "strategy": strategy}],
        "waves": rng.choice(["fast", "standard", [{"size": 2, "bake": "2m"}, {"name": "rest"}]]),
        "health": {"soak": rng.choice([0, 5, 40]), "nodeTimeout": "2m"},
        "failure": {"maxFailures": rng.choice([0, 2, "100%"]), "maxUnreachable": "50%"},
        "limits": {"replacementsPerSecond": rng.choice([0.2, 5])},
    }
    return cluster, spec


def disturb(cluster: Cluster, rng: random.Random) -> None:
    """Let something go wrong at some moment of the next minutes."""
    clock = cluster.clock
    nodes = [n["metadata"]["name"] for n in cluster.store.scan(NODES)]
    kind = rng.choice(["none", "lose", "zone", "controllers", "break-old"])
    at = rng.uniform(0.0, 90.0)
    if kind == "lose":
        lost = rng.sample(nodes, min(2, len(nodes)))
        for name in lost:
            clock.call_later(at, partial(cluster.lose_node, name))
        clock.call_later(at + 200, lambda: cluster.restore_node(lost[0]))
    elif kind == "zone":
        clock.call_later(at, lambda: cluster.lose_zone("zone-a"))
    elif kind == "controllers":
        clock.call_later(at, cluster.stop_controllers)
        clock.call_later(at + rng.choice([20, 100, 4000]), cluster.start_controllers)
    elif kind == "break-old":
        key = f"log-agent:2.3@{rng.choice(nodes)}"
        clock.call_later(at, lambda: cluster.set_image_fault(key, read_fault("never-ready")))


@pytest.mark.parametrize("seed", range(60))
def test_a_run_always_says_truly_what_it_waits_for_and_always_ends(seed: int) -> None:
    rng = random.Random(seed)
    cluster, spec = random_world(rng)
    kind = rng.choice(FAULTS)
    if kind != "none":
        more = {"after": 8, "lasts": 2} if kind == "flap" else {}
        where = rng.choice(["", "@node-001", "@node-000"])
        fault = read_fault({"kind": kind, **more})
        cluster.set_image_fault(f"log-agent:2.4{where}", fault)
    plan = make_plan(cluster, spec)
    disturb(cluster, rng)
    run = Explained(cluster, plan, rng, lose_answers=rng.choice([0.0, 0.2]))
    run.start()

    finish = run.run(timeout=20_000.0)

    assert finish.message
    assert run.sentences
