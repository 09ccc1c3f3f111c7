"""What a way back has not brought back. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rollout.executor.engine.state import DaemonSetRun, StepState
from rollout.executor.result import Result
from rollout.fleet.objects import HASH_LABEL, Pod
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.planner.plan import PlannedNode

Place = tuple[str, str]  # DaemonSet, node


def left_over(result: Result) -> set[Place]:
    """Return all that is not back; a node that left the cluster has nothing to take back."""
    open_ = {
        (run.step.daemon_set, run.node)
        for run in result.steps
        if run.state is not StepState.GONE and (run.reason or not run.ended_at)
    }
    return open_ | left_out(result.sets.values()) | missed(result)


def missed(result: Result) -> set[Place]:
    """Return where the way back has no step, and that is not back."""
    return _strays(result.sets.values()) | _overlooked(result)


def _overlooked(result: Result) -> set[Place]:
    """Return what is not back, and was not in the list that the way back was planned by.

    A list that lacks a node is believed, for nodes do leave; what is seen there later is not
    passed over (L1).
    """
    found: set[Place] = set()
    for ds in result.sets.values():
        planned = {node.name for node in ds.planned.nodes}
        found |= {(ds.name, node) for node in ds.view.released.keys() - planned}
        for node in result.joined if ds.resolved else ():
            pods = [pod for pod in ds.view.on(node) if not pod.terminating]
            wrong = node not in planned and any(not ds.is_target(pod) for pod in pods)
            found |= {(ds.name, node)} if wrong else set()
    return found


def _strays(sets: Iterable[DaemonSetRun]) -> set[Place]:
    """Return where a way back planned nothing, and that is not back all the same."""
    return {
        (ds.name, node.name)
        for ds in sets
        for node in ds.planned.nodes
        if node.fate == "current" and node.name in ds.view.budget_nodes
        if not _is_back(ds, ds.view.on(node.name))
    }


def left_out(sets: Iterable[DaemonSetRun]) -> set[Place]:
    """Return the nodes that a way back does not touch, and that hold what it takes back.

    Where a node that is down has nothing but a pod of the old revision that is being ended, its
    successor comes of the template that is back: nothing is left to do there (L2).

    Args:
        sets: the DaemonSets as the way back saw them last.
    """
    return {
        (ds.name, node.name) for ds in sets for node in ds.planned.nodes if _is_left_out(ds, node)
    }


def _is_left_out(ds: DaemonSetRun, node: PlannedNode) -> bool:
    if node.name in ds.view.released:
        return node.fate in ("deferred", "ineligible")
    runs_old = _runs_old_revision(ds)
    return node.fate == "deferred" and not all(map(runs_old, ds.view.on(node.name)))


def _is_back(ds: DaemonSetRun, pods: list[Pod]) -> bool:
    """Whether a node that looked untouched runs the old revision."""
    is_old = _runs_old_revision(ds)
    return any(is_old(pod) and not pod.terminating for pod in pods)


def _runs_old_revision(ds: DaemonSetRun) -> Callable[[Pod], bool]:
    """Return the test "this pod is of the revision that the way back leads to".

    A way back that has nothing to do ends before the run has resolved its target.
    """
    if ds.resolved:
        return ds.is_target
    wanted = ds.planned.target.template_digest
    hashes = {revision_hash(r) for r in ds.revisions if template_digest(r.template) == wanted}
    return lambda pod: pod.metadata.labels.get(HASH_LABEL) in hashes
