"""The two patches of a run, and the proof that the first one leads to the planned template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollout.errors import StaleError
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, JsonObject, Pod
from rollout.fleet.revisions import template_digest
from rollout.planner.delta import apply_difference
from rollout.planner.plan import Plan, PlannedDaemonSet


def target_template(planned: PlannedDaemonSet, live: DaemonSet) -> JsonObject:
    """Return the planned template, built on the live one.

    Raises:
        StaleError: when the live template is not the one that the plan saw.
    """
    try:
        template = apply_difference(live.spec.template, planned.template_changes)
    except ValueError:
        template = {}
    if template_digest(template) != planned.target.template_digest:
        raise StaleError(
            f"the template of DaemonSet {planned.key} is not the one that the plan was made for; "
            "make a new plan with 'rollout plan'"
        )
    return template


def prepare_patch(
    plan: Plan, planned: PlannedDaemonSet, live: DaemonSet, run_id: str
) -> JsonObject:
    """Return the strategic merge patch that sets OnDelete and the target template at once.

    Source: behaviour.md 8.1. Where the owner chose OnDelete, nothing but the template is set.

    Raises:
        StaleError: see `target_template`.
    """
    annotations: dict[str, str | None] = dict(planned.annotations)
    spec: dict[str, Any] = dict(planned.fields)
    if planned.changes_template:
        spec["template"] = {**target_template(planned, live), "$patch": "replace"}
    if not planned.owner_on_delete:
        annotations[marks.PLAN] = plan.digest
        annotations[marks.RUN] = run_id
        annotations[marks.ROLLOUT] = f"{plan.namespace}/{plan.name}"
        stored = msgspec.json.encode(planned.original_strategy).decode()
        annotations[marks.ORIGINAL_STRATEGY] = stored
        spec["updateStrategy"] = {"type": "OnDelete", "rollingUpdate": None}
    return _patch(planned, live, annotations, spec)


def restore_patch(planned: PlannedDaemonSet, live: DaemonSet) -> JsonObject:
    """Return the patch that sets the final strategy exactly and takes our annotations away."""
    annotations: dict[str, str | None] = dict(planned.annotations)
    annotations.update(dict.fromkeys(marks.ALL))
    spec = {**planned.fields, "updateStrategy": {**planned.final_strategy, "$patch": "replace"}}
    return _patch(planned, live, annotations, spec)


def reassert_patch(live: DaemonSet) -> JsonObject:
    """Return the patch that sets OnDelete again, and nothing else."""
    metadata = {"uid": live.metadata.uid, "resourceVersion": live.metadata.resource_version}
    strategy = {"type": "OnDelete", "rollingUpdate": None}
    return {"metadata": metadata, "spec": {"updateStrategy": strategy}}


def release_patch(planned: PlannedDaemonSet, uid: str, run_id: str) -> JsonObject:
    """Return the merge patch that hands an old pod over: it loses the label, we can find it.

    It carries the UID of its DaemonSet and the run, for whoever finds it later.

    Source: behaviour.md 8.3.
    """
    assert planned.hand_over is not None
    given = planned.hand_over
    return {
        "metadata": {
            "uid": uid,
            "labels": {
                given.label: None,
                marks.RELEASED_FROM: planned.uid,
                marks.RUN: run_id,
            },
            "annotations": {marks.RELEASED_LABEL: f"{given.label}={given.value}"},
        }
    }


def take_back_patch(live: DaemonSet, pod: Pod) -> JsonObject:
    """Return the merge patch after which the selector matches a released pod again.

    The controller then adopts it, and being the older one it stays (behaviour.md 8.3).
    """
    selector, has = live.spec.selector, pod.metadata.labels
    labels: dict[str, str | None] = {
        key: value for key, value in selector.match_labels.items() if has.get(key) != value
    }
    given = (live.spec.template.get("metadata") or {}).get("labels") or {}
    for expression in selector.match_expressions:
        key = str(expression["key"])
        if key not in has and key in given and key not in selector.match_labels:
            labels[key] = str(given[key])
    return give_back_patch(pod.metadata.uid, labels)


def give_back_patch(uid: str, labels: Mapping[str, str | None]) -> JsonObject:
    """Return the merge patch that gives a released pod labels back and takes our marks away."""
    return {
        "metadata": {
            "uid": uid,
            "labels": {**labels, marks.RELEASED_FROM: None, marks.RUN: None},
            "annotations": {marks.RELEASED_LABEL: None},
        }
    }


def clean_patch(live: DaemonSet, strategy: JsonObject | None) -> JsonObject:
    """Return the patch that takes the marks of a run away, and sets a strategy exactly.

    Args:
        live: the DaemonSet, in the state that the patch is bound to.
        strategy: the block to set; None leaves it as it is.
    """
    body: JsonObject = {
        "metadata": {
            "uid": live.metadata.uid,
            "resourceVersion": live.metadata.resource_version,
            "annotations": dict.fromkeys(marks.ALL),
        }
    }
    if strategy is not None:
        body["spec"] = {"updateStrategy": {**strategy, "$patch": "replace"}}
    return body


def _patch(
    planned: PlannedDaemonSet,
    live: DaemonSet,
    annotations: dict[str, str | None],
    spec: dict[str, Any],
) -> JsonObject:
    """Bind the patch to the very object and state that it was made for."""
    metadata: JsonObject = {
        "uid": planned.uid,
        "resourceVersion": live.metadata.resource_version,
    }
    if annotations:
        metadata["annotations"] = annotations
    if planned.labels:
        metadata["labels"] = planned.labels
    return {"metadata": metadata, "spec": spec}
