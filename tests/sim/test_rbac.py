"""Who may do what: tokens, rules, impersonation, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.rbac import ADMIN, ANONYMOUS, Attributes, Authorizer, User, forbidden
from rollout.sim.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    SERVICE_ACCOUNTS,
)
from tests.sim.apiworld import TESTER, ApiWorld

DEV = User("dev", ("system:authenticated",))


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


@pytest.fixture
def authorizer(world: ApiWorld) -> Authorizer:
    return world.api.authorizer


def grant(
    world: ApiWorld, rule: dict[str, Any], place: str = "", subject: dict[str, str] | None = None
) -> None:
    roles, bindings = (ROLES, ROLE_BINDINGS) if place else (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS)
    body = {"metadata": {"name": "r"}, "rules": [rule]}
    world.registry.create(roles, place, body, TESTER)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": roles.kind, "name": "r"}
    who = subject or {"kind": "User", "name": "dev"}
    body = {"metadata": {"name": "b"}, "roleRef": reference, "subjects": [who]}
    world.registry.create(bindings, place, body, TESTER)


READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


def may(
    authorizer: Authorizer, verb: str, resource: str = "pods", user: User = DEV, **more: str
) -> bool:
    return authorizer.decide(user, Attributes(verb, resource=resource, **more)).allowed


def test_administrators_may_do_everything(authorizer: Authorizer) -> None:
    assert may(authorizer, "delete", "nodes", user=ADMIN)


def test_nobody_else_may_do_anything_by_default(authorizer: Authorizer) -> None:
    assert not may(authorizer, "get", namespace="default")
    assert not may(authorizer, "get", user=ANONYMOUS)


def test_a_role_counts_in_its_namespace_only(world: ApiWorld, authorizer: Authorizer) -> None:
    grant(world, READ_PODS, "default")
    assert may(authorizer, "list", namespace="default")
    assert not may(authorizer, "list", namespace="kube-system")
    assert not may(authorizer, "list")
    assert not may(authorizer, "delete", namespace="default")


def test_a_cluster_role_counts_everywhere(world: ApiWorld, authorizer: Authorizer) -> None:
    grant(world, READ_PODS)
    assert may(authorizer, "list")
    assert may(authorizer, "get", namespace="kube-system")


def test_a_resource_does_not_include_its_subresources(
    world: ApiWorld, authorizer: Authorizer
) -> None:
    rule = {"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "*/status"]}
    grant(world, rule)
    assert not may(authorizer, "create", subresource="eviction")
    assert may(authorizer, "patch", subresource="status")


def test_a_rule_may_be_for_named_objects(world: ApiWorld, authorizer: Authorizer) -> None:
    grant(world, {**READ_PODS, "resourceNames": ["p"]})
    assert may(authorizer, "get", name="p")
    assert not may(authorizer, "get", name="q")


def test_a_group_of_resources_is_not_another(world: ApiWorld, authorizer: Authorizer) -> None:
    grant(world, READ_PODS)
    assert not may(authorizer, "get", group="metrics.k8s.io")


def test_groups_and_service_accounts_are_subjects_too(
    world: ApiWorld, authorizer: Authorizer
) -> None:
    world.registry.create(SERVICE_ACCOUNTS, "default", {"metadata": {"name": "bot"}}, TESTER)
    subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
    grant(world, READ_PODS, "default", subject)
    bot = User("system:serviceaccount:default:bot")
    assert may(authorizer, "get", namespace="default", user=bot)


def test_the_reason_names_binding_and_role(world: ApiWorld, authorizer: Authorizer) -> None:
    grant(world, READ_PODS, "default")
    decision = authorizer.decide(DEV, Attributes("get", resource="pods", namespace="default"))
    assert decision.reason == ('RBAC: allowed by RoleBinding "b/default" of Role "r" to User "dev"')


@pytest.mark.parametrize(
    ("user", "path", "allowed"),
    [
        (DEV, "/apis/apps/v1", True),
        (DEV, "/openapi/v3", True),
        (DEV, "/metrics", False),
        (ANONYMOUS, "/version", True),
        (ANONYMOUS, "/apis", False),
    ],
)
def test_discovery_is_for_the_authenticated(
    authorizer: Authorizer, user: User, path: str, *, allowed: bool
) -> None:
    assert authorizer.decide(user, Attributes("get", path=path)).allowed is allowed


def test_what_is_revoked_is_refused_to_administrators_too(authorizer: Authorizer) -> None:
    authorizer.revoked = lambda _user, wanted: wanted.verb == "delete"
    assert not may(authorizer, "delete", user=ADMIN)
    assert may(authorizer, "get", user=ADMIN)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            Attributes("list", resource="nodes"),
            (
                'nodes is forbidden: User "dev" cannot list resource "nodes" in API group "" '
                "at the cluster scope"
            ),
        ),
        (
            Attributes("create", "", "pods", "eviction", "default", "p"),
            (
                'pods "p" is forbidden: User "dev" cannot create resource "pods/eviction" in API '
                'group "" in the namespace "default"'
            ),
        ),
        (Attributes("get", path="/x"), 'forbidden: User "dev" cannot get path "/x"'),
    ],
)
def test_a_refusal_says_who_what_and_where(wanted: Attributes, message: str) -> None:
    assert forbidden(DEV, wanted).message == message


def test_a_token_that_nobody_has_is_refused(authorizer: Authorizer) -> None:
    with pytest.raises(StatusError) as refused:
        authorizer.authenticate({"authorization": "Bearer nonsense"})
    assert refused.value.code == 401


def test_every_token_owner_is_authenticated(authorizer: Authorizer) -> None:
    user = authorizer.authenticate({"authorization": "Bearer dev"})
    assert user == User("dev", ("system:authenticated",))


def test_administrators_may_act_as_somebody_else(authorizer: Authorizer) -> None:
    headers = {
        "authorization": "Bearer admin",
        "impersonate-user": "jo",
        "impersonate-group": "ops",
    }
    assert authorizer.authenticate(headers) == User("jo", ("ops", "system:authenticated"))


def test_others_may_not_act_as_somebody_else(authorizer: Authorizer) -> None:
    with pytest.raises(StatusError) as refused:
        authorizer.authenticate({"authorization": "Bearer dev", "impersonate-user": "root"})
    assert refused.value.code == 403
    assert 'cannot impersonate resource "users"' in refused.value.message
