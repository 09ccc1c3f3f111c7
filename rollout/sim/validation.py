"""What the API server refuses, kind by kind, and the 422 that says so.

The rules of a DaemonSet, of pods and of metadata have their own modules; the others are short and
stand here. Objects are defaulted first; a part that an update leaves alone is not looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from rollout.sim import fielderrors as errors
from rollout.sim import formats, metadatarules, podrules
from rollout.sim.daemonsetrules import (
    check_amount,
    check_at_most_all,
    check_daemonset,
    check_daemonset_status,
    check_daemonset_update,
)
from rollout.sim.errors import StatusError
from rollout.sim.fielderrors import Cause, child, index, key
from rollout.sim.formats import NameCheck
from rollout.sim.metadatarules import check_labels, check_selector
from rollout.sim.resources import Resource
from rollout.sim.store import Object

__all__ = ["Cause", "invalid", "validate_create", "validate_update"]

Rule: TypeAlias = Callable[[Object], list[Cause]]
UpdateRule: TypeAlias = Callable[[Object, Object], list[Cause]]

MAX_DATA: Final = 1024 * 1024  # bytes in one ConfigMap or Secret
EVICTION_POLICIES: Final = ("AlwaysAllow", "IfHealthyBudget")
SERVICE_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
LEASE_STRATEGIES: Final = ("OldestEmulationVersion",)


def validate_create(resource: Resource, obj: Object) -> list[Cause]:
    """Return what is wrong with a new object."""
    check = _NAMES.get(resource.kind, formats.subdomain)
    found = metadatarules.check_new(obj, check, namespaced=resource.namespaced)
    rule = _RULES.get(resource.kind)
    return found + rule(obj) if rule else found


def validate_update(
    resource: Resource, new: Object, old: Object, subresource: str = ""
) -> list[Cause]:
    """Return what is wrong with a changed object.

    Args:
        resource: what it is.
        new: the object after, with everything restored that this endpoint may not change.
        old: the object before.
        subresource: "" for the object itself.
    """
    found = metadatarules.check_change(new, old)
    if subresource:
        rule = _STATUS_RULES.get(resource.kind) if subresource == "status" else None
        return found + rule(new, old) if rule else found
    if update := _UPDATE_RULES.get(resource.kind):
        return found + update(new, old)
    if rule_of_new := _RULES.get(resource.kind):
        found += rule_of_new(new)
    return found


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> StatusError:
    """Build the 422: all causes in the details, equal ones once in the message."""
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    summary = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details: dict[str, Any] = {"name": name, "kind": resource.kind}
    if resource.group:
        details["group"] = resource.group
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    message = f'{resource.group_kind} "{name}" is invalid: {summary}'
    return StatusError(422, "Invalid", message, details)


# Pods and nodes


def _pod(pod: Object) -> list[Cause]:
    spec = pod.get("spec") or {}
    found = podrules.check_spec(spec, "spec", is_pod=True)
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or []):
            image = container.get("image", "")
            if image != image.strip():
                at = child(index(child("spec", field), position), "image")
                text = "must not have leading or trailing whitespace"
                found.append(errors.invalid(at, image, text))
    return found


def _pod_update(new: Object, old: Object) -> list[Cause]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after is before or after == before:
        return []
    return _pod(new) + podrules.check_update(after, before)


def _node(node: Object) -> list[Cause]:
    found: list[Cause] = []
    taken: set[tuple[str, str]] = set()
    for position, taint in enumerate((node.get("spec") or {}).get("taints") or []):
        at = index("spec.taints", position)
        name, effect = taint.get("key", ""), taint.get("effect", "")
        value = taint.get("value", "")
        found += errors.each_invalid(child(at, "key"), name, formats.qualified_name(name))
        if messages := formats.label_value(value):
            found.append(errors.invalid(child(at, "value"), value, ";".join(messages)))
        found += podrules.check_effect(effect, child(at, "effect"))
        if (name, effect) in taken:
            shown = {"Key": name, "Value": value, "Effect": effect}
            shown["TimeAdded"] = taint.get("timeAdded")
            text = "taints must be unique by key and effect pair"
            found.append(errors.duplicate(at, shown, text))
        taken.add((name, effect))
    return found


def _node_update(new: Object, old: Object) -> list[Cause]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after is before or after == before:
        return []
    found = _node(new)
    for field, text in (
        ("podCIDRs", 'node updates may not change podCIDR except from "" to valid'),
        ("providerID", 'node updates may not change providerID except from "" to valid'),
    ):
        if before.get(field) and after.get(field) != before[field]:
            found.append(errors.forbidden(child("spec", field), text))
    return found


# Workloads and their history


def _controller_revision(revision: Object) -> list[Cause]:
    found = (
        [] if revision.get("data") is not None else [errors.required("data", "data is mandatory")]
    )
    return found + errors.non_negative("revision", revision.get("revision", 0))


def _controller_revision_update(new: Object, old: Object) -> list[Cause]:
    found = errors.immutable("data", new.get("data"), old.get("data"))
    return _controller_revision(new) + found


def _job(job: Object) -> list[Cause]:
    spec = job.get("spec") or {}
    found: list[Cause] = []
    for field in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ):
        if spec.get(field) is not None:
            found += errors.non_negative(child("spec", field), spec[field])
    template = spec.get("template") or {}
    found += podrules.check_template(template, "spec.template")
    if (template.get("spec") or {}).get("restartPolicy") not in {"OnFailure", "Never"}:
        text = 'valid values: "OnFailure", "Never"'
        found.append(errors.required("spec.template.spec.restartPolicy", text))
    return found


def _job_update(new: Object, old: Object) -> list[Cause]:
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if after is before or after == before:
        return []
    found = _job(new)
    for field in ("completions", "selector", "template", "completionMode"):
        found += errors.immutable(child("spec", field), after.get(field), before.get(field))
    return found


def _budget(budget: Object) -> list[Cause]:
    spec = budget.get("spec") or {}
    low, high = spec.get("minAvailable"), spec.get("maxUnavailable")
    found: list[Cause] = []
    if low is not None and high is not None:
        shown = {
            "MinAvailable": low,
            "Selector": spec.get("selector"),
            "MaxUnavailable": high,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        text = "minAvailable and maxUnavailable cannot be both set"
        found.append(errors.invalid("spec", shown, text))
    for field, value in (("minAvailable", low), ("maxUnavailable", high)):
        if value is not None:
            found += check_amount(value, child("spec", field))
            found += check_at_most_all(value, child("spec", field))
    found += check_selector(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in EVICTION_POLICIES:
        at = "spec.unhealthyPodEvictionPolicy"
        found.append(errors.not_supported(at, policy, EVICTION_POLICIES))
    return found


# Data


def _config_map(config: Object) -> list[Cause]:
    data, binary = config.get("data") or {}, config.get("binaryData") or {}
    found: list[Cause] = []
    for name in data:
        found += errors.each_invalid(key("data", name), name, formats.config_key(name))
        if name in binary:
            text = "duplicate of key present in binaryData"
            found.append(errors.invalid(key("data", name), name, text))
    for name in binary:
        found += errors.each_invalid(key("binaryData", name), name, formats.config_key(name))
    size = sum(len(text.encode()) for text in data.values()) + _decoded_size(binary)
    # The real server names no field here: the path of an empty name (recorded).
    return found + ([errors.too_long("[]", MAX_DATA)] if size > MAX_DATA else [])


def _decoded_size(data: Object) -> int:
    return sum(len(text) * 3 // 4 - text[-2:].count("=") for text in data.values())


def _secret(secret: Object) -> list[Cause]:
    data = secret.get("data") or {}
    found: list[Cause] = []
    for name in data:
        found += errors.each_invalid(key("data", name), name, formats.config_key(name))
    size = _decoded_size(data)
    return found + ([errors.too_long("data", MAX_DATA)] if size > MAX_DATA else [])


def _frozen_update(rule: Rule, fields: Sequence[str]) -> UpdateRule:
    """Return the rule of a kind whose `immutable: true` forbids to change the fields."""

    def check(new: Object, old: Object) -> list[Cause]:
        found: list[Cause] = []
        if old.get("immutable"):
            text = "field is immutable when `immutable` is set"
            if not new.get("immutable"):
                found.append(errors.forbidden("immutable", text))
            found += [
                errors.forbidden(field, text)
                for field in fields
                if (new.get(field) or {}) != (old.get(field) or {})
            ]
        return found + rule(new)

    return check


_secret_data_update: Final = _frozen_update(_secret, ("data",))


def _secret_update(new: Object, old: Object) -> list[Cause]:
    return errors.immutable("type", new.get("type"), old.get("type")) + _secret_data_update(
        new, old
    )


# The rest


def _lease(lease: Object) -> list[Cause]:
    spec = lease.get("spec") or {}
    found: list[Cause] = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        text = "must be greater than 0"
        found.append(errors.invalid("spec.leaseDurationSeconds", seconds, text))
    if transitions is not None:
        found += errors.non_negative("spec.leaseTransitions", transitions)
    strategy = spec.get("strategy")
    if strategy is not None and strategy not in LEASE_STRATEGIES:
        found += errors.each_invalid("spec.strategy", strategy, formats.qualified_name(strategy))
    return found


def _service(service: Object) -> list[Cause]:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type", ""), spec.get("ports") or []
    found: list[Cause] = []
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        found.append(errors.required("spec.ports"))
    if kind == "ExternalName" and not spec.get("externalName"):
        found.append(errors.required("spec.externalName"))
    names: set[str] = set()
    for position, port in enumerate(ports):
        found += _service_port(port, index("spec.ports", position), names, alone=len(ports) == 1)
    found += check_labels(spec.get("selector") or {}, "spec.selector")
    if kind not in SERVICE_TYPES:
        found.append(errors.not_supported("spec.type", kind, SERVICE_TYPES))
    return found


def _service_port(port: Object, path: str, names: set[str], *, alone: bool) -> list[Cause]:
    name, found = port.get("name", ""), []
    if not name and not alone:
        found.append(errors.required(child(path, "name")))
    elif name:
        found += errors.each_invalid(child(path, "name"), name, formats.dns_label(name))
        if name in names:
            found.append(errors.duplicate(child(path, "name"), name))
        names.add(name)
    number = port.get("port", 0)
    found += errors.each_invalid(child(path, "port"), number, formats.port_number(number))
    protocol = port.get("protocol", "")
    if protocol not in PROTOCOLS:
        found.append(errors.not_supported(child(path, "protocol"), protocol, PROTOCOLS))
    target, at = port.get("targetPort", 0), child(path, "targetPort")
    return found + errors.each_invalid(at, target, formats.port_number_or_name(target))


def _event(event: Object) -> list[Cause]:
    about = event.get("involvedObject") or event.get("regarding") or {}
    namespace = event["metadata"].get("namespace", "")
    if about.get("namespace", "") in {"", namespace}:
        return []
    text = "does not match event.namespace"
    return [errors.invalid("involvedObject.namespace", about["namespace"], text)]


def _role(role: Object) -> list[Cause]:
    found: list[Cause] = []
    for position, rule in enumerate(role.get("rules") or []):
        at = index("rules", position)
        if not rule.get("verbs"):
            text = "verbs must contain at least one value"
            found.append(errors.required(child(at, "verbs"), text))
        if rule.get("nonResourceURLs"):
            continue
        for field, what in (("apiGroups", "api group"), ("resources", "resource")):
            if not rule.get(field):
                text = f"resource rules must supply at least one {what}"
                found.append(errors.required(child(at, field), text))
    return found


def _binding(binding: Object) -> list[Cause]:
    role = binding.get("roleRef") or {}
    kinds = ("Role", "ClusterRole") if binding.get("kind") == "RoleBinding" else ("ClusterRole",)
    found: list[Cause] = []
    if role.get("kind", "") not in kinds:
        found.append(errors.not_supported("roleRef.kind", role.get("kind", ""), kinds))
    if not role.get("name"):
        found.append(errors.required("roleRef.name"))
    for position, subject in enumerate(binding.get("subjects") or []):
        if not subject.get("name"):
            found.append(errors.required(child(index("subjects", position), "name")))
    return found


def _binding_update(new: Object, old: Object) -> list[Cause]:
    found = _binding(new)
    if new.get("roleRef") != old.get("roleRef"):
        found.append(errors.invalid("roleRef", new.get("roleRef"), "cannot change roleRef"))
    return found


_NAMES: Final[dict[str, NameCheck]] = {
    "ClusterRole": formats.path_segment,
    "ClusterRoleBinding": formats.path_segment,
    "Namespace": formats.dns_label,
    "Role": formats.path_segment,
    "RoleBinding": formats.path_segment,
    "Service": formats.dns_1035_label,
}
"""How names of a kind look, where they are not DNS subdomains."""

_RULES: Final[dict[str, Rule]] = {
    "ClusterRole": _role,
    "ClusterRoleBinding": _binding,
    "ConfigMap": _config_map,
    "ControllerRevision": _controller_revision,
    "DaemonSet": check_daemonset,
    "Event": _event,
    "Job": _job,
    "Lease": _lease,
    "Node": _node,
    "Pod": _pod,
    "PodDisruptionBudget": _budget,
    "Role": _role,
    "RoleBinding": _binding,
    "Secret": _secret,
    "Service": _service,
}

_UPDATE_RULES: Final[dict[str, UpdateRule]] = {
    "ClusterRoleBinding": _binding_update,
    "ConfigMap": _frozen_update(_config_map, ("data", "binaryData")),
    "ControllerRevision": _controller_revision_update,
    "DaemonSet": check_daemonset_update,
    "Job": _job_update,
    "Node": _node_update,
    "Pod": _pod_update,
    "RoleBinding": _binding_update,
    "Secret": _secret_update,
}

_STATUS_RULES: Final[dict[str, UpdateRule]] = {"DaemonSet": check_daemonset_status}
