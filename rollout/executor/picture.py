"""What a gate may know of the run when it is measured: one frozen picture of the engine's view.

Taken by the thread that owns the engine, and read by the thread that measures. A gate of one node
costs O(1); only what is shared by many nodes looks at all pods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rollout.cluster.client import Client
from rollout.executor.bareness import bare_before, bare_of
from rollout.executor.engine.baking import baked_at
from rollout.executor.engine.engine import Engine
from rollout.executor.engine.gatebook import GateRun, Meter
from rollout.executor.engine.nodegates import concerns
from rollout.executor.engine.state import DaemonSetRun, StepRun, StepState
from rollout.fleet.objects import Pod
from rollout.gates.context import (
    ZONE_LABEL,
    Approval,
    Bare,
    Context,
    DaemonSetInfo,
    WaveInfo,
    nowhere_to_write,
)
from rollout.gates.settings import Settings
from rollout.gatespec import Gate, When, adds_up, per_node
from rollout.planner.gateplaces import holds
from rollout.planner.plan import PlannedDaemonSet

_TO_COME = frozenset(
    {StepState.BLOCKED, StepState.READY, StepState.ASKING, StepState.DELETING}
    | {StepState.REPLACING}
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine doesn't know of: whose run it is, and what its gates may do."""

    run_id: str
    client: Client
    settings: Settings
    intend: Callable[[str, str, str], bool] = nowhere_to_write


def take_picture(engine: Engine, meter: Meter, around: Surroundings, now: float) -> Context:
    """Return what a measurement may look at.

    Args:
        engine: of the run.
        meter: what is measured; it has a gate run.
        around: of the run.
        now: when the measurement begins, by the clock of the run.
    """
    runs = list(meter.runs.values())
    first = runs[0]
    plan = engine.plan
    alone = per_node(meter.gate) and bool(first.node)
    steps = [run for run in _steps(engine, runs, alone=alone) if concerns(engine, meter.gate, run)]
    daemon_sets = [engine.daemon_sets[name] for name in _names(engine, runs)]
    updated = [pod for ds in daemon_sets for pod in _new_pods(ds, steps)]
    bare = bare_of(engine, steps)
    nodes = (*(pod.target_node for pod in updated), *(lost.node for lost in bare))
    return Context(
        gate=first.id if not meter.shared else meter.id,
        plan=plan.name,
        digest=plan.digest,
        author=plan.author,
        run=around.run_id,
        wave=WaveInfo(first.wave, plan.waves[first.wave - 1].name) if first.wave else None,
        namespace=plan.namespace,
        daemon_sets=tuple(_info(ds) for ds in daemon_sets),
        node=engine.nodes.get(first.node) if alone else None,
        updated=tuple(updated),
        control=() if alone else tuple(_control(engine, meter.gate, daemon_sets)),
        updated_nodes=tuple(dict.fromkeys(nodes)),
        since=_since(meter),
        began=min(run.began for run in runs),
        now=now,
        approvals=_voices(engine),
        client=around.client,
        settings=around.settings,
        intend=around.intend,
        baked_at=baked_at(engine, first.wave) if meter.gate.at == "after-wave" else 0.0,
        more_to_come=meter.gate.at == "background" and _more_to_come(engine, meter.gate),
        bare=bare,
        bare_before=() if alone else tuple(_bare_before(engine, meter.gate, daemon_sets)),
    )


def _more_to_come(engine: Engine, gate: Gate) -> bool:
    return any(
        step.node and step.state in _TO_COME and concerns(engine, gate, step)
        for step in engine.steps.values()
    )


def _control(engine: Engine, gate: Gate, daemon_sets: Iterable[DaemonSetRun]) -> Iterator[Pod]:
    """Yield the old pods of those nodes to which the gate is narrowed, whatever their wave."""
    for ds in daemon_sets:
        for pod in _old_pods(ds):
            if _is_near(engine, gate, ds, pod.target_node):
                yield pod


def _bare_before(engine: Engine, gate: Gate, daemon_sets: Iterable[DaemonSetRun]) -> Iterator[Bare]:
    for bare in bare_before(engine, daemon_sets):
        if _is_near(engine, gate, engine.daemon_sets[bare.daemon_set], bare.node):
            yield bare


def _is_near(engine: Engine, gate: Gate, ds: DaemonSetRun, name: str) -> bool:
    """Whether a node is of the zones and has the labels that the gate is narrowed to."""
    when = gate.when
    if not when.zones and not when.labels:
        return True
    node = engine.nodes.get(name)
    labels = node.metadata.labels if node is not None else {}
    zone = ds.zones.get(name, "") or labels.get(ZONE_LABEL, "")
    return holds(When(zones=when.zones, labels=when.labels), "", zone, labels)


def _since(meter: Meter) -> float:
    """Return the change that is judged, where several nodes share what is measured.

    A sample must be newer than the last of their changes; what adds up must miss nothing since
    the first.
    """
    changes = [run.change for run in meter.runs.values()]
    return min(changes) if adds_up(meter.gate) else max(changes)


def _voices(engine: Engine) -> tuple[Approval, ...]:
    """Return who approved which gate of this very plan; words for another one are not heard."""
    return tuple(
        Approval(who, 0.0, gate, digest=engine.plan.digest)
        for gate, people in engine.wishes.gates.items()
        for who in people
    )


def _names(engine: Engine, runs: list[GateRun]) -> list[str]:
    """Return the DaemonSets that the gate is about: those of its nodes, or all of them."""
    named = list(dict.fromkeys(run.daemon_set for run in runs if run.daemon_set))
    return named or list(engine.daemon_sets)


def _steps(engine: Engine, runs: list[GateRun], *, alone: bool) -> Iterable[StepRun]:
    """Return the steps whose pods are judged: of the nodes, of the wave, or all so far.

    A pod that is only just coming is no proof of anything: its node's health is watched.
    """
    first = runs[0]
    if alone or first.node:
        return [engine.steps[f"update/{run.daemon_set}/{run.node}"] for run in runs]
    return [
        step
        for step in engine.steps.values()
        if step.node and step.state not in _TO_COME and first.wave in (0, step.step.wave)
    ]


def _new_pods(ds: DaemonSetRun, steps: Iterable[StepRun]) -> list[Pod]:
    if not ds.resolved:
        return []
    return [
        pod
        for step in steps
        if step.step.daemon_set == ds.name
        for pod in ds.view.on(step.node)
        if ds.is_target(pod)
    ]


def _old_pods(ds: DaemonSetRun) -> list[Pod]:
    """Return the pods that are not of the target revision; all of them before it is known."""
    return [pod for pod in ds.view.pods.values() if not (ds.resolved and ds.is_target(pod))]


def _info(ds: DaemonSetRun) -> DaemonSetInfo:
    planned: PlannedDaemonSet = ds.planned
    return DaemonSetInfo(
        name=planned.name,
        namespace=planned.namespace,
        uid=planned.uid,
        old_revision=planned.current.hash or "",
        new_revision=ds.target_hash or planned.target.hash or "",
    )
