"""What the engine remembers of each step and each DaemonSet of a run.

Budgets are counted here, by set operations that cost O(1) each: a node uses the budget while it
has no available pod or while a step holds its slot.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from rollout.executor.engine.controlgroup import ControlGroup
from rollout.executor.engine.view import PodView
from rollout.fleet import marks
from rollout.fleet.objects import ControllerRevision, DaemonSet, Pod
from rollout.fleet.revisions import is_up_to_date, template_digest
from rollout.planner.plan import WAY_BACK, Limit, PlannedDaemonSet, Step

ON_DELETE = "OnDelete"
BEFORE = float("-inf")  # the time of what is so from the start


class StepState(Enum):
    """Where a step is."""

    BLOCKED = "blocked"  # a predecessor is not done
    READY = "ready"  # waits for room in the pools
    ASKING = "asking"  # holds a slot; its gates must pass before the pod goes
    DELETING = "deleting"  # the delete is under way
    REPLACING = "replacing"  # the old pod goes, the new one comes
    SOAKING = "soaking"  # available, for not long enough yet
    PROVING = "proving"  # healthy; its gates must pass before it is done
    DONE = "done"
    FAILED = "failed"
    GONE = "gone"  # the node left the cluster
    SKIPPED = "skipped"  # left out while the run went


IN_FLIGHT = (
    StepState.ASKING,
    StepState.DELETING,
    StepState.REPLACING,
    StepState.SOAKING,
    StepState.PROVING,
)
OVER = (StepState.DONE, StepState.FAILED, StepState.GONE, StepState.SKIPPED)


class Phase(Enum):
    """Where a DaemonSet is between its two patches."""

    UNTOUCHED = "untouched"
    PREPARING = "preparing"
    OBSERVING = "observing"  # patched; the controller has not seen it yet
    OPEN = "open"
    RESTORING = "restoring"
    RESTORED = "restored"


class Lane(IntEnum):
    """What a ready update needs; lower goes first."""

    VERIFY = 0  # nothing is to be deleted
    BROKEN = 1  # the node is charged already, as it is unavailable: costs the budget nothing
    HEALTHY = 2


@dataclass(slots=True, eq=False)
class StepRun:
    """One step of the graph while it runs."""

    step: Step
    rank: int  # position in the plan
    zone: str
    blockers: int
    state: StepState = StepState.BLOCKED
    lane: Lane | None = None  # where it waits; None when it is in no lane
    successors: list[StepRun] = field(default_factory=list)
    awaiting_answer: bool = False
    replaced_uid: str = ""  # the pod that the run took away on this node (S3: one at most)
    released_uid: str = ""  # an old pod that still works beside its successor
    in_the_way_until: float = 0.0  # when that pod is to make room for others, as the step failed
    taken_back: bool = False  # that old pod is to serve again, as the run gave the node up
    left_beside: str = ""  # why that could not be done
    retry_uid: str = ""  # a failed pod of the target revision that another try takes away
    reopened: bool = False  # somebody asked for another try
    told: bool = False  # its successors know that it is over
    by_others: bool = False  # somebody else took its pod away before its turn
    let_through: bool = False  # approved by name, past an approval that nobody gave
    ready_at: float = BEFORE  # its turn had come
    asked_at: float = 0.0  # the first write to its pod was asked for; 0: none was
    started_at: float = 0.0  # that write was accepted, or somebody else began
    due_at: float = 0.0  # when its time is over, but for what is not held against it (`terms`)
    missed_before_s: float = 0.0  # for how long nothing could be judged before it began
    unserved_s: float = 0.0  # for how long it lacked a successor while the controller did nothing
    ended_at: float = 0.0
    reason: str = ""
    said: str = ""  # by the API server, where it did not do the last write
    inherited: bool = False  # it was begun by an earlier process of the run, or by somebody else
    known_restarts: int = 0  # of the new pod, from before this process
    in_trouble: bool = False  # something is wrong that may yet get well
    barred: bool = False  # its new pod is well; we may not take away the one beside it
    excused: bool = False  # its failure says nothing about the release

    @property
    def id(self) -> str:
        """Its id in the plan."""
        return self.step.id

    @property
    def node(self) -> str:
        """The node that it updates."""
        return self.step.node


class DaemonSetRun:
    """One DaemonSet of the plan while it runs.

    Args:
        planned: its part of the plan.
        plan_digest: by which our own patch is recognised.
        wake: called with (time, node) when a pod's availability must be looked at again.
    """

    def __init__(
        self, planned: PlannedDaemonSet, plan_digest: str, wake: Callable[[float, str], None]
    ) -> None:
        self.planned = planned
        self.name = planned.name
        self.zones = {node.name: node.zone for node in planned.nodes}
        self.control = ControlGroup(self.zones)
        # Left by an unfinished run to the same target: what that release broke is no excuse for it.
        self.watched = {node.name for node in planned.nodes if planned.watches(node)}
        self.broken_before = {
            n.name for n in planned.nodes if n.in_budget and not n.available
        } - self.watched
        self.view = PodView(
            planned.uid,
            (node.name for node in planned.nodes if node.in_budget),
            planned.min_ready_s,
            wake,
            self.zones,
            surges=self.hands_over,  # S10: else no limit but that of unavailable nodes
        )
        self.steps: dict[str, StepRun] = {}
        self.phase = Phase.UNTOUCHED
        self.live: DaemonSet | None = None
        self.behind: DaemonSet | None = None  # from before the plan, while nothing newer is seen
        self.generation = planned.generation  # the one that must have been observed
        self.revisions: tuple[ControllerRevision, ...] = ()
        self.resolved = False  # the target revision is known
        self.unprepared = False  # it is restored as the plan found it, with no patch before
        self.patch_is_unsure = False  # no answer told what became of the last one
        self.reasserted = self.reasserting = False  # OnDelete was set again, or is being set
        self.gone = False  # it was deleted, or another one has its name now
        self.listed = False  # the pods are known
        self.released_listed = False  # the handed-over pods are known
        self.pods_refused = ""  # what the API server says against the new pods
        self.target_hash = ""
        self.target_generation: str | None = None
        self._plan_digest = plan_digest
        self._base = {node.name for node in planned.nodes if node.fate != "ineligible"}
        self._left: set[str] = set()  # nodes of the base that left the cluster
        self._lanes: dict[tuple[Lane, str], list[tuple[int, StepRun]]] = {}

    @property
    def hands_over(self) -> bool:
        """Whether it surges by hand-over, on the way forward."""
        return self.planned.hand_over is not None and self.planned.target_kind != WAY_BACK

    @property
    def is_flipped(self) -> bool:
        """Whether it is OnDelete only for the length of a run."""
        return (
            not self.planned.owner_on_delete
            and self.live is not None
            and self.live.strategy_type == ON_DELETE
        )

    @property
    def has_ended(self) -> bool:
        """Whether its controller does nothing for it any more (behaviour.md 9, cases 34, 35)."""
        deleted = self.live is not None and self.live.metadata.deletion_timestamp is not None
        return self.gone or deleted

    @property
    def is_patched(self) -> bool:
        """Whether the first patch is there and observed."""
        return self.phase in (Phase.OPEN, Phase.RESTORING, Phase.RESTORED)

    # Revisions and drift

    def is_target(self, pod: Pod) -> bool:
        """Whether the pod is of the target revision, by the controller's OR rule."""
        return is_up_to_date(pod.metadata.labels, self.target_hash, self.target_generation)

    def to_take_back(self, node: str) -> Pod | None:
        """Return the node's released pod if it is of the target revision: nothing beats it."""
        pod = self.view.released.get(node)
        if pod is None or pod.terminating or not self.is_target(pod):
            return None
        return pod

    def is_from_before_plan(self, seen: DaemonSet) -> bool:
        """Whether it is a state that the plan has seen the end of: a lagging server shows it."""
        return seen.metadata.generation < self.planned.generation

    def is_prepared(self, seen: DaemonSet) -> bool:
        """Whether our patch is there: the target template under OnDelete."""
        if template_digest(seen.spec.template) != self.planned.target.template_digest:
            return False
        if seen.strategy_type != ON_DELETE:
            return False
        if self.planned.owner_on_delete:
            return seen.metadata.generation >= self.planned.generation
        return seen.metadata.annotations.get(marks.PLAN) == self._plan_digest

    def is_restored(self, seen: DaemonSet) -> bool:
        """Whether the final patch is there: final strategy, none of our annotations."""
        return (
            template_digest(seen.spec.template) == self.planned.target.template_digest
            and seen.spec.update_strategy == self.planned.final_strategy
            and not any(mark in seen.metadata.annotations for mark in marks.ALL)
        )

    def is_turned_back(self, seen: DaemonSet) -> bool:
        """Whether nothing of what the run has set is changed but the OnDelete of its own."""
        meta = seen.metadata
        return (
            not self.planned.owner_on_delete
            and (meta.uid, meta.deletion_timestamp) == (self.planned.uid, None)
            and template_digest(seen.spec.template) == self.planned.target.template_digest
            and meta.annotations.get(marks.PLAN) == self._plan_digest
            and marks.ORIGINAL_STRATEGY in meta.annotations
            and seen.strategy_type != ON_DELETE
            and self.phase not in (Phase.PREPARING, Phase.RESTORING, Phase.RESTORED)
        )

    def drift(self, seen: DaemonSet) -> str:
        """Say what somebody else changed in the DaemonSet; "" when it is as we left it."""
        if seen.metadata.uid != self.planned.uid:
            return f"DaemonSet {self.name} was recreated: its UID is another one"
        if seen.metadata.deletion_timestamp is not None:
            return f"DaemonSet {self.name} is being deleted"
        if self.phase is Phase.RESTORING and self.is_restored(seen):
            return ""
        if self.is_prepared(seen):
            return self._unmarked(seen)
        template = template_digest(seen.spec.template)
        as_planned = self.unprepared or self.phase in (Phase.UNTOUCHED, Phase.PREPARING)
        if as_planned and not self._begun(seen):
            if template != self.planned.current.template_digest:
                return f"the template of DaemonSet {self.name} was edited since the plan was made"
            if seen.spec.update_strategy != self.planned.live_strategy:
                return f"the strategy of DaemonSet {self.name} was changed since the plan was made"
            return ""
        if template != self.planned.target.template_digest:
            return f"the template of DaemonSet {self.name} was edited during the run"
        if seen.strategy_type != ON_DELETE:
            return (
                f"the strategy of DaemonSet {self.name} was set back to {seen.strategy_type} "
                "during the run: the controller now replaces pods on its own"
            )
        return self._unmarked(seen) or f"another run took over DaemonSet {self.name}"

    @property
    def has_drifted(self) -> bool:
        """Whether it is not there any more, or is not as this run left it."""
        if self.has_ended or self.live is None:
            return self.has_ended
        return self.phase is not Phase.RESTORED and bool(self.drift(self.live))

    def _begun(self, seen: DaemonSet) -> bool:
        """Whether an earlier process of the run has patched it; an OnDelete one has no marks."""
        if self.planned.owner_on_delete and self.planned.changes_template:
            return template_digest(seen.spec.template) == self.planned.target.template_digest
        patched_by = seen.metadata.annotations.get(marks.PLAN)
        return patched_by is not None and patched_by == self._plan_digest

    def _unmarked(self, seen: DaemonSet) -> str:
        """Say that nobody but the run record knows the original strategy any more; "" else."""
        kept = seen.metadata.annotations
        if self.planned.owner_on_delete or (marks.PLAN in kept and marks.ORIGINAL_STRATEGY in kept):
            return ""
        return (
            f"the annotations of the run were taken from DaemonSet {self.name}; 'rollout rollback' "
            "or 'rollout cleanup' brings its strategy back from the record"
        )

    def kept_back(self, skipped: Container[str]) -> list[str]:
        """Return the nodes that were left out and that a RollingUpdate would replace.

        Args:
            skipped: nodes that were to be left alone while the run went.
        """
        left_out = [n.name for n in self.planned.nodes if n.deferred_by in ("excluded", "cordoned")]
        return left_out + [
            run.node
            for run in self.steps.values()
            if run.state is StepState.SKIPPED
            and run.node in skipped
            and any(not self.is_target(pod) for pod in self.view.on(run.node))
        ]

    # Budget

    def node_left(self, node: str) -> None:
        """A node left the cluster: it is in no budget, and in the base of none."""
        self.view.drop_node(node)
        if node in self._base:
            self._left.add(node)

    def node_is_back(self, node: str, now: float) -> None:
        """A node that left the cluster is back with its pod."""
        self.view.take_node_back(node, now)
        self._left.discard(node)

    def as_it_is(self, limit: Limit) -> Limit:
        """Return a limit of the plan, taken of the nodes that are left (updates.md 15)."""
        return limit.without(len(self._left))

    @property
    def budget_text(self) -> str:
        """The budget as a sentence: `maxUnavailable 10% of 37 = 4`."""
        return f"{self.planned.budget_name} {self.as_it_is(self.planned.budget).text}"

    def budget(self, wave_limit: Limit | None) -> int:
        """Nodes that may be unavailable at once."""
        own = self.as_it_is(self.planned.budget).value
        return own if wave_limit is None else min(own, self.as_it_is(wave_limit).value)

    def has_room(self, run: StepRun, wave_limit: Limit | None) -> bool:
        """Whether starting the step keeps the budget (S1).

        A node that is charged already costs nothing more, but is replaced at the same pace: at most
        as many in flight as the budget allows, never all at once.
        """
        if run.lane is Lane.VERIFY:
            return True
        budget = self.budget(wave_limit)
        if len(self.view.held) >= budget:
            return False
        return run.node in self.view.used or len(self.view.used) < budget

    # Ready updates

    def lane_of(self, run: StepRun) -> Lane:
        """Return what a ready step needs."""
        pods = self.view.on(run.node)
        if self.to_take_back(run.node) is not None or not any(
            not pod.terminating and (not self.is_target(pod) or pod.metadata.uid == run.retry_uid)
            for pod in pods
        ):
            return Lane.VERIFY
        return Lane.BROKEN if run.node in self.view.used else Lane.HEALTHY

    def enqueue(self, run: StepRun, zone: str) -> None:
        """Put a ready step where it belongs; called again whenever its node changes."""
        lane = self.lane_of(run)
        if run.lane is not lane:
            run.lane = lane
            heapq.heappush(self._lanes.setdefault((lane, zone), []), (run.rank, run))

    def first(self, fits: Callable[[StepRun], bool]) -> StepRun | None:
        """Return the first waiting step that fits: broken nodes first, then the plan's order."""
        found = filter(fits, self.heads())
        return min(found, key=lambda run: (run.lane or 0, run.rank), default=None)

    @property
    def waits(self) -> bool:
        """Whether a step of this DaemonSet is ready and not started."""
        return bool(self.heads())

    def heads(self) -> list[StepRun]:
        """Return the first waiting step of each lane and zone; what waits no longer is dropped."""
        found: list[StepRun] = []
        for (lane, _), heap in self._lanes.items():
            while heap and (heap[0][1].lane is not lane or heap[0][1].state is not StepState.READY):
                heapq.heappop(heap)
            if heap:
                found.append(heap[0][1])
        return found
