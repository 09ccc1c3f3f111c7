"""The line of the cluster's own parts to the registry, where an audit log wants to hear of it.

Controllers, scheduler and kubelets write through a `Registry`. On a real cluster those writes are
requests; this one passes them on and tells of the requests that they would have been. Nothing
stands in between where nobody keeps an audit log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rollout.sim.audit import AuditLog
from rollout.sim.auditevents import Answered, Asked, event, notes, user_info
from rollout.sim.components import user_agent
from rollout.sim.errors import StatusError
from rollout.sim.rbac import Decision
from rollout.sim.registry import DEFAULT_OPTIONS, Caller, Decode, DeleteOptions, PatchType, Registry
from rollout.sim.resources import PODS, Resource
from rollout.sim.store import Object

T = TypeVar("T")
OK: Final = 200
CREATED: Final = 201
_BOUND: Final[Object] = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": CREATED,
}
_ALLOWED: Final = notes(Decision(allowed=True))


@dataclass(frozen=True, slots=True)
class _Write:
    """A request that a component's write would be."""

    verb: str
    caller: Caller
    resource: Resource
    namespace: str
    name: str = ""
    subresource: str = ""

    @property
    def uri(self) -> str:
        group, version = self.resource.group, self.resource.version
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        rest = "".join(f"/{part}" for part in (self.name, self.subresource) if part)
        return f"{root}{place}/{self.resource.plural}{rest}"


class AuditedRegistry(Registry):
    """Passes everything on to a registry and tells an audit log of the writes.

    Args:
        inner: does the work.
        log: hears of it.
    """

    def __init__(self, inner: Registry, log: AuditLog) -> None:
        super().__init__(
            inner.store,
            inner.clock,
            inner.rng,
            admission_rules=inner.admission,
            track_managers=inner.track_managers,
        )
        self._inner = inner
        self._log = log

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Object,
        caller: Caller,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Store a new object."""
        write = _Write("create", caller, resource, namespace)
        return self._told(
            write,
            lambda: _kind(resource, body),
            lambda: self._inner.create(resource, namespace, body, caller, dry_run=dry_run),
        )

    def update(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Object,
        caller: Caller,
        *,
        subresource: str = "",
        dry_run: bool = False,
    ) -> Object:
        """Replace an object."""
        write = _Write("update", caller, resource, namespace, name, subresource)
        return self._told(
            write,
            lambda: _kind(resource, body),
            lambda: self._inner.update(
                resource, namespace, name, body, caller, subresource=subresource, dry_run=dry_run
            ),
        )

    def update_status(
        self, resource: Resource, live: Object, status: Object, caller: Caller
    ) -> Object:
        """Replace the status; components patch that of a pod with what has changed."""
        meta = live["metadata"]
        verb = "patch" if resource is PODS else "update"
        write = _Write(verb, caller, resource, meta.get("namespace", ""), meta["name"], "status")
        return self._told(
            write,
            lambda: _status_sent(resource, live, status),
            lambda: self._inner.update_status(resource, live, status, caller),
        )

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Any,  # noqa: ANN401 - a JSON patch is a list, the others are objects
        patch_type: PatchType,
        caller: Caller,
        *,
        subresource: str = "",
        force: bool = False,
        dry_run: bool = False,
        decode: Decode | None = None,
    ) -> Object:
        """Change an object by a patch."""
        write = _Write("patch", caller, resource, namespace, name, subresource)
        return self._told(
            write,
            lambda: patch,
            lambda: self._inner.patch(
                resource,
                namespace,
                name,
                patch,
                patch_type,
                caller,
                subresource=subresource,
                force=force,
                dry_run=dry_run,
                decode=decode,
            ),
        )

    def bind(
        self, namespace: str, name: str, node: str, caller: Caller, *, dry_run: bool = False
    ) -> None:
        """Bind a pod to a node."""
        write = _Write("create", caller, PODS, namespace, name, "binding")
        self._told(
            write,
            lambda: _binding(namespace, name, node),
            lambda: self._inner.bind(namespace, name, node, caller, dry_run=dry_run),
            lambda _: _BOUND,
        )

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        caller: Caller,
        options: DeleteOptions = DEFAULT_OPTIONS,
        *,
        dry_run: bool = False,
    ) -> tuple[Object, bool]:
        """Delete an object, or start its end."""
        write = _Write("delete", caller, resource, namespace, name)
        return self._told(
            write,
            lambda: _options(options),
            lambda: self._inner.delete(resource, namespace, name, caller, options, dry_run=dry_run),
            lambda result: result[0],
        )

    def _told(
        self,
        write: _Write,
        sent: Callable[[], Any],
        do: Callable[[], T],
        returned: Callable[[T], Any] = lambda result: result,
    ) -> T:
        """Do it, and tell of it if anybody listens."""
        if not self._log.asked_for:
            return do()
        received, body = self.clock.now(), sent()
        try:
            result = do()
        except StatusError as error:
            self._tell(write, received, error.code, body, error.body())
            raise
        code = CREATED if write.verb == "create" else OK
        self._tell(write, received, code, body, returned(result))
        return result

    def _tell(
        self,
        write: _Write,
        received: float,
        code: int,
        sent: Any,  # noqa: ANN401 - JSON
        returned: Any,  # noqa: ANN401 - JSON
    ) -> None:
        caller = write.caller
        asked = Asked(
            received,
            write.verb,
            write.uri,
            user_info(caller.user, caller.groups),
            user_agent(caller),
            write.resource,
            write.namespace,
            write.name,
            write.subresource,
        )
        self._log.tell(event(asked, Answered(self.clock.now(), code, sent, returned), _ALLOWED))


def _kind(resource: Resource, body: Object) -> Object:
    return {"kind": resource.kind, "apiVersion": resource.api_version, **body}


def _status_sent(resource: Resource, live: Object, status: Object) -> Object:
    if resource is not PODS:
        return _kind(resource, {**live, "status": status})
    before = live.get("status") or {}
    changed = {key: value for key, value in status.items() if before.get(key) != value}
    return {"metadata": {"uid": live["metadata"]["uid"]}, "status": changed}


def _binding(namespace: str, name: str, node: str) -> Object:
    return {
        "kind": "Binding",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace},
        "target": {"kind": "Node", "name": node},
    }


def _options(options: DeleteOptions) -> Object:
    preconditions = {"uid": options.uid, "resourceVersion": options.resource_version}
    given = {
        "gracePeriodSeconds": options.grace_period_seconds,
        "preconditions": {k: v for k, v in preconditions.items() if v is not None} or None,
        "propagationPolicy": options.propagation,
    }
    asked = {key: value for key, value in given.items() if value is not None}
    return {"kind": "DeleteOptions", "apiVersion": "v1", **asked}
