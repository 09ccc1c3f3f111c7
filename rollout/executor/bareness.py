"""Which nodes should run a pod and have none: what a gate must not take for a smaller fleet.

A pod that was deleted or evicted and does not come back leaves nothing behind that could look
bad; only the nodes that the run has updated tell that it is missing. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollout.executor.engine.engine import Engine
from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.eligibility import compile_requirements, evaluate
from rollout.gates.context import Bare

_NOT_YET = frozenset({StepState.BLOCKED, StepState.READY, StepState.ASKING})
_UPDATED = frozenset(
    {StepState.SOAKING, StepState.PROVING, StepState.DONE, StepState.FAILED}
)  # a new pod should be there


def bare_of(engine: Engine, steps: Iterable[StepRun]) -> tuple[Bare, ...]:
    """Return the nodes that were updated and have no new pod now.

    Args:
        engine: of the run.
        steps: of the nodes that are looked at.
    """
    lacking: dict[str, list[str]] = {}
    for step in steps:
        ds = engine.daemon_sets[step.step.daemon_set]
        if _lacks_new_pod(ds, step):
            lacking.setdefault(ds.name, []).append(step.node)
    return tuple(
        bare
        for name, nodes in lacking.items()
        for bare in _that_should_run(engine, engine.daemon_sets[name], nodes)
    )


def bare_before(engine: Engine, daemon_sets: Iterable[DaemonSetRun]) -> tuple[Bare, ...]:
    """Return the nodes whose turn has not come and that have no pod at all.

    Costs as many nodes as are unavailable.
    """
    return tuple(
        bare for ds in daemon_sets for bare in _that_should_run(engine, ds, _without_any_pod(ds))
    )


def _lacks_new_pod(ds: DaemonSetRun, step: StepRun) -> bool:
    if step.state not in _UPDATED or not ds.resolved:
        return False
    pods = ds.view.on(step.node)
    if any(ds.is_target(pod) for pod in pods):
        return False
    untouched = step.state is StepState.FAILED and pods  # failed before its old pod went
    return not untouched


def _without_any_pod(ds: DaemonSetRun) -> list[str]:
    return [
        node
        for node in sorted(ds.view.unavailable)
        if (node not in ds.steps or ds.steps[node].state in _NOT_YET) and not ds.view.on(node)
    ]


def _that_should_run(engine: Engine, ds: DaemonSetRun, names: list[str]) -> list[Bare]:
    """Return those of the nodes that are there and on which the controller wants a pod now."""
    if not names or ds.live is None:
        return []
    wanted = compile_requirements(ds.live.spec.template)
    there = [engine.nodes[name] for name in names if name in engine.nodes]
    return [
        Bare(ds.name, node.metadata.name)
        for node in there
        if evaluate(
            wanted,
            name=node.metadata.name,
            labels=node.metadata.labels,
            taints=node.spec.taints,
        ).should_run
    ]
