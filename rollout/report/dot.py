"""A plan's graph in the DOT language of Graphviz."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rollout.planner.graph import Link
from rollout.planner.plan import Plan, Step

_SHAPES = {
    "prepare": "box",
    "join": "point",
    "barrier": "point",
    "update": "ellipse",
    "gate": "hexagon",
    "approval": "diamond",
    "restore": "box",
}


def plan_dot(plan: Plan) -> str:
    """Return the graph with one cluster for each wave."""
    lines = [f"digraph {_quoted(plan.name)} {{", "  rankdir=LR;"]
    of_wave: dict[int, list[Step]] = {}
    for step in plan.steps:
        if step.kind == "update":
            of_wave.setdefault(step.wave, []).append(step)
        else:
            lines.append(f"  {_vertex(step)}")
    for number, steps in of_wave.items():
        title = _quoted(f"wave {number}: {plan.waves[number - 1].name}")
        lines += [f"  subgraph cluster_{number} {{", f"    label={title};"]
        lines += [f"    {_vertex(step)}" for step in steps]
        lines.append("  }")
    for step in plan.steps:
        lines += [f"  {_quoted(before)} -> {_quoted(step.id)};" for before in step.after]
    lines.append("}")
    return "\n".join(lines)


def links_dot(
    names: Sequence[str], links: Sequence[Link], marked: Collection[tuple[str, str]]
) -> str:
    """Return how DaemonSets wait for each other, the marked links in red."""
    lines = ["digraph after {", "  rankdir=LR;", *(f"  {_quoted(name)};" for name in names)]
    for link in links:
        color = ", color=red" if (link.daemon_set, link.name) in marked else ""
        edge = f"{_quoted(link.daemon_set)} -> {_quoted(link.name)}"
        lines.append(f"  {edge} [label={_quoted(link.scope)}{color}];")
    lines.append("}")
    return "\n".join(lines)


def _vertex(step: Step) -> str:
    label = step.node if step.kind == "update" else step.id
    return f"{_quoted(step.id)} [label={_quoted(label)}, shape={_SHAPES[step.kind]}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
