"""Measures one gate outside of a run, on the fleet as it is: for trying a spec before it counts."""

from __future__ import annotations

import time

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes
from rollout.errors import UsageError
from rollout.fleet.objects import Pod
from rollout.fleet.snapshot import Fleet
from rollout.gates.context import Context, DaemonSetInfo
from rollout.gates.measurement import Measurement
from rollout.gates.measuring import measure
from rollout.gates.settings import Settings
from rollout.gatespec import Gate, per_node
from rollout.planner.drift import target_template
from rollout.planner.fates import target_matcher
from rollout.planner.plan import Plan, PlannedDaemonSet


def measure_once(
    client: Client, plan: Plan, gate: Gate, settings: Settings, node: str | None
) -> Measurement:
    """Measure a gate now.

    Pods of the target revision are the updated ones, all others the control group; where no pod is
    of the target revision yet, and for a gate before its wave, the fleet is looked at as it is.

    Args:
        client: of the cluster.
        plan: that the gate belongs to.
        gate: one of the plan's.
        settings: what it may do.
        node: for which it is measured; None: for none.

    Raises:
        UsageError: when it needs a node, or the cluster does not have that one.
        ClusterError: when the cluster cannot be read.
    """
    if per_node(gate) and node is None:
        raise UsageError(f"gate {gate.name} is measured for a node; name it with --node")
    nodes = read_nodes(client)
    by_name = {found.metadata.name: found for found in nodes}
    if node is not None and node not in by_name:
        raise UsageError(f"the cluster has no node '{node}'; check the name")
    uid = read_cluster_uid(client)
    now = time.time() - (client.clock_skew_s or 0.0)
    updated: list[Pod] = []
    control: list[Pod] = []
    infos = []
    for ds in plan.daemon_sets:
        fleet = read_fleet(client, ds.namespace, ds.name, cluster_uid=uid, nodes=nodes)
        is_target = target_matcher(fleet, target_template(ds, fleet))
        infos.append(_info(ds, fleet))
        for pods in fleet.pods.values():
            for pod in pods:
                if node is None or pod.target_node == node:
                    (updated if is_target(pod) else control).append(pod)
    context = Context(
        gate=f"gate/{gate.at}/{gate.name}",
        plan=plan.name,
        digest=plan.digest,
        author=plan.author,
        run="",
        wave=None,
        namespace=plan.namespace,
        daemon_sets=tuple(infos),
        node=by_name[node] if node is not None else None,
        updated=tuple(updated),
        control=tuple(control),
        updated_nodes=tuple(dict.fromkeys(pod.target_node for pod in updated)),
        since=0.0,
        began=now,
        now=now,
        approvals=(),
        client=client,
        settings=settings,
    )
    return measure(gate, context)


def _info(ds: PlannedDaemonSet, fleet: Fleet) -> DaemonSetInfo:
    return DaemonSetInfo(
        ds.name, ds.namespace, ds.uid, ds.current.hash or fleet.current_hash, ds.target.hash or ""
    )
