"""The engine: what to do next, from the plan and what was observed. Pure: no I/O, no clock.

`observe(event, now)` takes in one event, `decide(now)` returns the actions that may be carried
out at this moment, `next_wake()` says when to ask again if nothing happens. An event costs
O(log nodes). The graph's order is kept by counting predecessors; budgets are pools; a slot is held
from the delete until the health verdict. Wherever the cluster already is where a step leads, the
step is only verified: that is what makes resuming the normal start.

The safety rules S1 to S9 of the design are assertions here, at the one place where a delete is
decided (`_start`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from rollout.executor import events as ev
from rollout.executor.actions import (
    Action,
    DeletePod,
    Finish,
    Outcome,
    PodWrite,
    Prepare,
    ReadDaemonSet,
    ReadPod,
    ReleasePod,
    Restore,
    TakeBack,
)
from rollout.executor.health import Verdict, judge, waiting_for
from rollout.executor.notices import Notice
from rollout.executor.state import DaemonSetRun, Lane, Phase, StepRun, StepState
from rollout.fleet.objects import DaemonSet, Node, Pod, parse_time, strategy_text
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.planner.plan import Plan, Step
from rollout.quantity import cut, format_duration

IN_FLIGHT = (StepState.DELETING, StepState.REPLACING, StepState.SOAKING)
_OVER = (StepState.DONE, StepState.FAILED, StepState.GONE)
_DONE_TO: dict[type[PodWrite], str] = {
    DeletePod: "deleted, waiting for its successor",
    ReleasePod: "handed over, waiting for its successor",
    TakeBack: "taken back, waiting for its successor to go",
}
_READ_AGAIN_S = 2.0  # seconds until a read that failed is tried again


class Engine:
    """One run of one plan.

    Args:
        plan: what to do.
        resumed: an earlier process has begun this run; its patches may be there already.
        approved: waves (1-based) behind which somebody has let the run go on.
    """

    def __init__(
        self, plan: Plan, *, resumed: bool = False, approved: frozenset[int] = frozenset()
    ) -> None:
        self.plan = plan
        self.nodes: dict[str, Node] = {}
        self.gone_nodes: set[str] = set()
        self.stop_why = ""  # the user's wish, or ""
        self.hold_why = ""  # too many failures, or ""
        self.drift_why = ""  # somebody else changed what we rely on, or ""
        self.lost_views: dict[str, str] = {}
        self.finished: Finish | None = None
        self.notices: deque[Notice] = deque()
        self._actions: deque[Action] = deque()
        self._timers: list[tuple[float, int, Callable[[float], None]]] = []
        self._timer_seq = 0
        self._tokens = max(1.0, plan.limits.replacements_per_second)
        self._tokens_at = float("-inf")
        self._busy_nodes: dict[str, StepRun] = {}
        self._parked: dict[str, list[StepRun]] = {}
        self._zone_load: dict[str, int] = {}
        self._in_flight = 0
        self._failed = 0
        self.done_count = 0  # nodes that are done
        self._waves_begun: set[int] = set()
        self._resumed = resumed
        self._approved = approved
        self._unapproved: StepRun | None = None  # the approval that the run waits for
        self.joined: set[str] = set()
        self._nodes_listed = False
        self.daemon_sets = {
            ds.name: DaemonSetRun(ds, plan.digest, self._wake_node(ds.name))
            for ds in plan.daemon_sets
        }
        self._planned_nodes = {node.name for ds in plan.daemon_sets for node in ds.nodes}
        self.steps = {step.id: self._step_run(step, rank) for rank, step in enumerate(plan.steps)}
        for step in plan.steps:
            for before in step.after:
                self.steps[before].successors.append(self.steps[step.id])
        self._pending = len(self.steps)
        for run in self.steps.values():
            if not run.blockers:
                self._unblock(run, float("-inf"))

    # What happened

    def observe(self, event: ev.Event, now: float) -> None:  # noqa: C901, PLR0912 - an arm per event
        """Take in one event.

        Args:
            event: what was seen or answered.
            now: seconds, by the clock of the run.
        """
        match event:
            case ev.PodSeen(name, pod):
                self._pod_seen(self.daemon_sets[name], pod, now)
            case ev.PodGone(name, uid, version):
                ds = self.daemon_sets[name]
                node = ds.view.forget(uid, now, version)
                if node is not None:
                    self._node_changed(ds, node, now)
            case ev.PodsListed(name, pods):
                self._take_pods(self.daemon_sets[name], pods, now)
            case ev.ReleasedSeen(name, pod):
                self._released(self.daemon_sets[name], pod.spec.node_name, pod, now)
            case ev.ReleasedGone(name, node_name, uid):
                self._release_ended(self.daemon_sets[name], node_name, uid, now)
            case ev.ReleasedListed(name, pods):
                self._take_released(self.daemon_sets[name], pods, now)
            case ev.NodeSeen(node):
                self._node_seen(node, now)
            case ev.NodeGone(name):
                self._node_gone(name, now)
            case ev.NodesListed(nodes):
                self._take_nodes(nodes, now)
            case ev.DaemonSetSeen(name, daemon_set):
                self._daemon_set_seen(self.daemon_sets[name], daemon_set, now)
            case ev.DaemonSetGone(name):
                self._drift(f"DaemonSet {name} was deleted")
            case ev.RevisionsSeen(name, revisions):
                ds = self.daemon_sets[name]
                ds.revisions = revisions
                self._resolve(ds, now)
            case ev.ViewLost(resource, reason):
                self.lost_views[resource] = reason
            case ev.ViewBack(resource):
                self.lost_views.pop(resource, None)
            case ev.Answered():
                self._answered(event, now)
            case ev.StopAsked(why):
                self.stop_why = self.stop_why or why

    def decide(self, now: float) -> list[Action]:
        """Return what may be done now; each action comes out once."""
        self._run_timers(now)
        self._start_updates(now)
        self._check_end()
        actions = list(self._actions)
        self._actions.clear()
        return actions

    def next_wake(self) -> float | None:
        """Return when `decide` has something to look at even if no event comes."""
        return self._timers[0][0] if self._timers else None

    @property
    def in_flight(self) -> int:
        """Steps that hold a slot."""
        return self._in_flight

    @property
    def flying(self) -> list[StepRun]:
        """The steps that hold a slot, longest first."""
        flying = [run for run in self._busy_nodes.values() if run.state in IN_FLIGHT]
        return sorted(flying, key=lambda run: (run.started_at, run.rank))

    @property
    def stopping(self) -> bool:
        """Whether no forward step may start any more."""
        return bool(self.stop_why or self.hold_why or self.drift_why)

    # Observations

    def _pod_seen(self, ds: DaemonSetRun, pod: Pod, now: float) -> None:
        node = ds.view.see(pod, now)
        if node is not None:
            self._node_changed(ds, node, now)

    def _take_pods(self, ds: DaemonSetRun, pods: Iterable[Pod], now: float) -> None:
        listed = {pod.metadata.uid for pod in pods}
        for uid in [uid for uid in ds.view.pods if uid not in listed]:
            node = ds.view.forget(uid, now)
            if node is not None:
                self._node_changed(ds, node, now)
        for pod in pods:
            self._pod_seen(ds, pod, now)
        ds.listed = True

    def _take_released(self, ds: DaemonSetRun, pods: Iterable[Pod], now: float) -> None:
        listed = {pod.metadata.uid for pod in pods}
        for node, pod in list(ds.view.released.items()):
            if pod.metadata.uid not in listed:
                self._release_ended(ds, node, pod.metadata.uid, now)
        for step in ds.steps.values():
            if step.released_uid not in listed:
                step.released_uid = ""
        for pod in pods:
            self._released(ds, pod.spec.node_name, pod, now)
        ds.released_listed = True

    def _released(self, ds: DaemonSetRun, node: str, pod: Pod, now: float) -> None:
        ds.view.see_released(node, pod, now)
        self._node_changed(ds, node, now)

    def _release_ended(self, ds: DaemonSetRun, node: str, uid: str, now: float) -> None:
        known = ds.view.released.get(node)
        if known is not None and known.metadata.uid == uid:
            ds.view.see_released(node, None, now)
            step = ds.steps.get(node)
            if step is not None and step.released_uid == uid:
                step.released_uid = ""
            self._node_changed(ds, node, now)

    def _node_changed(self, ds: DaemonSetRun, node: str, now: float) -> None:
        step = ds.steps.get(node)
        if step is None:
            return
        if step.state is StepState.READY:
            self._enqueue(ds, step)
        elif step.state in IN_FLIGHT or step.state is StepState.FAILED:
            self._advance(ds, step, now)

    def _take_nodes(self, nodes: Iterable[Node], now: float) -> None:
        listed = {node.metadata.name for node in nodes}
        for name in [name for name in self.nodes if name not in listed]:
            self._node_gone(name, now)
        for node in nodes:
            self._node_seen(node, now)
        for step in self.steps.values():
            if step.node and step.node not in listed:
                self._node_gone(step.node, now)
        self._nodes_listed = True

    def _node_seen(self, node: Node, now: float) -> None:
        name = node.metadata.name
        known = self.nodes.get(name)
        self.nodes[name] = node
        if name not in self._planned_nodes and name not in self.joined:
            self.joined.add(name)
            self._tell(Notice("node-joined", node=name))
        if known is None or known.ready != node.ready:
            for ds in self.daemon_sets.values():
                self._node_changed(ds, name, now)

    def _node_gone(self, name: str, now: float) -> None:
        self.nodes.pop(name, None)
        self.gone_nodes.add(name)
        for ds in self.daemon_sets.values():
            ds.view.drop_node(name)
            step = ds.steps.get(name)
            if step is not None and step.state not in _OVER:
                self._end(ds, step, StepState.GONE, "the node left the cluster", now)

    def _daemon_set_seen(self, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
        if ds.live is not None and seen.metadata.generation < ds.live.metadata.generation:
            return
        first = ds.live is None
        ds.live = seen
        if first:
            self._find_phase(ds, seen, now)
        if ds.phase is Phase.RESTORED:
            self._resolve(ds, now)
            return
        drift = ds.drift(seen)
        if drift:
            self._drift(drift)
        self._resolve(ds, now)

    def _find_phase(self, ds: DaemonSetRun, seen: DaemonSet, now: float) -> None:
        """See at the first look whether an earlier process of this run has patched already."""
        prepare = self.steps.get(f"prepare/{ds.name}")
        if self._resumed and ds.is_restored(seen) and not ds.is_prepared(seen):
            ds.phase = Phase.RESTORED
            ds.generation = seen.metadata.generation
            if prepare is not None and prepare.state is not StepState.DONE:
                self._finish_step(prepare, now)
        elif prepare is not None and ds.is_prepared(seen):
            ds.phase = Phase.OBSERVING
            ds.generation = seen.metadata.generation

    def _resolve(self, ds: DaemonSetRun, now: float) -> None:
        """Learn the target revision once the controller has observed our template.

        Source: behaviour.md 3.3, "correct external procedure".
        """
        if ds.live is None or ds.resolved:
            return
        if ds.phase is Phase.PREPARING:
            return
        if ds.phase is Phase.UNTOUCHED and f"prepare/{ds.name}" in self.steps:
            return
        if ds.live.metadata.generation < ds.generation:
            return
        if ds.live.status.observed_generation < ds.live.metadata.generation:
            return
        target = ds.planned.target.template_digest
        if template_digest(ds.live.spec.template) != target or not ds.revisions:
            return
        current = ds.revisions[-1]
        if template_digest(current.template) != target:
            return
        ds.target_hash = revision_hash(current)
        ds.target_generation = ds.live.template_generation
        ds.resolved = True
        if ds.phase is Phase.OBSERVING:
            ds.phase = Phase.OPEN
            self._note("prepared", ds, message=f"revision {current.revision} is the target")
            self._finish_step(self.steps[f"prepare/{ds.name}"], now)

    def _answered(self, event: ev.Answered, now: float) -> None:
        match event.action:
            case Prepare(name):
                self._prepare_answered(self.daemon_sets[name], event, now)
            case Restore(name):
                self._restore_answered(self.daemon_sets[name], event, now)
            case DeletePod() | ReleasePod() | TakeBack():
                self._write_answered(event.action, event, now)
            case ReadPod(write):
                self._pod_read(write, event, now)
            case ReadDaemonSet(name):
                self._daemon_set_read(self.daemon_sets[name], event, now)

    def _prepare_answered(self, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
        match event.answer:
            case ev.Answer.ACCEPTED:
                ds.generation = event.generation
                ds.phase = Phase.OBSERVING
                self._resolve(ds, now)
            case ev.Answer.UNKNOWN | ev.Answer.CONFLICT | ev.Answer.NOT_DONE:
                self._actions.append(ReadDaemonSet(ds.name))
            case _:
                ds.phase = Phase.UNTOUCHED
                self._refused(
                    f"the patch of DaemonSet {ds.name} was refused: {event.message}", event
                )

    def _restore_answered(self, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
        match event.answer:
            case ev.Answer.ACCEPTED:
                ds.phase = Phase.RESTORED
                self._note("restored", ds, message=strategy_text(ds.planned.final_strategy))
                self._finish_step(self.steps[f"restore/{ds.name}"], now)
            case ev.Answer.UNKNOWN | ev.Answer.CONFLICT | ev.Answer.NOT_DONE:
                self._actions.append(ReadDaemonSet(ds.name))
            case _:
                self._refused(
                    f"the strategy of DaemonSet {ds.name} could not be restored: {event.message}; "
                    "it is OnDelete",
                    event,
                )

    def _daemon_set_read(self, ds: DaemonSetRun, event: ev.Answered, now: float) -> None:
        """Decide anew after a patch with a lost answer, or one that met a conflict."""
        if event.answer is not ev.Answer.ACCEPTED:
            self._at(now + _READ_AGAIN_S, lambda _: self._actions.append(ReadDaemonSet(ds.name)))
            return
        assert ds.live is not None
        if ds.phase is Phase.PREPARING:
            if ds.is_prepared(ds.live):
                ds.generation = ds.live.metadata.generation
                ds.phase = Phase.OBSERVING
                self._resolve(ds, now)
            elif not self.drift_why:
                self._actions.append(Prepare(ds.name))
        elif ds.phase is Phase.RESTORING:
            if ds.is_restored(ds.live):
                ds.phase = Phase.RESTORED
                self._finish_step(self.steps[f"restore/{ds.name}"], now)
            elif not self.drift_why:
                self._actions.append(Restore(ds.name))

    def _write_answered(self, write: PodWrite, event: ev.Answered, now: float) -> None:
        ds = self.daemon_sets[write.daemon_set]
        step = ds.steps[write.node]
        step.awaiting_answer = False
        match event.answer:
            case ev.Answer.ACCEPTED | ev.Answer.CONFLICT | ev.Answer.NOT_FOUND:
                # Conflict and not found mean that this pod is gone already: observe (S2).
                self._taken_away(ds, step, write, event, now)
                if step.state is not StepState.READY:
                    self._advance(ds, step, now)
            case ev.Answer.UNKNOWN:
                step.awaiting_answer = True
                self._actions.append(ReadPod(write))
            case ev.Answer.NOT_DONE if not self.stopping:
                step.awaiting_answer = True
                self._actions.append(write)
            case _:
                message = event.message or "the run stops"
                self._end(ds, step, StepState.FAILED, f"the pod was not touched: {message}", now)

    def _taken_away(
        self,
        ds: DaemonSetRun,
        step: StepRun,
        write: PodWrite,
        event: ev.Answered,
        now: float,
    ) -> None:
        done = event.answer is ev.Answer.ACCEPTED
        if event.answer is ev.Answer.NOT_FOUND:
            ds.view.forget(write.uid, now)
        if step.state is StepState.DELETING:
            step.state = StepState.REPLACING
        match write:
            case ReleasePod():
                step.replaced_uid = write.uid
                step.released_uid = write.uid if done else ""
            case DeletePod() if write.uid == step.released_uid:
                step.released_uid = ""  # the second half of a hand-over
            case DeletePod():
                step.replaced_uid = write.uid
            case TakeBack() if not done:  # it went away meanwhile: look at the node afresh
                self._release(ds, step)
                step.state = StepState.READY
                self._enqueue(ds, step)

    def _pod_read(self, write: PodWrite, event: ev.Answered, now: float) -> None:
        """Resolve a write without an answer by what the pod is now; nothing is guessed."""
        if event.answer is not ev.Answer.ACCEPTED:
            self._at(now + _READ_AGAIN_S, lambda _: self._actions.append(ReadPod(write)))
            return
        ds = self.daemon_sets[write.daemon_set]
        released = ds.view.released.get(write.node)
        is_released = released is not None and released.metadata.uid == write.uid
        pod = released if is_released else ds.view.pods.get(write.uid)
        if isinstance(write, ReleasePod):
            undone = pod is not None and not is_released
        elif isinstance(write, TakeBack):
            undone = is_released
        else:
            undone = pod is not None and not pod.terminating
        answer = ev.Answer.NOT_DONE if undone else ev.Answer.ACCEPTED
        self._write_answered(write, ev.Answered(write, answer), now)

    # Steps

    def _step_run(self, step: Step, rank: int) -> StepRun:
        if step.kind != "update":
            return StepRun(step, rank, "", blockers=len(step.after))
        ds = self.daemon_sets[step.daemon_set]
        run = StepRun(step, rank, ds.zones[step.node], blockers=len(step.after))
        ds.steps[step.node] = run
        return run

    def _enqueue(self, ds: DaemonSetRun, run: StepRun) -> None:
        """Zones wait apart only where they have a cap of their own."""
        ds.enqueue(run, run.zone if self.plan.limits.max_per_zone else "")

    def _unblock(self, run: StepRun, now: float) -> None:
        """All predecessors are observed done (S7)."""
        assert not run.blockers, run
        ds = self.daemon_sets.get(run.step.daemon_set)
        match run.step.kind:
            case "prepare":
                assert ds is not None
                run.state = StepState.READY
                if ds.phase is Phase.OBSERVING:  # resumed: our patch is there already
                    self._resolve(ds, now)
            case "update":
                assert ds is not None
                run.state = StepState.READY
                self._enqueue(ds, run)
            case "barrier":
                bake = self.plan.waves[run.step.wave - 1].bake_s if run.step.wave else 0.0
                if bake and not run.step.daemon_set and now > float("-inf"):
                    run.state = StepState.SOAKING
                    self._at(now + bake, lambda at: self._finish_step(run, at))
                else:
                    self._finish_step(run, now)
            case "approval" if run.step.wave not in self._approved:
                self._unapproved = run
            case "approval":
                self._finish_step(run, now)
            case "restore":
                run.state = StepState.READY

    def _finish_step(self, run: StepRun, now: float) -> None:
        """A step is over: those that waited for it may go on."""
        if run.state not in _OVER:
            run.state = StepState.DONE
        self._pending -= 1
        if run.step.kind == "barrier" and run.step.wave in self._waves_begun:
            self._tell(Notice("wave-done", wave=run.step.wave))
        for successor in run.successors:
            successor.blockers -= 1
            if not successor.blockers:
                self._unblock(successor, now)

    def _start_updates(self, now: float) -> None:
        """Start what order, budgets and the rate limit allow at this moment (S1, S6, S9)."""
        if self.stopping or self.lost_views or self.finished:
            return
        for opening in self._ready("prepare"):
            ds = self.daemon_sets[opening.step.daemon_set]
            if ds.phase is Phase.UNTOUCHED and ds.live is not None:
                ds.phase = Phase.PREPARING
                self._actions.append(Prepare(ds.name))
        for ending in self._ready("restore"):
            ds = self.daemon_sets[ending.step.daemon_set]
            if ds.phase is Phase.RESTORED:  # by an earlier process of this run
                self._finish_step(ending, now)
            elif ds.phase is not Phase.RESTORING:
                self._begin_restore(ds, ending, now)
        while (update := self._next_update(now)) is not None:
            self._start(update, now)

    def _ready(self, kind: str) -> list[StepRun]:
        """Return the ready patches; there are two a DaemonSet, so this is short."""
        found = (self.steps.get(f"{kind}/{name}") for name in self.daemon_sets)
        return [run for run in found if run is not None and run.state is StepState.READY]

    def _begin_restore(self, ds: DaemonSetRun, run: StepRun, now: float) -> None:
        kept = ds.kept_back()
        if kept and not ds.planned.owner_on_delete:
            self._note(
                "strategy-kept",
                ds,
                message="the strategy stays OnDelete: restoring it would let the controller at "
                f"once replace the pods of the nodes that were left out ({cut(kept)})",
            )
            self._finish_step(run, now)
            return
        ds.phase = Phase.RESTORING
        self._actions.append(Restore(ds.name))

    def _next_update(self, now: float) -> StepRun | None:
        """Return the first step in plan order that fits into every pool; None when none does."""
        limit = self.plan.limits.max_nodes_in_flight
        if limit and self._in_flight >= limit:
            return None
        while (best := self._first_that_fits()) is not None:
            if best.node in self._busy_nodes:  # a node belongs to one step at a time
                best.lane = None
                self._parked.setdefault(best.node, []).append(best)
                continue
            needs_delete = best.lane is not Lane.VERIFY
            return best if not needs_delete or self._take_token(now) else None
        return None

    def _first_that_fits(self) -> StepRun | None:
        found = (
            ds.first(lambda run, ds=ds: self._fits(ds, run))  # type: ignore[misc]
            for ds in self.daemon_sets.values()
            if ds.resolved and ds.listed and ds.released_listed and self._nodes_listed
        )
        return min((run for run in found if run is not None), key=_urgency, default=None)

    def _fits(self, ds: DaemonSetRun, run: StepRun) -> bool:
        """Whether zone cap and budget leave room for this step now."""
        cap = self.plan.limits.max_per_zone
        if cap and self._zone_load.get(run.zone, 0) >= cap:
            return False
        return ds.has_room(run, self.plan.waves[run.step.wave - 1].max_unavailable)

    def _take_token(self, now: float) -> bool:
        """Token bucket for `replacementsPerSecond`; a refusal sets the time to ask again."""
        rate = self.plan.limits.replacements_per_second
        if self._tokens_at > float("-inf"):
            self._tokens = min(max(1.0, rate), self._tokens + (now - self._tokens_at) * rate)
        self._tokens_at = now
        if self._tokens < 1.0 - 1e-9:
            self._at(now + (1.0 - self._tokens) / rate, lambda _: None)
            return False
        self._tokens -= 1.0
        return True

    def _start(self, run: StepRun, now: float) -> None:
        """Take a slot and delete the node's old pod, or only verify where there is none."""
        ds = self.daemon_sets[run.step.daemon_set]
        pods = ds.view.on(run.node)
        write = self._first_write(ds, run, pods)
        run.lane = None
        run.state = StepState.REPLACING
        run.started_at = now if write is not None else _begun(pods, now)
        self._busy_nodes[run.node] = run
        ds.view.hold(run.node)
        self._in_flight += 1
        self._zone_load[run.zone] = self._zone_load.get(run.zone, 0) + 1
        deadline = run.started_at + self.plan.health.node_timeout_s
        began = run.started_at
        self._at(deadline, lambda at: self._expire(ds, run, began, at))
        self._note_wave(run)
        if write is not None:
            run.state = StepState.DELETING
            run.awaiting_answer = True
            self._actions.append(write)
            message = f"pod {write.pod} {_DONE_TO[type(write)]}"
            self._note("node-started", ds, node=run.node, wave=run.step.wave, message=message)
        self._advance(ds, run, now)

    def _first_write(self, ds: DaemonSetRun, run: StepRun, pods: list[Pod]) -> PodWrite | None:
        """Return what the node needs first; None where everything is already under way."""
        back = ds.to_take_back(run.node)
        if back is not None:
            return TakeBack(ds.name, run.node, back.metadata.name, back.metadata.uid)
        released = ds.view.released.get(run.node)
        run.released_uid = released.metadata.uid if released is not None else ""
        victim = next((p for p in pods if not ds.is_target(p) and not p.terminating), None)
        if victim is None:
            return None
        self._assert_safe(ds, run, victim)
        return self._take_away(ds, run, victim)

    def _take_away(self, ds: DaemonSetRun, run: StepRun, victim: Pod) -> PodWrite:
        """Hand a working pod over where the plan surges; what does not work is just deleted."""
        name, uid = victim.metadata.name, victim.metadata.uid
        works = victim.ready and run.node not in ds.view.unavailable
        if ds.planned.hand_over is not None and works and not run.released_uid:
            return ReleasePod(ds.name, run.node, name, uid)
        return DeletePod(ds.name, run.node, name, uid)

    def _note_wave(self, run: StepRun) -> None:
        if run.step.wave not in self._waves_begun:
            self._waves_begun.add(run.step.wave)
            wave = self.plan.waves[run.step.wave - 1]
            self._tell(Notice("wave-started", wave=run.step.wave, message=wave.name))

    def _assert_safe(self, ds: DaemonSetRun, run: StepRun, victim: Pod) -> None:
        """State the safety rules at the only place that decides a delete."""
        assert not self.stopping, "S6/S9: a delete after hold, pause or drift"
        assert not run.blockers, "S7: a step before its predecessors"
        assert victim.metadata.controller_uid == ds.planned.uid, "S2: a pod of another owner"
        assert victim.target_node == run.node, "S2: a pod of another node"
        assert not ds.is_target(victim), "S3: a pod of the target revision"
        assert not run.replaced_uid, "S3: a second delete on one node"
        limit = self.plan.waves[run.step.wave - 1].max_unavailable
        assert ds.has_room(run, limit), "S1: the budget is used up"

    def _expire(self, ds: DaemonSetRun, run: StepRun, began: float, now: float) -> None:
        if run.state in IN_FLIGHT and run.started_at == began:
            what = waiting_for(run, ds, self.nodes.get(run.node), now, self.plan.health)
            limit = format_duration(self.plan.health.node_timeout_s)
            self._end(ds, run, StepState.FAILED, f"not done after {limit}: {what}", now)

    def _advance(self, ds: DaemonSetRun, run: StepRun, now: float) -> None:
        """Look at a node in flight (or failed, which may heal) and move its step on."""
        if run.awaiting_answer:
            return
        verdict = judge(run, ds, self.nodes.get(run.node), now, self.plan.health)
        match verdict:
            case Verdict(failed=reason) if reason:
                if run.state is not StepState.FAILED:
                    self._end(ds, run, StepState.FAILED, reason, now)
            case Verdict(healthy=True) if run.released_uid:
                self._end_hand_over(ds, run, now)
            case Verdict(healthy=True):
                self._end(ds, run, StepState.DONE, "", now)
            case Verdict(look_again=when):
                if run.state is not StepState.FAILED:
                    run.state = StepState.SOAKING if verdict.soaking else StepState.REPLACING
                if when is not None and when > now:
                    self._at(when, lambda at: self._look_again(ds, run, at))

    def _end_hand_over(self, ds: DaemonSetRun, run: StepRun, now: float) -> None:
        """Delete the released pod: its successor has passed."""
        released = ds.view.released.get(run.node)
        if released is None:
            return  # the release was accepted and is not seen yet
        if released.terminating:
            self._end(ds, run, StepState.DONE, "", now)
            return
        assert released.metadata.uid == run.released_uid, "S2: not the pod that was released"
        run.awaiting_answer = True
        meta = released.metadata
        self._actions.append(DeletePod(ds.name, run.node, meta.name, meta.uid))

    def _look_again(self, ds: DaemonSetRun, run: StepRun, now: float) -> None:
        if run.state in IN_FLIGHT or run.state is StepState.FAILED:
            self._advance(ds, run, now)

    def _end(
        self, ds: DaemonSetRun, run: StepRun, state: StepState, reason: str, now: float
    ) -> None:
        """Give the slot back and say how the node ended."""
        healed = run.state is StepState.FAILED
        held = run.state in IN_FLIGHT
        run.state, run.reason, run.ended_at = state, reason, now
        if held:
            self._release(ds, run)
        if state is StepState.FAILED:
            self._failed += 1
            self._note("node-failed", ds, node=run.node, wave=run.step.wave, message=reason)
            if self._failed > self.plan.limits.max_failures.value and not self.hold_why:
                self.hold_why = f"{run.node} failed: {reason}"
                self._note("held", ds, message=self.hold_why)
        else:
            self._failed -= healed
            self.done_count += state is StepState.DONE
            name = "node-done" if state is StepState.DONE else "node-gone"
            self._note(name, ds, node=run.node, wave=run.step.wave, message=reason)
        if not healed:
            self._finish_step(run, now)

    def _release(self, ds: DaemonSetRun, run: StepRun) -> None:
        ds.view.release(run.node)
        self._in_flight -= 1
        self._zone_load[run.zone] -= 1
        del self._busy_nodes[run.node]
        for waiting in self._parked.pop(run.node, ()):
            self._enqueue(self.daemon_sets[waiting.step.daemon_set], waiting)

    # The end

    def _drift(self, what: str) -> None:
        if not self.drift_why:
            self.drift_why = what
            self._tell(Notice("drift", message=what))

    def _refused(self, message: str, event: ev.Answered) -> None:
        self.finished = Finish(Outcome.REFUSED, message, event.exit_code)
        self._actions.append(self.finished)

    def _check_end(self) -> None:
        if self.finished is not None or self._in_flight or self._actions:
            return
        if any(d.phase in (Phase.PREPARING, Phase.RESTORING) for d in self.daemon_sets.values()):
            return
        finish: Finish | None = None
        if not self._pending:
            finish = self._completed()
        elif self.drift_why:
            finish = Finish(Outcome.DRIFT, self.drift_why)
        elif self.hold_why:
            finish = Finish(Outcome.HELD, self.hold_why)
        elif self.stop_why:
            finish = Finish(Outcome.PAUSED, self.stop_why)
        elif self._unapproved is not None:
            wave = self.plan.waves[self._unapproved.step.wave - 1].name
            finish = Finish(
                Outcome.PAUSED,
                f"wave {wave} is done and waits for approval: "
                f"rollout approve {self.plan.name} --wave {wave} -n {self.plan.namespace}",
            )
        if finish is not None:
            self.finished = finish
            self._actions.append(finish)

    def _completed(self) -> Finish:
        if self._failed:
            return Finish(Outcome.FAILED_NODES, f"{self._failed} nodes failed")
        if self.plan.totals.deferred:
            return Finish(Outcome.DEFERRED, f"complete with {self.plan.totals.deferred} deferred")
        return Finish(Outcome.DONE, "every planned node is on the target revision")

    # Timers and notices

    def _wake_node(self, name: str) -> Callable[[float, str], None]:
        def wake(when: float, node: str) -> None:
            def look(now: float) -> None:
                ds = self.daemon_sets[name]
                ds.view.reassess(node, now)
                self._node_changed(ds, node, now)

            self._at(when, look)

        return wake

    def _at(self, when: float, callback: Callable[[float], None]) -> None:
        self._timer_seq += 1
        heapq.heappush(self._timers, (when, self._timer_seq, callback))

    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2](now)

    def _note(
        self, kind: str, ds: DaemonSetRun, *, node: str = "", wave: int = 0, message: str = ""
    ) -> None:
        self._tell(Notice(kind, daemon_set=ds.name, node=node, wave=wave, message=message))

    def _tell(self, notice: Notice) -> None:
        self.notices.append(replace(notice, done=self.done_count))


def _urgency(run: StepRun) -> tuple[int, int]:
    assert run.lane is not None
    return run.lane, run.rank


def _begun(pods: Iterable[Pod], now: float) -> float:
    """When a replacement that we did not start began: from times stored in the cluster.

    A restart of ours thus gives a node no extra time.
    """
    times = [
        parse_time(p.metadata.creation_timestamp)
        for p in pods
        if p.metadata.creation_timestamp is not None and not p.terminating
    ]
    return min([now, *times])
