"""The rest of a rollback as kubectl commands, for when the tool itself can't go on. Pure.

In this order they lead to the same end: the old template (under OnDelete, so that nothing moves),
released pods get their label back (the controller adopts them and ends their successors), the other
touched pods are deleted, and last the strategy is as it was before the run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Container, Iterable
from contextlib import suppress

from rollout.errors import StaleError
from rollout.executor.notback import Place
from rollout.executor.patches import target_template
from rollout.executor.state import DaemonSetRun
from rollout.fleet import marks
from rollout.fleet.objects import JsonObject, Pod
from rollout.fleet.revisions import template_digest


def commands_by_hand(sets: Iterable[DaemonSetRun], left: Iterable[Place]) -> list[str]:
    """Return what is left to do.

    Args:
        sets: as the run saw them last; their plan is that of the way back.
        left: where something is not back yet.
    """
    nodes: dict[str, set[str]] = {}
    for name, node in left:
        nodes.setdefault(name, set()).add(node)
    return [
        command
        for ds in sets
        for command in (*_template(ds), *_pods(ds, nodes.get(ds.name, ())), *_strategy(ds))
    ]


def _template(ds: DaemonSetRun) -> list[str]:
    target, live = ds.planned.target, ds.live
    if live is None or template_digest(live.spec.template) == target.template_digest:
        return []
    if target.revision is not None:
        name = f"daemonset/{ds.name} -n {ds.planned.namespace}"
        return [f"kubectl rollout undo {name} --to-revision={target.revision}"]
    with suppress(StaleError):  # the controller has forgotten it, and somebody edited the live one
        template = target_template(ds.planned, live)
        patch = [{"op": "replace", "path": "/spec/template", "value": template}]
        name = f"daemonset {ds.name} -n {ds.planned.namespace}"
        return [f"kubectl patch {name} --type json -p {shlex.quote(json.dumps(patch))}"]
    return []


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
