"""Events of the audit log in the form of `audit.k8s.io/v1`, as kube-apiserver 1.36 writes them.

The policy is fixed: writes to pods and their subresources at level RequestResponse, everything
else at Metadata. So what Secrets, ConfigMaps and token requests hold is never in the log, nor what
anybody reads; and of a refused write to those not even the server's words are, which may quote it.
Stage RequestReceived is omitted.

Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from rollout.sim import timestamps
from rollout.sim.rbac import Decision
from rollout.sim.resources import PODS, Resource
from rollout.sim.store import Object

METADATA: Final = "Metadata"
REQUEST_RESPONSE: Final = "RequestResponse"
RESPONSE_STARTED: Final = "ResponseStarted"
RESPONSE_COMPLETE: Final = "ResponseComplete"
DECISION: Final = "authorization.k8s.io/decision"
REASON: Final = "authorization.k8s.io/reason"
FAULT: Final = "rollout.sim/fault"
LOOPBACK: Final = "127.0.0.1"
_WRITES: Final = frozenset(("create", "update", "patch", "delete", "deletecollection"))
_QUOTED: Final = frozenset(("status", "message", "reason", "details"))
_SILENT: Final = frozenset(("status", "reason"))
_SECRETIVE: Final = frozenset(
    ("secrets", "configmaps", "tokenreviews", "serviceaccounts/token", "certificatesigningrequests")
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as its metadata go.

    Attributes:
        received: when it came, in seconds since the Unix epoch.
        verb: Kubernetes' verb; the method in lower case where no resource is named.
        uri: path and query.
        user: who sent it (`username`, `uid`, `groups`).
        impersonated: whom the sender acts as, {} for nobody.
        agent: the user agent.
        resource: what it is about, None for paths such as /healthz.
        namespace: of the object.
        name: of the object.
        subresource: of the object.
        audit_id: the same in all stages of one request.
    """

    received: float
    verb: str
    uri: str
    user: Object
    agent: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    impersonated: Object = field(default_factory=dict)
    audit_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def whole(self) -> bool:
        """Whether the objects that were sent and returned belong in the event."""
        return self.resource is PODS and self.verb in _WRITES


@dataclass(frozen=True, slots=True)
class Answered:
    """How a request was answered.

    Attributes:
        at: when this stage was reached, in seconds since the Unix epoch.
        code: the HTTP status.
        sent: the object, patch or options that came with the request, None for none.
        returned: the object of the answer, None for none.
    """

    at: float
    code: int
    sent: Any = None
    returned: Any = None


def user_info(name: str, groups: tuple[str, ...], uid: str = "") -> Object:
    """Return a user as `authentication.k8s.io/v1 UserInfo`."""
    return _filled({"username": name, "uid": uid, "groups": list(groups)})


def notes(decision: Decision | None, fault: str = "") -> dict[str, str]:
    """Return the annotations: what the authorizer said, None when it was not asked; a fault."""
    found: dict[str, str] = {}
    if decision is not None:
        found[DECISION] = "allow" if decision.allowed else "forbid"
        found[REASON] = decision.reason
    return {**found, FAULT: fault} if fault else found


def event(
    asked: Asked,
    answered: Answered,
    annotations: dict[str, str],
    stage: str = RESPONSE_COMPLETE,
) -> Object:
    """Return the event of one stage of a request."""
    whole = asked.whole
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": REQUEST_RESPONSE if whole else METADATA,
        "auditID": asked.audit_id,
        "stage": stage,
        "requestURI": asked.uri,
        "verb": asked.verb,
        "user": asked.user,
        **_filled({"impersonatedUser": asked.impersonated}),
        "sourceIPs": [LOOPBACK],
        **_filled({"userAgent": asked.agent, "objectRef": _reference(asked, answered.sent)}),
        "responseStatus": _status(asked, answered),
        **(_filled({"requestObject": answered.sent}) if whole else {}),
        **(_filled({"responseObject": answered.returned}) if whole else {}),
        "requestReceivedTimestamp": timestamps.rfc3339_micro(asked.received),
        "stageTimestamp": timestamps.rfc3339_micro(answered.at),
        "annotations": annotations,
    }


def _reference(asked: Asked, sent: Any) -> Object:  # noqa: ANN401 - JSON
    """Return what the request is about; a body of the object itself adds name, UID and version."""
    resource = asked.resource
    if resource is None:
        return {}
    full = asked.verb in ("create", "update") and isinstance(sent, dict)
    metadata = (sent.get("metadata") if full else None) or {}
    return _filled(
        {
            "resource": resource.plural,
            "namespace": asked.namespace,
            "name": asked.name or metadata.get("name"),
            "uid": metadata.get("uid"),
            "apiGroup": resource.group,
            "apiVersion": resource.version,
            "resourceVersion": metadata.get("resourceVersion"),
            "subresource": asked.subresource,
        }
    )


def _status(asked: Asked, answered: Answered) -> Object:
    told = answered.returned if isinstance(answered.returned, dict) else {}
    kept = _SILENT if _secretive(asked) else _QUOTED
    words = {key: value for key, value in told.items() if key in kept}
    return {
        "metadata": {},
        **(words if told.get("kind") == "Status" else {}),
        "code": answered.code,
    }


def _secretive(asked: Asked) -> bool:
    if asked.resource is None:
        return False
    plural = asked.resource.plural
    return plural in _SECRETIVE or f"{plural}/{asked.subresource}" in _SECRETIVE


def _filled(fields: Object) -> Object:
    return {key: value for key, value in fields.items() if value}
