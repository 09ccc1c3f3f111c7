"""A small Job controller: pods until enough of them succeeded or too many failed.

Enough for Jobs that run once or a few times in parallel (`completions`, `parallelism`,
`backoffLimit`, `activeDeadlineSeconds`, `ttlSecondsAfterFinished`). Indexed Jobs, pod failure
policies and suspension are not simulated.
"""

from __future__ import annotations

from typing import Final

from rollout.sim.clock import Clock
from rollout.sim.controllers.daemoncache import controller_uid
from rollout.sim.controllers.events import EventRecorder
from rollout.sim.controllers.podtemplate import controller_reference
from rollout.sim.controllers.workqueue import Informer, WorkQueue
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, DeleteOptions, Registry
from rollout.sim.resources import JOBS, PODS
from rollout.sim.store import Event, Key, Object
from rollout.sim.timestamps import parse, rfc3339

FIRST_DELAY: Final = 10.0  # seconds before a failed pod is replaced; doubles
LAST_DELAY: Final = 600.0
DEFAULT_BACKOFF_LIMIT: Final = 6


class JobController:
    """Runs Jobs to their end."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        recorder: EventRecorder,
        caller: Caller,
        *,
        latency: float,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._caller = caller
        self._record = recorder.recorder("job-controller", caller)
        self._pods: dict[str, dict[str, Object]] = {}  # by the Job's uid
        self._keys: dict[str, Key] = {}
        self._queue: WorkQueue[Key] = WorkQueue(clock, self._sync)
        self._informer = Informer(registry.store, clock, (JOBS, PODS), latency, self._handle)

    def start(self) -> None:
        """Look at all Jobs and follow all changes."""
        self._informer.start()

    def stop(self) -> None:
        """Work and hear no more."""
        self._informer.stop()
        self._queue.stop()

    def _handle(self, batch: list[Event]) -> None:
        for event in batch:
            if event.resource is JOBS:
                self._on_job(event)
            else:
                self._on_pod(event)

    def _on_job(self, event: Event) -> None:
        uid = event.object["metadata"]["uid"]
        if event.type == "DELETED":
            self._keys.pop(uid, None)
            self._pods.pop(uid, None)
            return
        self._keys[uid] = event.key
        self._queue.add(event.key)

    def _on_pod(self, event: Event) -> None:
        uid = controller_uid(event.object)
        key = self._keys.get(uid) if uid else None
        if uid is None or key is None:
            return
        pods = self._pods.setdefault(uid, {})
        if event.type == "DELETED":
            # A pod that had ended goes on counting, as the finalizer of real Jobs sees to.
            if not _ended(event.object):
                pods.pop(event.object["metadata"]["uid"], None)
        else:
            pods[event.object["metadata"]["uid"]] = event.object
        self._queue.add(key)

    def _sync(self, key: Key) -> bool:
        job = self._registry.store.get(JOBS, key)
        if job is None or "deletionTimestamp" in job["metadata"]:
            return True
        if _finished(job):
            return self._expire(key, job)
        pods = list(self._pods.get(job["metadata"]["uid"], {}).values())
        succeeded = sum(1 for p in pods if p["status"].get("phase") == "Succeeded")
        failed = [p for p in pods if p["status"].get("phase") == "Failed"]
        active = [p for p in pods if not _ended(p)]
        outcome = self._outcome(key, job, succeeded, len(failed))
        if outcome is not None:
            for pod in active:
                self._delete(pod)
            active = []
        else:
            wanted = self._wanted(job, succeeded)
            for _ in range(wanted - len(active)):
                if self._delay(key, failed):
                    break
                created = self._create(job)
                if created is None:
                    return False
                active.append(created)
        return self._write(job, active, succeeded, len(failed), outcome)

    def _wanted(self, job: Object, succeeded: int) -> int:
        spec = job["spec"]
        completions = spec.get("completions")
        parallelism = int(spec.get("parallelism", 1))
        if completions is None:
            return 0 if succeeded else parallelism
        return min(parallelism, int(completions) - succeeded)

    def _outcome(
        self, key: Key, job: Object, succeeded: int, failed: int
    ) -> tuple[str, str, str] | None:
        """Return (condition, reason, message) when the Job is over."""
        spec = job["spec"]
        if failed > spec.get("backoffLimit", DEFAULT_BACKOFF_LIMIT):
            return (
                "Failed",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        deadline = spec.get("activeDeadlineSeconds")
        started = job["status"].get("startTime")
        if deadline is not None and started:
            left = parse(started) + deadline - self._clock.now()
            if left <= 0:
                text = "Job was active longer than specified deadline"
                return "Failed", "DeadlineExceeded", text
            self._queue.add_after(key, left)
        wanted = spec.get("completions")
        enough = succeeded >= (1 if wanted is None else int(wanted))
        if enough:
            return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
        return None

    def _delay(self, key: Key, failed: list[Object]) -> bool:
        """Whether a failure was so recent that the next pod has to wait."""
        if not failed:
            return False
        last = max(_finished_at(pod) for pod in failed)
        wait = min(FIRST_DELAY * 2.0 ** (len(failed) - 1), LAST_DELAY)
        left: float = last + wait - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
        return left > 0

    def _create(self, job: Object) -> Object | None:
        meta, template = job["metadata"], job["spec"]["template"]
        body: Object = {
            "metadata": {
                **(template.get("metadata") or {}),
                "generateName": f"{meta['name']}-",
                "ownerReferences": [controller_reference(job, JOBS.api_version, JOBS.kind)],
            },
            "spec": template["spec"],
        }
        try:
            pod = self._registry.create(PODS, meta["namespace"], body, self._caller)
        except StatusError as error:
            self._record(job, "Warning", "FailedCreate", f"Error creating: {error.message}")
            return None
        self._pods.setdefault(meta["uid"], {})[pod["metadata"]["uid"]] = pod
        text = f"Created pod: {pod['metadata']['name']}"
        self._record(job, "Normal", "SuccessfulCreate", text)
        return pod

    def _delete(self, pod: Object) -> None:
        meta = pod["metadata"]
        try:
            self._registry.delete(PODS, meta["namespace"], meta["name"], self._caller)
        except StatusError:
            return

    def _write(
        self,
        job: Object,
        active: list[Object],
        succeeded: int,
        failed: int,
        outcome: tuple[str, str, str] | None,
    ) -> bool:
        now, meta = rfc3339(self._clock.now()), job["metadata"]
        live = self._registry.store.get(JOBS, (meta["namespace"], meta["name"]))
        if live is None:
            return True
        counts = {
            "active": len(active),
            "ready": sum(1 for pod in active if _ready(pod)),
            "succeeded": succeeded,
            "failed": failed,
            "terminating": 0,
        }
        status: Object = {k: v for k, v in live["status"].items() if k not in counts}
        status |= {k: v for k, v in counts.items() if v or k in ("ready", "terminating")}
        status.setdefault("startTime", now)
        if outcome is not None:
            self._record(job, "Normal" if outcome[0] == "Complete" else "Warning", *outcome[1:])
            status["conditions"] = [_condition(type_, outcome, now) for type_ in _types(outcome)]
            if outcome[0] == "Complete":
                status["completionTime"] = now
        if status == live["status"]:
            return True
        try:
            self._registry.update_status(JOBS, live, status, self._caller)
        except StatusError:
            return False
        return True

    def _expire(self, key: Key, job: Object) -> bool:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return True
        ended = max(parse(c["lastTransitionTime"]) for c in job["status"]["conditions"])
        left = ended + seconds - self._clock.now()
        if left > 0:
            self._queue.add_after(key, left)
            return True
        options = DeleteOptions(uid=job["metadata"]["uid"], propagation="Foreground")
        try:
            self._registry.delete(JOBS, *key, self._caller, options)
        except StatusError:
            return False
        return True


def _finished(job: Object) -> bool:
    conditions = job["status"].get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _ended(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _finished_at(pod: Object) -> float:
    times: list[float] = [
        parse(status["state"]["terminated"]["finishedAt"])
        for status in pod["status"].get("containerStatuses") or ()
        if "terminated" in status["state"]
    ]
    return max(times, default=0.0)


def _types(outcome: tuple[str, str, str]) -> tuple[str, str]:
    first = "SuccessCriteriaMet" if outcome[0] == "Complete" else "FailureTarget"
    return first, outcome[0]


def _condition(type_: str, outcome: tuple[str, str, str], now: str) -> Object:
    return {
        "type": type_,
        "status": "True",
        "reason": outcome[1],
        "message": outcome[2],
        "lastProbeTime": now,
        "lastTransitionTime": now,
    }
