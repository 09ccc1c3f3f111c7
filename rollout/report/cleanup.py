"""What a cleanup finds and will do, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rollout.executor.cleanup import Survey
from rollout.fleet.objects import strategy_text
from rollout.planner.leftovers import Leftovers, LeftStrategy

_VERBS = {"restore": "restore", "unmark": "unmark", "refuse": "LEFT"}


def survey_text(found: Survey) -> str:
    """Return what is left over and what will be done about it, one line each."""
    lines = [line for left in found.left for line in _left(left)]
    lines += [
        f"Lock of DaemonSet {lock.name}: {lock.text}: will be released" for lock in found.locks
    ]
    for item in found.records:
        assert item.record is not None
        lines.append(
            f"Run {item.record.run_id} of rollout {item.name}, {item.record.phase}: will be "
            "recorded as cleaned up; its plan can't be applied any more"
        )
    lines += [
        f"ConfigMap {store.metadata.name}: will be deleted, no run needs the plan in it any more"
        for store in found.stores
    ]
    lines += [
        f"ConfigMap {store.name}: stays, the history of DaemonSet {store.daemon_set} does not keep "
        f"the template that the next plan leads back to (digest {store.digest}); a cleanup deletes "
        "it once a run has gone well"
        for store in found.spared
    ]
    return "\n".join(lines)


def refusal_text(left: Leftovers) -> str:
    """Return what a person can do where the strategy is not restored."""
    assert left.strategy is not None
    name = left.rollout.partition("/")[2]
    back = f"'rollout rollback {name} -n {left.namespace}'" if name else "'rollout undo'"
    scope = name or f"--daemonset {left.daemon_set}"
    forced = f"'rollout cleanup {scope} -n {left.namespace} --force'"
    subject = f"DaemonSet {left.namespace}/{left.daemon_set}"
    head = f"The strategy of {subject} is not restored: {left.strategy.why}. "
    if left.strategy.original is None:
        return (
            f"{head}Set spec.updateStrategy by hand and take the annotations rollout/... away, "
            "then clean up again"
        )
    return (
        f"{head}Go on with 'rollout apply' of its plan if the run was not aborted, go back with "
        f"{back}, plan anew with target 'live: true', or let the controller do it with {forced}"
    )


def _left(left: Leftovers) -> Iterator[str]:
    run = f" (run {left.run_id})" if left.run_id else ""
    name = f"DaemonSet {left.namespace}/{left.daemon_set}"
    yield f"{name if left.daemon_set else 'Pods without a DaemonSet'}{run}:"
    for item in left.pods:
        yield f"  {item.action:<9}  pod {item.pod.metadata.name} on {item.pod.node}: {item.why}"
    if left.strategy is not None:
        yield f"  {_VERBS[left.strategy.action]:<9}  {_strategy(left.strategy)}"


def _strategy(strategy: LeftStrategy) -> str:
    if strategy.action == "restore" and strategy.original is not None:
        return f"the strategy {strategy_text(strategy.original)}: {strategy.why}"
    return strategy.why
