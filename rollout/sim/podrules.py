"""What the API server refuses in pod specs and templates, and in updates of pods.

Source of rules and wording: ValidatePodSpec and ValidatePodUpdate (pkg/apis/core/validation).
Objects are defaulted before they come here.
"""

from __future__ import annotations

import difflib
import json
from typing import Any, Final

from rollout.sim import containerrules, formats
from rollout.sim import fielderrors as errors
from rollout.sim.containerrules import check_choice
from rollout.sim.fielderrors import Cause, child, index
from rollout.sim.metadatarules import (
    check_annotations,
    check_labels,
    check_operator,
    check_selector,
)
from rollout.sim.store import Object

RESTART_POLICIES: Final = ("Always", "OnFailure", "Never")
DNS_POLICIES: Final = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TOLERATION_OPERATORS: Final = ("Equal", "Exists")
HOST_PATH_TYPES: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
UNSATISFIABLE: Final = ("DoNotSchedule", "ScheduleAnyway")
MAX_INT32: Final = 2**31 - 1
MAX_WEIGHT: Final = 100
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"


def check_template(template: Object, path: str) -> list[Cause]:
    """Return what is wrong with a pod template; its labels are named without `metadata`."""
    metadata = template.get("metadata") or {}
    found = check_labels(metadata.get("labels") or {}, child(path, "labels"))
    found += check_annotations(metadata.get("annotations") or {}, child(path, "annotations"))
    spec = template.get("spec") or {}
    found += check_spec(spec, child(path, "spec"))
    if spec.get("ephemeralContainers"):
        text = "ephemeral containers not allowed in pod template"
        found.append(errors.forbidden(child(path, "spec", "ephemeralContainers"), text))
    return found


def check_spec(spec: Object, path: str, *, is_pod: bool = False) -> list[Cause]:
    """Return what is wrong with a pod spec.

    Args:
        spec: of a pod or of a template.
        path: of the spec.
        is_pod: whether rules that templates are spared hold.
    """
    volumes, found = _check_volumes(spec.get("volumes") or [], child(path, "volumes"))
    containers, init = spec.get("containers") or [], spec.get("initContainers") or []
    at, init_at = child(path, "containers"), child(path, "initContainers")
    found += containerrules.check_containers(containers, volumes, at)
    found += containerrules.check_containers(init, volumes, init_at, regular=False)
    found += _no_shared_names(containers, init, init_at)
    found += check_choice(spec, "restartPolicy", RESTART_POLICIES, path)
    found += check_choice(spec, "dnsPolicy", DNS_POLICIES, path)
    found += check_labels(spec.get("nodeSelector") or {}, child(path, "nodeSelector"))
    if spec.get("hostNetwork"):
        found += containerrules.check_host_network(containers, at, is_pod=is_pod)
        found += containerrules.check_host_network(init, init_at, is_pod=is_pod)
    found += _check_affinity(spec.get("affinity") or {}, child(path, "affinity"))
    found += _check_spread(spec, path)
    found += _check_names(spec, path)
    found += _check_deadline(spec, path)
    return found + check_tolerations(spec.get("tolerations") or [], child(path, "tolerations"))


def _no_shared_names(containers: list[Object], init: list[Object], path: str) -> list[Cause]:
    names = {container.get("name") for container in containers}
    return [
        errors.duplicate(child(index(path, position), "name"), container["name"])
        for position, container in enumerate(init)
        if container.get("name") in names
    ]


def _check_names(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for field, check in (
        ("serviceAccountName", formats.subdomain),
        ("nodeName", formats.subdomain),
        ("hostname", formats.dns_label),
        ("subdomain", formats.dns_label),
        ("priorityClassName", formats.subdomain),
        ("runtimeClassName", formats.subdomain),
    ):
        if value := spec.get(field):
            found += errors.each_invalid(child(path, field), value, check(value))
    return found


def _check_deadline(spec: Object, path: str) -> list[Cause]:
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is None or 1 <= seconds <= MAX_INT32:
        return []
    at = child(path, "activeDeadlineSeconds")
    return [errors.invalid(at, seconds, formats.between(1, MAX_INT32))]


# Volumes


def _check_volumes(volumes: list[Object], path: str) -> tuple[set[str], list[Cause]]:
    """Return the names of the valid volumes and what is wrong with the others."""
    names: set[str] = set()
    found: list[Cause] = []
    for position, volume in enumerate(volumes):
        at = index(path, position)
        name = volume.get("name", "")
        wrong = _check_volume_source(volume, at)
        wrong += containerrules.check_label_name(name, child(at, "name"))
        if name in names:
            wrong.append(errors.duplicate(child(at, "name"), name))
        if not wrong:
            names.add(name)
        found += wrong
    return names, found


_REQUIRED_IN_VOLUMES: Final = {
    "hostPath": ("path",),
    "secret": ("secretName",),
    "configMap": ("name",),
    "persistentVolumeClaim": ("claimName",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
    "flexVolume": ("driver",),
    "gitRepo": ("repository",),
    "iscsi": ("targetPortal", "iqn"),
}


def _check_volume_source(volume: Object, path: str) -> list[Cause]:
    sources = [name for name in volume if name != "name" and volume[name] is not None]
    if not sources:
        return [errors.required(path, "must specify a volume type")]
    first, *others = sources
    at, source = child(path, first), volume[first]
    text = "may not specify more than 1 volume type"
    found = [errors.forbidden(child(path, name), text) for name in others]
    found += [
        errors.required(child(at, field))
        for field in _REQUIRED_IN_VOLUMES.get(first, ())
        if not source.get(field)
    ]
    if first == "hostPath":
        found += _check_host_path(source, at)
    for position, item in enumerate(source.get("items") or []):
        found += _check_item(item, index(child(at, "items"), position))
    return found


def _check_host_path(source: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if ".." in source.get("path", "").split("/"):
        where = child(path, "path")
        found.append(errors.invalid(where, source["path"], "must not contain '..'"))
    kind = source.get("type") or ""
    if kind not in HOST_PATH_TYPES:
        found.append(errors.not_supported(child(path, "type"), kind, HOST_PATH_TYPES))
    return found


def _check_item(item: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if "key" in item and not item["key"]:
        found.append(errors.required(child(path, "key")))
    if not item.get("path"):
        found.append(errors.required(child(path, "path")))
        return found
    return found + containerrules.check_descending_path(item["path"], child(path, "path"))


# Placement


def _check_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if node := affinity.get("nodeAffinity"):
        found += _check_node_affinity(node, child(path, "nodeAffinity"))
    for field in ("podAffinity", "podAntiAffinity"):
        if part := affinity.get(field):
            found += _check_pod_affinity(part, child(path, field))
    return found


def _check_node_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    selector = affinity.get(_REQUIRED)
    if selector is not None:
        at = child(path, _REQUIRED, "nodeSelectorTerms")
        terms = selector.get("nodeSelectorTerms") or []
        if not terms:
            text = "must have at least one node selector term"
            found.append(errors.required(at, text))
        for position, term in enumerate(terms):
            found += _check_node_term(term, index(at, position))
    for position, term in enumerate(affinity.get(_PREFERRED) or []):
        at = index(child(path, _PREFERRED), position)
        found += _check_weight(term, at)
        found += _check_node_term(term.get("preference") or {}, child(at, "preference"))
    return found


def _check_weight(term: Object, path: str) -> list[Cause]:
    weight = term.get("weight", 0)
    if 1 <= weight <= MAX_WEIGHT:
        return []
    return [errors.invalid(child(path, "weight"), weight, "must be in the range 1-100")]


def _check_node_term(term: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, wanted in enumerate(term.get("matchExpressions") or []):
        at = index(child(path, "matchExpressions"), position)
        found += _check_node_expression(wanted, at)
    for position, wanted in enumerate(term.get("matchFields") or []):
        found += _check_node_field(wanted, index(child(path, "matchFields"), position))
    return found


def _check_node_expression(wanted: Object, path: str) -> list[Cause]:
    values = wanted.get("values") or []
    if wanted.get("operator") in {"Gt", "Lt"}:
        text = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        found = [] if len(values) == 1 else [errors.required(child(path, "values"), text)]
    else:
        found = check_operator(wanted, path)
    name = wanted.get("key", "")
    found += errors.each_invalid(child(path, "key"), name, formats.qualified_name(name))
    for position, value in enumerate(values):
        at = index(child(path, "values"), position)
        found += errors.each_invalid(at, value, formats.label_value(value))
    return found


def _check_node_field(wanted: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    values = wanted.get("values") or []
    operator = wanted.get("operator", "")
    if operator not in {"In", "NotIn"}:
        text = "not a valid selector operator"
        found.append(errors.invalid(child(path, "operator"), operator, text))
    elif len(values) != 1:
        text = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        found.append(errors.required(child(path, "values"), text))
    if wanted.get("key") != "metadata.name":
        text = "not a valid field selector key"
        return [*found, errors.invalid(child(path, "key"), wanted.get("key", ""), text)]
    for position, value in enumerate(values):
        at = index(child(path, "values"), position)
        found += errors.each_invalid(at, value, formats.subdomain(value))
    return found


def _check_pod_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, term in enumerate(affinity.get(_REQUIRED) or []):
        found += _check_pod_term(term, index(child(path, _REQUIRED), position))
    for position, term in enumerate(affinity.get(_PREFERRED) or []):
        at = index(child(path, _PREFERRED), position)
        found += _check_weight(term, at)
        found += _check_pod_term(term.get("podAffinityTerm") or {}, child(at, "podAffinityTerm"))
    return found


def _check_pod_term(term: Object, path: str) -> list[Cause]:
    found = check_selector(term.get("labelSelector"), child(path, "labelSelector"))
    at, topology = child(path, "topologyKey"), term.get("topologyKey", "")
    if not topology:
        return [*found, errors.required(at, "can not be empty")]
    return found + errors.each_invalid(at, topology, formats.qualified_name(topology))


def _check_spread(spec: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, wanted in enumerate(spec.get("topologySpreadConstraints") or []):
        at = index(child(path, "topologySpreadConstraints"), position)
        skew = wanted.get("maxSkew", 0)
        if skew <= 0:
            found.append(errors.invalid(child(at, "maxSkew"), skew, "must be greater than zero"))
        if not wanted.get("topologyKey"):
            found.append(errors.required(child(at, "topologyKey"), "can not be empty"))
        choice, where = wanted.get("whenUnsatisfiable", ""), child(at, "whenUnsatisfiable")
        if choice not in UNSATISFIABLE:
            found.append(errors.not_supported(where, choice, UNSATISFIABLE))
        found += check_selector(wanted.get("labelSelector"), child(at, "labelSelector"))
    return found


def check_tolerations(tolerations: list[Object], path: str) -> list[Cause]:
    """Return what is wrong with tolerations."""
    found: list[Cause] = []
    for position, toleration in enumerate(tolerations):
        found += _check_toleration(toleration, index(path, position))
    return found


def _check_toleration(toleration: Object, path: str) -> list[Cause]:
    name, operator = toleration.get("key", ""), toleration.get("operator", "")
    effect, at = toleration.get("effect", ""), child(path, "operator")
    found = (
        errors.each_invalid(child(path, "key"), name, formats.qualified_name(name)) if name else []
    )
    if not name and operator != "Exists":
        text = (
            "operator must be Exists when `key` is empty, which means "
            '"match all values and all keys"'
        )
        found.append(errors.invalid(at, operator, text))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        text = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.append(errors.invalid(child(path, "effect"), effect, text))
    value = toleration.get("value", "")
    if operator in {"", "Equal"}:
        if messages := formats.label_value(value):
            found.append(errors.invalid(at, value, ";".join(messages)))
    elif operator != "Exists":
        found.append(errors.not_supported(at, operator, TOLERATION_OPERATORS))
    elif value:
        text = "value must be empty when `operator` is 'Exists'"
        found.append(errors.invalid(at, _go_toleration(toleration), text))
    return found + (check_effect(effect, child(path, "effect")) if effect else [])


def _go_toleration(toleration: Object) -> dict[str, Any]:
    return {
        "Key": toleration.get("key", ""),
        "Operator": toleration.get("operator", ""),
        "Value": toleration.get("value", ""),
        "Effect": toleration.get("effect", ""),
        "TolerationSeconds": toleration.get("tolerationSeconds"),
    }


def check_effect(effect: str, path: str) -> list[Cause]:
    """Check the effect of a taint or toleration."""
    if not effect:
        return [errors.required(path)]
    return [] if effect in EFFECTS else [errors.not_supported(path, effect, EFFECTS)]


# Updates of pods

_UPDATE_TEXT: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)


def check_update(new: Object, old: Object) -> list[Cause]:
    """Return which changes of a pod's spec are not allowed.

    Args:
        new: the new spec.
        old: the spec before.
    """
    for field in ("containers", "initContainers"):
        if len(new.get(field) or []) != len(old.get(field) or []):
            text = "pod updates may not add or remove containers"
            return [errors.forbidden(child("spec", field), text)]
    found = _check_deadline_update(new, old)
    found += _check_added_tolerations(new.get("tolerations") or [], old.get("tolerations") or [])
    munged = _with_allowed_changes_undone(new, old)
    if munged != old:
        found.append(errors.forbidden("spec", f"{_UPDATE_TEXT}\n{_difference(munged, old)}"))
    return found


def _check_deadline_update(new: Object, old: Object) -> list[Cause]:
    at = "spec.activeDeadlineSeconds"
    after, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if after is None:
        text = "must not update from a positive integer to nil value"
        return [] if before is None else [errors.invalid(at, None, text)]
    if before is not None and after > before:
        return [errors.invalid(at, after, "must be less than or equal to previous value")]
    return []


def _check_added_tolerations(new: list[Object], old: list[Object]) -> list[Cause]:
    def bare(toleration: Object) -> Object:
        return {key: part for key, part in toleration.items() if key != "tolerationSeconds"}

    kept = [bare(toleration) for toleration in new]
    if all(bare(toleration) in kept for toleration in old):
        return []
    text = "existing toleration can not be modified except its tolerationSeconds"
    return [errors.forbidden("spec.tolerations", text)]


def _with_allowed_changes_undone(new: Object, old: Object) -> Object:
    munged = {**new}
    for field in ("containers", "initContainers"):
        if new.get(field):
            pairs = zip(new[field], old[field], strict=True)
            munged[field] = [_with(after, before, "image") for after, before in pairs]
    for field in ("activeDeadlineSeconds", "tolerations"):
        munged = _with(munged, old, field)
    if old.get("terminationGracePeriodSeconds", 0) < 0:
        munged = _with(munged, old, "terminationGracePeriodSeconds")
    return munged


def _with(new: Object, old: Object, field: str) -> Object:
    rest = {key: part for key, part in new.items() if key != field}
    return {**rest, field: old[field]} if field in old else rest


def _difference(new: Object, old: Object) -> str:
    texts = [json.dumps(spec, indent=2, sort_keys=True).splitlines() for spec in (new, old)]
    lines = difflib.unified_diff(texts[0], texts[1], "new", "old", lineterm="", n=1)
    return "\n".join(lines)
