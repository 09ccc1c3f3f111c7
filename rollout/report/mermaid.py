"""A plan's graph in the Mermaid language, small enough for a merge request."""

from __future__ import annotations

from rollout.planner.plan import Plan, Step

COLLAPSE_ABOVE = 80  # nodes; larger plans show one box for each wave


def plan_mermaid(plan: Plan) -> str:
    """Return a flowchart; above 80 nodes each wave is one box."""
    updates = sum(step.kind == "update" for step in plan.steps)
    return _collapsed(plan) if updates > COLLAPSE_ABOVE else _whole(plan)


def _whole(plan: Plan) -> str:
    names = {step.id: f"s{number}" for number, step in enumerate(plan.steps)}
    lines = ["flowchart LR"]
    lines += [f"  {names[step.id]}{_shape(plan, step)}" for step in plan.steps]
    lines += [
        f"  {names[before]} --> {names[step.id]}" for step in plan.steps for before in step.after
    ]
    return "\n".join(lines)


def _collapsed(plan: Plan) -> str:
    """Follow the waves: all updates of a wave stand in the box of its barrier."""
    names: dict[str, str] = {}
    boxed: set[int] = set()  # waves whose box is drawn: by what follows its last update
    lines = ["flowchart LR"]
    for step in plan.steps:
        if step.kind == "update" or (step.kind == "barrier" and step.daemon_set):
            names[step.id] = f"w{step.wave}"
        elif step.id in (f"updated/{step.wave}", f"barrier/{step.wave}") and step.wave not in boxed:
            wave = plan.waves[step.wave - 1]
            boxed.add(step.wave)
            names[step.id] = f"w{step.wave}"
            lines.append(f"  w{step.wave}[{_text(f'{wave.name}: {wave.nodes} nodes')}]")
        else:
            names[step.id] = f"s{len(names)}"
            lines.append(f"  {names[step.id]}{_shape(plan, step)}")
    edges = {(names[before], names[step.id]): None for step in plan.steps for before in step.after}
    lines += [f"  {before} --> {after}" for before, after in edges if before != after]
    return "\n".join(lines)


def _shape(plan: Plan, step: Step) -> str:
    match step.kind:
        case "update":
            label = step.node if len(plan.daemon_sets) == 1 else f"{step.daemon_set} {step.node}"
            return f"([{_text(label)}])"
        case "barrier":
            name = plan.waves[step.wave - 1].name if step.wave else "start"
            return f"(({_text(name)}))"
        case "join":
            return "(( ))"
        case "gate":
            gate = next(gate for gate in plan.gates if gate.name == step.gate)
            return f"{{{{{_text(f'{gate.kind} {gate.name}')}}}}}"
        case "approval":
            return f"{{{_text(f'approval after {plan.waves[step.wave - 1].name}')}}}"
    return f"[{_text(f'{step.kind} {step.daemon_set}')}]"


def _text(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'"{escaped}"'
