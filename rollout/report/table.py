"""Tables and sentences for people: plans, results, states. Plain text, no escape sequences.

Everything is text for `tabulate` (`disable_numparse`): a revision hash such as `5e7` and a node
called `0012` are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from rollout.fleet.objects import parse_time
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode, Revision
from rollout.printable import by_lines
from rollout.quantity import cut, format_duration
from rollout.report.columns import plain_columns
from rollout.report.gates import GATE_HEADERS, gate_rows

WAVE_HEADERS = ("WAVE", "NAME", "NODES", "SIZE", "MAXUNAVAILABLE", "BAKE", "PAUSE")
_MANY = 1000  # rows from which on tabulate is slow (see `columns`)
_MARKS = {"update": "-/+", "current": "=", "deferred": "!", "ineligible": "."}
_LEGEND = (
    "-/+ replaced   +/- replaced, the new pod first   = up to date   ! left out   "
    ". not for this node   - removed"
)


def text_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as kubectl prints it: columns, no lines, nothing reinterpreted."""
    cells = [[by_lines(cell) for cell in row] for row in rows]
    if len(cells) >= _MANY and not any("\n" in cell for row in cells for cell in row):
        return plain_columns(headers, cells)
    return tabulate(cells, headers=headers, tablefmt="plain", disable_numparse=True)


def plan_text(plan: Plan, now: float | None = None) -> str:
    """Return a plan for people.

    Args:
        plan: the plan.
        now: by the clock of this machine, to say that it has expired; None: it was just made.
    """
    head = f"Plan {plan.id} for rollout {plan.name}, made {plan.created_at}"
    if plan.expires_at:
        head += f", {expiry_text(plan, now)}"
    where = f"Cluster {plan.cluster.uid} ({plan.cluster.version}), digest {plan.digest}"
    parts = [f"{head}\n{where}"]
    parts += [_daemon_set_text(plan, ds) for ds in plan.daemon_sets]
    if plan.waves:
        parts.append(text_table(WAVE_HEADERS, wave_rows(plan)))
    if plan.gates:
        parts.append(text_table(GATE_HEADERS, gate_rows(plan)))
    parts.append(_nodes_text(plan))
    parts.append(_limits_text(plan))
    parts += [f"Warning: {warning}." for warning in plan.warnings]
    parts.append(totals_text(plan))
    return by_lines("\n\n".join(parts))


def wave_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Return a row for each wave: its size, its own limit, and what follows before the next one."""
    rows: list[tuple[str, ...]] = []
    for number, wave in enumerate(plan.waves, start=1):
        limit = wave.max_unavailable.text if wave.max_unavailable else "-"
        bake = format_duration(wave.bake_s) if wave.bake_s else "-"
        row = (str(number), wave.name, str(wave.nodes), wave.rule, limit, bake, wave.pause or "-")
        rows.append(row)
    return rows


def expiry_text(plan: Plan, now: float | None = None) -> str:
    """Return until when a run of a plan may begin.

    Args:
        plan: one that expires.
        now: by the clock of this machine, to say that it has expired; None: it was just made.
    """
    late_s = now - parse_time(plan.expires_at) if now is not None else -1.0
    if late_s < 0:
        return f"valid until {plan.expires_at}"
    ago = format_duration(late_s)
    return (
        f"expired {plan.expires_at} ({ago} ago by the clock of this machine): no run of it begins "
        "any more"
    )


def totals_text(plan: Plan) -> str:
    """Return the last line of a plan."""
    t = plan.totals
    if not plan.has_changes and not t.deferred:
        return (
            f"Nothing to do: {t.current} of {t.nodes} nodes are up to date{_rest(t.ineligible)}"
            f"{_unavailable(plan)}."
        )
    watched = sum(ds.watches(node) for ds in plan.daemon_sets for node in ds.nodes)
    in_waves = f" in {len(plan.waves)} {_s('wave', len(plan.waves))}"
    parts = [f"{t.update - watched} to replace{in_waves}"]
    if watched:
        parts.append(f"{watched} to watch")
    parts += [f"{t.current} up to date", f"{t.deferred} left out"]
    if t.removed:
        parts.append(f"{t.removed} {_s('pod', t.removed)} to be removed by the controller")
    parts.append(f"{t.ineligible} not for this DaemonSet")
    if plan.has_changes and not t.update:
        parts.insert(0, "~ settings change, no pod is replaced")
    return f"Plan: {', '.join(parts)}."


def _rest(ineligible: int) -> str:
    return f", {ineligible} are not for it" if ineligible else ""


def _unavailable(plan: Plan) -> str:
    """Name the nodes that are up to date and yet not well: nothing of a plan mends them."""
    ill = [
        node.name
        for ds in plan.daemon_sets
        for node in ds.nodes
        if node.fate == "current" and node.pod is not None and not node.available
    ]
    return f"; not available: {cut(list(dict.fromkeys(ill)))}" if ill else ""


def _s(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def _daemon_set_text(plan: Plan, ds: PlannedDaemonSet) -> str:
    change = f"{_revision_text(ds.current)} -> {_revision_text(ds.target)}"
    if not ds.changes_template:
        change = f"{_revision_text(ds.current)}, the template does not change"
    lines = [f"DaemonSet {ds.key}: {change} (target: {ds.target_kind})"]
    lines.append(f"  {ds.budget_text}; {_strategy_text(plan, ds)}")
    if ds.stable != ds.current and not plan.goes_back:
        why = "it is the target" if ds.current == ds.target else "it was not brought to its end"
        lines.append(f"  a rollback leads to {_stable_text(ds.stable)}, not the current: {why}")
    if ds.hand_over is not None:
        lines.append(
            f"  surge by hand-over: an old pod loses the label {ds.hand_over.label} and goes on "
            "working until its successor has passed; the new pod is created before the old one "
            "is deleted"
        )
    lines += [f"  {line}" for line in ds.diff]
    return "\n".join(lines)


def _stable_text(revision: Revision) -> str:
    if revision.revision is None:
        return f"a template that an earlier run keeps (digest {revision.template_digest})"
    return _revision_text(revision)


def _revision_text(revision: Revision) -> str:
    if revision.revision is None:
        return "a new revision"
    return f"revision {revision.revision} ({revision.hash})"


def _strategy_text(plan: Plan, ds: PlannedDaemonSet) -> str:
    if ds.owner_on_delete:
        return "the strategy is OnDelete by its owner's choice and stays so"
    if not any(step.daemon_set == ds.name and step.kind == "prepare" for step in plan.steps):
        return "the strategy is not touched" if not ds.changes_settings else "only settings change"
    final = ds.final_strategy.get("type", "RollingUpdate")
    kind = ds.original_strategy.get("type", "RollingUpdate")
    if final != kind:
        return f"the strategy {kind} becomes OnDelete for the run and {final} at its end"
    return f"the strategy {kind} becomes OnDelete for the run and is restored at its end"


def _nodes_text(plan: Plan) -> str:
    headers = ["", "NODE", "WAVE", "ZONE", "POD", "REVISION", "REASON"]
    several = len(plan.daemon_sets) > 1
    if several:
        headers.insert(1, "DAEMONSET")
    rows: list[tuple[str, ...]] = []
    place = {(s.daemon_set, s.node): i for i, s in enumerate(plan.steps) if s.kind == "update"}
    for ds in plan.daemon_sets:
        last = len(plan.steps)
        for node in sorted(ds.nodes, key=lambda n: (place.get((ds.name, n.name), last), n.name)):
            row = _node_row(node, surges=ds.hand_over is not None, watched=ds.watches(node))
            rows.append((row[0], ds.name, *row[1:]) if several else row)
    return f"{text_table(headers, rows)}\n{_LEGEND}"


def _node_row(node: PlannedNode, *, surges: bool, watched: bool) -> tuple[str, ...]:
    mark = "-" if node.removes_pod else _MARKS["current" if watched else node.fate]
    if node.fate == "update" and surges and not watched:
        mark = "+/-"
    wave = str(node.wave) if node.wave is not None else "-"
    pod, revision = "-", "-"
    if node.pod is not None:
        pod = node.pod.name
        revision = str(node.pod.revision) if node.pod.revision is not None else "?"
    reason = node.reason
    if node.removes_pod:
        reason = f"the controller removes the pod: {reason}"
    elif node.fate == "update" and not node.available and not reason:
        reason = "has no available pod: goes first"
    elif node.fate == "current" and not node.available and not reason:
        reason = "its pod is not available"
    return (mark, node.name, wave, node.zone or "-", pod, revision, reason)


def _failure_text(plan: Plan) -> str:
    """Return the limits on failures, each number with its base."""
    rules = plan.failure
    parts = [f"more than {rules.max_failures.text} -> {rules.on_failure}"]
    waves = dict.fromkeys(wave.max_failures.text for wave in plan.waves if wave.max_failures)
    if waves:
        parts.append(f"in a wave more than {', '.join(waves)} -> {rules.on_failure}")
    if rules.max_consecutive is not None:
        parts.append(f"more than {rules.max_consecutive} in a row -> {rules.on_failure}")
    if rules.pause_after is not None:
        parts.append(f"more than {rules.pause_after.text} -> pause")
    parts.append(f"unreachable more than {rules.max_unreachable.text} -> hold")
    return f"Failures: {'; '.join(parts)}. "


def _limits_text(plan: Plan) -> str:
    health, limits = plan.health, plan.limits
    if plan.goes_back:
        return (
            "On the way back a node is done when its pod is ready; no gate, pause or failure stops "
            f"it. Node timeout {format_duration(health.node_timeout_s)}, progress deadline "
            f"{format_duration(health.progress_deadline_s)}."
        )
    text = (
        f"Health: soak {format_duration(health.soak_s)}, node timeout "
        f"{format_duration(health.node_timeout_s)}, progress deadline "
        f"{format_duration(health.progress_deadline_s)}, at most {health.max_restarts} restarts.\n"
        f"{_failure_text(plan)}"
        f"At most {limits.replacements_per_second:g} replacements a second"
    )
    if limits.max_nodes_in_flight is not None:
        text += f", {limits.max_nodes_in_flight} nodes in flight"
    if limits.max_per_zone is not None:
        text += f", {limits.max_per_zone} in flight per zone"
    return text + "."
