"""What `apply` would meet, asked without a change: drift, permissions, budgets, the way back."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Literal

from rollout.cluster.client import Client
from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes, read_selecting
from rollout.errors import Forbidden, NotFound
from rollout.executor.engine.state import DaemonSetRun
from rollout.executor.oldtemplates import old_templates
from rollout.executor.record.earlier import template_before
from rollout.executor.runs import past_runs, read_known_records
from rollout.fleet.objects import parse_time
from rollout.fleet.revisions import template_digest
from rollout.fleet.snapshot import Fleet
from rollout.gates.permissions import accesses
from rollout.notifyspec import EventsSink
from rollout.planner.advice import way_back_warning
from rollout.planner.drift import compare
from rollout.planner.plan import Plan, PlannedDaemonSet
from rollout.quantity import format_duration

_ASKERS = 8  # questions under way at once: one round trip is most of what a question costs


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    kind: Literal["cluster", "expiry", "signature", "drift", "permission", "budget", "way back"]
    what: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """One thing that `apply` does."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        full = f"{resource}.{self.group}" if self.group else resource
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {full}{where}"


def run_checks(client: Client, plan: Plan, goes_on: Literal["", "on", "back"] = "") -> list[Check]:
    """Return every check with its verdict; nothing is written.

    Args:
        client: of the cluster.
        plan: the plan.
        goes_on: `apply` would go on with a run of this very plan, or take it further back; "": it
            would begin one.

    Raises:
        ClusterError: when the cluster cannot be reached.
    """
    wanted = needed_permissions(plan)
    checks = [_permission(*asked) for asked in zip(wanted, _allowed(client, wanted), strict=True)]
    try:
        cluster_uid = read_cluster_uid(client)
        if cluster_uid != plan.cluster.uid:
            detail = f"the plan is for {plan.cluster.uid}, this is {cluster_uid}"
            return [Check("cluster", "same cluster", "failed", detail), *checks]
        expiry = [] if goes_on else _expiry(client, plan)  # one that was begun in time goes on
        checks[:0] = [Check("cluster", "same cluster", "ok"), *expiry]
        nodes = read_nodes(client)
        fleets = {}
        for ds in plan.daemon_sets:
            fleets[ds.name] = read_fleet(
                client, ds.namespace, ds.name, cluster_uid=cluster_uid, nodes=nodes
            )
    except NotFound as error:
        return [*checks, Check("drift", "DaemonSet exists", "failed", str(error))]
    except Forbidden as error:
        return [*checks, Check("permission", "read the fleet", "failed", str(error))]
    match goes_on:
        case "on":
            checks += _drift_in_mid_run(plan, fleets)
        case "back":
            checks.append(Check("drift", "a run of this plan is on its way back", "ok"))
        case _:
            checks += _drift(plan, fleets, client.server_time())
    for ds in plan.daemon_sets:
        checks += _budgets(client, ds, fleets[ds.name])
    return checks + _ways_back(client, plan, fleets)


def require_permissions(client: Client, plan: Plan) -> None:
    """Ask for everything that `apply` does before it does the first of it.

    Args:
        client: of the cluster.
        plan: the plan.

    Raises:
        Forbidden: names every permission that is missing; nothing was written.
        ClusterError: when the cluster cannot be asked.
    """
    wanted = needed_permissions(plan)
    answers = _allowed(client, wanted)
    missing = [item for item, allowed in zip(wanted, answers, strict=True) if not allowed]
    if missing:
        raise Forbidden(
            f"{client.server}: not allowed: {', '.join(map(str, missing))}; ask for these verbs in "
            "a Role, or choose another --context; nothing was changed"
        )


def needed_permissions(plan: Plan) -> list[Permission]:
    """Return all that `apply` does with this plan, each once."""
    patched = {step.daemon_set for step in plan.steps if step.kind in ("prepare", "restore")}
    found = [Permission("get", "", "namespaces", "", "kube-system")]
    found += [Permission(verb, "", "nodes", "") for verb in ("list", "watch")]
    for ds in plan.daemon_sets:
        space = ds.namespace
        pods = ["get", "list", "watch", "delete", *(["patch"] if ds.hand_over else [])]
        found += [Permission(verb, "", "pods", space) for verb in pods]
        verbs = ["get", "list", "watch", *(["patch"] if ds.name in patched else [])]
        found += [Permission(verb, "apps", "daemonsets", space) for verb in verbs]
        found += [Permission(v, "apps", "controllerrevisions", space) for v in ("list", "watch")]
        found += [
            Permission(v, "coordination.k8s.io", "leases", space)
            for v in ("get", "create", "update")
        ]
    record = plan.namespace
    found += [
        Permission(verb, "", "configmaps", record)
        for verb in ("get", "list", "watch", "create", "update")
    ]
    if any(isinstance(sink, EventsSink) for sink in plan.notify) and not plan.goes_back:
        found += [Permission("create", "", "events", ds.namespace) for ds in plan.daemon_sets]
    spaces = sorted({ds.namespace for ds in plan.daemon_sets})
    for gate in plan.gates:
        found += [Permission(**asdict(a)) for a in accesses(gate, record, spaces)]
    return list(dict.fromkeys(found))


def _permission(wanted: Permission, allowed: bool) -> Check:  # noqa: FBT001 - the server's answer
    detail = "" if allowed else "not allowed; ask for this verb in a Role"
    return Check("permission", str(wanted), "ok" if allowed else "failed", detail)


def _allowed(client: Client, wanted: Sequence[Permission]) -> list[bool]:
    """Ask for each by itself, side by side.

    A single SelfSubjectRulesReview may be incomplete, and knows nothing of authorizers that deny.
    """

    def ask(item: Permission) -> bool:
        return client.review_access(
            item.verb,
            item.group,
            item.resource,
            subresource=item.subresource,
            namespace=item.namespace,
            name=item.name,
        )

    with ThreadPoolExecutor(_ASKERS, thread_name_prefix="ask") as askers:
        return list(askers.map(ask, wanted))


def _expiry(client: Client, plan: Plan) -> list[Check]:
    if plan.valid_for_s is None:
        return []
    left_s = parse_time(plan.expires_at) - client.told_time()
    said = f"in {format_duration(left_s)}" if left_s > 0 else f"{format_duration(-left_s)} ago"
    verdict: Literal["ok", "failed"] = "ok" if left_s > 0 else "failed"
    return [Check("expiry", "a run may begin", verdict, f"until {plan.expires_at}, {said}")]


def _drift(plan: Plan, fleets: dict[str, Fleet], now: float) -> list[Check]:
    drift = compare(plan, fleets, now)
    checks = [
        Check("drift", change.what, "failed", f"{change.old} -> {change.new}")
        for change in (*drift.hard, *drift.soft)
    ]
    return checks or [Check("drift", "the cluster is as the plan saw it", "ok")]


def _drift_in_mid_run(plan: Plan, fleets: dict[str, Fleet]) -> list[Check]:
    """Judge by what the run itself has changed, as it does when it goes on."""
    checks = []
    for planned in plan.daemon_sets:
        ds = DaemonSetRun(planned, plan.digest, lambda _when, _node: None)
        seen = fleets[planned.name].daemon_set
        why = "" if ds.is_restored(seen) else ds.drift(seen)
        if why:
            checks.append(Check("drift", f"DaemonSet {planned.key}", "failed", why))
    return checks or [Check("drift", "the cluster is as a run of this plan has left it", "ok")]


def _budgets(client: Client, ds: PlannedDaemonSet, fleet: Fleet) -> list[Check]:
    """Name the PodDisruptionBudgets that count the pods (behaviour.md 8.1)."""
    labels = (fleet.daemon_set.spec.template.get("metadata") or {}).get("labels") or {}
    return [
        Check(
            "budget",
            f"{other.kind} {ds.namespace}/{other.name}",
            "warning",
            f"selects the pods of {ds.name}: pods are deleted, not evicted, so it is not asked; "
            "while they are replaced it counts them as down",
        )
        for other in read_selecting(client, ds.namespace).found
        if other.kind == "PodDisruptionBudget" and other.selects(labels)
    ]


def _ways_back(client: Client, plan: Plan, fleets: dict[str, Fleet]) -> list[Check]:
    """Whether what a rollback leads to is held by anything (faults.md 33), in the plan's words."""
    held = old_templates(client, plan)
    runs = past_runs(read_known_records(client, plan.namespace))
    checks = []
    for ds in plan.daemon_sets:
        what, digest = f"DaemonSet {ds.key} can go back", ds.stable.template_digest
        live = template_digest(fleets[ds.name].daemon_set.spec.template)
        warned = way_back_warning(ds, template_before(ds.uid, live, runs))
        if warned and (digest in held or digest == ds.target.template_digest):
            checks += [Check("way back", what, "warning", sentence) for sentence in warned]
        elif digest in held:
            checks.append(Check("way back", what, "ok", f"to {held[digest].holder}"))
        else:
            detail = f"nothing holds the template that a rollback leads to (digest {digest})"
            checks.append(Check("way back", what, "failed", detail))
    return checks
