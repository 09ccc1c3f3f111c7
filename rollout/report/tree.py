"""A plan's graph as an indented text tree, and as plain vertices and edges."""

from __future__ import annotations

from rollout.fleet.revisions import canonical_json
from rollout.planner.plan import Plan, Step
from rollout.report.gates import gate_text


def plan_tree(plan: Plan) -> str:
    """Return the steps in their order, the nodes below their waves."""
    of_wave: dict[int, list[Step]] = {}
    for step in plan.steps:
        if step.kind == "update":
            of_wave.setdefault(step.wave, []).append(step)
    lines = [f"plan {plan.id}"]
    for step in plan.steps:
        lines += _lines(plan, step, of_wave)
    return "\n".join(lines)


def plan_graph_json(plan: Plan) -> bytes:
    """Return `{"vertices": [...], "edges": [[before, after], ...]}`."""
    return canonical_json(
        {
            "vertices": [
                {
                    "id": step.id,
                    "kind": step.kind,
                    "daemonSet": step.daemon_set,
                    "node": step.node,
                    "wave": step.wave,
                }
                for step in plan.steps
            ],
            "edges": [[before, step.id] for step in plan.steps for before in step.after],
        }
    )


def _lines(plan: Plan, step: Step, of_wave: dict[int, list[Step]]) -> list[str]:
    match step.kind:
        case "prepare":
            return [f"├─ prepare {step.daemon_set}: OnDelete and the new template"]
        case "restore":
            return [f"├─ restore {step.daemon_set}: the strategy"]
        case "gate":
            return [f"├─ {gate_text(plan, step)}"]
        case "approval":
            return [f"├─ approval after wave {step.wave}"]
        case "barrier" if step.id == f"barrier/{step.wave}" and step.wave:
            wave = plan.waves[step.wave - 1]
            steps = of_wave.get(step.wave, [])
            head = f"├─ wave {step.wave} ({wave.name}): {wave.nodes} nodes, {wave.rule}"
            several = len(plan.daemon_sets) > 1
            return [
                head,
                *(f"│  ├─ {s.daemon_set + ' ' if several else ''}{s.node}" for s in steps),
            ]
    return []
