"""How an object goes away: grace periods, finalizers and preconditions.

The rules of the API server's `BeforeDelete` as pure functions: given an object and the options of
a delete, say what the object becomes and whether it is gone at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rollout.sim import timestamps
from rollout.sim.errors import StatusError
from rollout.sim.resources import NAMESPACES, PODS, Resource
from rollout.sim.store import Object

ORPHAN: Final = "orphan"
FOREGROUND: Final = "foregroundDeletion"
DEFAULT_GRACE: Final = 30  # seconds, spec.terminationGracePeriodSeconds


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a client asks of a delete; None leaves the decision to the server."""

    grace_period_seconds: int | None = None
    uid: str | None = None
    resource_version: str | None = None
    propagation: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a delete does: `object` is the state to write first, None when nothing changes."""

    object: Object | None
    remove: bool


def check_preconditions(resource: Resource, obj: Object, options: DeleteOptions) -> None:
    """Refuse a delete that was meant for another object or another version of it.

    Raises:
        StatusError: 409 with the API server's own words.
    """
    metadata = obj["metadata"]
    if options.uid is not None and options.uid != metadata["uid"]:
        raise _conflict(
            resource,
            metadata["name"],
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated",
        )
    version = options.resource_version
    if version is not None and version != metadata["resourceVersion"]:
        raise _conflict(
            resource,
            metadata["name"],
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). "
            "The object might have been modified",
        )


def _conflict(resource: Resource, name: str, why: str) -> StatusError:
    details: Object = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    message = f'Operation cannot be fulfilled on {resource.group_kind} "{name}": {why}'
    return StatusError(409, "Conflict", message, details)


def decide(resource: Resource, obj: Object, options: DeleteOptions, now: float) -> Verdict:
    """Say what a delete with these options does to the object.

    Args:
        resource: the object's kind; only pods end gracefully.
        obj: the stored object.
        options: what the client asked for.
        now: seconds since the Unix epoch.
    """
    if resource is PODS:
        return _decide_pod(obj, options, now)
    if resource is NAMESPACES:
        return _decide_namespace(obj, now)
    marked = _with_finalizers(obj, options)
    if not marked["metadata"].get("finalizers"):
        return Verdict(None, remove=True)
    return Verdict(_mark(marked, now, 0), remove=False)


def _decide_namespace(namespace: Object, now: float) -> Verdict:
    if "deletionTimestamp" in namespace["metadata"]:
        return Verdict(None, remove=False)
    terminating = {**namespace, "status": {**namespace["status"], "phase": "Terminating"}}
    metadata = {**namespace["metadata"], "deletionTimestamp": timestamps.rfc3339(now)}
    return Verdict({**terminating, "metadata": metadata}, remove=False)


def _decide_pod(pod: Object, options: DeleteOptions, now: float) -> Verdict:
    metadata = pod["metadata"]
    if "deletionTimestamp" in metadata:
        return _shorten(pod, options, now)
    grace = _grace(pod, options)
    marked = _mark(_with_finalizers(pod, options), now, grace)
    return Verdict(marked, remove=grace == 0 and not marked["metadata"].get("finalizers"))


def _shorten(pod: Object, options: DeleteOptions, now: float) -> Verdict:
    metadata = pod["metadata"]
    pending = metadata.get("deletionGracePeriodSeconds", 0)
    has_finalizers = bool(metadata.get("finalizers"))
    if pending == 0:
        return Verdict(None, remove=not has_finalizers)
    asked = options.grace_period_seconds
    if asked is None or asked >= pending:
        return Verdict(None, remove=False)
    asked = 1 if asked < 0 else asked
    sooner = {
        **metadata,
        "deletionTimestamp": timestamps.rfc3339(now + asked),
        "deletionGracePeriodSeconds": asked,
    }
    return Verdict({**pod, "metadata": sooner}, remove=asked == 0 and not has_finalizers)


def _grace(pod: Object, options: DeleteOptions) -> int:
    if not pod["spec"].get("nodeName"):
        return 0
    if pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    asked = options.grace_period_seconds
    if asked is None:
        asked = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)
    return 1 if asked < 0 else int(asked)


def _mark(obj: Object, now: float, grace: int) -> Object:
    metadata = dict(obj["metadata"])
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = timestamps.rfc3339(now + grace)
        if metadata.get("generation", 0) > 0:
            metadata["generation"] += 1
    metadata["deletionGracePeriodSeconds"] = grace
    return {**obj, "metadata": metadata}


def _with_finalizers(obj: Object, options: DeleteOptions) -> Object:
    present = obj["metadata"].get("finalizers", [])
    wanted = [name for name in present if name not in (ORPHAN, FOREGROUND)]
    if options.propagation == "Orphan":
        wanted.append(ORPHAN)
    elif options.propagation == "Foreground":
        wanted.append(FOREGROUND)
    elif options.propagation is None:
        wanted = present
    if wanted == present:
        return obj
    metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
    if wanted:
        metadata["finalizers"] = wanted
    return {**obj, "metadata": metadata}
