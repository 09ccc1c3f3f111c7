"""The DaemonSet controller: what Kubernetes 1.36's does, as behaviour.md sections 1 to 6 say.

It listens, keeps its caches, and on each sync carries out what the pure rules in `decisions.py`
decide. It never evicts, never looks at budgets of others, and knows the cluster only through its
caches, which are a little stale.
"""

from __future__ import annotations

import random
from typing import Final

from rollout.fleet.objects import TEMPLATE_GENERATION_ANNOTATION
from rollout.sim.clock import Clock
from rollout.sim.controllers.claims import ClaimError, Claims
from rollout.sim.controllers.daemoncache import DaemonCache, Tracked, controller_uid
from rollout.sim.controllers.daemonstatus import write_status
from rollout.sim.controllers.daemonview import Rules
from rollout.sim.controllers.decisions import (
    DaemonPod,
    NodeGone,
    Target,
    allows_surge,
    plan_rolling,
    ready_since,
    resolve_limits,
    split,
)
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.expectations import Expectations
from rollout.sim.controllers.podtemplate import PodTemplate
from rollout.sim.controllers.revisions import History, HistoryError, RevisionHistory
from rollout.sim.controllers.workqueue import Backoff, Informer, WorkQueue
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import CONTROLLER_REVISIONS, DAEMONSETS, NODES, PODS
from rollout.sim.store import Event, Object

BURST: Final = 250  # creations, and deletions, in one sync
FIRST_BATCH: Final = 1  # of creations; doubles while all goes well
FIRST_FAILED_DELAY: Final = 1.0
LAST_FAILED_DELAY: Final = 900.0
_NOT_FOUND: Final = 404


class DaemonSetController:
    """Runs daemon pods on eligible nodes and rolls out new templates."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        rng: random.Random,
        recorder: EventRecorder,
        caller: Caller,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._rng = rng
        self._caller = caller
        self._record = recorder.recorder("daemonset-controller", caller)
        self._cache = DaemonCache(rng)
        self._claims = Claims(registry, caller)
        self._revisions = RevisionHistory(registry, caller)
        self._expectations = Expectations()
        self._failed_backoff: Backoff[tuple[str, int, str]] = Backoff(
            FIRST_FAILED_DELAY, LAST_FAILED_DELAY
        )
        self._queue: WorkQueue[str] = WorkQueue(clock, self._sync)
        watched = (NODES, DAEMONSETS, CONTROLLER_REVISIONS, PODS)
        self._informer = Informer(registry.store, clock, watched, latency, self._handle)

    def start(self) -> None:
        """Fill the caches and begin to work."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more, as when the controller manager is down."""
        self._informer.stop()
        self._queue.stop()

    # Events (section 1.7)

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.resource is PODS:
                self._on_pod(event)
            elif event.resource is NODES:
                self._on_node(event)
            elif event.resource is DAEMONSETS:
                self._on_daemon_set(event)
            else:
                self._on_revision(event)

    def _on_daemon_set(self, event: Event) -> None:
        if event.type == "DELETED":
            self._cache.drop_daemon_set(event.object)
            self._expectations.forget("/".join(event.key))
            return
        self._queue.add(self._cache.put_daemon_set(event.object).key)

    def _on_revision(self, event: Event) -> None:
        self._cache.put(event)
        owner = self._cache.owner(event.object)
        if owner is not None and event.type != "ADDED":
            self._queue.add(owner.key)
        elif controller_uid(event.object) is None and event.type != "DELETED":
            self._enqueue_matching(event.object)

    def _on_pod(self, event: Event) -> None:
        self._cache.put(event)
        pod = event.object
        owner, before = self._cache.owner(pod), self._cache.owner(event.old)
        if before is not None and before is not owner:
            self._queue.add(before.key)
        if owner is None:
            if event.type != "DELETED" and controller_uid(pod) is None:
                self._enqueue_matching(pod)
            return
        if event.type == "DELETED" or "deletionTimestamp" in pod["metadata"]:
            self._expectations.deleted(owner.key)
        elif event.type == "ADDED":
            self._expectations.created(owner.key)
        else:
            self._await_availability(owner, event)
        self._queue.add(owner.key)

    def _await_availability(self, owner: Tracked, event: Event) -> None:
        min_ready = owner.object["spec"].get("minReadySeconds", 0)
        if not min_ready or event.old is None:
            return
        was, now = event.old.get("status") or {}, event.object.get("status") or {}
        if was is not now and ready_since(was) is None and ready_since(now) is not None:
            self._queue.add_after(owner.key, min_ready + 1)

    def _enqueue_matching(self, obj: Object) -> None:
        for tracked in self._cache.matching(obj):
            self._queue.add(tracked.key)

    def _on_node(self, event: Event) -> None:
        name = event.key[1]
        if event.type == "DELETED":
            self._cache.drop_node(name)
            return
        if event.old is not None and not _eligibility_may_change(event.old, event.object):
            return
        self._cache.put_node(event.object)
        for tracked in self._cache.tracked.values():
            if _node_matters(tracked, name):
                self._queue.add(tracked.key)

    # Sync

    def _sync(self, key: str) -> bool:
        tracked = self._cache.tracked.get(key)
        if tracked is None:
            return True
        daemon_set = tracked.object
        if not any(daemon_set["spec"]["selector"].values()):
            self._record(
                daemon_set,
                "Warning",
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            )
            return True
        if "deletionTimestamp" in daemon_set["metadata"]:
            return True
        try:
            history = self._history(tracked)
        except (ClaimError, HistoryError):
            return False
        return self._reconcile(tracked, history)

    def _history(self, tracked: Tracked) -> History:
        self._claims.claim_revisions(tracked)
        self._claims.claim_pods(tracked)
        pods = ((pod.name, pod.hash) for pod in tracked.view.pods())
        return self._revisions.construct(tracked.object, tracked.revisions.values(), pods)

    def _reconcile(self, tracked: Tracked, history: History) -> bool:
        now, view = self._clock.now(), tracked.view
        view.refresh(_rules(tracked, history), now)
        if not self._expectations.fulfilled(tracked.key, now):
            return self._write_status(tracked, observe=False)
        updated = self._update(tracked, history)
        written = self._write_status(tracked, observe=True)
        return updated and written

    def _update(self, tracked: Tracked, history: History) -> bool:
        if not self._manage(tracked, history):
            return False
        if self._expectations.fulfilled(tracked.key, self._clock.now()):
            strategy = tracked.object["spec"]["updateStrategy"]
            if strategy.get("type") == "RollingUpdate" and not self._roll(tracked, history):
                return False
        try:
            self._revisions.truncate(tracked.object, history, tracked.view.live_hashes)
        except HistoryError:
            return False
        return True

    def _manage(self, tracked: Tracked, history: History) -> bool:
        """Give every node its one pod and take away what is too much (section 1.5)."""
        view = tracked.view
        doomed: list[str] = []
        for node, work in view.deletions.items():
            for pod in work.succeeded:
                self._note_ended(tracked.object, pod, node)
            failed = (p for p in work.failed if self._may_delete_failed(tracked, node, p))
            doomed += [pod.name for pod in (*failed, *work.succeeded, *work.delete)]
        missing = list(view.missing)
        if len(missing) > BURST:
            missing = self._rng.sample(missing, BURST)
        return self._sync_nodes(tracked, history, doomed, missing)

    def _may_delete_failed(self, tracked: Tracked, node: str, pod: DaemonPod) -> bool:
        """Whether the node's backoff allows to delete a failed pod now (section 6.1)."""
        observed = tracked.object.get("status", {}).get("observedGeneration", 0)
        key, now = (tracked.uid, observed, node), self._clock.now()
        if self._failed_backoff.waiting(key, now):
            self._queue.add_after(tracked.key, self._failed_backoff.delay(key))
            return False
        self._failed_backoff.collect(now)
        self._failed_backoff.step(key, now)
        self._record(
            tracked.object,
            "Warning",
            "FailedDaemonPod",
            f"Found failed daemon pod {pod.namespace}/{pod.name} on node {node}, "
            "will try to kill it",
        )
        return True

    def _note_ended(self, daemon_set: Object, pod: DaemonPod, node: str) -> None:
        self._record(
            daemon_set,
            "Normal",
            "SucceededDaemonPod",
            f"Found succeeded daemon pod {pod.namespace}/{pod.name} on node {node}, "
            "will try to delete it",
        )

    def _roll(self, tracked: Tracked, history: History) -> bool:
        """Take the next step of a rolling update (sections 2.4 and 2.5)."""
        view, target = tracked.view, _target(tracked, history)
        desired = view.totals.desired
        try:
            limits = resolve_limits(tracked.object["spec"]["updateStrategy"], desired)
            plan = plan_rolling(view.groups, limits, desired)
        except (ValueError, NodeGone):
            return False
        doomed = [split(view.pods_on(node), target)[1][0].name for node in plan.delete_old]
        return self._sync_nodes(tracked, history, doomed, plan.create)

    # Doing (section 6.2)

    def _sync_nodes(
        self, tracked: Tracked, history: History, doomed: list[str], nodes: list[str]
    ) -> bool:
        doomed, nodes = doomed[:BURST], nodes[:BURST]
        now = self._clock.now()
        self._expectations.expect(tracked.key, len(nodes), len(doomed), now)
        created = self._create_pods(tracked, history, nodes)
        deleted = [self._delete_pod(tracked, name) for name in doomed]
        return created and all(deleted)

    def _create_pods(self, tracked: Tracked, history: History, nodes: list[str]) -> bool:
        """Create in growing batches; an error ends it after its batch."""
        if not nodes:
            return True
        template = PodTemplate(tracked.object, _target(tracked, history))
        start, size = 0, FIRST_BATCH
        while start < len(nodes):
            batch = nodes[start : start + size]
            results = [self._create_pod(tracked, template, node) for node in batch]
            start += len(batch)
            if not all(results):
                for _ in nodes[start:]:
                    self._expectations.created(tracked.key)
                return False
            size *= 2
        return True

    def _create_pod(self, tracked: Tracked, template: PodTemplate, node: str) -> bool:
        namespace = tracked.object["metadata"]["namespace"]
        try:
            pod = self._registry.create(PODS, namespace, template.for_node(node), self._caller)
        except StatusError as error:
            if _namespace_terminating(error):
                return True  # nothing can be created any more; the expectation runs out
            self._record(
                tracked.object, "Warning", "FailedCreate", f"Error creating: {error.message}"
            )
            self._expectations.created(tracked.key)
            return False
        self._record(
            tracked.object, "Normal", "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"
        )
        return True

    def _delete_pod(self, tracked: Tracked, name: str) -> bool:
        namespace = tracked.object["metadata"]["namespace"]
        try:
            self._registry.delete(PODS, namespace, name, self._caller)
        except StatusError as error:
            self._expectations.deleted(tracked.key)
            if error.code == _NOT_FOUND:
                return True
            self._record(
                tracked.object, "Warning", "FailedDelete", f"Error deleting: {error.message}"
            )
            return False
        self._record(tracked.object, "Normal", "SuccessfulDelete", f"Deleted pod: {name}")
        return True

    def _write_status(self, tracked: Tracked, *, observe: bool) -> bool:
        totals = tracked.view.totals
        min_ready = tracked.object["spec"].get("minReadySeconds", 0)
        done = write_status(self._registry, self._caller, tracked.object, totals, observe=observe)
        if min_ready and totals.ready != totals.available:
            self._queue.add_after(tracked.key, min_ready)
        return done


def _target(tracked: Tracked, history: History) -> Target:
    annotations = tracked.object["metadata"].get("annotations") or {}
    generation = annotations.get(TEMPLATE_GENERATION_ANNOTATION, "")
    return Target(history.hash, generation if generation.isdigit() else "")


def _rules(tracked: Tracked, history: History) -> Rules:
    spec = tracked.object["spec"]
    return Rules(
        tracked.requirements,
        _target(tracked, history),
        allows_surge(spec["updateStrategy"]),
        spec.get("minReadySeconds", 0),
    )


def _eligibility_may_change(old: Object, new: Object) -> bool:
    return old["metadata"].get("labels") != new["metadata"].get("labels") or (
        (old.get("spec") or {}).get("taints") != (new.get("spec") or {}).get("taints")
    )


def _node_matters(tracked: Tracked, node: str) -> bool:
    """Whether a change of the node calls for a sync (D:1562, section 1.7)."""
    view = tracked.view
    if not view.started:
        return True
    verdict = view.eligibility(node)
    bound = any(pod.bound for pod in view.pods_on(node))
    if not bound:
        return verdict.should_run
    misscheduled: int = tracked.object.get("status", {}).get("numberMisscheduled", 0)
    return not verdict.should_continue or misscheduled > 0


def _namespace_terminating(error: StatusError) -> bool:
    causes = (error.details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
