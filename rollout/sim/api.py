"""The API server without a transport: a request goes in, an answer or a stream comes out.

Authenticates, authorises, routes, and turns refusals into `Status` objects. Whoever calls it holds
the cluster's lock (or runs alone, on a virtual clock).
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from rollout.sim import negotiation, openapi, openapi2
from rollout.sim.audit import AuditLog
from rollout.sim.auditing import RequestAuditor
from rollout.sim.discovery import AGGREGATED, VERSION, Discovery
from rollout.sim.encoding import Encoder
from rollout.sim.errors import StatusError
from rollout.sim.handlers import Handlers, NoSuchPath
from rollout.sim.lists import Lister
from rollout.sim.logs import LogBook
from rollout.sim.metrics import MetricsServer
from rollout.sim.rbac import ADMIN, ANONYMOUS, Authorizer, User, attributes_of, forbidden
from rollout.sim.registry import Registry
from rollout.sim.requests import TEXT, Answer, Request, Response, Target, encode, refusal, target_of
from rollout.sim.store import Object
from rollout.sim.subresources import Subresources

HEALTH_PATHS: Final = ("/healthz", "/livez", "/readyz")
NOT_FOUND_TEXT: Final = b"404 page not found\n"


class Handler(Protocol):
    """Anything that answers requests: the API, or faults in front of it."""

    def handle(self, request: Request) -> Answer:
        """Answer one request."""


class Api:
    """One API server.

    Args:
        registry: where the objects are.
        tokens: bearer tokens and whose they are.
        audit: hears of every request.
        logs: what containers wrote.
        metrics: whether there is a metrics server.
        anonymous: who sends requests without credentials. kubectl sends none over plain HTTP,
            so a cluster for interactive use names its user here.
        seed: of the random lengths of watches without a timeout.
        address: `host:port` under which clients reach it.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        tokens: dict[str, User] | None = None,
        audit: AuditLog | None = None,
        logs: LogBook | None = None,
        metrics: bool = True,
        anonymous: User = ANONYMOUS,
        seed: int = 0,
        address: str = "127.0.0.1:0",
    ) -> None:
        self.registry = registry
        self.clock = registry.clock
        self.audit = audit or AuditLog()
        self.discovery = Discovery(metrics=metrics, address=address)
        self.authorizer = Authorizer(
            registry.store, dict(tokens or {"admin": ADMIN}), anonymous=anonymous
        )
        self.auditor = RequestAuditor(self.audit, self.clock, self.authorizer)
        self.logs = logs or LogBook(registry.clock)
        self.metrics = MetricsServer(registry.store, registry.clock) if metrics else None
        rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        handlers = Handlers(registry, self.authorizer, Encoder(), Lister(registry.store), rng)
        self._resources = Subresources(registry, self.authorizer, handlers, self.logs, self.metrics)

    def handle(self, request: Request) -> Answer:
        """Answer one request; refusals are answers too."""
        received, target = self.clock.now(), target_of(request)
        user, decision = ANONYMOUS, None
        try:
            user = self.authorizer.authenticate(request.headers)
            decision = self.authorizer.decide(user, attributes_of(target))
            if not decision.allowed:
                raise forbidden(user, attributes_of(target))
            answer = self._route(request, target, user)
        except StatusError as error:
            answer = refusal(error)
        except NoSuchPath:
            answer = Response(404, NOT_FOUND_TEXT, TEXT)
        self.auditor.answered(request, target, user, answer, received=received, decision=decision)
        return answer

    def _route(self, request: Request, target: Target, user: User) -> Answer:
        resource = target.resource
        if resource is not None and self.discovery.served(resource):
            return self._resources.handle(request, target, resource, user)
        if request.method not in ("GET", "HEAD"):
            raise NoSuchPath
        path = request.path.rstrip("/")
        for prefix in HEALTH_PATHS:
            if path == prefix or path.startswith(f"{prefix}/"):
                return self._health(request, prefix)
        if path == "/version":
            return negotiation.answer(negotiation.shape_of(request), VERSION)
        if path.startswith("/openapi"):
            return _openapi(request, path, self.discovery)
        return self._discover(request, path)

    def _health(self, request: Request, prefix: str) -> Response:
        if "verbose" in request.query:
            text = f"[+]ping ok\n[+]etcd ok\n{prefix[1:]} check passed\n"
            return Response(200, text.encode(), TEXT)
        return Response(200, b"ok", TEXT)

    def _discover(self, request: Request, path: str) -> Answer:
        if path in ("/api", "/apis") and (version := _aggregated_version(request)):
            found = self.discovery.aggregated(core=path == "/api", version=version)
            return Response(200, encode(found), AGGREGATED.format(version=version))
        document = self._discovery_document(path)
        if document is None:
            raise NoSuchPath
        return negotiation.answer(negotiation.shape_of(request), document)

    def _discovery_document(self, path: str) -> Object | None:
        parts = path.strip("/").split("/")
        match parts:
            case [""]:
                return _root_paths()
            case ["api"]:
                return self.discovery.core_versions()
            case ["apis"]:
                return self.discovery.groups()
            case ["api", version]:
                return self.discovery.resources("", version)
            case ["apis", group]:
                return self.discovery.group(group)
            case ["apis", group, version]:
                return self.discovery.resources(group, version)
        return None


def _root_paths() -> Object:
    return {"paths": ["/api", "/apis", *HEALTH_PATHS, "/openapi/v2", "/openapi/v3", "/version"]}


def _aggregated_version(request: Request) -> str:
    """Return which aggregated format the client takes, "" for none."""
    for clause in request.headers.get("accept", "").split(","):
        if "as=APIGroupDiscoveryList" in clause.replace(" ", ""):
            for version in ("v2", "v2beta1"):
                if f"v={version}" in clause.replace(" ", "").split(";"):
                    return version
    return ""


def _openapi(request: Request, path: str, discovery: Discovery) -> Answer:
    if path == openapi2.PATH:
        return openapi2.answer(request, discovery)
    document = openapi.document(path, discovery)
    if document is None:
        raise NoSuchPath
    return document
