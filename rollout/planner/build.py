"""The planner: `(spec, fleets) -> plan`. Pure: no clock, no I/O; same input, same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rollout import __version__
from rollout.fleet import marks
from rollout.fleet.objects import JsonObject, Node, format_time
from rollout.fleet.released import ReleasedPod
from rollout.fleet.revisions import revision_hash, template_digest
from rollout.fleet.selecting import ADOPTING, Selectors
from rollout.fleet.selectors import parse_label_selector
from rollout.fleet.snapshot import Fleet
from rollout.planner import budget, gateplaces, graph, handover, nodetime, rules
from rollout.planner.accounting import planned_node, totals
from rollout.planner.advice import plan_warnings, way_back_warning
from rollout.planner.delta import difference
from rollout.planner.desired import NOT_DESIRED, Desired
from rollout.planner.diff import object_diff
from rollout.planner.fates import NodeFate, node_fates, start_time
from rollout.planner.gateadvice import gate_warnings
from rollout.planner.leftovers import find_leftovers, leftover_warnings
from rollout.planner.owners import foreign_owners
from rollout.planner.plan import (
    SCHEMA_VERSION,
    WAY_BACK,
    ClusterId,
    HandOver,
    Plan,
    PlannedDaemonSet,
    Revision,
    seal,
)
from rollout.planner.repair import Charge, repair_first
from rollout.planner.stable import stable_digest
from rollout.planner.waves import Candidate, PlannedWave, plan_waves
from rollout.quantity import cut
from rollout.spec import Body, LoadedSpec, WaveRule


@dataclass(frozen=True, slots=True)
class Subject:
    """One DaemonSet to plan for: what it is now, and what it shall be."""

    fleet: Fleet
    desired: Desired
    selecting: Selectors = field(default_factory=Selectors)  # Services, controllers and others
    released: tuple[ReleasedPod, ...] = ()  # that an earlier run has left behind
    unfinished: frozenset[str] = frozenset()  # nodes under way, which this plan brings to their end
    led_from: str = ""  # digest of the template that an unfinished run to the live one came from
    kept: frozenset[str] = frozenset()  # digests of templates that only an earlier run still holds


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
    loaded: LoadedSpec,
    subjects: Sequence[Subject],
    server_version: str,
    now: float,
    own_node: str = "",
    author: str = "",
    valid_for_s: float | None = None,
) -> Plan:
    """Make the plan.

    Args:
        loaded: the spec.
        subjects: the spec's DaemonSets, in its order.
        server_version: what the server calls itself.
        now: when the fleets were read, seconds since the epoch.
        own_node: the node that we run on ourselves; "" when we run outside of the cluster.
        author: who plans.
        valid_for_s: how long a run of it may begin, in seconds; None: for ever.

    Raises:
        DocumentError: when the spec does not fit the cluster.
    """
    body = loaded.spec.spec
    parts = {
        item.name: _Part(
            index,
            subject,
            tuple(
                node_fates(
                    subject.fleet, subject.desired.template, body.nodes, now, subject.unfinished
                )
            ),
        )
        for index, (item, subject) in enumerate(zip(body.daemon_sets, subjects, strict=True))
    }
    _check_selection(loaded, parts)
    links = _links(loaded)
    groups = graph.order_daemon_sets(list(parts), links)
    waves = [_waves(body, [parts[name] for name in group], own_node) for group in groups]
    wave_of = _wave_numbers(groups, waves)
    daemon_sets = tuple(_daemon_set(loaded, part, wave_of[name]) for name, part in parts.items())
    nodetime.check(loaded, daemon_sets)
    planned = {ds.name: ds for ds in daemon_sets}
    gates = gateplaces.resolve(body, _typical_step(parts, body))
    made = [wave for group in waves for wave in group]
    asked = gateplaces.places(gates, made, _nodes_by_name(parts))
    steps = graph.build_steps(_graph_input(groups, waves, parts, planned, links, asked))
    base = max((part.base for part in parts.values()), default=0)
    plan = Plan(
        api_version="rollout/v1",
        kind="Plan",
        schema_version=SCHEMA_VERSION,
        id="",
        digest="",
        created_at=format_time(now),
        author=author,
        tool_version=__version__,
        name=loaded.spec.metadata.name,
        namespace=subjects[0].fleet.daemon_set.metadata.namespace,
        cluster=ClusterId(uid=subjects[0].fleet.cluster_uid, version=server_version),
        daemon_sets=daemon_sets,
        waves=tuple(rules.wave(wave, base, body) for wave in made),
        steps=steps,
        gates=gates,
        notify=body.notify,
        health=rules.health(body),
        rules=body.nodes,
        failure=rules.failure(body, sum(len(part.updates) for part in parts.values())),
        limits=rules.limits(body),
        totals=totals(daemon_sets),
        warnings=(
            *plan_warnings(loaded, daemon_sets, _nodes_by_name(parts)),
            *nodetime.warnings(loaded, [subject.fleet for subject in subjects]),
            *_counting_warnings(subjects, daemon_sets),
            *_way_back_warnings(subjects, daemon_sets),
            *_leftover_warnings(subjects, now),
            *gate_warnings(gates, made, _nodes_by_name(parts), daemon_sets, author),
        ),
        valid_for_s=valid_for_s,
    )
    graph.check_steps(steps)
    return seal(plan)


def _leftover_warnings(subjects: Sequence[Subject], now: float) -> list[str]:
    found = [find_leftovers(subject.fleet, subject.released, now) for subject in subjects]
    return [warning for left in found for warning in leftover_warnings(left)]


def _way_back_warnings(
    subjects: Sequence[Subject], daemon_sets: Sequence[PlannedDaemonSet]
) -> list[str]:
    return [
        warning
        for subject, ds in zip(subjects, daemon_sets, strict=True)
        for warning in way_back_warning(ds, subject.led_from)
    ]


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
    labels = {name: node.metadata.labels for name, node in nodes.items()}
    _check_selector(loaded, ("nodes", "selector"), rules.selector, labels)
    _check_waves(loaded, labels)


def _check_waves(loaded: LoadedSpec, labels: Mapping[str, Mapping[str, str]]) -> None:
    waves = loaded.spec.spec.waves
    for index, rule in enumerate(waves if isinstance(waves, tuple) else ()):
        if not isinstance(rule, WaveRule):
            continue
        for position, name in enumerate(rule.nodes):
            if name not in labels:
                raise loaded.error(
                    ("waves", index, "nodes", position),
                    f"the cluster has no node '{name}'; check the name",
                )
        _check_selector(loaded, ("waves", index, "selector"), rule.selector, labels)


def _check_selector(
    loaded: LoadedSpec,
    path: tuple[str | int, ...],
    text: str,
    labels: Mapping[str, Mapping[str, str]],
) -> None:
    selector = parse_label_selector(text)
    if not any(selector.matches(item) for item in labels.values()):
        raise loaded.error(path, f"'{text}' matches no node; see 'kubectl get nodes -L KEY'")


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


def _waves(body: Body, parts: Sequence[_Part], own_node: str) -> list[PlannedWave]:
    """Divide the nodes that a group of DaemonSets updates into waves that can follow each other."""
    return repair_first(
        plan_waves(body, _candidates(parts, own_node)), [_charge(body, part) for part in parts]
    )


def _charge(body: Body, part: _Part) -> Charge:
    limits = budget.update_limits(body.daemon_sets[part.index], part.subject.fleet, part.base)
    down = {f.node.metadata.name for f in part.fates if f.in_budget and not f.available}
    return Charge(
        updates=part.updates,
        broken=part.updates & down,
        others=len(down - part.updates),
        budget=max(limits.max_surge.value, limits.max_unavailable.value),
        base=part.base,
    )


def _candidates(parts: Sequence[_Part], own_node: str) -> list[Candidate]:
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
                predicted_s=start_time(pod) + (known.predicted_s if known else 0.0),
                own=fate.node.metadata.name == own_node,
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
    limits = budget.update_limits(item, fleet, part.base)
    changes = _template_changes(live.spec.template, desired.template)
    led_from, kept = part.subject.led_from, part.subject.kept
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
        current=_revision(fleet, template_digest(live.spec.template)),
        target=_revision(fleet, template_digest(desired.template)),
        stable=_revision(fleet, stable_digest(fleet, desired.template, led_from, kept)),
        target_kind=desired.kind,
        template_changes=tuple(changes),
        fields=desired.fields,
        labels=desired.labels,
        annotations=desired.annotations,
        desired=part.base,
        max_unavailable=limits.max_unavailable,
        max_surge=limits.max_surge,
        hand_over=_hand_over(loaded, part, limits),
        after=item.after,
        managers=foreign_owners(fleet.raw, _changed_fields(fleet, desired, changes)),
        diff=_diff(fleet, desired),
        nodes=tuple(
            planned_node(
                fleet,
                fate,
                wave_of.get(fate.node.metadata.name) if fate.fate == "update" else None,
            )
            for fate in part.fates
        ),
    )


def _template_changes(live: JsonObject, target: JsonObject) -> list[JsonObject]:
    if template_digest(live) == template_digest(target):
        return []
    return difference(live, target)


def _hand_over(loaded: LoadedSpec, part: _Part, limits: budget.Limits) -> HandOver | None:
    """Choose the label to release, or refuse surge where it cannot work.

    On the way back nothing is refused (S10): where it cannot work any more, pods are deleted.
    """
    if not limits.max_surge.value or not part.updates:
        return None
    live, desired = part.subject.fleet.daemon_set, part.subject.desired
    release = _release(part.subject)
    why = handover.refusal(desired.template) or handover.refusal(live.spec.template)
    if not why and release is None:
        why = "its selector leaves no label to change"
    if not why and release is not None and release.adopters:
        why = (
            f"{cut(release.adopters)} would take over an old pod without the label {release.label}"
        )
    if release is not None and not why:
        return HandOver(label=release.label, value=release.value, affected=release.affected)
    if desired.kind == WAY_BACK:
        return None
    raise loaded.error(
        ("daemonSets", part.index, "strategy"),
        f"maxSurge {limits.max_surge.text}: DaemonSet {live.metadata.name} cannot surge: {why}; "
        "write 'strategy: {maxUnavailable: 1, maxSurge: 0}' for it",
    )


def _release(subject: Subject) -> handover.Release | None:
    live = subject.fleet.daemon_set
    labels = (live.spec.template.get("metadata") or {}).get("labels") or {}
    return handover.choose_release(live.spec.selector, labels, subject.selecting.found)


def _counting_warnings(
    subjects: Sequence[Subject], daemon_sets: Sequence[PlannedDaemonSet]
) -> list[str]:
    """Name who may take up old pods while these are released, and what of that is not known."""
    found: list[str] = []
    for subject, ds in zip(subjects, daemon_sets, strict=True):
        release = _release(subject)
        if ds.hand_over is None or release is None:
            continue
        found += [
            f"DaemonSet {ds.name}: old pods without the label {release.label} are selected by "
            f"{other}, which takes over those that bear its name and a number"
            for other in release.counting
        ]
        unseen = [f"{kind}s" for kind in subject.selecting.unseen if kind in ADOPTING]
        if unseen:
            where = subject.fleet.daemon_set.metadata.namespace
            found.append(
                f"DaemonSet {ds.name}: {' and '.join(unseen)} of namespace {where} may not be "
                f"listed: one whose selector matches old pods without the label {release.label} "
                "would take them over, and might end them; 'kubectl get "
                f"{','.join(unseen).lower()} -n {where} -o wide' by somebody who may shows their "
                "selectors"
            )
    return found


def _changed_fields(fleet: Fleet, desired: Desired, changes: Sequence[JsonObject]) -> list[str]:
    """Return the paths in the object that the run and its end will write."""
    paths = [f"/spec/template{change['path']}" for change in changes]
    paths += [f"/spec/{name}" for name in desired.fields]
    if desired.strategy != fleet.owner_strategy:
        paths.append("/spec/updateStrategy/type")
    return paths


def _revision(fleet: Fleet, digest: str) -> Revision:
    for revision in reversed(fleet.revisions):
        if template_digest(revision.template) == digest:
            return Revision(digest, revision.revision, revision_hash(revision))
    return Revision(digest)


def _diff(fleet: Fleet, desired: Desired) -> tuple[str, ...]:
    """Return what changes in the whole object, as `kubectl diff` shows it."""
    metadata = fleet.raw["metadata"]
    labels = metadata.get("labels") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key not in NOT_DESIRED
    }
    spec = {**fleet.raw["spec"], "updateStrategy": fleet.owner_strategy}
    names = {"name": metadata["name"], "namespace": metadata["namespace"]}
    return object_diff(
        {"metadata": {**names, "labels": labels, "annotations": annotations}, "spec": spec},
        {
            "metadata": {
                **names,
                "labels": {**labels, **desired.labels},
                "annotations": {**annotations, **desired.annotations},
            },
            "spec": {
                **spec,
                **desired.fields,
                "template": desired.template,
                "updateStrategy": desired.strategy,
            },
        },
    )


def _graph_input(
    groups: Sequence[Sequence[str]],
    waves: Sequence[Sequence[PlannedWave]],
    parts: Mapping[str, _Part],
    planned: Mapping[str, PlannedDaemonSet],
    links: Sequence[graph.Link],
    gates: Sequence[graph.GatePlace],
) -> graph.GraphInput:
    """Say which DaemonSets are patched before (`prepare`) and after (`restore`) their nodes."""
    prepares, restores = set(), set()
    for name, ds in planned.items():
        flips = bool(parts[name].updates) and not ds.owner_on_delete
        if ds.changes_template or flips:
            prepares.add(name)
        # An earlier run may have left OnDelete behind, or its marks beside the right strategy.
        live = parts[name].subject.fleet.daemon_set.metadata
        marked = any(mark in live.annotations for mark in marks.ALL)
        settings = ds.changes_settings or ds.live_strategy != ds.final_strategy or marked
        if flips or settings or (ds.changes_template and not ds.owner_on_delete):
            restores.add(name)
    return graph.GraphInput(
        groups=groups,
        waves=[[wave.nodes for wave in group] for group in waves],
        updates={name: part.updates for name, part in parts.items()},
        prepares=frozenset(prepares),
        restores=frozenset(restores),
        links=links,
        approvals=_approvals([wave for group in waves for wave in group]),
        gates=gates,
    )


def _approvals(waves: Sequence[PlannedWave]) -> frozenset[int]:
    """Return the waves that end with an approval; behind the last one there is nothing to stop."""
    return frozenset(n for n, wave in enumerate(waves[:-1], start=1) if wave.pause == "approval")


def _nodes_by_name(parts: Mapping[str, _Part]) -> dict[str, Node]:
    return {
        name: node for part in parts.values() for name, node in part.subject.fleet.nodes.items()
    }


def _typical_step(parts: Mapping[str, _Part], body: Body) -> float:
    """Return how long a node usually takes: the median start of its pods, and the soak."""
    known = [start_time(f.pod) for p in parts.values() for f in p.fates if f.fate == "update"]
    starts = sorted(seconds for seconds in known if seconds > 0)
    return round((starts[len(starts) // 2] if starts else 0.0) + body.health.soak_s)
