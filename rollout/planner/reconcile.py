"""Fits a plan to soft drift: nodes that joined are added at the end, others are dropped.

The plan keeps its id and digest: it is still the plan that was reviewed, carried out on the nodes
that there are now. Which of the two happens is the user's choice (`--on-drift`). The graph is made
anew by the rules that made it first, on the waves that were reviewed: so every edge holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from rollout.fleet.snapshot import Fleet
from rollout.planner import gateplaces, graph
from rollout.planner.accounting import planned_node, totals
from rollout.planner.drift import target_template
from rollout.planner.fates import NodeFate, node_fates, watched_still
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode, Step, VertexKind


def reconcile(plan: Plan, fleets: Mapping[str, Fleet], now: float) -> Plan:
    """Return the plan for the nodes as they are now.

    Nodes that need an update and were not planned join the last wave, in the order of their
    names; nodes that left, or need none any more, are dropped. A node that was planned for one
    DaemonSet and now needs an update of another one stays in its wave.

    Args:
        plan: the plan; its DaemonSets show no hard drift.
        fleets: by name of the DaemonSet.
        now: when the fleets were read, seconds since the epoch.
    """
    fates = {ds.name: _fates(plan, ds, fleets[ds.name], now) for ds in plan.daemon_sets}
    updates = {ds.name: _updates(ds, fates[ds.name]) for ds in plan.daemon_sets}
    links = [
        graph.Link(ds.name, ds.after.daemon_set, ds.after.scope)
        for ds in plan.daemon_sets
        if ds.after is not None
    ]
    groups = graph.order_daemon_sets([ds.name for ds in plan.daemon_sets], links)
    waves = [_waves(plan, group, updates) for group in groups]
    wave_of = {
        (name, node): number
        for group, made in zip(groups, waves, strict=True)
        for number, nodes in made.items()
        for name in group
        for node in nodes
        if node in updates[name]
    }
    daemon_sets = tuple(
        msgspec.structs.replace(
            ds, nodes=tuple(_nodes(ds.name, fates[ds.name], fleets[ds.name], wave_of))
        )
        for ds in plan.daemon_sets
    )
    return msgspec.structs.replace(
        plan,
        daemon_sets=daemon_sets,
        steps=_steps(plan, groups, waves, updates, links),
        waves=tuple(
            msgspec.structs.replace(wave, nodes=sum(len(made.get(n, ())) for made in waves))
            for n, wave in enumerate(plan.waves, start=1)
        ),
        totals=totals(daemon_sets),
    )


def _fates(plan: Plan, ds: PlannedDaemonSet, fleet: Fleet, now: float) -> list[NodeFate]:
    template = target_template(ds, fleet)
    watched = watched_still(fleet, template, ds.nodes)
    return node_fates(fleet, template, plan.rules, now, watched)


def _updates(ds: PlannedDaemonSet, fates: Sequence[NodeFate]) -> frozenset[str]:
    """Return the nodes to update; a DaemonSet that the plan does not touch stays untouched."""
    if not any(node.fate == "update" for node in ds.nodes):
        return frozenset()
    return frozenset(fate.node.metadata.name for fate in fates if fate.fate == "update")


def _waves(
    plan: Plan, group: Sequence[str], updates: Mapping[str, frozenset[str]]
) -> dict[int, list[str]]:
    """Return the group's waves by number: nodes as planned, and the late ones at the end."""
    wanted = frozenset[str]().union(*(updates[name] for name in group))
    waves: dict[int, dict[str, None]] = {}
    for step in plan.steps:
        if step.kind == "update" and step.daemon_set in group:
            waves.setdefault(step.wave, {})[step.node] = None
    planned = {node for nodes in waves.values() for node in nodes}
    if waves:
        waves[max(waves)].update(dict.fromkeys(sorted(wanted - planned)))
    return {n: [node for node in waves[n] if node in wanted] for n in sorted(waves)}


def _nodes(
    name: str, fates: Sequence[NodeFate], fleet: Fleet, wave_of: Mapping[tuple[str, str], int]
) -> list[PlannedNode]:
    return [
        planned_node(fleet, fate, wave_of.get((name, fate.node.metadata.name))) for fate in fates
    ]


def _steps(
    plan: Plan,
    groups: Sequence[Sequence[str]],
    waves: Sequence[Mapping[int, list[str]]],
    updates: Mapping[str, frozenset[str]],
    links: Sequence[graph.Link],
) -> tuple[Step, ...]:
    steps = graph.build_steps(
        graph.GraphInput(
            groups=groups,
            waves=[list(made.values()) for made in waves],
            updates=updates,
            prepares=_patched(plan, "prepare"),
            restores=_patched(plan, "restore"),
            links=links,
            approvals=frozenset(step.wave for step in plan.steps if step.kind == "approval"),
            gates=gateplaces.places_in(plan),
        )
    )
    assert _fixed(steps) == _fixed(plan.steps), "reconciling changed more than updates"
    return steps


def _patched(plan: Plan, kind: VertexKind) -> frozenset[str]:
    return frozenset(step.daemon_set for step in plan.steps if step.kind == kind)


def _fixed(steps: Sequence[Step]) -> set[str]:
    """Return the steps that no drift of nodes changes; inner barriers come and go with them."""
    return {
        step.id
        for step in steps
        if step.kind != "update" and not (step.kind == "barrier" and step.daemon_set)
    }
