"""The engine: what to do next, from the plan and what was observed. Pure: no I/O, no clock.

`observe(event, now)` takes in one event, `decide(now)` returns the actions that may be carried
out at this moment, `next_wake()` says when to ask again if nothing happens. An event costs
O(log nodes). Budgets are pools; a slot is held from the delete until the health verdict. Wherever
the cluster already is where a step leads, the step is only verified: that is what makes resuming
the normal start.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from rollout.executor.engine import (
    answering,
    backgroundgates,
    claiming,
    controlling,
    deadlines,
    gatestop,
    gatewaiting,
    gating,
    guarding,
    observing,
    reasserting,
    rules,
    settling,
    sight,
    starting,
    stepping,
    stopping,
    storedtimes,
    timekeeping,
)
from rollout.executor.engine import events as ev
from rollout.executor.engine.actions import Action, Finish, Outcome
from rollout.executor.engine.book import Book
from rollout.executor.engine.state import Phase, StepRun


class Engine(Book):
    """One run of one plan; see `Book` for its arguments."""

    checked: ClassVar[bool] = False  # assert the safety rules on the whole book

    def observe(self, event: ev.Event, now: float) -> None:  # noqa: C901, PLR0912, PLR0915 - an arm per event
        """Take in one event.

        Args:
            event: what was seen or answered.
            now: seconds, by the clock of the run.
        """
        match event:
            case ev.PodSeen(name, pod):
                observing.pod_seen(self, self.daemon_sets[name], pod, now)
            case ev.PodGone(name, uid, version):
                ds = self.daemon_sets[name]
                node = ds.view.forget(uid, now, version)
                if node is not None:
                    self.node_changed(ds, node, now)
            case ev.PodsListed(name, pods):
                observing.take_pods(self, self.daemon_sets[name], pods, now)
            case ev.ReleasedSeen(name, pod):
                observing.released_seen(self, self.daemon_sets[name], pod.spec.node_name, pod, now)
            case ev.ReleasedGone(name, node_name, uid):
                observing.release_ended(self, self.daemon_sets[name], node_name, uid, now)
            case ev.ReleasedListed(name, pods):
                observing.take_released(self, self.daemon_sets[name], pods, now)
            case ev.NodeSeen(node):
                observing.node_seen(self, node, now)
            case ev.NodeGone(name):
                observing.node_gone(self, name, now)
            case ev.NodesListed(nodes):
                observing.take_nodes(self, nodes, now)
            case ev.DaemonSetSeen(name, daemon_set):
                observing.daemon_set_seen(self, self.daemon_sets[name], daemon_set, now)
            case ev.DaemonSetGone(name, is_certain):
                observing.daemon_set_gone(self, self.daemon_sets[name], is_certain=is_certain)
            case ev.CreationRefused(name, message, at):
                guarding.refusal_seen(self, self.daemon_sets[name], message, at)
            case ev.RevisionsSeen(name, revisions):
                ds = self.daemon_sets[name]
                ds.revisions = revisions
                observing.resolve(self, ds, now)
            case ev.ViewLost(resource, reason, locked_out):
                sight.lost(self, resource, reason, now)
                if resource == ev.LOCK:
                    claiming.lapsed(self)
                stopping.watch_blindness(self, now)
                if locked_out:
                    sight.locked_out(self, resource, reason, now)
                    stopping.watch_lockout(self, now)
            case ev.ViewBack(resource):
                sight.back(self, resource, now)
                if resource == ev.LOCK:
                    gating.came_back(self)
            case ev.WentBack(resource, version, seen):
                sight.went_back(self, resource, version, seen)
            case ev.Answered():
                answering.answered(self, event, now)
            case ev.Measured(meter, round_, measurement):
                gating.heard(self, meter, round_, measurement, now)
            case ev.LockLost(why):
                self.stop_for_drift(why, resumes=True)
                reasserting.lock_lost(self)
            case ev.TimesStored(began):
                self.times.announced(began, now)
            case ev.TimesNotStored():
                storedtimes.not_stored(self, now)
                claiming.not_said(self, now)
            case ev.OtherSeen(where, other):
                claiming.other_seen(self, where, other)
            case ev.OtherLooked(where, version, alive):
                claiming.looked(self, where, version, now, alive=alive)
            case ev.RecordTold(word, run_id, epoch):
                claiming.told(self, word, run_id, epoch)
            case ev.JournalLost(why):
                self.hold(why)
            case ev.StopAsked(why):
                stopping.asked_to_stop(self, why, now)
            case ev.Said(wishes):
                before = self.wishes
                controlling.hear(self, wishes, now)
                gating.hear(self, before, now)
                if before.stop is not None and wishes.stop is None:
                    gating.came_back(self)
            case ev.Decided(node, word):
                controlling.hear(self, stepping.heard(self, node, word), now)

    def decide(self, now: float) -> list[Action]:
        """Return what may be done now; each action comes out once."""
        self.timers.run(now)
        stopping.take_up(self, now)
        gating.take_up(self, now)
        starting.start_updates(self, now)
        claiming.take_up(self, now)
        gating.take_up(self, now)  # a step that is only verified may have ended at once
        deadlines.watch(self, now)
        timekeeping.note_block(self, now)
        self._check_end(now)
        if self.checked:
            rules.check(self)
        actions = list(self.actions)
        self.actions.clear()
        return actions

    def next_wake(self) -> float | None:
        """Return when `decide` has something to look at even if no event comes."""
        return self.timers.next_at()

    def _check_end(self, now: float) -> None:
        if self.finished is not None or self.actions or self.asked_back or self._must_watch():
            return
        if any(d.phase in (Phase.PREPARING, Phase.RESTORING) for d in self.daemon_sets.values()):
            return
        finish = self._ending(now)
        if finish is not None:
            at_work = (
                "" if self._goes_back() or gatestop.goes_back(self) else settling.at_work(self)
            )
            message = "; ".join(text for text in (finish.message, at_work) if text)
            self.finished = finish = replace(finish, message=message)
            self.actions.append(finish)

    def _must_watch(self) -> bool:
        """Whether nodes in flight, or a patch, keep the run from its end."""
        if reasserting.is_open(self):
            return True
        if self.sight.went_back or gatestop.goes_back(self) or self._goes_back():
            return any(run.awaiting_answer for run in self.busy_nodes.values())
        if self.drift_why or self.hold_outcome in (Outcome.HELD, Outcome.REFUSED):
            return not all(map(self._is_left_alone, self.busy_nodes.values()))
        return any(run.awaiting_answer for run in self.busy_nodes.values())

    def _is_left_alone(self, run: StepRun) -> bool:
        """Whether nobody need wait for a node in flight: only people can help it, or nobody.

        Nodes in trouble are what a pause of the run's own is for: somebody is to look. For a
        DaemonSet that has ended no controller makes a pod, and what we may not do stays undone.
        """
        if run.in_trouble and self.pause_why and not self.hold_why:
            return True
        forsaken = self.daemon_sets[run.step.daemon_set].has_ended or run.barred
        return (forsaken and not run.awaiting_answer) or gatewaiting.is_idle(self, run)

    def _goes_back(self) -> bool:
        """Whether the run ends in order to go back, which the health of no node may delay (S10)."""
        if self.drift_why:
            return False
        wish, policy = self.wishes.stop, self.plan.failure.on_failure
        by_policy = bool(self.hold_why) and self.by_release and policy == "rollback"
        return by_policy or (wish is not None and wish.verb == "rollback")

    def _ending(self, now: float) -> Finish | None:
        """Return how the run ends now that no node keeps it; None when it goes on."""
        if not self.pending and not settling.is_open(self):
            if self.drift_why:  # an OnDelete of the owner has no last patch that would meet it
                return Finish(Outcome.DRIFT, f"{self.drift_why}; all nodes have had their turn")
            settled = backgroundgates.are_settled(self, now)
            return self._completed() if settled else gatestop.stopped(self)
        aborted = self.wishes.stop is not None and self.wishes.stop.verb == "abort"
        if self.gating.stop is not None and not aborted and not self.drift_why:
            return gatestop.stopped(self)
        return controlling.ended(self) or gatewaiting.waiting_for_people(self)

    def _failed_text(self) -> str:
        count, excused = self.failures.total + self.failures.excused, self.failures.excused
        nodes = "1 node failed" if count == 1 else f"{count} nodes failed"
        nodes += f" ({excused} of them through no fault of the release)" if excused else ""
        return self._with_what_stays(nodes)

    def _with_what_stays(self, text: str) -> str:
        stays = settling.sentence(self.daemon_sets.values())
        return f"{text}; {stays}" if stays else text

    def _completed(self) -> Finish:
        if self.failures.total or self.failures.excused:
            return Finish(Outcome.FAILED_NODES, self._failed_text())
        left_out = [
            f"{count} {word}"
            for count, word in ((self.plan.totals.deferred, "deferred"), (self.skipped, "skipped"))
            if count
        ]
        if left_out:
            text = f"complete with {' and '.join(left_out)}"
            return Finish(Outcome.DEFERRED, self._with_what_stays(text))
        return Finish(Outcome.DONE, "every planned node is on the target revision")
