"""The gate `job`: a Kubernetes Job on the updated node; it passes when the Job completes.

The Job's name follows from run, gate and node, so that a measurement which is repeated after a
crash finds the Job and makes no second one. A Job from before the change says nothing and is
replaced. Nobody owns it: it is removed by the gate's rule, and, if nobody is left to do so, by its
own ttlSecondsAfterFinished.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from rollout.cluster.paths import resource_path
from rollout.errors import Conflict, NotFound
from rollout.fleet.marks import MANAGED_BY
from rollout.fleet.objects import Condition, JsonObject, Meta, Pod, parse_time
from rollout.gates.context import Context
from rollout.gates.measurement import Measurement, Outcome, plain
from rollout.gatespec import JobGate
from rollout.quantity import parse_duration

SHOWN_MESSAGE = 120  # characters of a container's termination message
LOOK_AGAIN_S = 2.0  # a Job that runs is looked at so often
LEFT_BEHIND_S = 600  # after its end a Job that is to be kept never, and whose run died, goes
IMAGE_TROUBLE = frozenset(
    {"ErrImageNeverPull", "ErrImagePull", "ImageInspectError", "ImagePullBackOff"}
    | {"InvalidImageName"}
)
GATE = "rollout/gate"  # annotation: the gate's id
RUN = "rollout/run"  # label: the run's id, by which what was left behind is found
NODE = "rollout/node"  # annotation


class JobStatus(msgspec.Struct, frozen=True):
    """`status` of a Job."""

    conditions: tuple[Condition, ...] = ()


class Job(msgspec.Struct, frozen=True):
    """The fields of a Job that are looked at."""

    metadata: Meta
    status: JobStatus = JobStatus()

    def ended(self, how: str) -> Condition | None:
        """Return the condition `Complete` or `Failed` when the Job has ended so."""
        return next(
            (c for c in self.status.conditions if c.type == how and c.status == "True"), None
        )


def measure(gate: JobGate, context: Context) -> Measurement:
    """Create the Job, or look at it; waits while it runs."""
    path = _path(context)
    job = context.client.get_or_none(f"{path}/{job_name(context)}", Job)
    if job is not None and job.metadata.deletion_timestamp is not None:
        return _wait(context, f"the Job {job.metadata.name} of before is going")
    if job is not None and parse_time(job.metadata.creation_timestamp or "") < int(context.since):
        _delete(context, job)
        return _wait(context, f"the Job {job.metadata.name} is older than the change and goes")
    if job is None:
        return _create(gate, context)
    return _judge(gate, context, job)


def job_name(context: Context) -> str:
    """Return the name of the Job of a run, gate and node: the same in every repetition."""
    node = context.node.metadata.name if context.node is not None else ""
    text = f"{context.run}\0{context.plan}\0{context.digest}\0{context.gate}\0{node}"
    return f"rollout-gate-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def job_body(gate: JobGate, context: Context) -> JsonObject:
    """Return the Job: the spec's own, with what pins, marks and bounds it."""
    spec: dict[str, Any] = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": max(1, int(parse_duration(gate.time_limit))),
        **({"ttlSecondsAfterFinished": LEFT_BEHIND_S} if gate.keep == "never" else {}),
        **gate.job,
    }
    labels = {**MANAGED_BY, RUN: context.run or "none"}
    template = {**gate.job["template"]}
    meta = {**(template.get("metadata") or {})}
    meta["labels"] = {**(meta.get("labels") or {}), **labels}
    template["metadata"] = meta
    template["spec"] = _pinned(template["spec"], context)
    spec["template"] = template
    node = context.node.metadata.name if context.node is not None else ""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(context),
            "namespace": context.namespace,
            "labels": labels,
            "annotations": {GATE: context.gate, **({NODE: node} if node else {})},
        },
        "spec": spec,
    }


def _pinned(pod: JsonObject, context: Context) -> JsonObject:
    """Return the pod spec bound to the node by affinity, whatever the node's taints say."""
    spec = {"restartPolicy": "Never", **pod}
    if context.node is None:
        return spec
    field = {
        "key": "metadata.name",
        "operator": "In",
        "values": [context.node.metadata.name],
    }
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    spec["affinity"] = {
        **(spec.get("affinity") or {}),
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
    }
    spec["tolerations"] = [*(spec.get("tolerations") or []), {"operator": "Exists"}]
    return spec


def _create(gate: JobGate, context: Context) -> Measurement:
    if not context.intend("create job", context.gate, job_name(context)):
        why = "its Job cannot be written down in the journal and is not created"
        return Measurement(Outcome.ERROR, context.now, reason=why)
    try:
        job = context.client.create(_path(context), job_body(gate, context), Job)
    except Conflict:
        return _wait(context, f"the Job {job_name(context)} is there already")
    return _wait(context, f"the Job {job.metadata.name} was created")


def _judge(gate: JobGate, context: Context, job: Job) -> Measurement:
    name = job.metadata.name
    if job.ended("Complete") is not None:
        if gate.keep != "always":
            _delete(context, job)
        return Measurement(Outcome.PASSED, context.now, "complete", f"the Job {name} completed")
    pods = _pods(context, job)
    failed = job.ended("Failed")
    trouble = _image_trouble(pods)
    if failed is None and not trouble:
        return _wait(context, f"the Job {name} runs{_where(pods)}")
    if gate.keep == "never":
        _delete(context, job)
    if trouble:
        return Measurement(Outcome.INCONCLUSIVE, context.now, "image", f"the Job {name}: {trouble}")
    said = f"{failed.reason}: {failed.message}" if failed is not None else ""
    parts = (f"the Job {name} failed", _exit(pods), said)  # what tells most stands first
    reason = "; ".join(part for part in parts if part)
    return Measurement(Outcome.FAILED, context.now, "failed", reason)


def _wait(context: Context, reason: str) -> Measurement:
    again = context.now + LOOK_AGAIN_S
    return Measurement(Outcome.WAITING, context.now, reason=reason, again_at=again)


def _image_trouble(pods: list[Pod]) -> str:
    for pod in pods:
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            waiting = status.state.waiting
            if waiting is not None and waiting.reason in IMAGE_TROUBLE:
                return f"container {status.name}: {waiting.reason}: {waiting.message}"
    return ""


def _where(pods: list[Pod]) -> str:
    bound = [pod.spec.node_name for pod in pods if pod.spec.node_name]
    return f" on {bound[0]}" if bound else ", its pod waits for a node"


def _exit(pods: list[Pod]) -> str:
    for pod in pods:
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            ended = status.state.terminated or status.last_state.terminated
            if ended is not None and ended.exit_code:
                said = f": {plain(ended.message, SHOWN_MESSAGE)}" if ended.message else ""
                return f"container {status.name} ended with exit code {ended.exit_code}{said}"
    return ""


def _pods(context: Context, job: Job) -> list[Pod]:
    path = resource_path("v1", "pods", namespace=context.namespace)
    selector = f"job-name={job.metadata.name}"  # the label that all releases set
    found = context.client.list(path, Pod, label_selector=selector).items
    return [pod for pod in found if pod.metadata.controller_uid == job.metadata.uid]


def _delete(context: Context, job: Job) -> None:
    """Remove the Job and its pods; somebody else may have done so."""
    if not context.intend("delete job", context.gate, job.metadata.name):
        return  # its time to live, or the next look, takes it away
    try:
        context.client.delete(
            f"{_path(context)}/{job.metadata.name}",
            uid=job.metadata.uid,
            propagation="Background",
        )
    except (NotFound, Conflict):
        return


def _path(context: Context) -> str:
    return resource_path("batch/v1", "jobs", namespace=context.namespace)
