"""The history of a DaemonSet's templates as ControllerRevisions (behaviour.md section 4).

`RevisionHistory` finds or makes the revision of the current template and throws old ones away.
The hash is our own (FNV-1a over the sorted JSON of the template, in the letters that Kubernetes
uses); Go's deep print of its structs cannot be reproduced and nothing may depend on its value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from rollout.fleet.objects import HASH_LABEL
from rollout.fleet.revisions import canonical_json
from rollout.sim.controllers.podtemplate import controller_reference
from rollout.sim.errors import StatusError
from rollout.sim.registry import Caller, DeleteOptions, Registry
from rollout.sim.resources import CONTROLLER_REVISIONS, DAEMONSETS, PODS
from rollout.sim.store import Object

DEFAULT_HISTORY_LIMIT: Final = 10
_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"  # apimachinery/pkg/util/rand
_FNV_OFFSET: Final = 2166136261
_FNV_PRIME: Final = 16777619
_NOT_FOUND: Final = 404


class HistoryError(Exception):
    """The revisions could not be brought in order; the sync is tried again."""


@dataclass(frozen=True, slots=True)
class History:
    """The revision of the current template, and the others."""

    current: Object
    old: tuple[Object, ...]

    @property
    def hash(self) -> str:
        """What up-to-date pods carry in their hash label."""
        return str(self.current["metadata"]["labels"][HASH_LABEL])


def template_patch(template: Object) -> Object:
    """Return what a revision stores of a template: a patch that replaces all of it (4.1)."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_hash(template: Object, collisions: int | None) -> str:
    """Return the hash of a template; the collision count makes another one of it (4.2)."""
    data = canonical_json(template)
    if collisions is not None:
        data += collisions.to_bytes(8, "little")
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return safe_encode(str(value))


def safe_encode(text: str) -> str:
    """Return the text in letters and digits that cannot form a bad word."""
    return "".join(_SAFE[ord(letter) % len(_SAFE)] for letter in text)


def to_truncate(old: Iterable[Object], live_hashes: set[str], limit: int) -> list[Object]:
    """Return the old revisions to delete: lowest numbers first, live ones never (4.3)."""
    ordered = sorted(old, key=lambda item: int(item["revision"]))
    excess = len(ordered) - limit
    doomed: list[Object] = []
    for item in ordered:
        if len(doomed) >= excess:
            break
        if item["metadata"]["labels"].get(HASH_LABEL) not in live_hashes:
            doomed.append(item)
    return doomed


class RevisionHistory:
    """Keeps the revisions of DaemonSets in order, through the registry."""

    def __init__(self, registry: Registry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller

    def construct(
        self, daemon_set: Object, owned: Iterable[Object], pods: Iterable[tuple[str, str]]
    ) -> History:
        """Return the history with the current template in it, made or renumbered if need be.

        Args:
            daemon_set: the DaemonSet as cached.
            owned: the revisions it controls, as cached.
            pods: (name, hash) of its pods, for relabelling after a deduplication.

        Raises:
            HistoryError: when the sync has to be tried again.
        """
        data = template_patch(daemon_set["spec"]["template"])
        labelled = [self._with_hash_label(item) for item in owned]
        labelled.sort(key=lambda item: (int(item["revision"]), item["metadata"]["name"]))
        current = [item for item in labelled if item.get("data") == data]
        old = tuple(item for item in labelled if item.get("data") != data)
        highest = max((int(item["revision"]) for item in old), default=0) + 1
        if not current:
            return History(self._snapshot(daemon_set, data, highest), old)
        keep = current[-1]
        if len(current) > 1:
            self._deduplicate(daemon_set, keep, current[:-1], pods)
        if int(keep["revision"]) < highest:
            keep = self._change(keep, {"revision": highest})
        return History(keep, old)

    def truncate(
        self, daemon_set: Object, history: History, live_hashes: Callable[[], set[str]]
    ) -> None:
        """Delete what exceeds `revisionHistoryLimit` (4.3).

        Args:
            daemon_set: the DaemonSet as cached.
            history: its revisions.
            live_hashes: says which hashes its pods carry; asked only when something is too much.
        """
        limit = daemon_set["spec"].get("revisionHistoryLimit", DEFAULT_HISTORY_LIMIT)
        if len(history.old) <= limit:
            return
        live = live_hashes() | {history.hash}
        for item in to_truncate(history.old, live, limit):
            self._delete(item)

    def _with_hash_label(self, revision: Object) -> Object:
        meta = revision["metadata"]
        labels = meta.get("labels") or {}
        if HASH_LABEL in labels:
            return revision
        return self._change(
            revision, {"metadata": {**meta, "labels": {**labels, HASH_LABEL: meta["name"]}}}
        )

    def _change(self, revision: Object, changes: Object) -> Object:
        meta = revision["metadata"]
        try:
            return self._registry.update(
                CONTROLLER_REVISIONS,
                meta["namespace"],
                meta["name"],
                {**revision, **changes},
                self._caller,
            )
        except StatusError as error:
            raise HistoryError(error.message) from None

    def _delete(self, revision: Object) -> None:
        meta = revision["metadata"]
        try:
            self._registry.delete(
                CONTROLLER_REVISIONS, meta["namespace"], meta["name"], self._caller, DeleteOptions()
            )
        except StatusError as error:
            if error.code != _NOT_FOUND:
                raise HistoryError(error.message) from None

    def _snapshot(self, daemon_set: Object, data: Object, number: int) -> Object:
        """Store the current template as a new revision (4.1)."""
        meta = daemon_set["metadata"]
        hash_ = template_hash(
            daemon_set["spec"]["template"], daemon_set.get("status", {}).get("collisionCount")
        )
        template_meta: dict[str, Any] = daemon_set["spec"]["template"].get("metadata") or {}
        body: Object = {
            "metadata": {
                "name": f"{meta['name']}-{hash_}",
                "labels": {**(template_meta.get("labels") or {}), HASH_LABEL: hash_},
                "ownerReferences": [
                    controller_reference(daemon_set, DAEMONSETS.api_version, DAEMONSETS.kind)
                ],
            },
            "data": data,
            "revision": number,
        }
        if meta.get("annotations"):
            body["metadata"]["annotations"] = meta["annotations"]
        try:
            return self._registry.create(
                CONTROLLER_REVISIONS, meta["namespace"], body, self._caller
            )
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise HistoryError(error.message) from None
        return self._resolve_collision(daemon_set, body)

    def _resolve_collision(self, daemon_set: Object, body: Object) -> Object:
        """Take the revision of that name if it is ours; else count a collision (4.2)."""
        meta = daemon_set["metadata"]
        existing = self._registry.get(
            CONTROLLER_REVISIONS, meta["namespace"], body["metadata"]["name"]
        )
        if existing.get("data") == body["data"]:
            return existing
        live = self._registry.get(DAEMONSETS, meta["namespace"], meta["name"])
        counted = daemon_set.get("status", {}).get("collisionCount") or 0
        if counted != (live.get("status", {}).get("collisionCount") or 0):
            raise HistoryError("found a stale collision count of the DaemonSet")
        status = {**live["status"], "collisionCount": counted + 1}
        self._registry.update_status(DAEMONSETS, live, status, self._caller)
        raise HistoryError(f"hash collision: {body['metadata']['name']} has another template")

    def _deduplicate(
        self,
        daemon_set: Object,
        keep: Object,
        doubles: Iterable[Object],
        pods: Iterable[tuple[str, str]],
    ) -> None:
        """Relabel **all** pods to the kept revision, then delete the others (4.2) [V44]."""
        hash_ = keep["metadata"]["labels"][HASH_LABEL]
        namespace = daemon_set["metadata"]["namespace"]
        for name, pod_hash in pods:
            if pod_hash != hash_:
                self._relabel(namespace, name, hash_)
        for double in doubles:
            self._delete(double)

    def _relabel(self, namespace: str, name: str, hash_: str) -> None:
        try:
            pod = self._registry.get(PODS, namespace, name)
            meta = pod["metadata"]
            labels = {**(meta.get("labels") or {}), HASH_LABEL: hash_}
            changed = {**pod, "metadata": {**meta, "labels": labels}}
            self._registry.update(PODS, namespace, name, changed, self._caller)
        except StatusError as error:
            raise HistoryError(error.message) from None
