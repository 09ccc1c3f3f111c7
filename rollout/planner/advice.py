"""What a reviewer of a plan should know beside its steps: one sentence for each thing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rollout.fleet.objects import Node
from rollout.planner.plan import WAY_BACK, PlannedDaemonSet, PlannedNode
from rollout.planner.waves import wave_rules
from rollout.quantity import cut
from rollout.spec import Body, LoadedSpec


def plan_warnings(
    loaded: LoadedSpec, daemon_sets: Sequence[PlannedDaemonSet], nodes: Mapping[str, Node]
) -> list[str]:
    """Return all warnings of a plan: of the spec as a whole, then in the order of its DaemonSets.

    Args:
        loaded: the spec.
        daemon_sets: of the plan.
        nodes: by name.
    """
    warnings = [
        f"the manifest also holds {other}, which rollout leaves alone" for other in loaded.ignored
    ]
    warnings.extend(_label_warnings(loaded.spec.spec, nodes))
    for ds in daemon_sets:
        warnings.extend(_budget_warning(ds))
        warnings.extend(_dead_node_warning(ds))
        warnings.extend(_strategy_warning(ds))
        warnings.extend(_bereft_node_warning(ds))
        warnings.extend(_manager_warnings(ds))
        warnings.extend(_hand_over_warnings(ds))
    return warnings


def way_back_warning(ds: PlannedDaemonSet, led_from: str) -> list[str]:
    """Say so when a rollback cannot lead back to where all was well (faults.md 33).

    Args:
        ds: of the plan.
        led_from: digest of the template that an unfinished run to the live one came from; "" when
            there is no such run.
    """
    if ds.target_kind == WAY_BACK:
        return []
    stays = ds.stable.template_digest == ds.target.template_digest
    if led_from and led_from not in (ds.stable.template_digest, ds.target.template_digest):
        why = f"the template of before the unfinished run (digest {led_from}) is kept nowhere "
        why += "any more"
    elif stays and any(_is_replaced(ds, node) for node in ds.nodes):
        why = "nothing tells which template its nodes had before"
    else:
        return []
    if not stays:
        return [f"DaemonSet {ds.name}: {why}: a rollback leads to revision {ds.stable.revision}"]
    cure = f"'rollout undo {ds.name} -n {ds.namespace} --to-revision N' goes to one that you name"
    return [f"DaemonSet {ds.name}: {why}: there is no way back from this plan; {cure}"]


def _is_replaced(ds: PlannedDaemonSet, node: PlannedNode) -> bool:
    pod = node.pod
    return node.fate == "update" and pod is not None and pod.hash != ds.target.hash


def _label_warnings(body: Body, nodes: Mapping[str, Node]) -> list[str]:
    """Name the labels that no node has: a cluster without zones, or a typing error."""
    rules = wave_rules(body)
    asked = {rule.by: "waves 'by' it are none" for rule in rules if rule.by}
    asked |= {rule.spread: "to 'spread' over it changes nothing" for rule in rules if rule.spread}
    keys = [key.removeprefix("label:") for key in body.nodes.order if key.startswith("label:")]
    asked |= dict.fromkeys(keys, "to 'order' by it changes nothing")
    there = {key for node in nodes.values() for key in node.metadata.labels if key in asked}
    return [
        f"no node has the label {key}: {so}; see 'kubectl get nodes --show-labels'"
        for key, so in asked.items()
        if nodes and key not in there
    ]


def _manager_warnings(ds: PlannedDaemonSet) -> list[str]:
    return [
        f"DaemonSet {ds.name}: {manager} also manages {cut(fields, 3)} and may set it back"
        for manager, fields in ds.managers.items()
    ]


def _hand_over_warnings(ds: PlannedDaemonSet) -> list[str]:
    if ds.hand_over is None:
        return []
    label = ds.hand_over.label
    return [
        f"DaemonSet {ds.name}: old pods lose the label {label} while their successors start: "
        f"{other} no longer selects them then"
        for other in ds.hand_over.affected
    ]


def _budget_warning(ds: PlannedDaemonSet) -> list[str]:
    """Say so when nodes that are broken already use up the budget, and name the way out."""
    broken = [n.name for n in ds.nodes if n.in_budget and not n.available and n.pod is not None]
    healthy = any(n.fate == "update" and n.available for n in ds.nodes)
    if len(broken) < ds.budget.value or not healthy:
        return []
    return [
        (
            f"DaemonSet {ds.name}: the budget ({ds.budget_text}) is "
            f"already used up by {cut(broken)}; healthy nodes wait until these are available "
            f"again. Way out: mend them, or raise {ds.budget_name}"
        )
    ]


def _dead_node_warning(ds: PlannedDaemonSet) -> list[str]:
    """Name nodes that are down: elsewhere they would use up the budget and block the update."""
    down = [node.name for node in ds.nodes if node.deferred_by in ("not-ready", "stuck")]
    if len(down) < ds.budget.value or not any(n.fate == "update" for n in ds.nodes):
        return []
    why = "they were down before the run (nodes.deferNotReady) and do not block it"
    budget_text = f"DaemonSet {ds.name}: {cut(down)} would use up the budget ({ds.budget_text})"
    return [f"{budget_text}; they are left out because {why}"]


def _strategy_warning(ds: PlannedDaemonSet) -> list[str]:
    """Say so when the strategy cannot come back without undoing what the user left out."""
    kept = _left_out_by_choice(ds)
    if not kept or ds.owner_on_delete or not any(n.fate == "update" for n in ds.nodes):
        return []
    why = f"RollingUpdate would at once replace the pods of the nodes left out ({cut(kept)})"
    text = f"DaemonSet {ds.name}: the strategy stays OnDelete after the run: {why}"
    return [f"{text}; a later plan without them restores it"]


def _left_out_by_choice(ds: PlannedDaemonSet) -> list[str]:
    return [node.name for node in ds.nodes if node.deferred_by in ("excluded", "cordoned")]


def _bereft_node_warning(ds: PlannedDaemonSet) -> list[str]:
    """Name the nodes whose pod the controller removes for good once it rolls by itself again.

    OnDelete keeps the old pod of a node that has got an untolerated `NoSchedule` taint;
    RollingUpdate deletes it as outdated and makes no other (behaviour.md 2.4, case 5).
    """
    bereft = [
        node
        for node in ds.nodes
        if node.fate == "ineligible"
        and not node.removes_pod
        and node.pod is not None
        and node.pod.hash != ds.target.hash
    ]
    works = ds.changes_template or any(n.fate == "update" for n in ds.nodes)
    stays = ds.final_strategy.get("type") == "OnDelete" or _left_out_by_choice(ds)
    if not bereft or not works or stays:
        return []
    why = cut(list(dict.fromkeys(node.reason for node in bereft)), 3)
    names = cut([node.name for node in bereft])
    return [
        (
            f"DaemonSet {ds.name}: the pods on {names} are removed for good when RollingUpdate is "
            f"back after the run, because new ones do not fit there ({why}). Way out: tolerate "
            "the taint in the template, or take it away"
        )
    ]
