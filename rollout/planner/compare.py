"""Two plans side by side: what a reviewer wants to know when a plan was made anew."""

from __future__ import annotations

from collections import Counter

import msgspec

from rollout.fleet.revisions import canonical_json
from rollout.planner.drift import Change
from rollout.planner.plan import Limit, Plan, PlannedDaemonSet, PlannedNode
from rollout.quantity import format_duration


def plan_changes(old: Plan, new: Plan) -> list[Change]:
    """Return what differs in meaning: targets, limits, waves, and the fate of every node.

    Where templates differ, the lines of the change are named that the other plan doesn't have;
    values that look like secrets are masked there.
    """
    pairs = [("cluster", old.cluster.uid, new.cluster.uid), ("rollout", old.name, new.name)]
    pairs.append(("valid for", _valid_for(old), _valid_for(new)))
    was = {ds.key: ds for ds in old.daemon_sets}
    now = {ds.key: ds for ds in new.daemon_sets}
    for key in sorted(was.keys() | now.keys()):
        if key not in was or key not in now:
            state = ("absent", "planned") if key in now else ("planned", "absent")
            pairs.append((f"DaemonSet {key}", *state))
        else:
            pairs += _daemon_set(was[key], now[key])
    pairs.append(("waves", _waves(old), _waves(new)))
    before, after = _wave_rules(old), _wave_rules(new)
    pairs += [(key, before.get(key, "-"), after.get(key, "-")) for key in (*before, *after)]
    pairs += _fields("health", old.health, new.health)
    pairs += _fields("failure", old.failure, new.failure)
    pairs += _fields("limits", old.limits, new.limits)
    pairs += _fields("nodes", old.rules, new.rules)
    pairs += _gates(old, new)
    changes = [Change(what, a, b) for what, a, b in dict.fromkeys(pairs) if a != b]
    for key in sorted(was.keys() & now.keys()):
        changes += _nodes(was[key], now[key], key if len(now) > 1 else "")
    return changes


def _valid_for(plan: Plan) -> str:
    return "ever" if plan.valid_for_s is None else format_duration(plan.valid_for_s)


def _daemon_set(old: PlannedDaemonSet, new: PlannedDaemonSet) -> list[tuple[str, str, str]]:
    name = f"DaemonSet {old.key}"
    return [
        (f"{name} uid", old.uid, new.uid),
        (f"{name} template now", old.current.template_digest, new.current.template_digest),
        (f"{name} strategy now", _json(old.live_strategy), _json(new.live_strategy)),
        (
            f"{name} strategy of its owner",
            _json(old.original_strategy),
            _json(new.original_strategy),
        ),
        *_change(name, old, new),
        (f"{name} strategy at the end", _json(old.final_strategy), _json(new.final_strategy)),
        (f"{name} way back", old.stable.template_digest, new.stable.template_digest),
        (f"{name} maxUnavailable", old.max_unavailable.text, new.max_unavailable.text),
        (f"{name} maxSurge", old.max_surge.text, new.max_surge.text),
        (f"{name} hand-over", _label(old), _label(new)),
        (f"{name} after", _json(old.after), _json(new.after)),
    ]


def _change(name: str, old: PlannedDaemonSet, new: PlannedDaemonSet) -> list[tuple[str, str, str]]:
    """Compare what becomes of the object, as `plan` shows it; digests where that hides it."""
    lines_a, lines_b = _changed_lines(old), _changed_lines(new)
    only_a, only_b = lines_a - lines_b, lines_b - lines_a
    if only_a or only_b:
        return [(f"{name} change", _lines_text(only_a), _lines_text(only_b))]
    return [(f"{name} target", old.target.template_digest, new.target.template_digest)]


def _changed_lines(ds: PlannedDaemonSet) -> Counter[str]:
    heads = 2  # lines that name the two sides
    return Counter(line for line in ds.diff[heads:] if line[0] in "+-")


def _lines_text(lines: Counter[str]) -> str:
    return "\n".join(lines.elements()) or "-"


def _label(ds: PlannedDaemonSet) -> str:
    return "-" if ds.hand_over is None else f"{ds.hand_over.label}={ds.hand_over.value}"


def _fields(name: str, old: msgspec.Struct, new: msgspec.Struct) -> list[tuple[str, str, str]]:
    return [
        (f"{name}.{f.encode_name}", _value(getattr(old, f.name)), _value(getattr(new, f.name)))
        for f in msgspec.structs.fields(old)
    ]


def _value(value: object) -> str:
    return value.text if isinstance(value, Limit) else _json(value)


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


def _wave_rules(plan: Plan) -> dict[str, str]:
    """Return what a wave has for itself: its limits, and what follows before the next one."""
    rules: dict[str, str] = {}
    for number, wave in enumerate(plan.waves, start=1):
        of_wave = {
            "maxUnavailable": wave.max_unavailable.text if wave.max_unavailable else "",
            "maxFailures": wave.max_failures.text if wave.max_failures else "",
            "bake": format_duration(wave.bake_s) if wave.bake_s else "",
            "pause": wave.pause,
        }
        word = plan.wave_word(number)
        rules |= {f"wave {word} {key}": text for key, text in of_wave.items() if text}
    return rules


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
