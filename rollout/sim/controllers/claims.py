"""Adopting orphans that a DaemonSet's selector fits, and releasing what it fits no more.

The rules of `controller_ref_manager.go`, for pods and revisions alike (behaviour.md 4.2, 8.3, 9).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rollout.sim.controllers.daemoncache import Tracked
from rollout.sim.controllers.decisions import daemon_pod
from rollout.sim.controllers.podtemplate import controller_reference
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, Registry
from rollout.sim.resources import CONTROLLER_REVISIONS, DAEMONSETS, PODS, Resource
from rollout.sim.store import Object

Change: TypeAlias = Callable[[list[Object]], list[Object]]

_GONE = (404, 422)


class ClaimError(Exception):
    """An adoption or release was refused; the sync is tried again."""


class Claims:
    """Settles who owns what, through the registry."""

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller

    def claim_pods(self, tracked: Tracked) -> None:
        """Release and adopt pods; the view shows the result at once.

        Raises:
            ClaimError: when the server refused.
        """
        for name, pod in tuple(tracked.to_release.items()):
            self._release(PODS, pod, tracked.uid)
            tracked.to_release.pop(name, None)
        for name, pod in tuple(tracked.adoptable.items()):
            adopted = self._adopt(PODS, pod, tracked)
            tracked.adoptable.pop(name, None)
            if adopted is not None:
                tracked.view.put_pod(daemon_pod(adopted))

    def claim_revisions(self, tracked: Tracked) -> None:
        """Release and adopt revisions.

        Raises:
            ClaimError: when the server refused.
        """
        for name, revision in tuple(tracked.revisions_to_release.items()):
            self._release(CONTROLLER_REVISIONS, revision, tracked.uid)
            tracked.revisions_to_release.pop(name, None)
        for name, revision in tuple(tracked.adoptable_revisions.items()):
            adopted = self._adopt(CONTROLLER_REVISIONS, revision, tracked)
            tracked.adoptable_revisions.pop(name, None)
            if adopted is not None:
                tracked.revisions[name] = adopted

    def _release(self, resource: Resource, obj: Object, owner_uid: str) -> None:
        def without(owners: list[Object]) -> list[Object]:
            return [owner for owner in owners if owner["uid"] != owner_uid]

        self._change_owners(resource, obj, without)

    def _adopt(self, resource: Resource, obj: Object, tracked: Tracked) -> Object | None:
        meta = tracked.object["metadata"]
        live = self._registry.store.get(DAEMONSETS, (meta["namespace"], meta["name"]))
        if live is None or live["metadata"]["uid"] != tracked.uid:
            raise ClaimError(f"original DaemonSet {tracked.key} is gone")
        if "deletionTimestamp" in live["metadata"]:
            raise ClaimError(f"DaemonSet {tracked.key} has just been deleted")
        owner = controller_reference(live, DAEMONSETS.api_version, DAEMONSETS.kind)
        return self._change_owners(resource, obj, lambda owners: [*owners, owner])

    def _change_owners(self, resource: Resource, obj: Object, change: Change) -> Object | None:
        meta = obj["metadata"]
        try:
            live = self._registry.get(resource, meta["namespace"], meta["name"])
            if live["metadata"]["uid"] != meta["uid"]:
                return None
            owners = change(live["metadata"].get("ownerReferences") or [])
            metadata = {k: v for k, v in live["metadata"].items() if k != "ownerReferences"}
            if owners:
                metadata["ownerReferences"] = owners
            return self._registry.update(
                resource,
                meta["namespace"],
                meta["name"],
                {**live, "metadata": metadata},
                self._caller,
            )
        except StatusError as error:
            if error.code in _GONE:
                return None
            raise ClaimError(error.message) from None
