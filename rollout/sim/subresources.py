"""Requests that are not plain objects: pod verbs, logs, reviews and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rollout.sim import podrequests, reviews, timestamps
from rollout.sim.bodies import FieldValidation
from rollout.sim.errors import StatusError
from rollout.sim.handlers import Handlers, NoSuchPath, method_not_allowed
from rollout.sim.lists import parse_options
from rollout.sim.logs import LogBook, read_logs
from rollout.sim.metrics import MetricsServer
from rollout.sim.negotiation import list_answer, object_answer, shape_of
from rollout.sim.rbac import Authorizer, User
from rollout.sim.registry import Registry, not_found
from rollout.sim.requests import Answer, Request, Response, Target, status_body
from rollout.sim.resources import BY_PATH, NAMESPACES, NODES, POD_METRICS, PODS, Resource
from rollout.sim.store import Object
from rollout.sim.writeoptions import caller_of, is_dry_run, read_delete_options

CREATED: Final = 201
_BINDINGS: Final = BY_PATH[("", "v1", "bindings")]
_EVICTION: Final = Resource("policy", "v1", "evictions", "Eviction", namespaced=True)


@dataclass(slots=True)
class Subresources:
    """Serves what the plain handlers don't.

    Attributes:
        registry: where pods are bound and evicted.
        authorizer: answers reviews.
        handlers: the plain handlers.
        logs: what containers wrote.
        metrics: what they use; None on a cluster without a metrics server.
    """

    registry: Registry
    authorizer: Authorizer
    handlers: Handlers
    logs: LogBook
    metrics: MetricsServer | None

    def handle(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        """Serve one request for a resource.

        Raises:
            StatusError: whatever the API server would refuse it with.
            NoSuchPath: when nothing is served there.
        """
        if reviews.is_review(resource):
            return self._review(request, target, resource, user)
        if resource.group == POD_METRICS.group:
            return self._metrics(request, target, resource)
        if resource is _BINDINGS:
            return self._bind(request, target, user)
        if target.subresource in ("", "status"):
            return self.handlers.handle(request, target, resource, user)
        return self._subresource(request, target, resource, user)

    def _subresource(
        self, request: Request, target: Target, resource: Resource, user: User
    ) -> Answer:
        if target.subresource not in resource.subresources:
            raise NoSuchPath
        match (resource.plural, target.subresource, target.verb):
            case ("pods", "binding", "create"):
                return self._bind(request, target, user)
            case ("pods", "eviction", "create"):
                return self._evict(request, target, user)
            case ("pods", "log", "get"):
                pod = self.registry.get(PODS, target.namespace, target.name)
                return read_logs(self.logs, self.registry.clock, pod, request)
            case ("namespaces", "finalize", "update"):
                return self._finalize(request, target, user)
            case ("pods", _, "get") if target.subresource in ("ephemeralcontainers", "resize"):
                pod = self.registry.get(PODS, target.namespace, target.name)
                return self.handlers.object(shape_of(request), PODS, pod)
        raise not_simulated(resource, target)

    # Pods

    def _bind(self, request: Request, target: Target, user: User) -> Answer:
        body = FieldValidation.of(request).object(_BINDINGS, request)
        name = target.name or (body.get("metadata") or {}).get("name", "")
        node = (body.get("target") or {}).get("name", "")
        if not node:
            raise _node_required(name)
        caller, dry_run = caller_of(request, user), is_dry_run(request)
        self.registry.bind(target.namespace, name, node, caller, dry_run=dry_run)
        return Response(CREATED, status_body(CREATED))

    def _evict(self, request: Request, target: Target, user: User) -> Answer:
        body = FieldValidation.of(request).object(_EVICTION, request)
        given = (body.get("metadata") or {}).get("name")
        if given not in (None, "", target.name):
            message = "name in URL does not match name in Eviction object"
            raise StatusError(400, "BadRequest", message)
        options, dry_run = read_delete_options(body.get("deleteOptions") or {})
        caller = caller_of(request, user)
        dry_run = dry_run or is_dry_run(request)
        podrequests.evict(
            *(self.registry, target.namespace, target.name, caller, options), dry_run=dry_run
        )
        return Response(CREATED, status_body(CREATED))

    def _finalize(self, request: Request, target: Target, user: User) -> Answer:
        body = FieldValidation.of(request).object(NAMESPACES, request)
        caller = caller_of(request, user)
        updated = self.registry.update(
            NAMESPACES, "", target.name, body, caller, subresource="finalize"
        )
        return self.handlers.object(shape_of(request), NAMESPACES, updated)

    # Reviews and metrics

    def _review(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        if target.verb != "create":
            raise method_not_allowed()
        body = FieldValidation.of(request).object(resource, request)
        manager = caller_of(request, user).manager
        now = timestamps.rfc3339(self.registry.clock.now())
        answered = reviews.review(resource, self.authorizer, user, body, manager, now)
        return self.handlers.object(shape_of(request), resource, answered, CREATED)

    def _metrics(self, request: Request, target: Target, resource: Resource) -> Answer:
        if self.metrics is None:
            raise NoSuchPath
        if target.verb not in ("get", "list"):
            raise method_not_allowed()
        shape, now = shape_of(request), self.registry.clock.now()
        if target.verb == "get":
            one = self._metrics_of(self.metrics, target, resource)
            return object_answer(shape, resource, one, now)
        matches = parse_options(resource, request).matcher
        found = (
            self.metrics.pods(target.namespace or None)
            if resource is POD_METRICS
            else self.metrics.nodes()
        )
        objects = [obj for obj in found if matches is None or matches(obj)]
        return list_answer(self.handlers.encoder, shape, resource, objects, {}, now)

    def _metrics_of(self, metrics: MetricsServer, target: Target, resource: Resource) -> Object:
        source = PODS if resource is POD_METRICS else NODES
        found = self.registry.store.get(source, (target.namespace, target.name))
        if found is None:
            raise not_found(resource, target.name)
        if resource is POD_METRICS:
            return metrics.pod(found)
        return metrics.node(found, metrics.pods_on(target.name))


def not_simulated(resource: Resource, target: Target) -> StatusError:
    """Build the 501 for what a real server does and this one doesn't."""
    message = f"the embedded cluster does not simulate {resource.plural}/{target.subresource}"
    return StatusError(501, "NotImplemented", message)


def _node_required(name: str) -> StatusError:
    text = "Required value"
    cause = {"reason": "FieldValueRequired", "message": text, "field": "target.name"}
    return StatusError(
        422,
        "Invalid",
        f'Binding "{name}" is invalid: target.name: {text}',
        {"name": name, "kind": "Binding", "causes": [cause]},
    )
