"""Fits a plan to soft drift: nodes that joined are added at the end, others are dropped.

The plan keeps its id and digest: it is still the plan that was reviewed, carried out on the nodes
that there are now. Which of the two happens is the user's choice (`--on-drift`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rollout.fleet.snapshot import Fleet
from rollout.planner.accounting import planned_node, totals
from rollout.planner.drift import target_template
from rollout.planner.fates import NodeFate, node_fates
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode, Step, Wave


def reconcile(plan: Plan, fleets: Mapping[str, Fleet], now: float) -> Plan:
    """Return the plan for the nodes as they are now.

    Nodes that need an update and were not planned join the last wave, in the order of their
    names; nodes that left, or need none any more, are dropped.

    Args:
        plan: the plan; its DaemonSets show no hard drift.
        fleets: by name of the DaemonSet.
        now: when the fleets were read, seconds since the epoch.
    """
    fates = {
        ds.name: {
            fate.node.metadata.name: fate
            for fate in node_fates(
                fleets[ds.name], target_template(ds, fleets[ds.name]), plan.rules, now
            )
        }
        for ds in plan.daemon_sets
    }
    added = {ds.name: _added(ds, fates[ds.name]) for ds in plan.daemon_sets}
    daemon_sets = tuple(
        msgspec.structs.replace(ds, nodes=tuple(_nodes(ds, fates[ds.name], fleets[ds.name])))
        for ds in plan.daemon_sets
    )
    steps = _steps(plan, fates, added)
    return msgspec.structs.replace(
        plan,
        daemon_sets=daemon_sets,
        steps=steps,
        waves=_waves(plan, steps),
        totals=totals(daemon_sets),
    )


def _added(ds: PlannedDaemonSet, fates: Mapping[str, NodeFate]) -> list[str]:
    """Return the nodes to add; a DaemonSet that the plan does not touch stays untouched."""
    planned = {node.name for node in ds.nodes if node.fate == "update"}
    if not planned:
        return []
    return sorted(n for n, fate in fates.items() if fate.fate == "update" and n not in planned)


def _last_wave(ds: PlannedDaemonSet) -> int:
    """Return the number of the DaemonSet's last wave; 0 when it has none."""
    return max((n.wave for n in ds.nodes if n.wave is not None), default=0)


def _nodes(ds: PlannedDaemonSet, fates: Mapping[str, NodeFate], fleet: Fleet) -> list[PlannedNode]:
    waves = {node.name: node.wave for node in ds.nodes}
    last = _last_wave(ds) or None
    return [
        planned_node(fleet, fate, (waves.get(name) or last) if fate.fate == "update" else None)
        for name, fate in fates.items()
    ]


def _steps(
    plan: Plan,
    fates: Mapping[str, Mapping[str, NodeFate]],
    added: Mapping[str, list[str]],
) -> tuple[Step, ...]:
    """Drop steps of nodes without an update, and put new ones before their wave's barrier."""
    dropped = {
        step.id
        for step in plan.steps
        if step.kind == "update" and not _updates(fates[step.daemon_set].get(step.node))
    }
    fronts = {step.id: step.after for step in plan.steps}
    joined: dict[str, list[Step]] = {}
    for ds in plan.daemon_sets:
        wave = _last_wave(ds)
        joined.setdefault(f"barrier/{wave}", []).extend(_joined(plan, ds, added, wave))
    steps: list[Step] = []
    for step in plan.steps:
        if step.id in dropped:
            continue
        late = joined.get(step.id, [])
        steps.extend(late)
        after = [*_bypass(step.after, dropped, fronts), *(s.id for s in late)]
        steps.append(msgspec.structs.replace(step, after=tuple(dict.fromkeys(after))))
    return tuple(steps)


def _updates(fate: NodeFate | None) -> bool:
    return fate is not None and fate.fate == "update"


def _bypass(
    after: tuple[str, ...], dropped: set[str], fronts: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """Replace dropped predecessors by theirs, so that order holds without them."""
    found: list[str] = []
    for before in after:
        found.extend(_bypass(fronts[before], dropped, fronts) if before in dropped else [before])
    return found


def _joined(
    plan: Plan, ds: PlannedDaemonSet, added: Mapping[str, list[str]], wave: int
) -> list[Step]:
    """Return steps for nodes that were not planned: behind all that their wave waits for."""
    front = next(
        (
            step.after
            for step in plan.steps
            if step.kind == "update" and step.wave == wave and step.daemon_set == ds.name
        ),
        (),
    )
    return [
        Step(
            id=f"update/{ds.name}/{node}",
            kind="update",
            after=_linked(ds, added, node) or front,
            daemon_set=ds.name,
            node=node,
            wave=wave,
        )
        for node in added[ds.name]
    ]


def _linked(ds: PlannedDaemonSet, added: Mapping[str, list[str]], node: str) -> tuple[str, ...]:
    """Return the step on the same node that `after` names, where that one joined as well."""
    if ds.after is None or node not in added[ds.after.daemon_set]:
        return ()
    return (f"update/{ds.after.daemon_set}/{node}",)


def _waves(plan: Plan, steps: tuple[Step, ...]) -> tuple[Wave, ...]:
    nodes: dict[int, set[str]] = {}
    for step in steps:
        if step.kind == "update":
            nodes.setdefault(step.wave, set()).add(step.node)
    return tuple(
        msgspec.structs.replace(wave, nodes=len(nodes.get(number, ())))
        for number, wave in enumerate(plan.waves, start=1)
    )
