"""The engine through any order of time, kills, stops and strangers, judged from the store alone."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, DeletePod, Outcome
from rollout.executor.explain import explain
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster, Settings
from rollout.sim.fleetfile import default_fleet
from rollout.sim.resources import PODS
from rollout.sim.store import Object
from tests.simulation.driver import VirtualRun, make_plan, read_fleet
from tests.simulation.world import SOMEBODY, TARGET

NODES = [f"node-{n:03}" for n in range(6)]
LIMIT = 2
NEWS_S = 0.2  # until what happened has surely been told
COMES_BACK_S = 60.0  # a pod that somebody deletes
SPEC = {
    "daemonSets": [
        {"name": "log-agent", "target": TARGET, "strategy": {"maxUnavailable": LIMIT}},
    ],
    "waves": [{"name": "canary", "size": 1}, {"name": "rest"}],
    "health": {"soak": 1, "nodeTimeout": "5m"},
    "failure": {"maxFailures": "100%"},
}


class Judged(VirtualRun):
    """A run whose deletes are judged when they arrive: whose pod, how often, how many are down."""

    deleted: Counter[str]
    last_stranger: float = float("-inf")

    def _call(self, action: Action) -> ev.Answered:
        if isinstance(action, DeletePod):
            self._judge(action)
        return super()._call(action)

    def _judge(self, delete: DeletePod) -> None:
        found = self.cluster.store.get(PODS, ("logging", delete.pod))
        if found is None or found["metadata"]["uid"] != delete.uid:
            return  # the precondition will keep the server from it
        self.deleted[delete.node] += 1
        assert self.deleted[delete.node] == 1, f"S3: {delete.node} twice"
        image = found["spec"]["containers"][0]["image"]
        assert image == "log-agent:2.3", f"S3: {delete.pod} runs the target"
        if self.clock.now() - self.last_stranger > NEWS_S:
            down = down_nodes(self.cluster)
            free = delete.node in down or len(down) < LIMIT  # what is down costs nothing more
            assert free, f"S1: {delete.node} although {sorted(down)} are down"


def down_nodes(cluster: Cluster) -> set[str]:
    """Return the nodes of the plan without a ready pod."""
    pods = [pod for pod in cluster.store.scan(PODS, "logging") if is_ready(pod)]
    return set(NODES) - {pod["spec"]["nodeName"] for pod in pods}


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


class EngineMachine(RuleBasedStateMachine):
    """One plan for six nodes, carried out by process after process."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster(VirtualClock(), default_fleet(6, 2), Settings(events=False))
        self.cluster.start()
        self.plan = make_plan(self.cluster, SPEC)
        self.deleted: Counter[str] = Counter()
        self.stranger_at = float("-inf")
        self.run = self.process(resumed=False)

    def process(self, *, resumed: bool) -> Judged:
        run = Judged(self.cluster, self.plan, random.Random(7), resumed=resumed, lose_answers=0.2)
        run.deleted = self.deleted
        run.start()
        return run

    @property
    def clock(self) -> VirtualClock:
        clock = self.cluster.clock
        assert isinstance(clock, VirtualClock)
        return clock

    @rule(seconds=st.sampled_from([0.01, 0.05, 0.3, 1.0, 3.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(node=st.sampled_from(NODES))
    def somebody_deletes_a_pod(self, node: str) -> None:
        for pod in read_fleet(self.cluster, "logging", "log-agent").pods.get(node, ()):
            self.cluster.registry.delete(PODS, "logging", pod.metadata.name, SOMEBODY)
            self.run.last_stranger = self.stranger_at = self.clock.now()

    @rule()
    def the_process_is_killed_and_another_goes_on(self) -> None:
        self.run.kill()
        self.run = self.process(resumed=True)

    @rule()
    def somebody_presses_ctrl_c(self) -> None:
        self.run.ask_to_stop()

    @precondition(lambda self: self.run.finish is not None)
    @rule()
    def the_plan_is_applied_again(self) -> None:
        self.the_process_is_killed_and_another_goes_on()

    @rule()
    def the_controller_manager_restarts(self) -> None:
        self.cluster.stop_controllers()
        self.clock.advance(1.0)
        self.cluster.start_controllers()

    @invariant()
    def it_says_what_it_waits_for(self) -> None:
        if self.run.finish is None:
            assert explain(self.run.engine, self.clock.now())

    def teardown(self) -> None:
        """Let it end: every node on the target, the strategy back (L1, S11)."""
        finish = self.run.finish or self.run.run()
        for _ in range(2):
            if finish.outcome is not Outcome.DONE:
                self.the_process_is_killed_and_another_goes_on()
                finish = self.run.run()
        assert finish.outcome is Outcome.DONE, finish
        if self.clock.now() - self.stranger_at < COMES_BACK_S:  # what they deleted comes back
            self.clock.advance(COMES_BACK_S)
        after = read_fleet(self.cluster, "logging", "log-agent")
        assert {n for n, pods in after.pods.items() if all(map(after.is_current, pods))} == set(
            NODES
        )
        assert after.daemon_set.spec.update_strategy == self.plan.daemon_sets[0].original_strategy


EngineMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
test_engine = EngineMachine.TestCase
