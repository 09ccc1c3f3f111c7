"""Who judges a run: the safety rules S1 to S11 of the design, after every event.

What was asked of the server and what the store holds is believed; of the program only what it
decides (which step, under which plan) is looked at. A complaint ends the run that it is about.
Gates, and what a way back must not wait for (S8, S10), are judged in `gateoracle`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from rollout.executor import run as loop
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, DeletePod, Finish, Prepare, ReleasePod, Restore
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.state import IN_FLIGHT, OVER, StepRun, StepState
from rollout.fleet import marks
from rollout.planner.plan import PlannedDaemonSet
from rollout.sim.cluster import Cluster
from rollout.sim.requests import Request, target_of
from rollout.sim.resources import DAEMONSETS, NODES, PODS
from rollout.sim.store import Event, Object
from tests.simulation.gateoracle import WAY_BACK, GateJudge
from tests.simulation.startoracle import StartJudge
from tests.simulation.threads import Machine, Process
from tests.simulation.writeoracle import WriteJudge

SUDDEN_S = 0.2  # in which nobody could hear that a pod has ended, and not take the other one away
HEARD_S = 0.1  # in which nobody could hear that a pod is ready again
SETTLED_S = 0.5  # after which everybody knows that a node is down, if nothing hides it

STAMP_S = 1.0  # to which the time in a condition is rounded
CLOCK_S = 0.5  # that a run may be ahead of the server at most: a Date tells its time to a second

Place = tuple[str, str]  # UID of a DaemonSet, node


@dataclass(slots=True)
class _Soak:
    """For how long a pod, or a node, was ready without a break."""

    since: float | None = None
    longest: float = -STAMP_S  # of the breaks before; it was never ready

    def look(self, now: float, *, ready: bool) -> None:
        """Take in whether it is ready."""
        if not ready:
            self.longest, self.since = self.lasted(now), None
        elif self.since is None:
            self.since = now

    def lasted(self, now: float) -> float:
        """Return the longest time so far; less than any soak where it was never ready."""
        return max(self.longest, -STAMP_S if self.since is None else now - self.since)

    def is_over(self, soak_s: float, now: float, ahead_s: float) -> bool:
        """Whether it was ready for the time of a soak, as far as stamps tell.

        Args:
            soak_s: the time.
            now: by the cluster.
            ahead_s: of which the clock is that judged so.
        """
        return 0.0 <= self.lasted(now) >= soak_s - STAMP_S - min(max(ahead_s, 0.0), CLOCK_S)


class Judge:
    """Watches all processes and the store.

    Args:
        cluster: the cluster.
        machine: where the processes run.
    """

    def __init__(self, cluster: Cluster, machine: Machine) -> None:
        self.complaints: list[str] = []
        self.engines: dict[Process, Engine] = {}
        self.deletes: Counter[tuple[str, str]] = Counter()  # (DaemonSet, node): pods that we ended
        self.writes: list[str] = []  # our writes to DaemonSets and pods, as they were served
        self.served = 0  # of all requests of ours that were meant to write
        self.gates = GateJudge(
            machine.clock.now, self.complain, lambda who, gate: machine.outside.good[who, gate]
        )
        self.wrote = WriteJudge(
            cluster.store, machine.clock.now, self.complain, self.engines, self._owner_of
        )
        self.starts = StartJudge(
            cluster.store,
            machine.clock.now,
            self.complain,
            lambda: self._acting is not None,
            lambda: self.views_are_late,
        )
        self.let_go: set[str] = set()  # nodes that somebody approved by name: they may always move
        self._on_the_way_back: set[Engine] = set()
        self._cluster = cluster
        self._machine = machine
        self._store = cluster.store
        self._acting: Process | None = None
        self._ahead: dict[Engine, float] = {}  # by how many seconds its clock is, when it decides
        self._serving: dict[Place, set[str]] = {}
        self._down: dict[Place, float] = {}  # since when
        self._up: dict[Place, float] = {}  # the same of those that are not down
        self._by_us: set[Place] = set()
        self._slots: dict[Place, _Soak] = {}  # where we have begun
        self._soaks: dict[str, _Soak] = {}  # UID of a pod
        self._released: set[str] = set()  # UIDs of pods that were handed over
        self._by_others: dict[Place, float] = {}  # when it lost a ready pod through no deed of ours
        self._was_right: set[tuple[str, str, str]] = (
            set()
        )  # UID, node, pod template hash: was ready
        self._engine = vars(loop)["Engine"]
        for pod in self._store.scan(PODS):
            self._count(pod, gone=False)
        self._stops = [
            self._store.subscribe(PODS, self._look),
            self._store.subscribe(NODES, self._forget_gone),
            *self.starts.stops,
            *self.wrote.stops,
        ]

    @property
    def views_are_late(self) -> bool:
        """Whether a fault keeps news from the program."""
        return self.gates.views_are_late

    def __enter__(self) -> Self:
        """Look into every engine that is made from now on."""
        judge = self

        class Watched(Engine):
            def __init__(self, *given: Any, **named: Any) -> None:
                super().__init__(*given, **named)
                judge._begins(judge._machine.current, self)

            def observe(self, event: ev.Event, now: float) -> None:
                if isinstance(event, ev.Measured):
                    judge.gates.hear(judge._machine.current.name, self, event)
                super().observe(event, now)

            def decide(self, now: float) -> list[Action]:
                judge._ahead[self] = now - judge._machine.clock.now()
                with judge._deciding(self):
                    actions = super().decide(now)
                    judge._check_decision(self, actions)
                return actions

        vars(loop)["Engine"] = Watched  # looks, and changes nothing
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Look no more."""
        vars(loop)["Engine"] = self._engine
        for stop in self._stops:
            stop()

    def _begins(self, process: Process, engine: Engine) -> None:
        self.engines[process] = engine
        self.starts.interrupted.pop(process.name, None)  # a way back asks anew
        records = (r for r in self.wrote.records() if r["name"] == engine.plan.name)
        if any(record["phase"] in WAY_BACK for record in records):
            self._on_the_way_back.add(engine)

    def complain(self, text: str) -> None:
        """Note a broken rule."""
        self.complaints.append(f"{self._machine.clock.now() - self._machine.started:.3f} {text}")

    def rule(self) -> None:
        """Raise when a rule was broken."""
        assert not self.complaints, f"{self.complaints[0]}\n{self.story()}"

    def story(self) -> str:
        """Return what the processes have said, and what they wrote."""
        texts = [f"{p.name}: {''.join(p.screen)}" for p in self._machine.processes.values()]
        return "\n".join([*texts, "writes:", *self.writes])

    # Requests

    def before(self, process: Process, request: Request) -> None:
        """Look at a request that is about to be served."""
        self._acting = process
        if request.method == "GET" or request.query.get("dryRun"):
            return
        target = target_of(request)
        self.served += 1
        if target.resource not in (PODS, DAEMONSETS):
            return
        self.writes.append(
            f"{self._machine.clock.now() - self._machine.started:.3f} {process.name} "
            f"{target.verb} {unquote(request.path)} {request.body.decode()[:200]}"
        )
        self.wrote.check(process, target, request)

    def after(self, process: Process, request: Request, status: int) -> None:
        """The request has been served."""
        del process, request, status
        self._acting = None

    # The store

    def _owner_of(self, pod: Object) -> str:
        return _owner(pod) or (pod["metadata"].get("labels") or {}).get(marks.RELEASED_FROM, "")

    def _place(self, pod: Object) -> Place | None:
        owner = self._owner_of(pod)
        return (owner, _node(pod)) if owner else None

    def _look(self, event: Event) -> None:
        meta, place = event.object["metadata"], self._place(event.object)
        if _is_released(event.old or {}) and not _is_released(event.object):
            before = self._place(event.old or {})
            assert before is not None
            self.starts.taken_back(before)
            self._slots.pop(before, None)  # the pod that serves again has nothing to prove
        if place is None:
            return
        ends = meta.get("deletionTimestamp") and not (
            event.old and event.old["metadata"].get("deletionTimestamp")
        )
        was_served = bool(self._serving.get(place))
        up_for = self._machine.clock.now() - self._up.get(place, 0.0)
        was_known = up_for > HEARD_S + self._min_ready_s(place[0])
        self._count(event.object, gone=event.type == "DELETED")
        served = bool(self._serving.get(place))
        process = self._acting
        if was_served and process is None and self._loses(event):
            self._by_others[place] = self._machine.clock.now()
        if ends and process is not None:
            self.deletes[self._name(place[0]), place[1]] += 1
            if _is_released(event.old or {}):
                self._check_soaked(process, place)
            # What was down already, as far as anybody could hear, is replaced and not taken down.
            if was_served and was_known and not served and not self._lost_just_now(place):
                self._by_us.add(place)
                self._check_alone(process, place)
                self._check_budget(process, place)
        makes_place = ends or _is_released(event.object)
        if process is not None and makes_place and not _is_released(event.old or {}):
            self._check_pace(process, place)
            self.gates.changed(*place)
            engine = self.engines.get(process)
            rollout = engine.plan.name if engine is not None else ""
            self.starts.check(process.name, rollout, place, event.old or event.object)
        if served:
            self._by_us.discard(place)

    def _loses(self, event: Event) -> bool:
        """Whether a pod that was ready is not any more."""
        was = event.old is not None and _ready(event.old)
        ends = event.type == "DELETED" or event.object["metadata"].get("deletionTimestamp")
        return was and bool(ends or not _ready(event.object))

    def _lost_just_now(self, place: Place) -> bool:
        """S1 is about nodes that are unavailable because of us: not of what others did just now."""
        return self._machine.clock.now() - self._by_others.get(place, 0.0) < SUDDEN_S

    def _forget_gone(self, event: Event) -> None:
        """What a node lacks that has left, and comes back, it lacks through its leaving."""
        if event.type == "DELETED":
            name = event.object["metadata"]["name"]
            self._by_us = {place for place in self._by_us if place[1] != name}
            self._slots = {at: slot for at, slot in self._slots.items() if at[1] != name}

    def _check_alone(self, process: Process, place: Place) -> None:
        """A node belongs to one step at a time.

        One that has failed is over, and where a pod was found that no kubelet ends there is none.
        """
        engine = self.engines.get(process)
        sets = engine.daemon_sets.values() if engine is not None else ()
        over = {
            ds.planned.uid
            for ds in sets
            if place[1] in ds.steps and ds.steps[place[1]].state is StepState.FAILED
        }
        over |= {
            ds.planned.uid
            for ds in sets
            for node in ds.planned.nodes
            if node.name == place[1] and node.deferred_by == "stuck"
        }
        others = {uid for uid, node in self._by_us if node == place[1]} - {place[0]} - over
        if others:
            self.complain(f"two DaemonSets are taken down on {place[1]} at once")

    def _count(self, pod: Object, *, gone: bool) -> None:
        place = self._place(pod)
        if place is None:
            return
        meta = pod["metadata"]
        serving = self._serving.setdefault(place, set())
        (self._released.add if _is_released(pod) else self._released.discard)(meta["uid"])
        if not gone and not meta.get("deletionTimestamp") and _ready(pod):
            serving.add(meta["uid"])
            revision = (meta.get("labels") or {}).get("controller-revision-hash", "")
            self._was_right.add((*place, revision))
        else:
            serving.discard(meta["uid"])
        now = self._machine.clock.now()
        self._soaks.setdefault(meta["uid"], _Soak()).look(now, ready=meta["uid"] in serving)
        if place in self._slots:
            lasts = [uid for uid in serving if uid not in self._released]
            self._slots[place].look(now, ready=bool(lasts))
        if serving:
            self._down.pop(place, None)
            self._up.setdefault(place, self._machine.clock.now())
        else:
            self._up.pop(place, None)
            self._down.setdefault(place, self._machine.clock.now())

    def _check_budget(self, process: Process, place: Place) -> None:
        """S1: what is down by us, and what is down at all, keeps the budget."""
        engine = self.engines.get(process)
        if engine is None:
            return
        ds = self._planned(engine, place[0])
        if ds is None:
            return
        limit = ds.max_unavailable.value
        # A node that has failed meanwhile would be down whatever we had done.
        ours = {node for uid, node in self._by_us if uid == ds.uid} & self._there(ready=True)
        if len(ours) > limit:
            self.complain(f"S1: {sorted(ours)} are down by us, {limit} may be")
        if self.views_are_late:
            return
        nodes = {node.name for node in ds.nodes if node.in_budget} & self._there()
        known = self._machine.clock.now() - SETTLED_S
        down = {n for (uid, n), since in self._down.items() if uid == ds.uid and since < known}
        others = (down & nodes) - {place[1]}
        if len(others) >= limit:
            self.complain(
                f"S1: {place[1]} is taken down while {sorted(others)} are down, {limit} may be"
            )

    def _check_pace(self, process: Process, place: Place) -> None:
        """S1: a slot is held until the new pod has soaked, also where a pod was down before."""
        engine = self.engines.get(process)
        ds = self._planned(engine, place[0])
        if engine is None or ds is None:
            return
        self._slots[place] = _Soak()
        flying = [step for step in self._flying_in(engine) if step.node]
        limits = engine.plan.limits
        node = engine.daemon_sets[ds.name].steps.get(place[1])
        pools = [
            ("", ds.budget.value, [s for s in flying if s.step.daemon_set == ds.name]),
            (" of the run", limits.max_nodes_in_flight, flying),
        ]
        if node is not None:
            in_zone = [step for step in flying if step.zone == node.zone]
            pools.append((f" in zone {node.zone}", limits.max_per_zone, in_zone))
        for what, limit, steps in pools:
            if limit and len(steps) > limit:
                names = sorted(step.node for step in steps)
                self.complain(f"S1: {names} hold a slot{what} at once, {limit} may")

    def _flying_in(self, engine: Engine) -> Iterator[StepRun]:
        """Yield the steps of a run that we have begun, and whose new pod has not soaked."""
        now = self._machine.clock.now()
        for ds in engine.daemon_sets.values():
            soak_s = max(engine.plan.health.soak_s, ds.planned.min_ready_s)
            for (uid, node), slot in self._slots.items():
                step = ds.steps.get(node) if uid == ds.planned.uid else None
                held = step is not None and step.state in (*IN_FLIGHT, StepState.DONE)
                if step is not None and held and not slot.is_over(soak_s, now, self._ahead[engine]):
                    yield step

    def _planned(self, engine: Engine | None, uid: str) -> PlannedDaemonSet | None:
        planned = engine.plan.daemon_sets if engine is not None else ()
        return next((ds for ds in planned if ds.uid == uid), None)

    def _check_soaked(self, process: Process, place: Place) -> None:
        """The last pod of before goes when its successor has soaked (design, idea 2)."""
        engine = self.engines.get(process)
        if engine is None:
            return
        soak_s, now = engine.plan.health.soak_s, self._machine.clock.now()
        beside = (p for p in self._store.scan(PODS) if _owner(p) and self._place(p) == place)
        soaks = [self._soaks[pod["metadata"]["uid"]] for pod in beside]
        if not any(soak.is_over(soak_s, now, self._ahead[engine]) for soak in soaks):
            self.complain(f"S1: {process.name} ends a hand-over on {place[1]} before its soak")

    def _there(self, *, ready: bool = False) -> set[str]:
        """Return the nodes of the cluster; all, or those that are ready."""
        nodes = self._store.scan(NODES)
        return {node["metadata"]["name"] for node in nodes if not ready or _ready(node)}

    def _min_ready_s(self, uid: str) -> float:
        """Return for how long a pod must be ready before it counts as available."""
        for ds in self._store.scan(DAEMONSETS):
            if ds["metadata"]["uid"] == uid:
                return float(ds["spec"].get("minReadySeconds", 0))
        return 0.0

    def _name(self, uid: str) -> str:
        for ds in self._store.scan(DAEMONSETS):
            if ds["metadata"]["uid"] == uid:
                return str(ds["metadata"]["name"])
        return uid

    # Decisions

    @contextmanager
    def _deciding(self, engine: Engine) -> Iterator[None]:
        self._stopping = engine.stopping
        looked_at = engine.stopping or engine.plan.gates
        self._flying = set(engine.busy_nodes) if looked_at else set()
        yield

    def _check_decision(self, engine: Engine, actions: list[Action]) -> None:
        """S6 to S10: nothing new after a stop, nothing before what it waits for."""
        process = self._machine.current.name
        if engine in self._on_the_way_back:
            self.gates.check_way_back(process, engine, actions)
        else:
            self.gates.check_decision(process, engine, actions, self._flying)
        for action in actions:
            if isinstance(action, Finish):
                continue
            forward = isinstance(action, Prepare | DeletePod | ReleasePod)
            if self._stopping and forward and not self._may_move(engine, action):
                self.complain(f"S6: {action} after a stop")
            if isinstance(action, DeletePod | ReleasePod) and not self._ends(engine, action):
                step = engine.daemon_sets[action.daemon_set].steps[action.node]
                self._check_order(engine, step)
            if isinstance(action, Prepare | Restore):
                kind = "prepare" if isinstance(action, Prepare) else "restore"
                self._check_order(engine, engine.steps[f"{kind}/{action.daemon_set}"])

    def _may_move(self, engine: Engine, action: Action) -> bool:
        """Whether somebody let it go by name, or it ends what has begun."""
        if not isinstance(action, DeletePod | ReleasePod):
            return bool(self.let_go)
        planned = engine.daemon_sets[action.daemon_set].planned
        begun = self.starts.has_begun((planned.uid, action.node))
        return self._ends(engine, action) or begun or action.node in self.let_go

    def _ends(self, engine: Engine, action: DeletePod | ReleasePod) -> bool:
        """Whether it ends a hand-over, which has begun before."""
        namespace = engine.daemon_sets[action.daemon_set].planned.namespace
        pod = self._store.get(PODS, (namespace, action.pod))
        return pod is not None and _is_released(pod)

    def _check_order(self, engine: Engine, step: StepRun) -> None:
        for before in _updates_before(engine, step):
            if before.state not in OVER:
                name = step.node or step.step.id
                self.complain(f"S7: {name} begins before {before.step.id} is over")
            ds = engine.daemon_sets[before.step.daemon_set]
            seen = (ds.planned.uid, before.node, ds.target_hash) in self._was_right
            if before.state is StepState.DONE and not seen:
                self.complain(f"S7: {before.node} is called done and was never ready")

    # The end

    def check_strategy(self, *, restored: bool, edited: bool = False) -> None:
        """S11: the strategy is exactly what it was, or ours with its original stored.

        Args:
            restored: the command said that all is done.
            edited: somebody has set another one meanwhile. Under an owner's OnDelete, where a run
                leaves no mark and restores nothing, that is the owner's new choice.
        """
        engines = list(self.engines.values())
        if not engines:
            return
        for planned in engines[0].plan.daemon_sets:
            live = self._store.get(DAEMONSETS, (planned.namespace, planned.name))
            if live is None or live["metadata"]["uid"] != planned.uid:
                continue
            ours = [m for m in marks.ALL if m in (live["metadata"].get("annotations") or {})]
            strategy = live["spec"]["updateStrategy"]
            if edited and planned.owner_on_delete and not ours:
                continue
            if restored and (strategy != planned.original_strategy or ours):
                self.complain(f"S11: {planned.name} is left with {strategy} and {ours}")
            theirs = self.starts.set_by_others(planned.uid)
            if not restored and strategy != planned.original_strategy and not (ours or theirs):
                self.complain(f"S11: {planned.name} has {strategy}, and nothing says why")


def _updates_before(engine: Engine, step: StepRun) -> list[StepRun]:
    """Return the nearest updates that come before a step: through barriers and nodes that left."""
    found, look = [], list(step.step.after)
    seen: set[str] = set()
    while look:
        name = look.pop()
        if name in seen:
            continue
        seen.add(name)
        run = engine.steps[name]
        if run.step.kind == "update" and run.state is not StepState.GONE:
            found.append(run)
        else:
            look += run.step.after
    return found


def _is_released(pod: Object) -> bool:
    return marks.RELEASED_FROM in ((pod.get("metadata") or {}).get("labels") or {})


def _owner(pod: Object) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(o["uid"]) for o in owners if o.get("controller")), "")


def _node(pod: Object) -> str:
    if name := (pod.get("spec") or {}).get("nodeName"):
        return str(name)
    affinity = ((pod.get("spec") or {}).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            return str(field["values"][0])
    return ""


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
