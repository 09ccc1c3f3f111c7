"""Every write to the cluster: the generic registry of the API server, without HTTP.

Users' requests (through `api`), controllers and kubelets all write here, so the same rules hold
for all of them: names and uids, defaults, admission, validation, optimistic locking, field
managers, grace periods and finalizers. Nothing here knows of time passing: what follows from a
write is the controllers' business.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from rollout.sim import (
    admission,
    defaults,
    deletion,
    managedfields,
    ownmetadata,
    patches,
    podactions,
    refusals,
    strategies,
    timestamps,
    validation,
)
from rollout.sim.admission import Admission
from rollout.sim.bootstrap import first_objects
from rollout.sim.clock import Clock
from rollout.sim.deletion import DeleteOptions
from rollout.sim.errors import StatusError
from rollout.sim.refusals import not_found
from rollout.sim.resources import NAMESPACES, PODS, Resource
from rollout.sim.store import Key, Object, Store

__all__ = ["Caller", "DeleteOptions", "PatchType", "Registry", "not_found"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; `manager` is the field manager under which writes are tracked."""

    user: str
    groups: tuple[str, ...] = ()
    manager: str = "unknown"


SERVER: Final = Caller("system:apiserver", ("system:masters",), "kube-apiserver")


class PatchType(Enum):
    """The four patch formats by content type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


Decode = Callable[[Object, Object | None], Object]
"""Brings a patched object (first) into the server's form; the second is what it was before."""


DEFAULT_OPTIONS: Final = DeleteOptions()


class Registry:
    """Create, read, change and delete objects under the rules of the API server.

    Args:
        store: where the objects live.
        clock: gives creation and deletion times.
        rng: gives uids and the suffixes of generated names.
        admission_rules: which admission plugins run.
        track_managers: whether `metadata.managedFields` is kept; off for large virtual runs.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: random.Random,
        *,
        admission_rules: Admission | None = None,
        track_managers: bool = True,
    ) -> None:
        self.store = store
        self.clock = clock
        self.rng = rng
        self.admission = admission_rules or Admission()
        self.track_managers = track_managers
        if not store.count(NAMESPACES):
            for resource, body in first_objects():
                self.create(resource, "", body, SERVER)

    # Reading

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return the object.

        Raises:
            StatusError: 404 when there is none.
        """
        found = self.store.get(resource, (namespace, name))
        if found is None:
            raise not_found(resource, name)
        return found

    # Creating

    def create(
        self,
        resource: Resource,
        namespace: str,
        body: Object,
        caller: Caller,
        *,
        dry_run: bool = False,
    ) -> Object:
        """Store a new object and return it as stored.

        Raises:
            StatusError: 404 or 403 for the namespace, 409 when the name is taken, 422 when the
                object is invalid, 500 when it carries a resource version.
        """
        obj = self._complete(resource, namespace, body)
        if self.track_managers:
            obj = self._tracked(resource, None, obj, caller, "")
        return self._admit(resource, namespace, obj, dry_run=dry_run)

    def _admit(self, resource: Resource, namespace: str, obj: Object, *, dry_run: bool) -> Object:
        """Let the plugins change the object (nobody owns what they add), validate and store."""
        name = obj["metadata"]["name"]
        obj = admission.admit_create(self.store, self.admission, resource, obj)
        if causes := validation.validate_create(resource, obj):
            raise validation.invalid(resource, name, causes)
        if self.store.get(resource, (namespace, name)) is not None:
            raise refusals.already_exists(resource, name)
        return obj if dry_run else self.store.put(resource, (namespace, name), obj)

    def _complete(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Fill in what the server decides."""
        if (body.get("metadata") or {}).get("resourceVersion"):
            raise StatusError(
                500, "InternalError", "resourceVersion should not be set on objects to be created"
            )
        obj = self._named(resource, namespace, body)
        self._check_names(resource, body.get("metadata") or {}, namespace, "")
        if resource.namespaced:
            admission.check_namespace(self.store, resource, namespace, obj["metadata"]["name"])
        return defaults.with_defaults(resource, strategies.prepare_create(resource, obj))

    def _named(self, resource: Resource, namespace: str, body: Object) -> Object:
        metadata = body.get("metadata") or {}
        name = metadata.get("name") or ""
        if not name and metadata.get("generateName"):
            name = self.generate_name(resource, namespace, metadata["generateName"])
        own: Object = {"name": name}
        if resource.namespaced:
            own["namespace"] = namespace
        own["uid"] = self.new_uid()
        own["creationTimestamp"] = timestamps.rfc3339(self.clock.now())
        return ownmetadata.for_create(resource, body, own)

    def generate_name(self, resource: Resource, namespace: str, base: str) -> str:
        """Return a free name for a `generateName`."""
        store = self.store
        return ownmetadata.generate_name(
            self.rng, base, lambda name: store.get(resource, (namespace, name)) is not None
        )

    def new_uid(self) -> str:
        """Return the next uid of this cluster's chance."""
        return ownmetadata.new_uid(self.rng)

    # Changing

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
        """Replace an object (PUT); a write that changes nothing keeps the version.

        Raises:
            StatusError: 404; 400 when the body names another object; 409 when its resource
                version or uid is not the stored one; 422 when it is invalid.
        """
        old = self.get(resource, namespace, name)
        metadata = body.get("metadata") or {}
        self._check_names(resource, metadata, namespace, name)
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise refusals.wrong_uid(resource, old, metadata["uid"])
        if not metadata.get("resourceVersion") and (
            resource.plural in strategies.NEEDS_VERSION_TO_UPDATE
        ):
            raise refusals.needs_version(resource, name)
        new = {**body, "metadata": metadata}
        return self._write(resource, old, new, caller, subresource=subresource, dry_run=dry_run)

    def update_status(
        self, resource: Resource, live: Object, status: Object, caller: Caller
    ) -> Object:
        """Replace the status of an object that was read as `live`.

        Raises:
            StatusError: as `update` does.
        """
        namespace, name = _key(live)
        body = {**live, "status": status}
        return self.update(resource, namespace, name, body, caller, subresource="status")

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
        """Change an object by a patch; server-side apply creates it when it is missing.

        Args:
            resource: what it is.
            namespace: where it is, "" for cluster scope.
            name: its name.
            patch: the patch, parsed.
            patch_type: its format.
            caller: who asks.
            subresource: `status`, or "" for the object itself.
            force: take fields over from other appliers.
            dry_run: change nothing.
            decode: brings the result into the server's form; needed where the patch comes from
                a client that may have made mistakes.

        Raises:
            StatusError: 404; 409 on a stale version or on conflicts between field managers; 422
                when the patch does not fit or the result is invalid.
        """
        if patch_type is PatchType.APPLY:
            return self._apply(
                resource,
                (namespace, name),
                patch,
                caller,
                subresource=subresource,
                force=force,
                dry_run=dry_run,
                decode=decode or _as_it_is,
            )
        old = self.get(resource, namespace, name)
        new = (decode or _as_it_is)(_patched(resource, old, patch, patch_type), old)
        self._check_names(resource, new["metadata"], namespace, name)
        return self._write(resource, old, new, caller, subresource=subresource, dry_run=dry_run)

    def _apply(
        self,
        resource: Resource,
        key: Key,
        config: Object,
        caller: Caller,
        *,
        subresource: str,
        force: bool,
        dry_run: bool,
        decode: Decode,
    ) -> Object:
        namespace, name = key
        self._check_names(resource, config.get("metadata") or {}, namespace, name)
        old = self.store.get(resource, key)
        if old is None and subresource:
            raise not_found(resource, name)
        now = timestamps.rfc3339(self.clock.now())
        merged = managedfields.apply(
            resource,
            old,
            config,
            manager=caller.manager,
            force=force,
            now=now,
            subresource=subresource,
        )
        merged = decode(merged, old)
        if old is None:
            return self._create_applied(resource, key, merged, dry_run=dry_run)
        return self._write(
            resource, old, merged, caller, subresource=subresource, dry_run=dry_run, applied=True
        )

    def _create_applied(
        self, resource: Resource, key: Key, merged: Object, *, dry_run: bool
    ) -> Object:
        metadata = {**merged["metadata"], "name": key[1]}
        managers = metadata.pop("managedFields", None)
        obj = self._complete(resource, key[0], {**merged, "metadata": metadata})
        if self.track_managers and managers:
            obj = {**obj, "metadata": {**obj["metadata"], "managedFields": managers}}
        return self._admit(resource, key[0], obj, dry_run=dry_run)

    def _check_names(self, resource: Resource, metadata: Object, namespace: str, name: str) -> None:
        given = metadata.get("name")
        if name and given not in (None, "", name):
            raise refusals.other_name(given, name)
        given = metadata.get("namespace")
        if resource.namespaced and given not in (None, "", namespace):
            raise refusals.other_namespace()

    def _write(
        self,
        resource: Resource,
        old: Object,
        new: Object,
        caller: Caller,
        *,
        subresource: str,
        dry_run: bool,
        applied: bool = False,
    ) -> Object:
        """Store what an update makes of the object, under the rules of the endpoint."""
        name = old["metadata"]["name"]
        version = new["metadata"].get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise refusals.modified(resource, name)
        managers = new["metadata"].get("managedFields") if applied else None
        new = ownmetadata.for_update(resource, new, old)
        new = strategies.prepare_update(resource, new, old, subresource)
        new = defaults.with_defaults(resource, new)
        if causes := validation.validate_update(resource, new, old, subresource):
            raise validation.invalid(resource, name, causes)
        if new == old and not applied:
            return old
        if applied and self.track_managers:
            new = ownmetadata.with_managers(new, managers)
        elif self.track_managers:
            new = self._tracked(resource, old, new, caller, subresource)
        if applied and new == old:
            return old
        return new if dry_run else self._store_update(resource, old, new)

    def _store_update(self, resource: Resource, old: Object, new: Object) -> Object:
        key = _key(old)
        metadata = new["metadata"]
        if "deletionTimestamp" in metadata and _may_go(metadata):
            if resource is NAMESPACES and new.get("spec", {}).get("finalizers"):
                return self.store.put(resource, key, new)
            return self.store.remove(resource, key, new)
        return self.store.put(resource, key, new)

    def _tracked(
        self, resource: Resource, old: Object | None, new: Object, caller: Caller, subresource: str
    ) -> Object:
        managers = managedfields.track_update(
            old,
            new,
            manager=caller.manager,
            api_version=resource.api_version,
            subresource=subresource,
            now=timestamps.rfc3339(self.clock.now()),
        )
        return ownmetadata.with_managers(new, managers)

    def bind(
        self,
        namespace: str,
        name: str,
        node: str,
        caller: Caller,  # noqa: ARG002 - every write says who asks; this one changes no manager
        *,
        dry_run: bool = False,
    ) -> None:
        """Bind a pod to a node, as a scheduler does.

        Raises:
            StatusError: 404; 409 when it is bound already or terminating.
        """
        pod = self.get(PODS, namespace, name)
        labels = admission.topology_labels(self.store, self.admission, node)
        bound = podactions.bound(pod, node, labels, self.clock.now())
        if not dry_run:
            self.store.put(PODS, (namespace, name), bound)

    # Deleting

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        caller: Caller,  # noqa: ARG002 - every write says who asks; deletes change no manager
        options: DeleteOptions = DEFAULT_OPTIONS,
        *,
        dry_run: bool = False,
    ) -> tuple[Object, bool]:
        """Delete an object, or start its end: grace period of a pod, finalizers.

        Returns:
            The object as it is now, and whether it is gone.

        Raises:
            StatusError: 404; 403 for a namespace that every cluster has; 409 when a
                precondition does not hold.
        """
        old = self.get(resource, namespace, name)
        admission.check_delete(resource, name)
        deletion.check_preconditions(resource, old, options)
        verdict = deletion.decide(resource, old, options, self.clock.now())
        current = verdict.object if verdict.object is not None else old
        if dry_run:
            return current, verdict.remove
        key = (namespace, name)
        if verdict.object is not None and verdict.object != old:
            current = self.store.put(resource, key, verdict.object)
        if verdict.remove:
            current = self.store.remove(resource, key, current)
        return current, verdict.remove


def _as_it_is(obj: Object, _old: Object | None) -> Object:
    return obj


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _may_go(metadata: Object) -> bool:
    return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds", 0)


def _patched(
    resource: Resource,
    old: Object,
    patch: Any,  # noqa: ANN401 - a JSON patch is a list, the others are objects
    patch_type: PatchType,
) -> Object:
    if patch_type is PatchType.JSON:
        return patches.json_patch(old, patch)
    if patch_type is PatchType.MERGE:
        return patches.merge_patch(old, patch)
    return patches.strategic_merge_patch(resource, old, patch)
