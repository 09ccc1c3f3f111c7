"""What a run that nobody resumes has left behind, and what may be done about each part. Pure.

A released pod is either taken back or deleted, by the same rule as on a run's own way: it goes
only where its successor is ready. The strategy comes back only where that replaces no pod.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rollout.errors import StaleError
from rollout.fleet import marks
from rollout.fleet.objects import HASH_LABEL, JsonObject, Pod, strategy_text
from rollout.fleet.released import ReleasedPod, taken_over
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.snapshot import Fleet
from rollout.planner.fates import is_available
from rollout.quantity import cut

PodAction: TypeAlias = Literal["delete", "take back", "leave"]
StrategyAction: TypeAlias = Literal["restore", "unmark", "refuse"]
_ON_DELETE = "OnDelete"
LEFT_OVER = "left over from an earlier run"


@dataclass(frozen=True, slots=True)
class LeftPod:
    """A released pod, and what to do with it."""

    pod: ReleasedPod
    action: PodAction
    why: str


@dataclass(frozen=True, slots=True)
class LeftStrategy:
    """A DaemonSet that a run has left on OnDelete, or with marks on it.

    Attributes:
        action: `refuse` where nothing can be done without harm.
        original: the strategy to restore; None when it is not known.
        why: what was found.
    """

    action: StrategyAction
    original: JsonObject | None
    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """All that is left on one DaemonSet."""

    namespace: str
    daemon_set: str
    run_id: str  # "" when nothing names it
    rollout: str  # namespace/name; "" when nothing names it
    pods: tuple[LeftPod, ...]
    strategy: LeftStrategy | None

    @property
    def found(self) -> bool:
        """Whether anything is left."""
        return bool(self.pods or self.strategy)


def find_leftovers(
    fleet: Fleet,
    released: Iterable[ReleasedPod],
    now: float,
    *,
    force: bool = False,
) -> Leftovers:
    """Return what a run has left on a DaemonSet, and what to do about it.

    Args:
        fleet: the DaemonSet as it is now.
        released: pods that carry the mark of a hand-over; those of others are passed over.
        now: seconds since the epoch, by the server's clock.
        force: restore the strategy also where the controller then replaces pods at once.
    """
    meta = fleet.daemon_set.metadata
    mine = sorted(
        (pod for pod in released if pod.daemon_set_uid == meta.uid and _is_nobodys(pod)),
        key=lambda pod: (pod.node, not pod.ready, pod.metadata.creation_timestamp or ""),
    )
    pods = _pods(fleet, mine, now)
    runs = dict.fromkeys(pod.run_id for pod in mine if pod.run_id)
    return Leftovers(
        namespace=meta.namespace,
        daemon_set=meta.name,
        run_id=meta.annotations.get(marks.RUN) or ", ".join(runs),
        rollout=meta.annotations.get(marks.ROLLOUT, ""),
        pods=pods,
        strategy=_strategy(fleet, pods, force=force),
    )


def orphans(namespace: str, released: Iterable[ReleasedPod], known: set[str]) -> list[Leftovers]:
    """Return the released pods whose DaemonSet is gone: nobody would ever look after them.

    Args:
        namespace: where they are.
        released: pods that carry the mark of a hand-over.
        known: UIDs of the DaemonSets that there are.
    """
    why = "its DaemonSet is gone, and nobody looks after it"
    by_uid: dict[str, list[LeftPod]] = {}
    for pod in released:
        if pod.daemon_set_uid not in known and _is_nobodys(pod):
            left = LeftPod(pod, "leave" if pod.terminating else "delete", why)
            by_uid.setdefault(pod.daemon_set_uid, []).append(left)
    return [
        Leftovers(
            namespace, "", ", ".join({p.pod.run_id: None for p in pods}), "", tuple(pods), None
        )
        for _, pods in sorted(by_uid.items())
    ]


def leftover_warnings(left: Leftovers) -> list[str]:
    """Return what a plan, or a look at the DaemonSet, must say about leftovers."""
    name = f"DaemonSet {left.daemon_set}"
    run = f" {left.run_id}" if left.run_id else ""
    cure = f"'rollout cleanup --daemonset {left.daemon_set} -n {left.namespace}'"
    warnings = []
    if left.pods:
        where = cut([pod.pod.node for pod in left.pods])
        warnings.append(
            f"{name}: {LEFT_OVER}{run}: released pods on {where}; if that run is not to go on, "
            f"{cure} deletes them or takes them back"
        )
    if left.strategy is not None:
        warnings.append(
            f"{name}: {LEFT_OVER}{run}: {left.strategy.why}; if that run is not to go on, {cure} "
            "clears it up"
        )
    return warnings


def _is_nobodys(pod: ReleasedPod) -> bool:
    """Whether no other controller has adopted it, which looks after it then."""
    return taken_over(pod.metadata.owner_references, pod.daemon_set_uid) is None


def _pods(fleet: Fleet, released: Sequence[ReleasedPod], now: float) -> tuple[LeftPod, ...]:
    found: list[LeftPod] = []
    back: set[str] = set()  # nodes that get one back already
    for pod in released:
        left = _pod(fleet, pod, now, second=pod.node in back)
        if left.action == "take back":
            back.add(pod.node)
        found.append(left)
    return tuple(found)


def _pod(fleet: Fleet, pod: ReleasedPod, now: float, *, second: bool) -> LeftPod:
    if pod.terminating:
        return LeftPod(pod, "leave", "it is being deleted already")
    if pod.node not in fleet.nodes:
        return LeftPod(pod, "delete", "its node is gone")
    min_ready_s = fleet.daemon_set.spec.min_ready_seconds
    for successor in fleet.pods.get(pod.node, ()):
        if is_available(successor, min_ready_s, now):
            return LeftPod(pod, "delete", f"its successor {successor.metadata.name} is ready")
    if second:
        return LeftPod(pod, "delete", "another released pod of the node is taken back")
    return LeftPod(pod, "take back", "no successor of it is ready")


def _strategy(fleet: Fleet, pods: Sequence[LeftPod], *, force: bool) -> LeftStrategy | None:
    live, recorded = fleet.daemon_set, fleet.recorded_strategy
    marked = any(key in live.metadata.annotations for key in marks.ALL)
    on_delete = live.strategy_type == _ON_DELETE
    if not marked and not (on_delete and recorded and recorded.get("type") != _ON_DELETE):
        return None
    if not on_delete:
        return LeftStrategy("unmark", None, "its marks are there, its strategy is back already")
    original, trouble = _original(fleet)
    if original is None:
        why = f"it stands on OnDelete, and its own strategy is not known: {trouble}"
        return LeftStrategy("refuse", None, why)
    was = strategy_text(original)
    outdated = _outdated(fleet, pods)
    if original.get("type") == _ON_DELETE or not outdated or force:
        return LeftStrategy("restore", original, f"it stands on OnDelete, its own is {was}")
    return LeftStrategy(
        "refuse",
        original,
        f"it stands on OnDelete, its own is {was}; with that back the controller would at once "
        f"replace the pods of {cut(outdated)}, which are not on the current revision",
    )


def _original(fleet: Fleet) -> tuple[JsonObject | None, str]:
    """Return the strategy of before the run: the object's own word first, then the record's."""
    if marks.ORIGINAL_STRATEGY not in fleet.daemon_set.metadata.annotations:
        return fleet.recorded_strategy, f"the annotation {marks.ORIGINAL_STRATEGY} is gone"
    try:
        return fleet.owner_strategy, ""
    except StaleError as error:
        return None, str(error)


def _outdated(fleet: Fleet, pods: Sequence[LeftPod]) -> list[str]:
    """Return the nodes whose pod the controller would replace under RollingUpdate."""
    nodes = {pod.pod.node for pod in pods if pod.action == "take back"}
    stays = _stays(fleet)
    for node, group in fleet.pods.items():
        if any(not pod.terminating and not stays(pod) for pod in group):
            nodes.add(node)
    return sorted(nodes)


def _stays(fleet: Fleet) -> Callable[[Pod], bool]:
    """Return the test "this pod is of the template that the controller will go by".

    Where it has not observed the template of now, its newest revision is one of before.
    """
    live = fleet.daemon_set
    if live.status.observed_generation >= live.metadata.generation:
        return fleet.is_current
    wanted = template_digest(live.spec.template)
    hashes = {revision_hash(r) for r in fleet.revisions if template_digest(r.template) == wanted}
    return lambda pod: pod.metadata.labels.get(HASH_LABEL) in hashes
