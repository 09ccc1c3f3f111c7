"""Reviews: objects that are answered at once and never stored (access, rules, who am I)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rollout.sim import managedfields
from rollout.sim.errors import StatusError
from rollout.sim.rbac import Attributes, Authorizer, Decision, User
from rollout.sim.resources import (
    LOCAL_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_ACCESS_REVIEWS,
    SELF_SUBJECT_REVIEWS,
    SELF_SUBJECT_RULES_REVIEWS,
    SUBJECT_ACCESS_REVIEWS,
    TOKEN_REVIEWS,
    Resource,
)
from rollout.sim.store import Object


def is_review(resource: Resource) -> bool:
    """Whether objects of this kind are answered instead of stored."""
    return resource in _REVIEWS


def review(
    resource: Resource, authorizer: Authorizer, user: User, body: Object, manager: str, now: str
) -> Object:
    """Return the review with its answer in `status`.

    Args:
        resource: which review.
        authorizer: knows the rules.
        user: who asks.
        body: the review without its answer.
        manager: the field manager of the request.
        now: the time as `metav1.Time`.

    Raises:
        StatusError: 422 when the review asks for nothing.
    """
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        **_REVIEWS[resource](resource, authorizer, user, body, manager, now),
    }


def _access(
    resource: Resource, authorizer: Authorizer, user: User, body: Object, manager: str, now: str
) -> Object:
    spec = body.get("spec") or {}
    subject = user if resource is SELF_SUBJECT_ACCESS_REVIEWS else _subject(spec)
    decision = authorizer.decide(subject, _attributes(resource, spec))
    return {
        "metadata": _metadata(resource, spec, manager, now),
        "spec": spec,
        "status": _status(decision),
    }


def _metadata(resource: Resource, spec: Object, manager: str, now: str) -> Object:
    managers = managedfields.track_update(
        None,
        {"kind": resource.kind, "metadata": {}, "spec": spec},
        manager=manager,
        api_version=resource.api_version,
        subresource="",
        now=now,
    )
    return {"managedFields": managers} if managers else {}


def _status(decision: Decision) -> Object:
    status: Object = {"allowed": decision.allowed}
    if decision.reason:
        status["reason"] = decision.reason
    return status


def _subject(spec: Object) -> User:
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""))


def _attributes(resource: Resource, spec: Object) -> Attributes:
    wanted = spec.get("resourceAttributes") or {}
    path = spec.get("nonResourceAttributes") or {}
    if bool(wanted) == bool(path):
        raise _neither(resource)
    if path:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    return Attributes(
        wanted.get("verb", ""),
        wanted.get("group", ""),
        wanted.get("resource", ""),
        wanted.get("subresource", ""),
        wanted.get("namespace", ""),
        wanted.get("name", ""),
    )


def _neither(resource: Resource) -> StatusError:
    text = (
        "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be "
        "specified"
    )
    cause = {
        "reason": "FieldValueInvalid",
        "message": text,
        "field": "spec.resourceAttributes",
    }
    return StatusError(
        422,
        "Invalid",
        f'{resource.group_kind} "" is invalid: spec.resourceAttributes: {text}',
        {"group": resource.group, "kind": resource.kind, "causes": [cause]},
    )


def _rules(
    resource: Resource, authorizer: Authorizer, user: User, body: Object, manager: str, now: str
) -> Object:
    del resource, manager, now
    namespace = (body.get("spec") or {}).get("namespace", "")
    rules = authorizer.rules_for(user, namespace)
    return {
        "metadata": {},
        "spec": {},
        "status": {
            "resourceRules": [rule for rule in rules if "resources" in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": False,
        },
    }


def _who_am_i(
    resource: Resource, authorizer: Authorizer, user: User, body: Object, manager: str, now: str
) -> Object:
    del resource, authorizer, body, manager
    return {"metadata": {"creationTimestamp": now}, "status": {"userInfo": _user_info(user)}}


def _token(
    resource: Resource, authorizer: Authorizer, user: User, body: Object, manager: str, now: str
) -> Object:
    del resource, user, manager, now
    spec = body.get("spec") or {}
    owner = authorizer.tokens.get(spec.get("token", ""))
    status: Object = {"user": {}}
    if owner is not None:
        status = {"authenticated": True, "user": _user_info(owner)}
    return {"metadata": {}, "spec": spec, "status": status}


def _user_info(user: User) -> Object:
    info: Object = {"username": user.name}
    if user.uid:
        info["uid"] = user.uid
    if user.groups:
        info["groups"] = list(user.groups)
    return info


_Review = Callable[[Resource, Authorizer, User, Object, str, str], Object]
_REVIEWS: Final[dict[Resource, _Review]] = {
    SELF_SUBJECT_ACCESS_REVIEWS: _access,
    SUBJECT_ACCESS_REVIEWS: _access,
    LOCAL_SUBJECT_ACCESS_REVIEWS: _access,
    SELF_SUBJECT_RULES_REVIEWS: _rules,
    SELF_SUBJECT_REVIEWS: _who_am_i,
    TOKEN_REVIEWS: _token,
}
