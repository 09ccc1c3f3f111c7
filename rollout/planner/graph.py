"""The dependency graph of a plan: order is edges, budgets are not.

Built as a list of small rules, each adding one kind of vertex or edge. Waves meet at barrier
vertices, so edges grow as nodes plus waves and never as nodes times waves. The steps in the plan
document are the graph in adjacency form; `digraph` is the same as a `networkx.DiGraph`.

That library is loaded only where there is something to search: it takes longer than all else that
a small plan needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollout.errors import DocumentError
from rollout.gatespec.base import At
from rollout.planner.plan import Plan, Step, VertexKind

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Link:
    """`name` waits for `daemon_set`: on the same node, wave by wave, or wholly."""

    name: str
    daemon_set: str
    scope: str


@dataclass(frozen=True, slots=True)
class GatePlace:
    """A gate, and where it stands as a vertex."""

    name: str
    at: At
    waves: frozenset[int] = frozenset()  # 1-based, over all groups; only for before- and after-wave


@dataclass(frozen=True, slots=True)
class GraphInput:
    """What the graph is made of."""

    groups: Sequence[Sequence[str]]  # DaemonSets that share waves; groups run one after another
    waves: Sequence[Sequence[Sequence[str]]]  # per group: per wave: node names in their order
    updates: Mapping[str, frozenset[str]]  # DaemonSet -> nodes that it updates
    prepares: frozenset[str]  # DaemonSets that are patched before their first pod goes
    restores: frozenset[str]  # DaemonSets that are patched at the end
    links: Sequence[Link]
    approvals: frozenset[int] = frozenset()  # waves (1-based, over all groups) that end with one
    gates: Sequence[GatePlace] = ()


def order_daemon_sets(names: Sequence[str], links: Sequence[Link]) -> list[list[str]]:
    """Return the DaemonSets in groups that run one after another (`scope: all` separates).

    Raises:
        DocumentError: on a cycle, printed vertex by vertex.
    """
    if not links:
        return [list(names)] if names else []
    import networkx as nx  # noqa: PLC0415 - slow to import

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((link.daemon_set, link.name) for link in links)
    if not nx.is_directed_acyclic_graph(graph):
        raise DocumentError(f"'after' makes a cycle: {_cycle(graph)}; remove one of the links")
    depth: dict[str, int] = {}
    for name in nx.lexicographical_topological_sort(graph, key=names.index):
        incoming = [link for link in links if link.name == name]
        depth[name] = max((depth[k.daemon_set] + (k.scope == "all") for k in incoming), default=0)
    groups: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in depth:
        groups[depth[name]].append(name)
    return groups


def cycle_edges(names: Sequence[str], links: Sequence[Link]) -> frozenset[tuple[str, str]]:
    """Return the links (first, then) that lie on a cycle; empty when there is none."""
    import networkx as nx  # noqa: PLC0415 - slow to import

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from((link.daemon_set, link.name) for link in links)
    component = {n: i for i, c in enumerate(nx.strongly_connected_components(graph)) for n in c}
    return frozenset((a, b) for a, b in graph.edges if component[a] == component[b])


def build_steps(given: GraphInput) -> tuple[Step, ...]:
    """Return all steps in an order in which each comes after its predecessors."""
    steps: list[Step] = []
    busy = given.prepares or given.restores or any(given.updates.values())
    previous_end = _ask(given, steps, "preflight", 0, ()) if busy else ()
    number = 0
    for index, (group, waves) in enumerate(zip(given.groups, given.waves, strict=True)):
        prepares = [n for n in group if n in given.prepares]
        steps += [_step("prepare", f"prepare/{n}", previous_end, ds=n) for n in prepares]
        front = tuple(f"prepare/{n}" for n in prepares) or previous_end
        if len(front) > 1 and waves:
            steps.append(_step("barrier", f"barrier/start-{index + 1}", front))
            front = (steps[-1].id,)
        for nodes in waves:
            number += 1
            front = _joined(steps, number, _ask(given, steps, "before-wave", number, front))
            steps += _wave_steps(given, group, nodes, number, front)
            front = (f"barrier/{number}",)
            if number in given.approvals:
                steps.append(_step("approval", f"approval/{number}", front, wave=number))
                front = (f"approval/{number}",)
        if busy and index == len(given.groups) - 1:
            front = _ask(given, steps, "after-run", 0, front)
        restores = [n for n in group if n in given.restores]
        steps += [_step("restore", f"restore/{n}", front, ds=n) for n in restores]
        previous_end = tuple(f"restore/{n}" for n in restores) or front
    return tuple(steps)


def check_steps(steps: Sequence[Step]) -> None:
    """Prove that each step stands once, and that all of them can be done one after the other.

    Raises:
        DocumentError: when a step stands twice, a predecessor is missing or there is a cycle.
    """
    known: set[str] = set()
    for step in steps:
        if step.id in known or not known.issuperset(step.after):
            digraph(steps)  # out of order, which is no fault, or it says what is wrong
            return
        known.add(step.id)


def check_names(plan: Plan) -> None:
    """Prove that the steps name only waves, gates and DaemonSets that the plan has.

    Raises:
        DocumentError: when one names another.
    """
    gates = {gate.name for gate in plan.gates}
    names = {ds.name for ds in plan.daemon_sets} | {""}
    for step in plan.steps:
        if not 0 <= step.wave <= len(plan.waves) or (step.kind == "update" and not step.wave):
            missing = f"wave {step.wave}"
        elif step.kind == "gate" and step.gate not in gates:
            missing = f"gate '{step.gate}'"
        elif step.daemon_set not in names:
            missing = f"DaemonSet '{step.daemon_set}'"
        else:
            continue
        raise DocumentError(
            f"the plan's step '{step.id}' is of {missing}, which it lacks; plan again"
        )


def digraph(steps: Sequence[Step]) -> nx.DiGraph[str]:
    """Return the graph with typed vertices: attribute `step` holds the vertex' `Step`.

    Raises:
        DocumentError: when a step stands twice, a predecessor is missing or there is a cycle.
    """
    import networkx as nx  # noqa: PLC0415 - slow to import

    graph: nx.DiGraph[str] = nx.DiGraph()
    for step in steps:
        if step.id in graph:
            raise DocumentError(f"the plan's step '{step.id}' stands twice; plan again")
        graph.add_node(step.id, step=step, kind=step.kind)
    known = len(graph)
    for step in steps:
        graph.add_edges_from((before, step.id) for before in step.after)
    if len(graph) != known:
        unknown = next(n for n in graph if "step" not in graph.nodes[n])
        raise DocumentError(f"the plan's step '{unknown}' is named but missing; plan again")
    if not nx.is_directed_acyclic_graph(graph):
        raise DocumentError(f"the plan's steps make a cycle: {_cycle(graph)}; plan again")
    return graph


def _wave_steps(
    given: GraphInput, group: Sequence[str], nodes: Sequence[str], wave: int, front: tuple[str, ...]
) -> list[Step]:
    """Return the updates of one wave, node by node, and the barrier that ends it."""
    steps: list[Step] = []
    tail: list[str] = []
    inner = _inner_barriers(given, group, nodes, wave)
    for names in _stages(group, given.links):
        for node in nodes:
            for name in names:
                if node not in given.updates[name]:
                    continue
                step_id = f"update/{name}/{node}"
                before = _awaited(given, inner, name, node) or front
                steps.append(_step("update", step_id, before, ds=name, node=node, wave=wave))
                tail.append(step_id)
        steps.extend(inner[name] for name in names if name in inner)
    front = tuple(tail) or front
    if _asked(given, "after-wave", wave):
        steps.append(_step("join", f"updated/{wave}", front, wave=wave))
        front = _ask(given, steps, "after-wave", wave, (steps[-1].id,))
    steps.append(_step("barrier", f"barrier/{wave}", front, wave=wave))
    return steps


def _asked(given: GraphInput, at: At, wave: int) -> list[str]:
    """Return the names of the gates that stand there."""
    return [g.name for g in given.gates if g.at == at and (not wave or wave in g.waves)]


def _ask(
    given: GraphInput, steps: list[Step], at: At, wave: int, front: tuple[str, ...]
) -> tuple[str, ...]:
    """Add the gates that stand there, side by side; returns what comes after them waits for."""
    place = f"{at}/{wave}" if wave else at
    names = _asked(given, at, wave)
    steps += [_step("gate", f"gate/{place}/{name}", front, wave=wave) for name in names]
    return tuple(f"gate/{place}/{name}" for name in names) or front


def _joined(steps: list[Step], wave: int, front: tuple[str, ...]) -> tuple[str, ...]:
    """Let several gates meet in one vertex, so that edges don't grow as gates times nodes."""
    if len(front) < 2 or not front[0].startswith("gate/"):  # noqa: PLR2004 - one needs no meeting
        return front
    steps.append(_step("join", f"before/{wave}", front, wave=wave))
    return (steps[-1].id,)


def _stages(group: Sequence[str], links: Sequence[Link]) -> list[list[str]]:
    """Split a group, which is in order, where one DaemonSet waits for a whole wave of another."""
    stage: dict[str, int] = {}
    for name in group:
        known = [k for k in links if k.name == name and k.daemon_set in stage]
        stage[name] = max((stage[k.daemon_set] + (k.scope == "wave") for k in known), default=0)
    return [[n for n in group if stage[n] == s] for s in sorted(set(stage.values()))]


def _awaited(given: GraphInput, inner: Mapping[str, Step], name: str, node: str) -> tuple[str, ...]:
    """Return what the update of a node waits for inside its wave."""
    awaited: set[str] = set()
    for link in (k for k in given.links if k.name == name):
        if link.scope == "wave" and link.daemon_set in inner:
            awaited.add(inner[link.daemon_set].id)
        elif link.scope == "node" and node in given.updates[link.daemon_set]:
            awaited.add(f"update/{link.daemon_set}/{node}")
    return tuple(sorted(awaited))


def _inner_barriers(
    given: GraphInput, group: Sequence[str], nodes: Sequence[str], wave: int
) -> dict[str, Step]:
    """Return a barrier behind each DaemonSet that another one waits for wave by wave."""
    awaited = {k.daemon_set for k in given.links if k.scope == "wave" and k.name in group}
    barriers: dict[str, Step] = {}
    for name in sorted(awaited):
        before = tuple(f"update/{name}/{n}" for n in nodes if n in given.updates[name])
        if before:
            barriers[name] = _step("barrier", f"barrier/{wave}/{name}", before, ds=name, wave=wave)
    return barriers


def _step(
    kind: VertexKind,
    step_id: str,
    after: tuple[str, ...],
    *,
    ds: str = "",
    node: str = "",
    wave: int = 0,
) -> Step:
    return Step(id=step_id, kind=kind, after=after, daemon_set=ds, node=node, wave=wave)


def _cycle(graph: nx.DiGraph[str]) -> str:
    """Name one cycle; searched in one strongly connected component, never in the whole graph."""
    import networkx as nx  # noqa: PLC0415 - slow to import

    component = next(
        c
        for c in nx.strongly_connected_components(graph)
        if len(c) > 1 or any(graph.has_edge(n, n) for n in c)
    )
    edges = nx.find_cycle(graph.subgraph(component))
    return " -> ".join([edges[0][0], *(edge[1] for edge in edges)])
