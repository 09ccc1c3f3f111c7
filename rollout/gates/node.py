"""The gate `node`: conditions, taints and pressure of the updated node.

Without one node (after a wave) it looks at all updated nodes, or before the start at all that
should run a pod.
"""

from __future__ import annotations

from rollout.cluster.paths import resource_path
from rollout.fleet.objects import Node
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome, Reading
from rollout.gatespec import NodeGate
from rollout.quantity import cut

PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_ORDER = (Outcome.PASSED, Outcome.NO_DATA, Outcome.INCONCLUSIVE, Outcome.FAILED)  # to the worst


def measure(gate: NodeGate, context: Context) -> Reading | Measurement:
    """Measure it; the worst node decides."""
    nodes = (context.node,) if context.node is not None else _read(gate, context)
    if not nodes:
        return Measurement(Outcome.NO_DATA, context.now, reason="there is no node to look at")
    unseen = sorted(set(context.updated_nodes) - {node.metadata.name for node in nodes})
    if unseen and context.node is None:
        text = f"not in the list of nodes, looked for again: {cut(unseen)}"
        return Measurement(Outcome.WAITING, context.now, reason=text)
    found = [(judge_node(gate, node), node.metadata.name) for node in nodes]
    worst = max((outcome for (outcome, _), _ in found), key=_ORDER.index)
    said = [f"{name} {why}" for (outcome, why), name in found if outcome is worst]
    if worst is Outcome.PASSED:
        return Reading({"total": len(nodes), "bad": 0}, worst, f"{len(nodes)} nodes are well")
    if worst is Outcome.NO_DATA:
        return Measurement(worst, context.now, reason=cut(said))
    return Reading({"total": len(nodes), "bad": len(said)}, worst, cut(said))


def judge_node(gate: NodeGate, node: Node) -> tuple[Outcome, str]:
    """Judge one node; returns the outcome and half a sentence."""
    status = {condition.type: condition.status for condition in node.status.conditions}
    for type_, wanted in gate.conditions.items():
        if status.get(type_, wanted) != wanted:
            return Outcome.FAILED, f"has {type_} {status[type_]}, not {wanted}"
    for taint in node.spec.taints:
        if taint.key in gate.taints:
            return Outcome.FAILED, f"has the taint {taint.key}:{taint.effect}"
    pressed = [type_ for type_ in PRESSURES if status.get(type_, "False") != "False"]
    if gate.pressure and any(status[type_] == "True" for type_ in pressed):
        return Outcome.FAILED, f"has {', '.join(pressed)}"
    if gate.pressure and pressed:
        return Outcome.INCONCLUSIVE, f"doesn't know its {', '.join(pressed)}"
    missing = [type_ for type_ in gate.conditions if type_ not in status]
    if missing:
        return Outcome.NO_DATA, f"has no condition {', '.join(missing)}"
    return Outcome.PASSED, "is well"


def _read(gate: NodeGate, context: Context) -> tuple[Node, ...]:
    names = set(context.updated_nodes)
    if not names and gate.precedes:
        names = {pod.target_node for pod in context.control}
        names |= {bare.node for bare in context.bare_before}
    if not names:
        return ()
    listed = context.client.list(resource_path("v1", "nodes"), Node).items
    return tuple(node for node in listed if node.metadata.name in names)
