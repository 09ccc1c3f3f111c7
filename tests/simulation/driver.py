"""Runs the real engine against the embedded cluster on a virtual clock: one thread, one seed.

What the loop in `executor/run.py` does with threads and HTTP happens here as callbacks of the
clock, with a delay for every event and every call. The oracles look at the store after every
change and know nothing of the engine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import msgspec

from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import (
    Action,
    Ask,
    Claim,
    DeletePod,
    Finish,
    LookFor,
    Measure,
    PodWrite,
    Prepare,
    ReadDaemonSet,
    ReadPod,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.gatestate import Carried
from rollout.executor.engine.storedtimes import announce, left_behind
from rollout.executor.explain import explain
from rollout.executor.patches import (
    prepare_patch,
    release_patch,
    restore_patch,
    take_back_patch,
)
from rollout.executor.picture import Surroundings, take_picture
from rollout.executor.record.timerecord import StoredTimes
from rollout.executor.record.wishes import Wishes
from rollout.fleet import marks
from rollout.fleet.objects import ClusterEvent, ControllerRevision, DaemonSet, Node, Pod
from rollout.fleet.selectors import selector_of
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from rollout.gatespec import Gate
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import desired_state
from rollout.planner.fates import unproven
from rollout.planner.plan import Plan
from rollout.sim.clock import VirtualClock
from rollout.sim.cluster import Cluster
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, DeleteOptions, PatchType
from rollout.sim.resources import (
    CONTROLLER_REVISIONS,
    DAEMONSETS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    Resource,
)
from rollout.sim.store import Event, Object
from rollout.spec import LoadedSpec, Spec
from rollout.yamlsource import Source

US = Caller("rollout", ("system:masters",), "rollout")


def loaded_spec(body: dict[str, Any], namespace: str = "logging", name: str = "sim") -> LoadedSpec:
    """Return a spec as if it had been read from a file."""
    document = {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": name, "namespace": namespace},
        "spec": body,
    }
    source = Source("spec.yaml", document, {})
    return LoadedSpec(source.convert(Spec), source, {}, ())


def read_fleet(cluster: Cluster, namespace: str, name: str) -> Fleet:
    """Return the snapshot that the edge would read."""
    store = cluster.store
    raw = store.get(DAEMONSETS, (namespace, name))
    system = store.get(NAMESPACES, ("", "kube-system"))
    assert raw is not None
    assert system is not None
    return build_fleet(
        system["metadata"]["uid"],
        msgspec.convert(raw, DaemonSet),
        raw,
        [
            msgspec.convert(o, ControllerRevision)
            for o in store.scan(CONTROLLER_REVISIONS, namespace)
        ],
        [msgspec.convert(o, Node) for o in store.scan(NODES)],
        [msgspec.convert(o, Pod) for o in store.scan(PODS, namespace)],
    )


def make_plan(
    cluster: Cluster,
    body: dict[str, Any],
    namespace: str = "logging",
    *,
    name: str = "sim",
    behind_unfinished: bool = False,
) -> Plan:
    """Plan a spec against the cluster as it is.

    Args:
        cluster: as it is.
        body: what stands below `spec`.
        namespace: of the DaemonSets.
        name: of the rollout.
        behind_unfinished: the last run to this template was not brought to its end.
    """
    loaded = loaded_spec(body, namespace, name)
    subjects = []
    for index, item in enumerate(loaded.spec.spec.daemon_sets):
        fleet = read_fleet(cluster, namespace, item.name)
        desired, watched = desired_state(loaded, index, item, fleet, "now"), frozenset[str]()
        if behind_unfinished:
            rules = loaded.spec.spec.nodes
            watched = unproven(fleet, desired.template, rules, cluster.clock.now())
        subjects.append(Subject(fleet, desired, unfinished=watched))
    return build_plan(loaded, subjects, "v1.36.2", cluster.clock.now())


class VirtualRun:
    """One process that carries a plan out; `kill` is SIGKILL.

    Args:
        cluster: on a `VirtualClock`.
        plan: what to do.
        rng: decides how long each event and each call takes.
        resumed: an earlier process has begun this run.
        lose_answers: share of writes whose answer is lost after they were done.
        approved: waves (1-based) that somebody has approved.
        wishes: what people have said before; in place of `approved`.
        stop_at: nothing behind this wave starts.
        stepping: each node is asked for; the questions are in `asked`.
        carried: what an earlier process has written down of the gates.
        times: what the record says of the run's times.
        ignore_windows: somebody wants it to go on outside of its windows.
        joins: other runs may be at work; who they are, a test tells.
        look: how a gate is measured; gates that look at nothing but the picture are real.
    """

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        rng: random.Random,
        *,
        resumed: bool = False,
        lose_answers: float = 0.0,
        approved: frozenset[int] = frozenset(),
        wishes: Wishes | None = None,
        stop_at: int = 0,
        stepping: bool = False,
        carried: Carried | None = None,
        times: StoredTimes | None = None,
        ignore_windows: bool = False,
        joins: bool = False,
        look: Callable[[Gate, Context], Measurement] = measure,
    ) -> None:
        self.cluster = cluster
        self.clock = cluster.clock
        self.plan = plan
        self.engine = Engine(
            plan,
            resumed=resumed,
            wishes=wishes or Wishes(waves=approved),
            stop_at=stop_at,
            stepping=stepping,
            carried=carried,
            times=times,
            ignore_windows=ignore_windows,
            joins=joins,
        )
        self.tells = True  # the watch tells what the run claims
        self.claims: list[StoredTimes] = []  # as the record has named them
        self.looked: list[str] = []  # at which other runs, in this order
        self.recorded = times or StoredTimes()  # as the record would say
        self.records = 0  # how often that was written
        self._writing = self.recorded  # the last that was to be written
        self.asked: list[Ask] = []
        self.measured: Counter[str] = Counter()  # name of a gate -> measurements
        self._look = look
        self.finish: Finish | None = None
        self.writes = 0
        self.log: list[str] = []
        self._rng = rng
        self._lose = lose_answers
        self._alive = True
        self._stops: list[Callable[[], None]] = []
        self._wake_at: float | None = None
        self._front: dict[Resource, float] = {}
        self._selectors = {
            ds.name: selector_of(
                read_fleet(cluster, ds.namespace, ds.name).daemon_set.spec.selector
            )
            for ds in plan.daemon_sets
        }

    def start(self) -> None:
        """List, then watch."""
        store = self.cluster.store
        for resource in (CONTROLLER_REVISIONS, PODS, NODES, DAEMONSETS, EVENTS):
            self._stops.append(store.subscribe(resource, self._changed))
        for ds in self.plan.daemon_sets:
            name, space = ds.name, ds.namespace
            pods = [msgspec.convert(o, Pod) for o in store.scan(PODS, space)]
            self._later(
                ev.PodsListed(
                    name, tuple(p for p in pods if self._selectors[name].matches(p.metadata.labels))
                ),
                PODS,
            )
            released = [p for p in pods if p.metadata.labels.get(marks.RELEASED_FROM) == ds.uid]
            self._later(ev.ReleasedListed(name, tuple(released)), PODS)
            self._later(self._revisions(name), CONTROLLER_REVISIONS)
            raw = store.get(DAEMONSETS, (space, name))
            assert raw is not None
            self._later(ev.DaemonSetSeen(name, msgspec.convert(raw, DaemonSet)), DAEMONSETS)
        nodes = tuple(msgspec.convert(o, Node) for o in store.scan(NODES))
        self._later(ev.NodesListed(nodes), NODES)

    def kill(self) -> None:
        """End the process; what it was about to do never happens."""
        self._alive = False
        for stop in self._stops:
            stop()

    def ask_to_stop(self) -> None:
        """Press Ctrl-C once."""
        self._take(ev.StopAsked("stopped by SIGINT"))

    def say(self, wishes: Wishes) -> None:
        """Let the run hear all that people have said so far."""
        self._take(ev.Said(wishes))

    def answer(self, node: str, word: Literal["go", "skip", "all", "stop"]) -> None:
        """Answer the question about a node."""
        self._take(ev.Decided(node, word, 1))

    def run(self, timeout: float = 7200.0) -> Finish:
        """Run until the engine is finished."""
        clock = self.clock
        assert isinstance(clock, VirtualClock)
        if not clock.run_until(lambda: self.finish is not None, timeout):
            why = explain(self.engine, clock.now())
            raise AssertionError(f"not finished after {timeout} s: {why}\n" + "\n".join(self.log))
        assert self.finish is not None
        self.kill()
        return self.finish

    # Events in

    def _changed(self, event: Event) -> None:
        """Translate a change of the store; order within a resource is kept, as a watch keeps it."""
        for told in self._translate(event):
            self._later(told, event.resource)

    def _translate(self, event: Event) -> list[ev.Event]:
        gone = event.type == "DELETED"
        if event.resource is NODES:
            node = msgspec.convert(event.object, Node)
            return [ev.NodeGone(node.metadata.name) if gone else ev.NodeSeen(node)]
        if event.resource is PODS:
            return self._pod(event)
        if event.resource is EVENTS:
            return [] if gone else self._refusal(event.object)
        names = [ds.name for ds in self.plan.daemon_sets if ds.namespace == event.key[0]]
        if event.resource is CONTROLLER_REVISIONS:
            return [self._revisions(name) for name in names]
        if event.key[1] not in names:
            return []
        if gone:
            return [ev.DaemonSetGone(event.key[1])]
        return [ev.DaemonSetSeen(event.key[1], msgspec.convert(event.object, DaemonSet))]

    def _pod(self, event: Event) -> list[ev.Event]:
        """Tell what a watch by the DaemonSet's selector, and one for released pods, would tell."""
        pod = msgspec.convert(event.object, Pod)
        old = msgspec.convert(event.old, Pod) if event.old is not None else None
        gone = event.type == "DELETED"
        told: list[ev.Event] = []
        uid, version = pod.metadata.uid, pod.metadata.resource_version
        for ds in self.plan.daemon_sets:
            selector = self._selectors[ds.name]
            if selector.matches(pod.metadata.labels) and not gone:
                told.append(ev.PodSeen(ds.name, pod))
            elif old is not None and selector.matches(old.metadata.labels):
                told.append(ev.PodGone(ds.name, uid, version))
            node = pod.spec.node_name
            if pod.metadata.labels.get(marks.RELEASED_FROM) == ds.uid and not gone:
                told.append(ev.ReleasedSeen(ds.name, pod))
            elif old is not None and old.metadata.labels.get(marks.RELEASED_FROM) == ds.uid:
                told.append(ev.ReleasedGone(ds.name, node, uid))
        return told

    def _refusal(self, raw: Object) -> list[ev.Event]:
        event = msgspec.convert(raw, ClusterEvent)
        return [
            ev.CreationRefused(ds.name, event.message, event.at)
            for ds in self.plan.daemon_sets
            if event.involved_object.uid == ds.uid and event.reason == "FailedCreate"
        ]

    def _revisions(self, name: str) -> ev.RevisionsSeen:
        ds = self.engine.daemon_sets[name].planned
        found = [
            msgspec.convert(o, ControllerRevision)
            for o in self.cluster.store.scan(CONTROLLER_REVISIONS, ds.namespace)
        ]
        mine = [r for r in found if r.metadata.controller_uid == ds.uid]
        return ev.RevisionsSeen(name, tuple(sorted(mine, key=lambda r: r.revision)))

    def _later(self, event: ev.Event, resource: Resource) -> None:
        arrives = self.clock.now() + self._rng.uniform(0.001, 0.05)
        arrives = max(arrives, self._front.get(resource, 0.0))
        self._front[resource] = arrives
        self.clock.call_later(arrives - self.clock.now(), lambda: self._take(event))

    def _take(self, event: ev.Event) -> None:
        if not self._alive or self.finish is not None:
            return
        self.engine.observe(event, self.clock.now())
        self._decide()

    def _decide(self) -> None:
        if not self._alive or self.finish is not None:
            return
        for action in self.engine.decide(self.clock.now()):
            if isinstance(action, Finish):
                self.finish = action
                self.recorded = StoredTimes(left_behind(self.engine.steps.values()))
            elif isinstance(action, Ask):
                self.asked.append(action)
            elif isinstance(action, Measure):
                self._measure(action)
            else:
                self._carry_out(action)
        if (times := self.engine.times.take()) is not None:
            self._writing = times
            self.clock.call_later(0.01, partial(self._record, times))
        for notice in self.engine.notices:
            self.log.append(f"{self.clock.now():.3f} {notice}")
        self.engine.notices.clear()
        wake = self.engine.next_wake()
        if wake is not None and wake != self._wake_at:
            self._wake_at = wake
            self.clock.call_later(max(wake - self.clock.now(), 1e-6), self._wake)

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, LookFor):
            self.looked.append(action.other.where)
        elif isinstance(action, Claim):
            self._claim()
        else:
            if isinstance(action, DeletePod | ReleasePod):
                self._announce()
            self.clock.call_later(self._rng.uniform(0.001, 0.02), partial(self._perform, action))

    def _announce(self) -> None:
        """Tell the record that pods are taken away, which is done before the first one is."""
        if self.engine.times.must_announce(self.clock.now()):
            self._tell_record()

    def _tell_record(self) -> None:
        now = self.clock.now()
        self._writing = announce(self.engine, now)
        self._record(self._writing)
        self.engine.observe(ev.TimesStored(now), now)

    def _claim(self) -> None:
        self._tell_record()
        self.claims.append(self.recorded)
        if self.tells:
            self.clock.call_later(0.01, partial(self.tell, self.recorded.word))

    def tell(self, word: int = 0) -> None:
        """Let the watch tell the run its own record."""
        self._take(ev.RecordTold(word, "ours", 1))

    def hear(self, event: ev.Event) -> None:
        """Let the run hear of something."""
        self._take(event)

    def _record(self, times: StoredTimes) -> None:
        if self._alive and times is self._writing:  # one write behind the other
            self.recorded = times
            self.records += 1

    def _wake(self) -> None:
        """Decide; a clock that rounds may come a hair too soon, and is asked again then."""
        self._wake_at = None
        self._decide()

    # Actions out

    def approve(self, gate: str, who: str) -> None:
        """Give a voice for an approval gate."""
        before = self.engine.wishes
        people = (*before.gates.get(gate, ()), who)
        self._take(ev.Said(replace(before, gates={**before.gates, gate: people})))

    def _measure(self, action: Measure) -> None:
        meter = self.engine.gates.meters.get(action.meter)
        if meter is None or not meter.runs:
            return  # nobody asks any more
        self.measured[meter.gate.name] += 1
        nobody: Any = None  # a gate that asks the cluster has no place under the virtual clock
        around = Surroundings("run", nobody, Settings())
        picture = take_picture(self.engine, meter, around, self.clock.now())
        found = self._look(meter.gate, picture)
        told = ev.Measured(action.meter, action.round, found)
        self.clock.call_later(self._rng.uniform(0.001, 0.5), lambda: self._take(told))

    def _perform(self, action: Action) -> None:
        if not self._alive:
            return
        try:
            answer = self._call(action)
        except StatusError as error:
            kind = {404: ev.Answer.NOT_FOUND, 409: ev.Answer.CONFLICT}.get(
                error.code, ev.Answer.REFUSED
            )
            answer = ev.Answered(action, kind, error.message)
        lost = answer.answer is ev.Answer.ACCEPTED and self._rng.random() < self._lose
        if lost and isinstance(action, Prepare | Restore | PodWrite):
            answer = ev.Answered(action, ev.Answer.UNKNOWN, "connection reset")
        self.clock.call_later(self._rng.uniform(0.001, 0.02), lambda: self._take(answer))

    def _call(self, action: Action) -> ev.Answered:
        registry = self.cluster.registry
        match action:
            case Prepare(name) | Restore(name):
                ds = self.engine.daemon_sets[name]
                assert ds.live is not None
                body = (
                    prepare_patch(self.plan, ds.planned, ds.live, "run")
                    if isinstance(action, Prepare)
                    else restore_patch(ds.planned, ds.live)
                )
                self.writes += 1
                after = registry.patch(
                    DAEMONSETS, ds.planned.namespace, name, body, PatchType.STRATEGIC, US
                )
                generation = after["metadata"]["generation"]
                return ev.Answered(action, ev.Answer.ACCEPTED, generation=generation)
            case DeletePod(name, _, pod, uid):
                space = self.engine.daemon_sets[name].planned.namespace
                self.writes += 1
                registry.delete(PODS, space, pod, US, DeleteOptions(uid=uid))
            case ReleasePod(name, _, pod, uid):
                ds = self.engine.daemon_sets[name]
                self.writes += 1
                body = release_patch(ds.planned, uid, "virtual")
                registry.patch(PODS, ds.planned.namespace, pod, body, PatchType.MERGE, US)
            case TakeBack(name, node, pod, _):
                ds = self.engine.daemon_sets[name]
                released = ds.view.released.get(node)
                if ds.live is None or released is None:
                    return ev.Answered(action, ev.Answer.CONFLICT)
                self.writes += 1
                body = take_back_patch(ds.live, released)
                registry.patch(PODS, ds.planned.namespace, pod, body, PatchType.MERGE, US)
            case ReadPod(write):
                self._read_pod(write)
            case ReadDaemonSet(name):
                space = self.engine.daemon_sets[name].planned.namespace
                seen = msgspec.convert(registry.get(DAEMONSETS, space, name), DaemonSet)
                self._take(ev.DaemonSetSeen(name, seen))
        return ev.Answered(action, ev.Answer.ACCEPTED)

    def _read_pod(self, write: PodWrite) -> None:
        name = write.daemon_set
        space = self.engine.daemon_sets[name].planned.namespace
        raw = self.cluster.store.get(PODS, (space, write.pod))
        if raw is None or raw["metadata"]["uid"] != write.uid:
            self._take(ev.PodGone(name, write.uid))
            self._take(ev.ReleasedGone(name, write.node, write.uid))
            return
        pod = msgspec.convert(raw, Pod)
        if marks.RELEASED_FROM in pod.metadata.labels:
            self._take(ev.PodGone(name, write.uid, pod.metadata.resource_version))
            self._take(ev.ReleasedSeen(name, pod))
        else:
            self._take(ev.PodSeen(name, pod))


class Oracle:
    """Judges a run from the store alone: who deleted what, and how many nodes are down by us.

    Args:
        cluster: the cluster.
        plan: for the budgets.
    """

    def __init__(self, cluster: Cluster, plan: Plan) -> None:
        self._store, self._clock = cluster.store, cluster.clock
        self._limits = {ds.uid: ds.max_unavailable.value for ds in plan.daemon_sets}
        self._names = {ds.uid: ds.name for ds in plan.daemon_sets}
        self._down: dict[str, set[str]] = {uid: set() for uid in self._limits}
        self._serving: dict[tuple[str, str], set[str]] = {}  # ready pods, released ones included
        self.deletes: Counter[tuple[str, str]] = Counter()  # (DaemonSet, node) -> pods deleted
        self.most_down = 0
        self.order: list[str] = []  # nodes in the order of their deletes
        self.times: list[float] = []  # when they were
        self.history: list[tuple[str, str]] = []  # (DaemonSet, node) in that order
        self.overlaps: Counter[str] = Counter()  # deletes on a node where another one is down
        for pod in cluster.store.scan(PODS):
            if _owner(pod) in self._limits and _ready(pod):
                node = msgspec.convert(pod, Pod).target_node
                self._serving[_owner(pod), node] = {pod["metadata"]["uid"]}
        self._stop = cluster.store.subscribe(PODS, self._look)

    def close(self) -> None:
        """Look no more."""
        self._stop()

    def _look(self, event: Event) -> None:
        meta = event.object["metadata"]
        owner = _owner(event.object) or (meta.get("labels") or {}).get(marks.RELEASED_FROM, "")
        if owner not in self._limits:
            return
        node = msgspec.convert(event.object, Pod).target_node
        begins = meta.get("deletionTimestamp") and not (
            event.old and event.old["metadata"].get("deletionTimestamp")
        )
        if begins:
            self.deletes[self._names[owner], node] += 1
            self.order.append(node)
            self.times.append(self._clock.now())
            self.history.append((self._names[owner], node))
            others = (down for uid, down in self._down.items() if uid != owner)
            self.overlaps[node] += any(node in down for down in others)
        serving = self._serving.setdefault((owner, node), set())
        was_served = bool(serving)
        if event.type != "DELETED" and _ready(event.object) and not meta.get("deletionTimestamp"):
            serving.add(meta["uid"])
        else:
            serving.discard(meta["uid"])
        down = self._down[owner]
        if was_served and not serving:
            down.add(node)
        elif serving:
            down.discard(node)
        self.most_down = max(self.most_down, len(down))
        assert len(down) <= self._limits[owner], f"S1: {sorted(down)} are down by us"


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
