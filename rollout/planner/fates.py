"""The fate of every node: exactly one each, with the reason when the node is left out.

Eligibility is computed for the **new** template (behaviour.md section 1): what counts is where
the controller will want a pod once the template is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rollout.fleet.eligibility import Eligibility, compile_requirements, evaluate
from rollout.fleet.objects import JsonObject, Node, Pod, parse_time
from rollout.fleet.revisions import is_up_to_date, revision_hash, template_digest
from rollout.fleet.selectors import parse_label_selector
from rollout.fleet.snapshot import Fleet
from rollout.planner.plan import Fate, PlannedNode
from rollout.spec import NodeRules

# What the node lifecycle controller puts on nodes that are not ready (behaviour.md 1.3).
_NOT_READY_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
DeferredBy: TypeAlias = Literal["", "excluded", "cordoned", "not-ready", "stuck"]
WATCHED = "of the target revision, but not available: is watched, not replaced"
_STUCK_MARGIN_S = 60.0  # seconds beyond its grace after which a terminating pod is stuck


@dataclass(frozen=True, slots=True)
class NodeFate:
    """One node's fate, and what the later stages of the planner ask about it."""

    node: Node
    fate: Fate
    reason: str
    deferred_by: DeferredBy
    should_run: bool  # counts in the base of percentages
    in_budget: bool  # counts as unavailable when it has no available pod
    removes_pod: bool
    pod: Pod | None
    available: bool


def target_matcher(fleet: Fleet, template: JsonObject) -> Callable[[Pod], bool]:
    """Return the test "this pod is of the target template".

    Every remembered revision of that template counts by its hash; there may be two after an
    upgrade of the control plane (behaviour.md 3.3). The template generation counts where the
    template is the live one. The highest revision alone proves nothing: right after an edit it
    is still the one before.
    """
    digest = template_digest(template)
    live = digest == template_digest(fleet.daemon_set.spec.template)
    generation = fleet.daemon_set.template_generation if live else None
    hashes = {
        revision_hash(revision)
        for revision in fleet.revisions
        if template_digest(revision.template) == digest
    } or {""}
    return lambda pod: any(is_up_to_date(pod.metadata.labels, h, generation) for h in hashes)


def is_available(pod: Pod, min_ready_s: float, now: float) -> bool:
    """Whether the pod is ready for at least `min_ready_s` and stays (behaviour.md 2.2).

    Args:
        pod: the pod; one that terminates is not available.
        min_ready_s: `spec.minReadySeconds`.
        now: seconds since the epoch, by the clock that the caller trusts.
    """
    if pod.terminating or not pod.ready:
        return False
    condition = pod.ready_condition
    if min_ready_s <= 0:
        return True
    since = condition.last_transition_time if condition else None
    return since is not None and parse_time(since) + min_ready_s <= now


def start_time(pod: Pod | None) -> float:
    """Return how long the pod took from its creation to its readiness, in seconds.

    The best guess for its successor on the same node. 0.0 where the pod cannot tell: it is not
    ready, or its containers have restarted since.
    """
    condition = pod.ready_condition if pod is not None else None
    if pod is None or condition is None or not pod.ready or pod.restarts:
        return 0.0
    created, ready = pod.metadata.creation_timestamp, condition.last_transition_time
    if created is None or ready is None:
        return 0.0
    return max(0.0, parse_time(ready) - parse_time(created))


def node_fates(
    fleet: Fleet,
    template: JsonObject,
    rules: NodeRules,
    now: float,
    unfinished: Collection[str] = (),
) -> list[NodeFate]:
    """Decide for every node of the cluster, in the order of their names.

    Args:
        fleet: what runs now.
        template: the target template.
        rules: which nodes the user wants in.
        now: when the fleet was read, seconds since the epoch.
        unfinished: nodes that are under way: they have a step even where their pod is current, for
            a released pod must go, and even where there is none, for one must come.
    """
    decide = _Decider(fleet, template, rules, now, unfinished)
    return [decide(node) for node in fleet.nodes.values()]


def unproven(fleet: Fleet, template: JsonObject, rules: NodeRules, now: float) -> frozenset[str]:
    """Return the nodes that have nothing but the target template, and no available pod.

    Where the run that led there was not brought to its end, nobody has seen them well: another plan
    to the same template that took them for done would pass over what has stopped the run.

    Args:
        fleet: what runs now.
        template: the target template.
        rules: which nodes the user wants in; others are left alone as they are.
        now: when the fleet was read, seconds since the epoch.
    """
    if template_digest(template) != template_digest(fleet.daemon_set.spec.template):
        return frozenset()
    is_target = target_matcher(fleet, template)
    min_ready_s = float(fleet.daemon_set.spec.min_ready_seconds)

    def is_unproven(pods: Iterable[Pod]) -> bool:
        return all(is_target(pod) and not is_available(pod, min_ready_s, now) for pod in pods)

    return frozenset(
        name
        for name, node in fleet.nodes.items()
        if is_unproven(fleet.pods.get(name, ())) and node.ready and _is_wanted(node, rules)
    )


def _is_wanted(node: Node, rules: NodeRules) -> bool:
    return (
        node.metadata.name not in rules.exclude
        and parse_label_selector(rules.selector).matches(node.metadata.labels)
        and not (node.spec.unschedulable and rules.cordoned == "exclude")
    )


def watched_still(
    fleet: Fleet, template: JsonObject, planned: Iterable[PlannedNode]
) -> frozenset[str]:
    """Return the nodes that a plan only watches, as long as they have the pod that it saw, if any.

    Args:
        fleet: what runs now.
        template: the target template.
        planned: the nodes of the plan.
    """
    is_target = target_matcher(fleet, template)
    changes = template_digest(template) != template_digest(fleet.daemon_set.spec.template)

    def is_watched(node: PlannedNode) -> bool:
        if node.pod is None:
            return not changes  # the controller is to make it; then it is looked at
        pods = fleet.pods.get(node.name, ())
        return any(pod.metadata.uid == node.pod.uid and is_target(pod) for pod in pods)

    return frozenset(node.name for node in planned if node.fate == "update" and is_watched(node))


class _Decider:
    """The rules compiled once, then asked for each node."""

    def __init__(
        self,
        fleet: Fleet,
        template: JsonObject,
        rules: NodeRules,
        now: float,
        unfinished: Collection[str],
    ) -> None:
        self.fleet = fleet
        self.requirements = compile_requirements(template)
        live = fleet.daemon_set.spec.template
        self.changes = template_digest(template) != template_digest(live)
        self.is_target = target_matcher(fleet, template)
        self.rules = rules
        self.selector = parse_label_selector(rules.selector)
        self.excluded = frozenset(rules.exclude)
        self.min_ready_s = float(fleet.daemon_set.spec.min_ready_seconds)
        self.now = now
        self.unfinished = unfinished

    def __call__(self, node: Node) -> NodeFate:
        name = node.metadata.name
        eligibility = evaluate(
            self.requirements,
            name=name,
            labels=node.metadata.labels,
            taints=node.spec.taints,
        )
        pods = self.fleet.pods.get(name, ())
        alive = [pod for pod in pods if not (pod.terminating and pod.terminal)]
        old = [pod for pod in alive if not self.is_target(pod)]
        pod = next((p for p in old if not p.terminating), None) or next(iter(old or alive), None)
        fate, reason, deferred_by = self._decide(node, eligibility, alive, old)
        return NodeFate(
            node=node,
            fate=fate,
            reason=reason,
            deferred_by=deferred_by,
            should_run=eligibility.should_run,
            # Nodes that are down or stuck before the run are outside of it: they must not block.
            in_budget=eligibility.should_run
            and deferred_by in ("", "excluded", "cordoned")
            and (node.ready or not deferred_by),
            removes_pod=bool(alive) and not eligibility.should_continue,
            pod=pod,
            available=any(is_available(p, self.min_ready_s, self.now) for p in alive),
        )

    def _decide(
        self, node: Node, eligibility: Eligibility, alive: list[Pod], old: list[Pod]
    ) -> tuple[Fate, str, DeferredBy]:
        if not eligibility.should_run and not self._only_for_now(node, eligibility):
            return "ineligible", eligibility.reason, ""
        # What ends is followed by a pod of the live template, not of the one that it has.
        ends = self.changes and all(pod.terminating for pod in alive)
        if alive and not old and not ends and node.metadata.name not in self.unfinished:
            return "current", "", ""
        if node.metadata.name in self.excluded:
            return "deferred", "excluded by name", "excluded"
        if not self.selector.matches(node.metadata.labels):
            reason = f"excluded: nodes.selector {self.rules.selector} does not match"
            return "deferred", reason, "excluded"
        if node.spec.unschedulable and self.rules.cordoned == "exclude":
            return "deferred", "cordoned", "cordoned"
        if not eligibility.should_run or (not node.ready and self.rules.defer_not_ready):
            return "deferred", "node was not ready before the run", "not-ready"
        stuck = next((pod for pod in old if self._stuck(pod)), None)
        if stuck is not None:
            return "deferred", f"pod {stuck.metadata.name} is stuck terminating", "stuck"
        if alive:
            watched = not old and not all(pod.terminating for pod in alive)
            return "update", WATCHED if watched else "", ""
        # The controller is about to create the pod; that is our affair only where the template
        # changes, or where the run took the old pod away.
        ours = self.changes or node.metadata.name in self.unfinished
        fate: Fate = "update" if ours else "current"
        return fate, "no pod yet; the controller creates it", ""

    def _only_for_now(self, node: Node, eligibility: Eligibility) -> bool:
        """Whether nothing but the node's own lifecycle taint keeps the pod off it.

        That stays for a moment on a node that is ready again, or as long as no controller runs.
        """
        if not eligibility.should_continue:
            return False
        taints = tuple(t for t in node.spec.taints if t.key not in _NOT_READY_TAINTS)
        without = evaluate(
            self.requirements,
            name=node.metadata.name,
            labels=node.metadata.labels,
            taints=taints,
        )
        return without.should_run

    def _stuck(self, pod: Pod) -> bool:
        """Whether a terminating pod is long past its grace period.

        `deletionTimestamp` already is the time at which the grace period ends.
        """
        deadline = pod.metadata.deletion_timestamp
        return deadline is not None and parse_time(deadline) + _STUCK_MARGIN_S < self.now
