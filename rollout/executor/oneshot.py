"""Measures one gate outside of a run, on the fleet as it is: for trying a spec before it counts.

There is no change yet and no wave: who asks may say what is to be assumed of them. What a gate
needs and nobody said is an error, never a guess.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes
from rollout.errors import UsageError
from rollout.fleet.objects import Node, Pod
from rollout.fleet.snapshot import Fleet
from rollout.gates.context import Bare, Context, DaemonSetInfo, WaveInfo
from rollout.gates.measurement import Measurement, Outcome
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from rollout.gatespec import Gate, JobGate, PrometheusGate, per_node
from rollout.gatespec.promql import AGE, placeholders
from rollout.planner.drift import target_template
from rollout.planner.fates import target_matcher
from rollout.planner.plan import Plan, PlannedDaemonSet
from rollout.quantity import parse_duration

JOB_MARGIN_S = 60.0  # beyond a Job's own time limit, for its pod to come and go


@dataclass(frozen=True, slots=True)
class Assumed:
    """What a measurement outside of a run takes for given.

    Attributes:
        node: for which the gate is measured; None: for none.
        age_s: the change is taken to be so old; None: there has been none.
        wave: that the gate stands at; None: at none.
    """

    node: str | None = None
    age_s: float | None = None
    wave: WaveInfo | None = None


def measure_once(
    client: Client,
    plan: Plan,
    gate: Gate,
    settings: Settings,
    assumed: Assumed,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Measurement:
    """Measure a gate now; a Job is waited for.

    Pods of the target revision are the updated ones, all others the control group; where no pod is
    of the target revision yet, and for a gate before its wave, the fleet is looked at as it is.

    Args:
        client: of the cluster.
        plan: that the gate belongs to.
        gate: one of the plan's.
        settings: what it may do.
        assumed: what nobody can know outside of a run.
        pause: waits for so many seconds.

    Raises:
        UsageError: when something must be assumed, or the cluster does not have it.
        ClusterError: when the cluster cannot be read.
    """
    _check(gate, assumed)
    nodes = read_nodes(client)
    by_name = {found.metadata.name: found for found in nodes}
    if assumed.node is not None and assumed.node not in by_name:
        raise UsageError(f"the cluster has no node '{assumed.node}'; check the name")
    uid = read_cluster_uid(client)
    fleets = [
        read_fleet(client, ds.namespace, ds.name, cluster_uid=uid, nodes=nodes)
        for ds in plan.daemon_sets
    ]
    now = client.server_time()
    context = _context(client, plan, gate, settings, assumed, by_name, fleets, now)
    return _to_its_end(gate, context, pause)


def _check(gate: Gate, assumed: Assumed) -> None:
    """Refuse a measurement that could only fail for want of what is to be assumed."""
    if per_node(gate) and assumed.node is None:
        raise UsageError(f"gate {gate.name} is measured for a node; name it with --node")
    if not isinstance(gate, PrometheusGate):
        return
    used = placeholders(gate.query)
    if AGE in used and assumed.age_s is None:
        raise UsageError(
            f"gate {gate.name}: {{{{age}}}} is the time since the change, and outside of a run "
            "there is none; say how old it is to be taken for, for example with --age 5m"
        )
    if "wave" in used and assumed.wave is None:
        raise UsageError(
            f"gate {gate.name}: {{{{wave}}}} has a value in a wave; name it with --wave"
        )
    if "run" in used:
        raise UsageError(f"gate {gate.name}: {{{{run}}}} has a value in a run only")


def _context(
    client: Client,
    plan: Plan,
    gate: Gate,
    settings: Settings,
    assumed: Assumed,
    nodes: dict[str, Node],
    fleets: list[Fleet],
    now: float,
) -> Context:
    updated: list[Pod] = []
    control: list[Pod] = []
    bare: list[Bare] = []
    for ds, fleet in zip(plan.daemon_sets, fleets, strict=True):
        is_target = target_matcher(fleet, target_template(ds, fleet))
        for pods in fleet.pods.values():
            for pod in pods:
                if assumed.node in (None, pod.target_node):
                    (updated if is_target(pod) else control).append(pod)
        bare += [
            Bare(ds.name, node.name)
            for node in ds.nodes
            if node.in_budget
            and assumed.node in (None, node.name)
            and not fleet.pods.get(node.name)
        ]
    lost = () if gate.precedes else tuple(bare)
    names = (*(pod.target_node for pod in updated), *(one.node for one in lost))
    since = 0.0 if assumed.age_s is None else now - assumed.age_s
    return Context(
        gate=f"gate/{gate.at}/{gate.name}",
        plan=plan.name,
        digest=plan.digest,
        author=plan.author,
        run="",
        wave=assumed.wave,
        namespace=plan.namespace,
        daemon_sets=tuple(map(_info, plan.daemon_sets, fleets)),
        node=nodes[assumed.node] if assumed.node is not None else None,
        updated=tuple(updated),
        control=tuple(control),
        updated_nodes=tuple(dict.fromkeys(names)),
        since=now if isinstance(gate, JobGate) else since,  # an earlier try says nothing
        began=now,
        now=now,
        approvals=(),
        client=client,
        settings=settings,
        bare=lost,
        bare_before=tuple(bare) if gate.precedes else (),
    )


def _to_its_end(gate: Gate, context: Context, pause: Callable[[float], None]) -> Measurement:
    """Measure once; a Job, which says nothing while it runs, until it is over."""
    found = measure(gate, context)
    if not isinstance(gate, JobGate):
        return found
    end = context.now + parse_duration(gate.time_limit) + JOB_MARGIN_S
    while found.outcome is Outcome.WAITING and found.again_at is not None and found.at < end:
        pause(found.again_at - found.at)
        found = measure(gate, replace(context, now=found.again_at))
    return found


def _info(ds: PlannedDaemonSet, fleet: Fleet) -> DaemonSetInfo:
    return DaemonSetInfo(
        ds.name, ds.namespace, ds.uid, ds.current.hash or fleet.current_hash, ds.target.hash or ""
    )
