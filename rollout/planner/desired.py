"""What a DaemonSet shall become: the full target template and the strategy it ends with.

Every way to say the target (manifest, set, revision, restart, live) comes down to one thing: a
whole template that replaces the one that is there, as `kubectl rollout undo` does it. Nothing
here talks; the caller may let the server complete the result by a dry run.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace

from rollout.fleet import marks
from rollout.fleet.objects import TEMPLATE_GENERATION_ANNOTATION, JsonObject
from rollout.fleet.snapshot import Fleet
from rollout.planner.fieldpath import set_field
from rollout.spec import DaemonSetItem, LoadedSpec, SetTarget

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
_STRATEGY_DEFAULT: JsonObject = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
}
# Annotations that the server, other clients about themselves, or we write: nobody's wish.
NOT_DESIRED = frozenset(
    {
        TEMPLATE_GENERATION_ANNOTATION,
        "kubectl.kubernetes.io/last-applied-configuration",
        *marks.ALL,
    }
)


@dataclass(frozen=True, slots=True)
class Desired:
    """The object as it shall be in the end, as far as the user says anything about it."""

    kind: str  # manifest | set | revision | restart | live | way back
    template: JsonObject
    strategy: JsonObject
    fields: JsonObject  # other fields of `spec` that change (minReadySeconds, ...)
    labels: dict[str, str]  # metadata labels that change
    annotations: dict[str, str]
    completed: bool = False  # the server has filled in its defaults

    def patch(self) -> JsonObject:
        """Return the strategic merge patch that makes the object so, all in one."""
        metadata: JsonObject = {}
        if self.labels:
            metadata["labels"] = self.labels
        if self.annotations:
            metadata["annotations"] = self.annotations
        spec = {
            **self.fields,
            "template": {**self.template, "$patch": "replace"},
            "updateStrategy": {**self.strategy, "$patch": "replace"},
        }
        return {"metadata": metadata, "spec": spec}

    def with_defaults_of(self, completed: JsonObject) -> Desired:
        """Return the same with template and strategy as the server completed them."""
        spec = completed["spec"]
        return replace(
            self,
            template=spec["template"],
            strategy=spec.get("updateStrategy") or _STRATEGY_DEFAULT,
            completed=True,
        )


def desired_state(
    loaded: LoadedSpec, index: int, item: DaemonSetItem, fleet: Fleet, restarted_at: str
) -> Desired:
    """Work out the target of one DaemonSet.

    Args:
        loaded: the spec, for messages and manifests.
        index: position of the DaemonSet in the spec.
        item: the DaemonSet's part of the spec.
        fleet: what runs now.
        restarted_at: time stamp that a restart writes into the template.

    Raises:
        DocumentError: when the target names what is not there.
    """
    live = fleet.daemon_set.spec
    at = ("daemonSets", index, "target")
    own = Desired(
        kind=item.target.kind,
        template=live.template,
        strategy=fleet.owner_strategy or _STRATEGY_DEFAULT,
        fields={},
        labels={},
        annotations={},
    )
    match item.target.kind:
        case "manifest":
            return _from_manifest(loaded, (*at, "manifest"), loaded.manifests[item.name], fleet)
        case "set":
            assert item.target.set is not None
            return replace(
                own, template=_apply_set(loaded, (*at, "set"), item.target.set, live.template)
            )
        case "revision":
            return replace(own, template=_of_revision(loaded, (*at, "revision"), item, fleet))
        case "restart":
            template = deepcopy(live.template)
            metadata = template.setdefault("metadata", {})
            metadata.setdefault("annotations", {})[RESTARTED_AT] = restarted_at
            return replace(own, template=template)
    return own


def _from_manifest(
    loaded: LoadedSpec, at: tuple[str | int, ...], manifest: JsonObject, fleet: Fleet
) -> Desired:
    spec: JsonObject = manifest["spec"]
    selector = spec.get("selector")
    if selector is not None and selector != fleet.raw["spec"]["selector"]:
        raise loaded.error(at, "the manifest has another spec.selector, which cannot be changed")
    live = fleet.raw["spec"]
    fields = {
        key: spec.get(key, default)
        for key, default in (("minReadySeconds", 0), ("revisionHistoryLimit", 10))
        if spec.get(key, default) != live.get(key, default)
    }
    metadata = manifest.get("metadata") or {}
    have = fleet.raw["metadata"]
    return Desired(
        kind="manifest",
        template=spec["template"],
        strategy=_complete_strategy(spec.get("updateStrategy") or {}),
        fields=fields,
        labels=_changed(metadata.get("labels"), have.get("labels")),
        annotations=_changed(metadata.get("annotations"), have.get("annotations")),
    )


def _complete_strategy(strategy: JsonObject) -> JsonObject:
    """Fill in what the server defaults (behaviour.md 2.6): nothing under OnDelete."""
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return strategy
    rolling = strategy.get("rollingUpdate") or {}
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {
            "maxUnavailable": rolling.get("maxUnavailable", 1),
            "maxSurge": rolling.get("maxSurge", 0),
        },
    }


def _changed(wanted: dict[str, str] | None, have: dict[str, str] | None) -> dict[str, str]:
    present = have or {}
    return {
        key: value
        for key, value in (wanted or {}).items()
        if key not in NOT_DESIRED and present.get(key) != value
    }


def _of_revision(
    loaded: LoadedSpec, at: tuple[str | int, ...], item: DaemonSetItem, fleet: Fleet
) -> JsonObject:
    number = item.target.revision
    for revision in fleet.revisions:
        if revision.revision == number:
            return revision.template
    known = ", ".join(str(r.revision) for r in fleet.revisions) or "none"
    raise loaded.error(at, f"DaemonSet {item.name} has no revision {number}; known are {known}")


def _apply_set(
    loaded: LoadedSpec, at: tuple[str | int, ...], target: SetTarget, template: JsonObject
) -> JsonObject:
    result = deepcopy(template)
    spec = result.setdefault("spec", {})
    containers = {
        c["name"]: c for kind in ("initContainers", "containers") for c in spec.get(kind) or ()
    }
    for field, wanted in (("image", target.image), ("env", target.env)):
        for name in wanted:
            if name not in containers:
                known = ", ".join(containers)
                raise loaded.error(
                    (*at, field, name), f"the template has no container '{name}'; it has {known}"
                )
    for name, image in target.image.items():
        containers[name]["image"] = image
    for name, variables in target.env.items():
        _set_env(containers[name], variables)
    for path, value in target.field.items():
        try:
            set_field(result, path, value)
        except ValueError as error:
            raise loaded.error((*at, "field", path), f"cannot be set: {error}") from None
    return result


def _set_env(container: JsonObject, variables: dict[str, str | None]) -> None:
    """Replace variables where they stand, since later ones may refer to earlier ones."""
    left = dict(variables)
    env: list[JsonObject] = []
    for entry in container.get("env") or ():
        if entry["name"] not in left:
            env.append(entry)
            continue
        value = left.pop(entry["name"])
        if value is not None:
            env.append({"name": entry["name"], "value": value})
    env.extend({"name": name, "value": value} for name, value in left.items() if value is not None)
    container.pop("env", None)
    if env:
        container["env"] = env
