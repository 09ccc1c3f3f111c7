"""Small worlds for planner tests: a fleet, a spec and the plan of the two, in one line each.

A world has one DaemonSet `agent` on revision 1 (`h1`) with an available pod on every node, unless
a test says otherwise. Time stands still at `NOW`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.fleet.objects import ControllerRevision, DaemonSet, Node, Pod, format_time, parse_time
from rollout.fleet.snapshot import Fleet, build_fleet
from rollout.planner.build import Subject, build_plan
from rollout.planner.desired import desired_state
from rollout.planner.plan import Plan, PlannedDaemonSet, PlannedNode
from rollout.spec import Body, LoadedSpec, Spec
from rollout.yamlsource import read_document

NOW = parse_time("2026-03-01T12:00:00Z")
ZONE = "topology.kubernetes.io/zone"
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}
ON_DELETE = {"type": "OnDelete"}
NEW_IMAGE = {"set": {"image": {"agent": "agent:2"}}}


def at(seconds: float) -> str:
    """Return the time stamp that many seconds after `NOW`."""
    return format_time(NOW + seconds)


def make_template(name: str = "agent", image: str = "agent:1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": name, "tier": "node"}},
        "spec": {"containers": [{"name": name, "image": image}]} | spec,
    }


def make_node(
    name: str,
    zone: str = "",
    *,
    labels: dict[str, str] | None = None,
    ready: bool = True,
    cordoned: bool = False,
    taints: Sequence[tuple[str, str]] = (),
) -> Node:
    raw = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": (labels or {}) | ({ZONE: zone} if zone else {}),
        },
        "spec": {
            "unschedulable": cordoned,
            "taints": [{"key": key, "effect": effect} for key, effect in taints],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
    }
    return msgspec.convert(raw, Node)


def make_pod(
    node: str,
    owner: str = "agent",
    *,
    hash_: str = "h1",
    generation: str = "1",
    ready: bool = True,
    ready_since: float = -3600.0,
    created: float = -7200.0,
    deleted: float | None = None,
    phase: str = "Running",
    restarts: int = 0,
    name: str = "",
) -> Pod:
    name = name or f"{owner}-{node}"
    raw = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "logging",
            "creationTimestamp": at(created),
            "deletionTimestamp": None if deleted is None else at(deleted),
            "labels": {"controller-revision-hash": hash_, "pod-template-generation": generation},
            "ownerReferences": [
                {"kind": "DaemonSet", "name": owner, "uid": f"uid-{owner}", "controller": True}
            ],
        },
        "spec": {"nodeName": node},
        "status": {
            "phase": phase,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": at(ready_since),
                }
            ],
            "containerStatuses": [{"name": owner, "ready": ready, "restartCount": restarts}],
        },
    }
    return msgspec.convert(raw, Pod)


def make_revision(
    number: int, template: dict[str, Any], owner: str = "agent", hash_: str = ""
) -> ControllerRevision:
    hash_ = hash_ or f"h{number}"
    raw = {
        "metadata": {
            "name": f"{owner}-{hash_}",
            "labels": {"controller-revision-hash": hash_},
            "ownerReferences": [
                {"kind": "DaemonSet", "name": owner, "uid": f"uid-{owner}", "controller": True}
            ],
        },
        "revision": number,
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }
    return msgspec.convert(raw, ControllerRevision)


def make_fleet(
    nodes: Iterable[Node] | int = 5,
    pods: Iterable[Pod] | None = None,
    *,
    name: str = "agent",
    template: dict[str, Any] | None = None,
    revisions: Sequence[ControllerRevision] | None = None,
    strategy: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    generation: int = 1,
    template_generation: str = "1",
    spec: dict[str, Any] | None = None,
    uid: str = "",
) -> Fleet:
    """Return a fleet; a number means nodes n1, n2, ...; without pods each node has one."""
    if isinstance(nodes, int):
        nodes = [make_node(f"n{i}") for i in range(1, nodes + 1)]
    nodes = list(nodes)
    live = template or make_template(name)
    raw = {
        "metadata": {
            "name": name,
            "namespace": "logging",
            "uid": uid or f"uid-{name}",
            "generation": generation,
            "annotations": {"deprecated.daemonset.template.generation": template_generation}
            | (annotations or {}),
        },
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": live,
            "updateStrategy": strategy or ROLLING,
        }
        | (spec or {}),
    }
    return build_fleet(
        "uid-cluster",
        msgspec.convert(raw, DaemonSet),
        raw,
        [make_revision(1, live, name)] if revisions is None else revisions,
        nodes,
        [make_pod(n.metadata.name, name) for n in nodes] if pods is None else pods,
    )


def make_item(name: str = "agent", target: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "target": target or NEW_IMAGE} | more


def make_spec(
    *items: dict[str, Any], manifests: dict[str, Any] | None = None, **body: Any
) -> LoadedSpec:
    """Return a loaded spec; each key of the body stands on a line of its own."""
    document = {
        "apiVersion": "rollout/v1",
        "kind": "Rollout",
        "metadata": {"name": "r", "namespace": "logging"},
        "spec": {"daemonSets": list(items) or [make_item()]} | body,
    }
    source = read_document(None, json.dumps(document, indent=1))
    return LoadedSpec(source.convert(Spec), source, manifests or {}, ())


def make_body(**body: Any) -> Body:
    return make_spec(**body).spec.spec


def plan_of(
    fleets: Fleet | Sequence[Fleet] | None = None,
    spec: LoadedSpec | None = None,
    now: float = NOW,
    **more: Any,
) -> Plan:
    """Return the plan of the spec (default: a new image) for the fleets (default: five nodes)."""
    spec = spec or make_spec()
    fleets = [fleets or make_fleet()] if not isinstance(fleets, Sequence) else fleets
    subjects = [
        Subject(fleet, desired_state(spec, index, item, fleet, "2026-03-01T12:00:00Z"))
        for index, (item, fleet) in enumerate(zip(spec.spec.spec.daemon_sets, fleets, strict=True))
    ]
    return build_plan(spec, subjects, "v1.36.0", now, **more)


def the_daemon_set(plan: Plan) -> PlannedDaemonSet:
    (only,) = plan.daemon_sets
    return only


def nodes_by_name(plan: Plan) -> dict[str, PlannedNode]:
    return {node.name: node for node in the_daemon_set(plan).nodes}


def fates_of(plan: Plan) -> dict[str, str]:
    return {name: node.fate for name, node in nodes_by_name(plan).items()}


def waves_of(plan: Plan) -> list[list[str]]:
    """Return the nodes of each wave in the order of the plan's steps."""
    waves: list[list[str]] = [[] for _ in plan.waves]
    for step in plan.steps:
        if step.kind == "update" and step.node not in waves[step.wave - 1]:
            waves[step.wave - 1].append(step.node)
    return waves
