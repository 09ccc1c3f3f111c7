"""The rest of a rollback as kubectl commands, for when the tool itself can't go on. Pure.

In this order they lead to the same end: the old template (under OnDelete, so that nothing moves),
released pods get their label back (the controller adopts them and ends their successors), the other
touched pods are deleted, and last the strategy is as it was before the run. Commands get into
records and journals: none holds a value of the template, which may be a secret.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Iterable

from rollout.executor.engine.state import DaemonSetRun
from rollout.executor.notback import Place
from rollout.executor.record.planstore import patch_by_hand
from rollout.fleet import marks
from rollout.fleet.objects import JsonObject, Pod
from rollout.fleet.revisions import template_digest
from rollout.planner.plan import Plan

_PIPE = " | "


def commands_by_hand(plan: Plan, sets: Iterable[DaemonSetRun], left: Iterable[Place]) -> list[str]:
    """Return what is left to do.

    Args:
        plan: of the way back.
        sets: as the run saw them last.
        left: where something is not back yet.
    """
    nodes: dict[str, set[str]] = {}
    for name, node in left:
        nodes.setdefault(name, set()).add(node)
    return [
        command
        for ds in sets
        for command in (*_template(plan, ds), *_pods(ds, nodes.get(ds.name, ())), *_strategy(ds))
    ]


def for_cluster(command: str, options: str) -> str:
    """Return a command for the cluster that options lead to, which are kubectl's as well.

    Args:
        command: of `commands_by_hand`.
        options: as a shell reads them; "" for none.
    """
    parts = command.split(_PIPE)
    return _PIPE.join(f"{p} {options}".rstrip() if p.startswith("kubectl") else p for p in parts)


def _template(plan: Plan, ds: DaemonSetRun) -> list[str]:
    target, live = ds.planned.target, ds.live
    if live is None or template_digest(live.spec.template) == target.template_digest:
        return []
    where = f"{ds.name} -n {ds.planned.namespace}"
    if target.revision is not None and live.spec.revision_history_limit:
        return [f"kubectl rollout undo daemonset/{where} --to-revision={target.revision}"]
    # The controller has forgotten it, or does so with its last pod, maybe before this is read.
    kept = patch_by_hand(plan.namespace, plan.name, target.template_digest)
    apply = f"kubectl patch daemonset {where} --type json --patch-file /dev/stdin"
    return [f"{kept}{_PIPE}{apply}"]


def _pods(ds: DaemonSetRun, nodes: Container[str]) -> list[str]:
    commands: list[str] = []
    for planned in ds.planned.nodes:
        if planned.name not in nodes:
            continue
        released = ds.view.released.get(planned.name)
        if released is not None and not released.terminating:
            commands += _taken_back(ds, released)
            continue
        commands += [
            f"kubectl delete pod {pod.metadata.name} -n {ds.planned.namespace}"
            for pod in ds.view.on(planned.name)
            if not pod.terminating and not (ds.resolved and ds.is_target(pod) and pod.ready)
        ]
    return commands


def _taken_back(ds: DaemonSetRun, pod: Pod) -> list[str]:
    """Give a released pod its label back."""
    wanted = ds.live.spec.selector.match_labels if ds.live is not None else {}
    lost = [f"{k}={v}" for k, v in wanted.items() if pod.metadata.labels.get(k) != v]
    where = f"pod {pod.metadata.name} -n {ds.planned.namespace}"
    return [
        f"kubectl label {where} --overwrite {shlex.join(lost)} {marks.RELEASED_FROM}-",
        f"kubectl annotate {where} {marks.RELEASED_LABEL}-",
    ]


def _strategy(ds: DaemonSetRun) -> list[str]:
    live, final = ds.live, ds.planned.final_strategy
    if live is None or ds.planned.owner_on_delete:
        return []
    ours = [mark for mark in marks.ALL if mark in live.metadata.annotations]
    if live.spec.update_strategy == final and not ours:
        return []
    strategy = {"rollingUpdate": None, **final} if final.get("type") == "OnDelete" else final
    patch: JsonObject = {
        "metadata": {"annotations": dict.fromkeys(ours)},
        "spec": {"updateStrategy": strategy},
    }
    name = f"daemonset {ds.name} -n {ds.planned.namespace}"
    return [f"kubectl patch {name} --type merge -p {shlex.quote(json.dumps(patch))}"]
