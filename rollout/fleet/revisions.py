"""Which revision a pod is of, and which one the DaemonSet stands at (behaviour.md 3.3 and 4).

Labels are the only evidence: a pod is up to date when its hash label names the current revision
**or** its template generation is the DaemonSet's. A hash alone gives wrong answers after some
control-plane upgrades.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from rollout.fleet.objects import (
    HASH_LABEL,
    TEMPLATE_GENERATION_LABEL,
    ControllerRevision,
    DaemonSet,
    JsonObject,
)

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_json(value: object) -> bytes:
    """Return JSON with sorted keys and no spaces: the same value, the same bytes."""
    return _ENCODER.encode(value)


def template_digest(template: Mapping[str, object]) -> str:
    """Return a short digest of a pod template that ignores what serialisations differ in.

    `creationTimestamp: null` came and went between Kubernetes versions (behaviour.md 3.3), and
    stored revisions carry `$patch`; neither is part of the template's meaning.
    """
    plain = {key: value for key, value in template.items() if key != "$patch"}
    metadata = plain.get("metadata")
    if isinstance(metadata, Mapping):
        plain["metadata"] = {
            k: v for k, v in metadata.items() if not (k == "creationTimestamp" and v is None)
        }
    return hashlib.sha256(canonical_json(plain)).hexdigest()[:16]


def owned_revisions(
    daemon_set: DaemonSet, revisions: Iterable[ControllerRevision]
) -> tuple[ControllerRevision, ...]:
    """Return the revisions that this very DaemonSet controls, lowest number first."""
    uid = daemon_set.metadata.uid
    mine = (item for item in revisions if item.metadata.controller_uid == uid)
    return tuple(sorted(mine, key=lambda item: item.revision))


def current_revision(owned: Sequence[ControllerRevision]) -> ControllerRevision | None:
    """Return the one with the highest number; the controller keeps it strictly highest (4.1)."""
    return owned[-1] if owned else None


def revision_hash(revision: ControllerRevision) -> str:
    """Return the value that `controller-revision-hash` has on its pods."""
    return revision.metadata.labels.get(HASH_LABEL, "")


def is_up_to_date(labels: Mapping[str, str], hash_: str, template_generation: str | None) -> bool:
    """Apply the OR rule to a pod's labels (behaviour.md 3.3).

    Args:
        labels: the pod's labels.
        hash_: the current revision's hash; "" when it is not known.
        template_generation: the DaemonSet's template generation; None when it is not known.
    """
    if hash_ and labels.get(HASH_LABEL) == hash_:
        return True
    return (
        template_generation is not None
        and labels.get(TEMPLATE_GENERATION_LABEL) == template_generation
    )


def previous_revision(
    owned: Sequence[ControllerRevision], template: JsonObject
) -> ControllerRevision | None:
    """Return the newest revision whose template differs from `template`: where undo goes."""
    digest = template_digest(template)
    for revision in reversed(owned):
        if template_digest(revision.template) != digest:
            return revision
    return None
