"""Who may do what: tokens, users, and the RBAC rules that are stored as objects.

The rules every authenticated user has (discovery, reviews of oneself) are bootstrapped as the
objects they are on a real cluster. Faults take permissions away through `Authorizer.revoked`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rollout.sim.errors import StatusError
from rollout.sim.requests import Target
from rollout.sim.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from rollout.sim.store import Object, Store

MASTERS: Final = "system:masters"
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
RBAC_GROUP: Final = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class User:
    """Who sent a request."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS: Final = User("system:anonymous", (UNAUTHENTICATED,))
ADMIN: Final = User("kubernetes-admin", (MASTERS, AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do; a `path` stands for requests that name no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """`pods/eviction`, as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(target: Target) -> Attributes:
    """Return what a request wants to do, as the rules see it."""
    if target.resource is None:
        return Attributes(target.verb, path=target.path)
    return Attributes(
        target.verb,
        target.resource.group,
        target.resource.plural,
        target.subresource,
        target.namespace,
        target.name,
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a rule allows it, and which."""

    allowed: bool
    reason: str = ""


Revoked = Callable[[User, Attributes], bool]


def _nothing_revoked(_user: User, _attributes: Attributes) -> bool:
    return False


@dataclass(slots=True)
class Authorizer:
    """Answers from the roles and bindings in the store.

    Attributes:
        store: holds the RBAC objects.
        tokens: bearer tokens and whose they are.
        revoked: says what is refused although the rules allow it, also to `system:masters`.
        anonymous: who sends requests without credentials.
    """

    store: Store
    tokens: dict[str, User] = field(default_factory=dict)
    revoked: Revoked = _nothing_revoked
    anonymous: User = ANONYMOUS

    def authenticate(self, headers: Mapping[str, str]) -> User:
        """Return who a request is from: the owner of its token, or whom that one impersonates.

        Raises:
            StatusError: 401 for a token that nobody has, 403 when impersonating is not allowed.
        """
        user = self.sender(headers)
        impersonated = headers.get("impersonate-user")
        if not impersonated:
            return user
        self.require(user, Attributes("impersonate", resource="users", name=impersonated))
        groups = headers.get("impersonate-group", "")
        named = tuple(group.strip() for group in groups.split(",") if group.strip())
        for group in named:
            self.require(user, Attributes("impersonate", resource="groups", name=group))
        return User(impersonated, (*named, AUTHENTICATED))

    def sender(self, headers: Mapping[str, str]) -> User:
        """Return whose token came with a request.

        Raises:
            StatusError: 401 for a token that nobody has.
        """
        authorization = headers.get("authorization", "")
        if not authorization:
            return self.anonymous
        scheme, _, token = authorization.partition(" ")
        user = self.tokens.get(token.strip()) if scheme.lower() == "bearer" else None
        if user is None:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        if AUTHENTICATED in user.groups:
            return user
        return User(user.name, (*user.groups, AUTHENTICATED), user.uid)

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """Say whether the user may do it."""
        if self.revoked(user, attributes):
            return Decision(allowed=False)
        if MASTERS in user.groups:
            return Decision(allowed=True)
        for rule, reason in self._rules(user, attributes.namespace):
            if _allows(rule, attributes):
                return Decision(True, reason)
        return Decision(allowed=False)

    def require(self, user: User, attributes: Attributes) -> None:
        """Refuse what the user may not do.

        Raises:
            StatusError: 403 in the API server's words.
        """
        if not self.decide(user, attributes).allowed:
            raise forbidden(user, attributes)

    def rules_for(self, user: User, namespace: str) -> list[Object]:
        """Return every rule that counts for the user in a namespace."""
        if MASTERS in user.groups:
            everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
            paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
            own = [rule for rule, _ in self._rules(user, namespace)]
            return [everything, paths, *own]
        return [rule for rule, _ in self._rules(user, namespace)]

    def _rules(self, user: User, namespace: str) -> Iterator[tuple[Object, str]]:
        for binding in self.store.scan(CLUSTER_ROLE_BINDINGS):
            yield from self._bound_rules(binding, user, "ClusterRoleBinding")
        if namespace:
            for binding in self.store.scan(ROLE_BINDINGS, namespace):
                yield from self._bound_rules(binding, user, "RoleBinding")

    def _bound_rules(self, binding: Object, user: User, kind: str) -> Iterator[tuple[Object, str]]:
        subject = next((s for s in binding.get("subjects") or () if _is_subject(s, user)), None)
        if subject is None:
            return
        metadata = binding["metadata"]
        role = binding["roleRef"]
        label = metadata["name"]
        if "namespace" in metadata:
            label = f"{label}/{metadata['namespace']}"
        reason = (
            f'RBAC: allowed by {kind} "{label}" of {role["kind"]} "{role["name"]}" to '
            f'{subject["kind"]} "{subject["name"]}"'
        )
        for rule in self._role_rules(role, metadata.get("namespace", "")):
            yield rule, reason

    def _role_rules(self, reference: Object, namespace: str) -> Iterable[Object]:
        if reference["kind"] == "ClusterRole":
            role = self.store.get(CLUSTER_ROLES, ("", reference["name"]))
        else:
            role = self.store.get(ROLES, (namespace, reference["name"]))
        return (role or {}).get("rules") or ()


def _is_subject(subject: Object, user: User) -> bool:
    if subject["kind"] == "Group":
        return subject["name"] in user.groups
    if subject["kind"] == "ServiceAccount":
        account = f"system:serviceaccount:{subject.get('namespace', '')}:{subject['name']}"
        return user.name == account
    return bool(subject["name"] == user.name)


def _allows(rule: Object, wanted: Attributes) -> bool:
    if not _has(rule.get("verbs"), wanted.verb):
        return False
    if wanted.path:
        return any(_path_matches(path, wanted.path) for path in rule.get("nonResourceURLs") or ())
    if not _has(rule.get("apiGroups"), wanted.group):
        return False
    resources = rule.get("resources") or ()
    any_parent = f"*/{wanted.subresource}" if wanted.subresource else "*"
    if not _has(resources, wanted.full_resource) and any_parent not in resources:
        return False
    names = rule.get("resourceNames")
    return not names or wanted.name in names


def _has(allowed: Iterable[str] | None, wanted: str) -> bool:
    return allowed is not None and ("*" in allowed or wanted in allowed)


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def forbidden(user: User, wanted: Attributes) -> StatusError:
    """Build the 403 for something that the user may not do."""
    if wanted.path:
        message = f'forbidden: User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
        return StatusError(403, "Forbidden", message, {})
    qualified = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    subject = f'{qualified} "{wanted.name}"' if wanted.name else qualified
    scope = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user.name}" cannot {wanted.verb} resource '
        f'"{wanted.full_resource}" in API group "{wanted.group}" {scope}'
    )
    details: Object = {"kind": wanted.resource}
    if wanted.name:
        details = {"name": wanted.name, **details}
    if wanted.group:
        details["group"] = wanted.group
    return StatusError(403, "Forbidden", message, details)


# The objects a cluster starts with.

_HEALTH: Final = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY: Final = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez"]
_DISCOVERY_MORE: Final = ["/openapi", "/openapi/*", "/readyz", "/version", "/version/"]
_ALL: Final = ["*"]
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> Object:
    return {"verbs": verbs, "apiGroups": groups, "resources": resources}


_VIEWED: Final = (
    ("", ["configmaps", "endpoints", "events", "pods", "pods/log", "pods/status"]),
    ("", ["serviceaccounts", "services", "namespaces", "resourcequotas", "limitranges"]),
    ("apps", ["controllerrevisions", "daemonsets", "daemonsets/status", "deployments"]),
    ("apps", ["replicasets", "statefulsets"]),
    ("batch", ["cronjobs", "jobs", "jobs/status"]),
    ("policy", ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    ("networking.k8s.io", ["ingresses", "networkpolicies"]),
    ("metrics.k8s.io", ["pods"]),
)
_EDITED: Final = (
    ("", ["configmaps", "endpoints", "events", "pods", "secrets", "serviceaccounts", "services"]),
    ("apps", ["daemonsets", "deployments", "replicasets", "statefulsets"]),
    ("batch", ["cronjobs", "jobs"]),
    ("coordination.k8s.io", ["leases"]),
    ("policy", ["poddisruptionbudgets"]),
    ("networking.k8s.io", ["ingresses", "networkpolicies"]),
)
_VIEW_RULES: Final = [_rule([group], names, _READ) for group, names in _VIEWED]
_EDIT_RULES: Final = [
    *_VIEW_RULES,
    *(_rule([group], names, [*_READ, *_WRITE]) for group, names in _EDITED),
    _rule([""], ["pods/eviction"], ["create"]),
]
_ADMIN_RULES: Final = [
    *_EDIT_RULES,
    _rule([RBAC_GROUP], ["rolebindings", "roles"], [*_READ, *_WRITE]),
    _rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
]
_SELF_REVIEWS: Final = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
_CLUSTER_ROLES: Final[dict[str, list[Object]]] = {
    "cluster-admin": [_rule(_ALL, _ALL, _ALL), {"verbs": _ALL, "nonResourceURLs": _ALL}],
    "admin": _ADMIN_RULES,
    "edit": _EDIT_RULES,
    "view": _VIEW_RULES,
    "system:basic-user": [
        _rule(["authorization.k8s.io"], _SELF_REVIEWS, ["create"]),
        _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ],
    "system:public-info-viewer": [{"verbs": ["get"], "nonResourceURLs": _HEALTH}],
    "system:discovery": [
        {"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]},
        {"verbs": ["get"], "nonResourceURLs": [*_DISCOVERY, *_DISCOVERY_MORE]},
    ],
}
_GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:discovery": (AUTHENTICATED,),
}


def bootstrap_objects() -> Iterator[tuple[Resource, Object]]:
    """Yield the roles and bindings that every cluster has."""
    for name, rules in _CLUSTER_ROLES.items():
        yield CLUSTER_ROLES, {"metadata": {"name": name}, "rules": rules}
    for name, groups in _GROUPS.items():
        yield (
            CLUSTER_ROLE_BINDINGS,
            {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name},
                "subjects": [
                    {"apiGroup": RBAC_GROUP, "kind": "Group", "name": group} for group in groups
                ],
            },
        )
