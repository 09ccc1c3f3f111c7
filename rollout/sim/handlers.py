"""The verbs of the API on resources: read, list, watch, create, update, patch, delete.

Each handler reads what the request asks for, calls the registry, and writes the answer in the
shape that the client accepts. Whether the user may do it has been decided before.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from rollout.sim import negotiation, newevents, refusals
from rollout.sim.bodies import FieldValidation, patch_body
from rollout.sim.encoding import Encoder
from rollout.sim.errors import StatusError
from rollout.sim.lists import Lister, Options, parse_options, parse_version, too_large
from rollout.sim.negotiation import Shape, shape_of
from rollout.sim.rbac import Attributes, Authorizer, User
from rollout.sim.registry import PatchType, Registry
from rollout.sim.requests import (
    Answer,
    Request,
    Response,
    Target,
    check_media_type,
    status_body,
)
from rollout.sim.resources import EVENTS, NEW_EVENTS, Resource
from rollout.sim.selectors import FieldSelector, FieldTerm
from rollout.sim.store import Object
from rollout.sim.watches import Watch, WatchOptions
from rollout.sim.writeoptions import caller_of, check_patch_options, delete_options, is_dry_run

MIN_WATCH: Final = 1800.0  # seconds, --min-request-timeout; a watch lasts one to two of these
CREATED: Final = 201
ACCEPTED: Final = 202
_PATCH_TYPES: Final = {patch_type.value: patch_type for patch_type in PatchType}
_CREATED_BY_UPDATE: Final = frozenset(
    (
        "endpoints",
        "events",
        "leases",
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
    )
)
"""Plurals that a PUT creates when they are missing."""
_RETURNED_WHEN_DELETED: Final = frozenset(
    (
        "pods",
        "podtemplates",
        "persistentvolumes",
        "persistentvolumeclaims",
        "resourcequotas",
        "serviceaccounts",
        "services",
        "csidrivers",
        "csinodes",
        "storageclasses",
        "volumeattachments",
    )
)
"""Plurals that answer a delete with the object; others answer with a Status."""


class NoSuchPath(Exception):
    """Nothing is served under this path."""


def method_not_allowed() -> StatusError:
    """Build the 405."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, {})


@dataclass(slots=True)
class Handlers:
    """Serves requests for stored resources from a registry.

    Attributes:
        registry: all writes and single reads go through it.
        authorizer: says whether an apply may create what is missing.
        encoder: encodes each version of an object once.
        lister: reads pages.
        rng: gives watches without a timeout theirs.
    """

    registry: Registry
    authorizer: Authorizer
    encoder: Encoder
    lister: Lister
    rng: random.Random

    def handle(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        """Serve one request for objects of a kind or their status.

        Raises:
            StatusError: whatever the API server would refuse it with.
            NoSuchPath: when the resource has no such subresource.
        """
        if target.subresource and target.subresource not in resource.subresources:
            raise NoSuchPath
        if target.verb not in resource.verbs or not _fits(target):
            raise method_not_allowed()
        verbs: dict[str, _Handler] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        return verbs[target.verb](request, target, resource, user)

    # Reading

    def object(self, shape: Shape, resource: Resource, obj: Object, status: int = 200) -> Response:
        """Answer with one object."""
        if resource is NEW_EVENTS:
            obj = newevents.shown(obj)
        now = self.registry.clock.now()
        return negotiation.object_answer(shape, resource, obj, now, status)

    def _get(self, request: Request, target: Target, resource: Resource, _user: User) -> Answer:
        shape = shape_of(request)
        version = parse_version(request.query.get("resourceVersion", ""))
        current = self.registry.store.version
        if version > current:
            raise too_large(version, current)
        found = self.registry.get(_stored(resource), target.namespace, target.name)
        return self.object(shape, resource, found)

    def _list(self, request: Request, target: Target, resource: Resource, _user: User) -> Answer:
        shape = shape_of(request)
        options = parse_options(resource, request)
        page = self.lister.page(_stored(resource), target.namespace or None, options)
        return self._objects(shape, resource, page.objects, page.list_meta)

    def _objects(
        self, shape: Shape, resource: Resource, objects: list[Object], list_meta: Object
    ) -> Response:
        if resource is NEW_EVENTS:
            objects = [newevents.shown(obj) for obj in objects]
        now = self.registry.clock.now()
        return negotiation.list_answer(self.encoder, shape, resource, objects, list_meta, now)

    def _watch(self, request: Request, target: Target, resource: Resource, _user: User) -> Answer:
        shape = shape_of(request)
        options = parse_options(resource, request)
        if target.name:
            options = _only(options, target.name)
        convert = negotiation.event_converter(shape, resource, self.registry.clock.now)
        if resource is NEW_EVENTS and convert is None:
            convert = newevents.shown
        timeout = request.number("timeoutSeconds") or MIN_WATCH * (1 + self.rng.random())
        return Watch(
            self.registry.store,
            self.registry.clock,
            self.encoder,
            _stored(resource),
            target.namespace or None,
            options,
            WatchOptions(
                float(timeout),
                bookmarks=request.flag("allowWatchBookmarks"),
                initial_events=request.flag("sendInitialEvents"),
            ),
            convert,
        )

    # Writing

    def _create(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        shape = shape_of(request)
        validation = FieldValidation.of(request)
        body = self._body(validation, resource, request)
        created = self.registry.create(
            _stored(resource),
            target.namespace,
            body,
            caller_of(request, user),
            dry_run=is_dry_run(request),
        )
        return _warned(self.object(shape, resource, created, CREATED), validation)

    def _body(self, validation: FieldValidation, resource: Resource, request: Request) -> Object:
        body = validation.object(resource, request)
        return newevents.stored(body) if resource is NEW_EVENTS else body

    def _update(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        shape = shape_of(request)
        validation = FieldValidation.of(request)
        body = self._body(validation, resource, request)
        key = (target.namespace, target.name)
        stored, caller, dry_run = _stored(resource), caller_of(request, user), is_dry_run(request)
        missing = self.registry.store.get(stored, key) is None
        if missing and resource.plural in _CREATED_BY_UPDATE and not target.subresource:
            _refuse_uid(stored, target, body)
            created = self.registry.create(
                stored, target.namespace, _without_version(body), caller, dry_run=dry_run
            )
            return _warned(self.object(shape, resource, created, CREATED), validation)
        updated = self.registry.update(
            stored, *key, body, caller, subresource=target.subresource, dry_run=dry_run
        )
        return _warned(self.object(shape, resource, updated), validation)

    def _patch(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        shape = shape_of(request)
        patch_type = _patch_type(request)
        check_patch_options(request, patch_type)
        validation = FieldValidation.of(request)
        stored = _stored(resource)
        missing = self.registry.store.get(stored, (target.namespace, target.name)) is None
        creates = missing and patch_type is PatchType.APPLY and not target.subresource
        if creates:
            self.authorizer.require(user, _create_attributes(target, resource))
        patch = patch_body(request, patch_type)
        patched = self.registry.patch(
            stored,
            target.namespace,
            target.name,
            patch,
            patch_type,
            caller_of(request, user),
            subresource=target.subresource,
            force=request.flag("force"),
            dry_run=is_dry_run(request),
            decode=lambda obj, old: validation.patched(stored, obj, old, patch, patch_type),
        )
        status = CREATED if creates else 200
        return _warned(self.object(shape, resource, patched, status), validation)

    # Deleting

    def _delete(self, request: Request, target: Target, resource: Resource, user: User) -> Answer:
        shape = shape_of(request)
        options, dry_run = delete_options(request)
        obj, gone = self.registry.delete(
            _stored(resource),
            target.namespace,
            target.name,
            caller_of(request, user),
            options,
            dry_run=dry_run,
        )
        if gone and resource.plural not in _RETURNED_WHEN_DELETED:
            return Response(200, status_body(200, details=_details(resource, obj)))
        in_foreground = not gone and options.propagation == "Foreground"
        return self.object(shape, resource, obj, ACCEPTED if in_foreground else 200)

    def _delete_collection(
        self, request: Request, target: Target, resource: Resource, user: User
    ) -> Answer:
        shape = shape_of(request)
        options, dry_run = delete_options(request)
        wanted = parse_options(resource, request)
        stored = _stored(resource)
        page = self.lister.page(stored, target.namespace or None, wanted)
        caller = caller_of(request, user)
        for obj in page.objects:
            metadata = obj["metadata"]
            namespace = metadata.get("namespace", "")
            self.registry.delete(
                stored, namespace, metadata["name"], caller, options, dry_run=dry_run
            )
        return self._objects(shape, resource, page.objects, page.list_meta)


_Handler = Callable[[Request, Target, Resource, User], Answer]


def _fits(target: Target) -> bool:
    """Whether the verb is for one object and there is one, or for many and there is none."""
    if target.verb == "watch":
        return True
    return bool(target.name) is (target.verb in ("get", "update", "patch", "delete"))


def _stored(resource: Resource) -> Resource:
    return EVENTS if resource is NEW_EVENTS else resource


def _only(options: Options, name: str) -> Options:
    term = FieldTerm("metadata.name", name, equal=True)
    fields = FieldSelector((*options.fields.terms, term))
    return replace(options, fields=fields)


def _warned(response: Response, validation: FieldValidation) -> Response:
    if validation.warnings:
        texts = [text.replace("\\", "\\\\").replace('"', '\\"') for text in validation.warnings]
        response.headers["Warning"] = ", ".join(f'299 - "{text}"' for text in texts)
    return response


def _patch_type(request: Request) -> PatchType:
    check_media_type(request.media_type, _PATCH_TYPES)
    return _PATCH_TYPES[request.media_type]


def _create_attributes(target: Target, resource: Resource) -> Attributes:
    return Attributes("create", resource.group, resource.plural, "", target.namespace, target.name)


def _refuse_uid(resource: Resource, target: Target, body: Object) -> None:
    """Refuse to create what the sender takes for an object that exists."""
    uid = (body.get("metadata") or {}).get("uid")
    if uid:
        place = {"namespace": target.namespace, "name": target.name, "uid": ""}
        raise refusals.wrong_uid(resource, {"metadata": place}, uid)


def _without_version(body: Object) -> Object:
    metadata = body.get("metadata") or {}
    kept = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    return {**body, "metadata": kept}


def _details(resource: Resource, obj: Object) -> Object:
    details = {"name": obj["metadata"]["name"], "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    return {**details, "uid": obj["metadata"]["uid"]}
