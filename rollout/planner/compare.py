"""Two plans side by side: what a reviewer wants to know when a plan was made anew."""

from __future__ import annotations

import msgspec

from rollout.fleet.revisions import canonical_json
from rollout.planner.drift import Change
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode
from rollout.quantity import format_duration


def plan_changes(old: Plan, new: Plan) -> list[Change]:
    """Return what differs in meaning: targets, limits, waves, and the fate of every node."""
    changes = []
    pairs = [("cluster", old.cluster.uid, new.cluster.uid), ("rollout", old.name, new.name)]
    pairs.append(("valid for", _valid_for(old), _valid_for(new)))
    before = {ds.key: ds for ds in old.daemon_sets}
    after = {ds.key: ds for ds in new.daemon_sets}
    for key in sorted(before.keys() | after.keys()):
        if key not in before or key not in after:
            state = ("absent", "planned") if key in after else ("planned", "absent")
            pairs.append((f"DaemonSet {key}", *state))
        else:
            pairs += _daemon_set(before[key], after[key])
    pairs.append(("waves", _waves(old), _waves(new)))
    pairs += _fields("health", old.health, new.health)
    pairs += _fields("limits", old.limits, new.limits)
    pairs += _fields("nodes", old.rules, new.rules)
    pairs += _gates(old, new)
    changes = [Change(what, a, b) for what, a, b in pairs if a != b]
    for key in sorted(before.keys() & after.keys()):
        changes += _nodes(before[key], after[key], key if len(after) > 1 else "")
    return changes


def _valid_for(plan: Plan) -> str:
    return "ever" if plan.valid_for_s is None else format_duration(plan.valid_for_s)


def _daemon_set(old: PlannedDaemonSet, new: PlannedDaemonSet) -> list[tuple[str, str, str]]:
    name = f"DaemonSet {old.key}"
    return [
        (f"{name} uid", old.uid, new.uid),
        (f"{name} template now", old.current.template_digest, new.current.template_digest),
        (f"{name} target", old.target.template_digest, new.target.template_digest),
        (f"{name} strategy at the end", str(old.final_strategy), str(new.final_strategy)),
        (f"{name} maxUnavailable", old.max_unavailable.text, new.max_unavailable.text),
        (f"{name} maxSurge", old.max_surge.text, new.max_surge.text),
    ]


def _fields(name: str, old: msgspec.Struct, new: msgspec.Struct) -> list[tuple[str, str, str]]:
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return [(f"{name}.{key}", _json(before[key]), _json(after[key])) for key in before]


def _gates(old: Plan, new: Plan) -> list[tuple[str, str, str]]:
    before = {gate.name: _json(gate) for gate in old.gates}
    after = {gate.name: _json(gate) for gate in new.gates}
    pairs = [
        (f"gate {name}", before.get(name, "absent"), after.get(name, "absent"))
        for name in dict.fromkeys((*before, *after))
    ]
    return [*pairs, ("notify", _json(old.notify), _json(new.notify))]


def _json(value: object) -> str:
    return canonical_json(value).decode()


def _waves(plan: Plan) -> str:
    return ", ".join(f"{wave.name} ({wave.nodes})" for wave in plan.waves) or "none"


def _nodes(old: PlannedDaemonSet, new: PlannedDaemonSet, key: str) -> list[Change]:
    before = {node.name: node for node in old.nodes}
    after = {node.name: node for node in new.nodes}
    changes = []
    for name in sorted(before.keys() | after.keys()):
        a, b = _node_text(before.get(name)), _node_text(after.get(name))
        if a != b:
            changes.append(Change(f"{key} node {name}".strip(), a, b))
    return changes


def _node_text(node: PlannedNode | None) -> str:
    if node is None:
        return "absent"
    wave = f", wave {node.wave}" if node.wave is not None else ""
    reason = f" ({node.reason})" if node.reason else ""
    return f"{node.fate}{reason}{wave}"
