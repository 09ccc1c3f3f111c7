"""Who else manages the fields that a plan changes: named in the plan, not met at run time.

Source: `metadata.managedFields` (FieldsV1 of server-side apply). A Helm release or a GitOps
controller that owns a field will set it back at its next sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from rollout.fleet.objects import JsonObject

# Managers that write on behalf of the cluster, or are we.
_OURS = frozenset({"rollout", "kube-controller-manager"})
# kubectl's verbs that are said once; `kubectl apply` (client-side or server-side) is said again.
_BY_HAND = frozenset(
    f"kubectl-{verb}"
    for verb in ("annotate", "create", "edit", "label", "patch", "replace", "rollout", "run", "set")
)


def foreign_owners(raw: JsonObject, paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the managers of fields that will change, with the fields of each.

    Args:
        raw: the live object with its `managedFields`.
        paths: JSON pointers into the object (`/spec/template/spec/containers/0/image`).

    Returns:
        By manager: the fields in dotted form (`spec.template.spec.containers[agent].image`).
    """
    pointers = [_steps(path) for path in paths]
    owners: dict[str, list[str]] = {}
    for entry in raw["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager") or "unknown")
        if manager in _OURS or manager in _BY_HAND or entry.get("subresource"):
            continue
        for steps in pointers:
            if _owns(entry.get("fieldsV1") or {}, raw, steps):
                owners.setdefault(manager, []).append(_dotted(raw, steps))
    return {manager: tuple(dict.fromkeys(fields)) for manager, fields in sorted(owners.items())}


def _steps(pointer: str) -> list[str]:
    return [s.replace("~1", "/").replace("~0", "~") for s in pointer.split("/")[1:]]


def _owns(fields: JsonObject, value: Any, steps: Sequence[str]) -> bool:  # noqa: ANN401 - any JSON
    """Whether the field set holds the path, or a leaf above it (an atomic field)."""
    if not steps:
        return True
    head, rest = steps[0], steps[1:]
    if isinstance(value, list):
        return _owns_item(fields, value, head, rest)
    child = fields.get(f"f:{head}")
    if child is None:
        return False
    below = value.get(head) if isinstance(value, dict) else None
    return not child or _owns(child, below, rest)


def _owns_item(fields: JsonObject, items: list[Any], head: str, rest: Sequence[str]) -> bool:
    index = int(head) if head.isdigit() else len(items)
    item = items[index] if index < len(items) else None
    for key, child in fields.items():
        if key.startswith("k:") and isinstance(item, dict):
            wanted = msgspec.json.decode(key[2:], type=dict)
            if all(item.get(name) == value for name, value in wanted.items()):
                return _owns(child, item, rest)
    return False


def _dotted(value: Any, steps: Sequence[str]) -> str:  # noqa: ANN401 - plain data
    text = ""
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdigit() and int(step) < len(value) else None
            name = value.get("name", step) if isinstance(value, dict) else step
            text += f"[{name}]"
        else:
            value = value.get(step) if isinstance(value, dict) else None
            text += f".{step}"
    return text.removeprefix(".")
