"""A plan for a merge request: short enough for a comment, whatever the size of the fleet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rollout.planner.plan import Plan, PlannedDaemonSet
from rollout.quantity import cut
from rollout.report.gates import GATE_HEADERS, gate_rows
from rollout.report.table import WAVE_HEADERS, expiry_text, totals_text, wave_rows

_NODES_SHOWN = 200  # rows of the node table; a comment holds about 60,000 characters
_DIFF_SHOWN = 200  # lines


def plan_markdown(plan: Plan, now: float | None = None) -> str:
    """Return totals, limits, diff, waves and nodes; long lists are cut with a count.

    Args:
        plan: the plan.
        now: by the clock of this machine, to say that it has expired; None: it was just made.
    """
    parts = [f"## Plan `{plan.id}` for rollout `{plan.name}`", totals_text(plan)]
    if plan.expires_at:
        parts.append(f"Made {plan.created_at}, {expiry_text(plan, now)}.")
    parts += [f"> **Warning:** {_cell(warning)}" for warning in plan.warnings]
    parts += [_daemon_set(ds) for ds in plan.daemon_sets]
    if plan.waves:
        parts.append(_table(WAVE_HEADERS, wave_rows(plan)))
    if plan.gates:
        parts.append(_table(GATE_HEADERS, gate_rows(plan)))
    parts.append(_nodes(plan))
    return "\n\n".join(parts)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    return "\n".join([f"| {' | '.join(headers).lower()} |", "|---" * len(headers) + "|", *lines])


def _daemon_set(ds: PlannedDaemonSet) -> str:
    shown = ds.diff[:_DIFF_SHOWN]
    more = [f"... and {len(ds.diff) - len(shown)} more lines"] if len(ds.diff) > len(shown) else []
    head = f"### DaemonSet `{ds.key}`\n\nLimit: {_cell(ds.budget_text)}"
    if not shown:
        return f"{head}; the template does not change."
    body = "\n".join([*shown, *more])
    return f"{head}\n\n~~~~diff\n{body}\n~~~~"


def _nodes(plan: Plan) -> str:
    rows: list[str] = []
    left_out = 0
    for ds in plan.daemon_sets:
        for node in ds.nodes:
            if node.fate == "current" and not node.removes_pod:
                continue
            if len(rows) >= _NODES_SHOWN:
                left_out += 1
                continue
            wave = str(node.wave) if node.wave is not None else "-"
            rows.append(
                f"| {_cell(node.name)} | {_cell(ds.name)} | {node.fate} | {wave} | "
                f"{_cell(cut([node.reason]) if node.reason else '')} |"
            )
    text = "\n".join(
        ["| node | DaemonSet | fate | wave | reason |", "|---|---|---|---|---|", *rows]
    )
    return f"{text}\n\nand {left_out} more nodes" if left_out else text


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("`", "'")
