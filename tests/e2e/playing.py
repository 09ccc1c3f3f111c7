"""Plans a spec with the real command, and plays the plan on the embedded cluster's virtual clock.

The cluster is served over HTTP while its clock stands still, so `rollout plan` runs as users run
it; then the same plan is carried out with the spec's own soak and bake times, minutes in a blink.
The journal looks at the store alone and knows nothing of the engine.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import msgspec
import yaml

from rollout.cluster.client import connect
from rollout.executor.engine.actions import Finish
from rollout.executor.record.wishes import Wishes
from rollout.fleet import marks
from rollout.fleet.objects import Pod
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from rollout.gatespec import Gate, PrometheusGate
from rollout.planner.plan import Plan, decode
from rollout.sim.api import Api
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.cluster import Settings as ClusterSettings
from rollout.sim.fleetfile import Fleet
from rollout.sim.kubeconfigfile import kubeconfig
from rollout.sim.logs import scripted
from rollout.sim.rbac import ADMIN
from rollout.sim.resources import DAEMONSETS, PODS
from rollout.sim.server import Server
from rollout.sim.store import Event, Object
from tests.cluster.world import Asked, Reply, serve
from tests.e2e.world import Done, environment, run
from tests.simulation.driver import Oracle, VirtualRun

SETTLED_S = 30.0  # until a fleet that starts in the middle of something has come to rest
PATIENCE_S = 3 * 86400.0  # of virtual time: windows may be closed over a weekend

Subject = tuple[str, str]  # DaemonSet, node


class Stage:
    """A cluster on a virtual clock on which specs are planned and played.

    Args:
        fleet: what it holds.
        directory: for its kubeconfig and the saved plans.
    """

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.clock = VirtualClock()
        settings = ClusterSettings(track_managers=len(fleet.nodes) < 100, events=False)
        self.cluster = Cluster(self.clock, fleet, settings)
        self.cluster.start()
        self.clock.advance(SETTLED_S)
        self._directory = directory

    def plan(self, spec: Path) -> Planned:
        """Plan a spec with the real command, over HTTP."""
        saved = self._directory / "plan.json"
        with self._served() as config:
            env = environment(KUBECONFIG=str(config))
            done = run("plan", "-f", spec, "--out", saved, env=env)
        return Planned(done, decode(saved.read_bytes(), "plan.json") if done.code == 0 else None)

    @contextmanager
    def _served(self) -> Iterator[Path]:
        """Serve the cluster over HTTP; gives a kubeconfig."""
        api = Api(self.cluster.registry, anonymous=ADMIN)
        look_up = self.cluster.images.behaviour
        api.logs.script = scripted(lambda image, node: look_up(image, node).logs or ())
        server = Server(api, threading.RLock())
        server.start()
        try:
            config = self._directory / "kubeconfig"
            config.write_text(yaml.safe_dump(kubeconfig(server.url, "admin")))
            yield config
        finally:
            server.stop()

    def play(
        self,
        plan: Plan,
        *,
        approved: Iterable[int] = (),
        voices: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Played:
        """Carry a plan out; its gates look at the cluster over HTTP.

        Queries of Prometheus are answered by a server on the same virtual clock to which nothing
        is wrong.

        Args:
            plan: what to do.
            approved: waves (1-based) that have their approval already.
            voices: who has approved which gate already.
        """
        wishes = Wishes(waves=frozenset(approved), gates=voices or {})
        with (
            self._served() as config,
            closing(connect(config)) as client,
            serve(self._monitor) as monitor,
        ):

            def look(gate: Gate, context: Context) -> Measurement:
                if isinstance(gate, PrometheusGate):
                    gate = msgspec.structs.replace(gate, url=monitor.url)
                around = replace(context, client=client, settings=Settings(hosts=("127.0.0.1",)))
                return measure(gate, around)

            return self._play(plan, wishes, look)

    def _monitor(self, asked: Asked) -> Reply:
        """Answer as a Prometheus server whose series were all sampled just now."""
        now = self.clock.now()
        value = now if "timestamp(" in asked.query["query"] else 0.001
        result = [{"metric": {}, "value": [now, str(value)]}]
        return Reply({"status": "success", "data": {"resultType": "vector", "result": result}})

    def _play(
        self, plan: Plan, wishes: Wishes, look: Callable[[Gate, Context], Measurement]
    ) -> Played:
        before = self.daemon_sets(plan)
        old = self.pods(plan)
        oracle, journal = Oracle(self.cluster, plan), Journal(self.cluster, plan)
        carried = VirtualRun(self.cluster, plan, random.Random(1), wishes=wishes, look=look)
        carried.start()
        finish = carried.run(PATIENCE_S)
        oracle.close()
        journal.close()
        after = self.daemon_sets(plan)
        return Played(plan, finish, oracle, journal, before, after, old, self.pods(plan))

    def daemon_sets(self, plan: Plan) -> dict[str, Object]:
        """Return the plan's DaemonSets as they are now, by name."""
        found = {
            ds.name: self.cluster.store.get(DAEMONSETS, (ds.namespace, ds.name))
            for ds in plan.daemon_sets
        }
        return {name: obj for name, obj in found.items() if obj is not None}

    def pods(self, plan: Plan) -> dict[Subject, Object]:
        """Return the pods of the plan's DaemonSets as they are now."""
        names = {ds.uid: ds.name for ds in plan.daemon_sets}
        return {
            (names[owner], pod["spec"]["nodeName"]): pod
            for pod in self.cluster.store.scan(PODS)
            if (owner := _owner(pod)) in names
        }


@dataclass(frozen=True)
class Planned:
    """What `rollout plan` said, and the plan that it saved."""

    done: Done
    saved: Plan | None

    @property
    def plan(self) -> Plan:
        """The plan; planning has to have succeeded."""
        assert self.saved is not None, self.done.err
        return self.saved


@dataclass(frozen=True)
class Played:
    """A plan that was carried out: how it ended, and what the store saw."""

    plan: Plan
    finish: Finish
    oracle: Oracle
    journal: Journal
    before: Mapping[str, Object]  # the DaemonSets by name
    after: Mapping[str, Object]
    old: Mapping[Subject, Object]  # the pods
    new: Mapping[Subject, Object]

    @property
    def daemon_set(self) -> str:
        """The name of the only DaemonSet."""
        (ds,) = self.plan.daemon_sets
        return ds.name

    def replaced(self) -> set[Subject]:
        """Return where there is another pod than before."""
        return {at for at, pod in self.new.items() if _uid(pod) != _uid(self.old[at])}

    def wave(self, number: int) -> list[str]:
        """Return the nodes of a wave (1-based)."""
        steps = (s for s in self.plan.steps if s.kind == "update" and s.wave == number)
        return list(dict.fromkeys(step.node for step in steps))

    def subjects(self, number: int) -> list[Subject]:
        """Return all that a wave updates."""
        steps = (s for s in self.plan.steps if s.kind == "update" and s.wave == number)
        return [(step.daemon_set, step.node) for step in steps]

    def zone(self, node: str) -> str:
        """Return the node's zone."""
        return next(n.zone for ds in self.plan.daemon_sets for n in ds.nodes if n.name == node)

    def assert_waves_follow_each_other(self) -> None:
        """Nothing of a wave begins before all of the one before is ready, soaked and baked."""
        waves = [self.subjects(number + 1) for number in range(len(self.plan.waves))]
        for number, (earlier, later) in enumerate(pairwise(waves)):
            end = max(self.journal.ended(at) for at in earlier) + self.plan.waves[number].bake_s
            assert min(self.journal.began[at] for at in later) >= end


class Journal:
    """When each node's old pod was taken away or released, and when its new one became ready."""

    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        self._clock = cluster.clock
        self._names = {ds.uid: ds.name for ds in plan.daemon_sets}
        self._soak = {ds.name: max(plan.health.soak_s, ds.min_ready_s) for ds in plan.daemon_sets}
        self._old = {_uid(pod) for pod in cluster.store.scan(PODS)}
        self.began: dict[Subject, float] = {}
        self.ready: dict[Subject, float] = {}
        self._stop = cluster.store.subscribe(PODS, self._look)

    def close(self) -> None:
        """Look no more."""
        self._stop()

    def ended(self, at: Subject) -> float:
        """Return when the new pod had been ready for the soak time."""
        return self.ready[at] + self._soak[at[0]]

    def order(self, daemon_set: str) -> list[str]:
        """Return the nodes in the order in which their pods were taken."""
        return [node for name, node in self.began if name == daemon_set]

    def most_at_once(self, subjects: Iterable[Subject]) -> int:
        """Return how many of these were at work at once: from the old pod's end to the soak's."""
        changes = []
        for at in subjects:
            changes += [(self.began[at], 1), (self.ended(at), -1)]
        most = now = 0
        for _, change in sorted(changes):
            now += change
            most = max(most, now)
        return most

    def most_begun_in_a_second(self) -> int:
        """Return the largest number of pods that were taken within any second."""
        times = sorted(self.began.values())
        return max(sum(1 for t in times if 0 <= t - start < 1.0) for start in times)

    def _look(self, event: Event) -> None:
        meta = event.object["metadata"]
        labels = meta.get("labels") or {}
        name = self._names.get(_owner(event.object) or labels.get(marks.RELEASED_FROM, ""))
        if name is None:
            return
        pod = msgspec.convert(event.object, Pod)
        at = (name, pod.target_node)
        if _uid(event.object) not in self._old:
            if pod.ready:
                self.ready.setdefault(at, self._clock.now())
        elif pod.terminating or marks.RELEASED_FROM in labels:
            self.began.setdefault(at, self._clock.now())


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")
