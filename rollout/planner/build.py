"""The planner: `(spec, fleets) -> plan`. Pure: no clock, no I/O; same input, same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rollout import __version__
from rollout.errors import DocumentError
from rollout.fleet.objects import JsonObject, format_time
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.selectors import parse_label_selector
from rollout.fleet.snapshot import Fleet
from rollout.planner import budget, graph
from rollout.planner.delta import difference
from rollout.planner.desired import Desired
from rollout.planner.diff import object_diff
from rollout.planner.fates import ZONE_LABEL, NodeFate, node_fates
from rollout.planner.plan import (
    SCHEMA_VERSION,
    ClusterId,
    HealthRules,
    Plan,
    PlannedDaemonSet,
    PlannedNode,
    PlannedPod,
    Revision,
    RunLimits,
    Totals,
    Wave,
    seal,
)
from rollout.planner.waves import Candidate, PlannedWave, plan_waves
from rollout.quantity import cut, parse_amount
from rollout.spec import Body, LoadedSpec, WaveRule


@dataclass(frozen=True, slots=True)
class Subject:
    """One DaemonSet to plan for: what it is now, and what it shall be."""

    fleet: Fleet
    desired: Desired


@dataclass(frozen=True, slots=True)
class _Part:
    """One DaemonSet in the middle of being planned."""

    index: int
    subject: Subject
    fates: tuple[NodeFate, ...]

    @property
    def updates(self) -> frozenset[str]:
        return frozenset(f.node.metadata.name for f in self.fates if f.fate == "update")

    @property
    def base(self) -> int:
        """Nodes that should run the pod: what percentages are taken of (behaviour.md 2.1)."""
        return sum(f.should_run for f in self.fates)


def build_plan(
    loaded: LoadedSpec, subjects: Sequence[Subject], server_version: str, now: float
) -> Plan:
    """Make the plan.

    Args:
        loaded: the spec.
        subjects: the spec's DaemonSets, in its order.
        server_version: what the server calls itself.
        now: when the fleets were read, seconds since the epoch.

    Raises:
        DocumentError: when the spec does not fit the cluster.
    """
    body = loaded.spec.spec
    parts = {
        item.name: _Part(
            index,
            subject,
            tuple(node_fates(subject.fleet, subject.desired.template, body.nodes, now)),
        )
        for index, (item, subject) in enumerate(zip(body.daemon_sets, subjects, strict=True))
    }
    _check_selection(loaded, parts)
    links = _links(loaded)
    groups = graph.order_daemon_sets(list(parts), links)
    waves = [plan_waves(body, _candidates([parts[n] for n in group])) for group in groups]
    wave_of = _wave_numbers(groups, waves)
    daemon_sets = tuple(_daemon_set(loaded, part, wave_of[name]) for name, part in parts.items())
    planned = {ds.name: ds for ds in daemon_sets}
    steps = graph.build_steps(_graph_input(groups, waves, parts, planned, links))
    base = max((part.base for part in parts.values()), default=0)
    plan = Plan(
        api_version="rollout/v1",
        kind="Plan",
        schema_version=SCHEMA_VERSION,
        id="",
        digest="",
        created_at=format_time(now),
        tool_version=__version__,
        name=loaded.spec.metadata.name,
        namespace=subjects[0].fleet.daemon_set.metadata.namespace,
        cluster=ClusterId(uid=subjects[0].fleet.cluster_uid, version=server_version),
        daemon_sets=daemon_sets,
        waves=tuple(_wave(wave, base) for group in waves for wave in group),
        steps=steps,
        health=_health(body),
        limits=_limits(body, sum(len(part.updates) for part in parts.values())),
        totals=_totals(daemon_sets),
        warnings=tuple(_warnings(loaded, daemon_sets)),
    )
    graph.digraph(steps)
    return seal(plan)


def _check_selection(loaded: LoadedSpec, parts: Mapping[str, _Part]) -> None:
    """Refuse names and selectors that match nothing: they are typing errors."""
    nodes = {
        n.metadata.name: n for part in parts.values() for n in part.subject.fleet.nodes.values()
    }
    rules = loaded.spec.spec.nodes
    if not nodes:
        return
    for index, name in enumerate(rules.exclude):
        if name not in nodes:
            raise loaded.error(
                ("nodes", "exclude", index), f"the cluster has no node '{name}'; check the name"
            )
    if rules.selector and all(f.deferred_by == "excluded" for p in parts.values() for f in p.fates):
        raise _matches_nothing(loaded, ("nodes", "selector"), rules.selector)
    selected = {n: node.metadata.labels for n, node in nodes.items()}
    _check_waves(loaded, selected)


def _check_waves(loaded: LoadedSpec, labels: Mapping[str, Mapping[str, str]]) -> None:
    waves = loaded.spec.spec.waves
    for index, rule in enumerate(waves if not isinstance(waves, str) else ()):
        if not isinstance(rule, WaveRule):
            continue
        for position, name in enumerate(rule.nodes):
            if name not in labels:
                raise loaded.error(
                    ("waves", index, "nodes", position),
                    f"the cluster has no node '{name}'; check the name",
                )
        selector = parse_label_selector(rule.selector)
        if rule.selector and not any(selector.matches(item) for item in labels.values()):
            raise _matches_nothing(loaded, ("waves", index, "selector"), rule.selector)


def _matches_nothing(
    loaded: LoadedSpec, path: tuple[str | int, ...], selector: str
) -> DocumentError:
    return loaded.error(path, f"'{selector}' matches no node; see 'kubectl get nodes -L KEY'")


def _links(loaded: LoadedSpec) -> list[graph.Link]:
    names = [item.name for item in loaded.spec.spec.daemon_sets]
    links = []
    for index, item in enumerate(loaded.spec.spec.daemon_sets):
        if item.after is None:
            continue
        if item.after.daemon_set not in names:
            raise loaded.error(
                ("daemonSets", index, "after", "daemonSet"),
                f"'{item.after.daemon_set}' is not a DaemonSet of this spec; it has "
                f"{', '.join(names)}",
            )
        links.append(graph.Link(item.name, item.after.daemon_set, item.after.scope))
    return links


def _candidates(parts: Sequence[_Part]) -> list[Candidate]:
    """Return the nodes that any of the DaemonSets updates; available means for all of them."""
    found: dict[str, Candidate] = {}
    for part in parts:
        for fate in (f for f in part.fates if f.fate == "update"):
            known = found.get(fate.node.metadata.name)
            pod = fate.pod
            found[fate.node.metadata.name] = Candidate(
                node=fate.node,
                available=fate.available and (known is None or known.available),
                restarts=(pod.restarts if pod else 0) + (known.restarts if known else 0),
                pod_created=known.pod_created
                if known
                else (pod.metadata.creation_timestamp or "" if pod else ""),
            )
    return list(found.values())


def _wave_numbers(
    groups: Sequence[Sequence[str]], waves: Sequence[Sequence[PlannedWave]]
) -> dict[str, dict[str, int]]:
    """Return, for each DaemonSet, the 1-based number of each node's wave."""
    numbers: dict[str, dict[str, int]] = {}
    start = 1
    for group, made in zip(groups, waves, strict=True):
        of_node = {node: start + i for i, wave in enumerate(made) for node in wave.nodes}
        numbers.update(dict.fromkeys(group, of_node))
        start += len(made)
    return numbers


def _daemon_set(loaded: LoadedSpec, part: _Part, wave_of: Mapping[str, int]) -> PlannedDaemonSet:
    fleet, desired = part.subject.fleet, part.subject.desired
    live = fleet.daemon_set
    item = loaded.spec.spec.daemon_sets[part.index]
    return PlannedDaemonSet(
        name=live.metadata.name,
        namespace=live.metadata.namespace,
        uid=live.metadata.uid,
        generation=live.metadata.generation,
        min_ready_s=float(desired.fields.get("minReadySeconds", live.spec.min_ready_seconds)),
        owner_on_delete=fleet.owner_strategy.get("type") == "OnDelete",
        original_strategy=fleet.owner_strategy,
        live_strategy=live.spec.update_strategy,
        final_strategy=desired.strategy,
        current=_revision(fleet, live.spec.template),
        target=_revision(fleet, desired.template),
        target_kind=desired.kind,
        template_changes=tuple(_template_changes(live.spec.template, desired.template)),
        fields=desired.fields,
        labels=desired.labels,
        annotations=desired.annotations,
        desired=part.base,
        max_unavailable=budget.max_unavailable(loaded, part.index, item, fleet, part.base),
        diff=_diff(fleet, desired),
        nodes=tuple(_node(fleet, fate, wave_of) for fate in part.fates),
    )


def _template_changes(live: JsonObject, target: JsonObject) -> list[JsonObject]:
    if template_digest(live) == template_digest(target):
        return []
    return difference(live, target)


def _revision(fleet: Fleet, template: JsonObject) -> Revision:
    digest = template_digest(template)
    for revision in reversed(fleet.revisions):
        if template_digest(revision.template) == digest:
            return Revision(digest, revision.revision, revision_hash(revision))
    return Revision(digest)


def _diff(fleet: Fleet, desired: Desired) -> tuple[str, ...]:
    live = fleet.raw["spec"]
    metadata = fleet.raw["metadata"]
    before = {
        "metadata": {
            "labels": {k: (metadata.get("labels") or {}).get(k) for k in desired.labels},
            "annotations": {
                k: (metadata.get("annotations") or {}).get(k) for k in desired.annotations
            },
        },
        "spec": {
            **{k: live.get(k) for k in desired.fields},
            "template": live["template"],
            "updateStrategy": live.get("updateStrategy") or {},
        },
    }
    after = {
        "metadata": {"labels": desired.labels, "annotations": desired.annotations},
        "spec": {
            **desired.fields,
            "template": desired.template,
            "updateStrategy": desired.strategy,
        },
    }
    return object_diff(before, after)


def _node(fleet: Fleet, fate: NodeFate, wave_of: Mapping[str, int]) -> PlannedNode:
    name = fate.node.metadata.name
    return PlannedNode(
        name=name,
        uid=fate.node.metadata.uid,
        fate=fate.fate,
        reason=fate.reason,
        deferred_by=fate.deferred_by,
        wave=wave_of.get(name) if fate.fate == "update" else None,
        zone=fate.node.metadata.labels.get(ZONE_LABEL, ""),
        available=fate.available,
        in_budget=fate.in_budget,
        removes_pod=fate.removes_pod,
        pod=_pod(fleet, fate),
    )


def _pod(fleet: Fleet, fate: NodeFate) -> PlannedPod | None:
    if fate.pod is None:
        return None
    revision = fleet.revision_of(fate.pod)
    return PlannedPod(
        name=fate.pod.metadata.name,
        uid=fate.pod.metadata.uid,
        revision=revision.revision if revision else None,
        hash=revision_hash(revision) if revision else "",
    )


def _graph_input(
    groups: Sequence[Sequence[str]],
    waves: Sequence[Sequence[PlannedWave]],
    parts: Mapping[str, _Part],
    planned: Mapping[str, PlannedDaemonSet],
    links: Sequence[graph.Link],
) -> graph.GraphInput:
    """Say which DaemonSets are patched before (`prepare`) and after (`restore`) their nodes."""
    prepares, restores = set(), set()
    for name, ds in planned.items():
        flips = bool(parts[name].updates) and not ds.owner_on_delete
        if ds.changes_template or flips:
            prepares.add(name)
        if flips or ds.changes_settings or (ds.changes_template and not ds.owner_on_delete):
            restores.add(name)
    return graph.GraphInput(
        groups=groups,
        waves=[[wave.nodes for wave in group] for group in waves],
        updates={name: part.updates for name, part in parts.items()},
        prepares=frozenset(prepares),
        restores=frozenset(restores),
        links=links,
    )


def _wave(wave: PlannedWave, base: int) -> Wave:
    limit = wave.max_unavailable
    return Wave(
        name=wave.name,
        nodes=len(wave.nodes),
        rule=wave.rule,
        bake_s=wave.bake_s,
        max_unavailable=budget.resolved(parse_amount(limit), base) if limit is not None else None,
    )


def _health(body: Body) -> HealthRules:
    health = body.health
    return HealthRules(
        soak_s=health.soak_s,
        node_timeout_s=health.node_timeout_s,
        start_grace_s=health.start_grace_s,
        max_restarts=health.max_restarts,
        fail_fast=health.fail_fast,
    )


def _limits(body: Body, updates: int) -> RunLimits:
    return RunLimits(
        max_failures=budget.resolved(parse_amount(body.failure.max_failures), updates),
        on_failure=body.failure.on_failure,
        replacements_per_second=body.limits.replacements_per_second,
        max_nodes_in_flight=body.limits.max_nodes_in_flight,
        max_per_zone=body.limits.max_per_zone,
    )


def _totals(daemon_sets: Sequence[PlannedDaemonSet]) -> Totals:
    nodes = [node for ds in daemon_sets for node in ds.nodes]
    return Totals(
        nodes=len(nodes),
        update=sum(n.fate == "update" for n in nodes),
        current=sum(n.fate == "current" for n in nodes),
        deferred=sum(n.fate == "deferred" for n in nodes),
        ineligible=sum(n.fate == "ineligible" for n in nodes),
        removed=sum(n.removes_pod for n in nodes),
    )


def _warnings(loaded: LoadedSpec, daemon_sets: Sequence[PlannedDaemonSet]) -> list[str]:
    warnings = [
        f"the manifest also holds {other}, which rollout leaves alone" for other in loaded.ignored
    ]
    for ds in daemon_sets:
        warnings.extend(_budget_warning(ds))
    return warnings


def _budget_warning(ds: PlannedDaemonSet) -> list[str]:
    """Say so when nodes that are broken already use up the budget, and name the way out."""
    broken = [
        n.name
        for n in ds.nodes
        if not n.available and n.fate in ("update", "current") and n.pod is not None
    ]
    healthy = any(n.fate == "update" and n.available for n in ds.nodes)
    if len(broken) < ds.max_unavailable.value or not healthy:
        return []
    return [
        (
            f"DaemonSet {ds.name}: the budget (maxUnavailable {ds.max_unavailable.text}) is "
            f"already used up by {cut(broken)}; healthy nodes wait until these are available "
            "again. Way out: mend them, leave them out (nodes.exclude), or raise maxUnavailable"
        )
    ]
