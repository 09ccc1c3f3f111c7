"""What the API server refuses in containers: names, ports, environment, mounts, probes, resources.

Source of rules and wording: ValidatePodSpec and what it calls (pkg/apis/core/validation). Objects
are defaulted before they come here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from rollout.sim import fielderrors as errors
from rollout.sim import formats
from rollout.sim.fielderrors import Cause, child, index, key
from rollout.sim.scalars import quantity_value
from rollout.sim.store import Object

PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES: Final = ("FallbackToLogsOnError", "File")
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
SCHEMES: Final = ("HTTP", "HTTPS")
PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
STANDARD_RESOURCES: Final = frozenset(("cpu", "memory", "ephemeral-storage"))
HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
ENV_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_ENV_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")
_ENV_SOURCES: Final = (
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "fileKeyRef",
)


def check_containers(
    containers: list[Object], volumes: Collection[str], path: str, *, regular: bool = True
) -> list[Cause]:
    """Return what is wrong with a list of containers.

    Args:
        containers: the list, of one sort.
        volumes: names of the pod's valid volumes.
        path: of the list.
        regular: false for init containers, of which there need not be one.
    """
    if not containers and regular:
        return [errors.required(path)]
    found: list[Cause] = []
    names: set[str] = set()
    for position, container in enumerate(containers):
        at = index(path, position)
        found += _check_container(container, volumes, at)
        name = container.get("name", "")
        if name in names:
            found.append(errors.duplicate(child(at, "name"), name))
        names.add(name)
        found += _check_hooks(container, at, regular=regular)
    return found + _check_host_ports(containers, path)


def _check_container(container: Object, volumes: Collection[str], path: str) -> list[Cause]:
    found = check_label_name(container.get("name", ""), child(path, "name"))
    if not container.get("image"):
        found.append(errors.required(child(path, "image")))
    found += check_choice(container, "terminationMessagePolicy", MESSAGE_POLICIES, path)
    found += _check_ports(container.get("ports") or [], child(path, "ports"))
    found += _check_environment(container.get("env") or [], child(path, "env"))
    found += _check_environment_sources(container.get("envFrom") or [], child(path, "envFrom"))
    mounts = container.get("volumeMounts") or []
    found += _check_mounts(mounts, volumes, child(path, "volumeMounts"))
    found += check_choice(container, "imagePullPolicy", PULL_POLICIES, path)
    return found + check_resources(container.get("resources") or {}, child(path, "resources"))


def check_label_name(name: str, path: str) -> list[Cause]:
    """Check a required name in the form of a DNS label."""
    if not name:
        return [errors.required(path)]
    return errors.each_invalid(path, name, formats.dns_label(name))


def check_choice(part: Object, field: str, known: Collection[str], path: str) -> list[Cause]:
    """Check a required field that has one of a few values."""
    value, at = part.get(field) or "", child(path, field)
    if not value:
        return [errors.required(at)]
    return [] if value in known else [errors.not_supported(at, value, known)]


# Ports


def _check_ports(ports: list[Object], path: str) -> list[Cause]:
    found: list[Cause] = []
    names: set[str] = set()
    for position, port in enumerate(ports):
        at = index(path, position)
        found += _check_port_name(port.get("name", ""), names, child(at, "name"))
        number = port.get("containerPort", 0)
        if number:
            messages = formats.port_number(number)
            found += errors.each_invalid(child(at, "containerPort"), number, messages)
        else:
            found.append(errors.required(child(at, "containerPort")))
        if host := port.get("hostPort", 0):
            found += errors.each_invalid(child(at, "hostPort"), host, formats.port_number(host))
        found += check_choice(port, "protocol", PROTOCOLS, at)
    return found


def _check_port_name(name: str, names: set[str], path: str) -> list[Cause]:
    if not name:
        return []
    if messages := formats.port_name(name):
        return errors.each_invalid(path, name, messages)
    if name in names:
        return [errors.duplicate(path, name)]
    names.add(name)
    return []


def _check_host_ports(containers: list[Object], path: str) -> list[Cause]:
    """Refuse two containers of one pod on the same port of the node."""
    found: list[Cause] = []
    taken: set[str] = set()
    for position, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or []):
            if not port.get("hostPort"):
                continue
            used = f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if used in taken:
                at = index(child(index(path, position), "ports"), number)
                found.append(errors.duplicate(child(at, "hostPort"), used))
            taken.add(used)
    return found


def check_host_network(containers: list[Object], path: str, *, is_pod: bool) -> list[Cause]:
    """Check that ports on the node's network are the container's; templates may leave them out."""
    found: list[Cause] = []
    for position, container in enumerate(containers):
        for number, port in enumerate(container.get("ports") or []):
            host = port.get("hostPort", 0)
            if (is_pod or host) and host != port.get("containerPort", 0):
                at = index(child(index(path, position), "ports"), number)
                text = "must match `containerPort` when `hostNetwork` is true"
                found.append(errors.invalid(child(at, "hostPort"), host, text))
    return found


# Environment


def _check_environment(variables: list[Object], path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, variable in enumerate(variables):
        at = index(path, position)
        name = variable.get("name", "")
        if name:
            messages = formats.environment_name(name)
            found += errors.each_invalid(child(at, "name"), name, messages)
        else:
            found.append(errors.required(child(at, "name")))
        if variable.get("valueFrom") is not None:
            found += _check_value_from(variable, child(at, "valueFrom"))
    return found


def _check_value_from(variable: Object, path: str) -> list[Cause]:
    source = variable["valueFrom"]
    named = [name for name in _ENV_SOURCES if source.get(name) is not None]
    found: list[Cause] = []
    if field := source.get("fieldRef"):
        found += _check_field_ref(field, child(path, "fieldRef"))
    for name in ("configMapKeyRef", "secretKeyRef"):
        if source.get(name) and not source[name].get("key"):
            found.append(errors.required(child(path, name, "key")))
    if not named:
        text = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
        found.append(errors.invalid(path, "", f"{text}`secretKeyRef` or `fileKeyRef`"))
    elif variable.get("value"):
        text = "may not be specified when `value` is not empty"
        found.append(errors.invalid(path, "", text))
    elif len(named) > 1:
        text = "may not have more than one field specified at a time"
        found.append(errors.invalid(path, "", text))
    return found


def _check_field_ref(field: Object, path: str) -> list[Cause]:
    name, at = field.get("fieldPath", ""), child(path, "fieldPath")
    if not name:
        return [errors.required(at)]
    if name in ENV_FIELDS or _ENV_SUBSCRIPT.fullmatch(name):
        return []
    return [errors.not_supported(at, name, ENV_FIELDS)]


def _check_environment_sources(sources: list[Object], path: str) -> list[Cause]:
    found: list[Cause] = []
    for position, source in enumerate(sources):
        at = index(path, position)
        if prefix := source.get("prefix"):
            messages = formats.environment_name(prefix)
            found += errors.each_invalid(child(at, "prefix"), prefix, messages)
        named = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        found += [
            errors.required(child(at, name, "name"))
            for name in named
            if not source[name].get("name")
        ]
        if not named:
            text = "must specify one of: `configMapRef` or `secretRef`"
            found.append(errors.invalid(at, "", text))
        elif len(named) > 1:
            text = "may not have more than one field specified at a time"
            found.append(errors.invalid(at, "", text))
    return found


# Mounts


def _check_mounts(mounts: list[Object], volumes: Collection[str], path: str) -> list[Cause]:
    found: list[Cause] = []
    places: set[str] = set()
    for position, mount in enumerate(mounts):
        at = index(path, position)
        name, place = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            found.append(errors.required(child(at, "name")))
        if name not in volumes:
            found.append(errors.not_found(child(at, "name"), name))
        if not place:
            found.append(errors.required(child(at, "mountPath")))
        if place in places:
            found.append(errors.invalid(child(at, "mountPath"), place, "must be unique"))
        places.add(place)
        found += _check_sub_path(mount, at)
        propagation = mount.get("mountPropagation")
        if propagation is not None and propagation not in PROPAGATIONS:
            where = child(at, "mountPropagation")
            found.append(errors.not_supported(where, propagation, PROPAGATIONS))
    return found


def _check_sub_path(mount: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for field in ("subPath", "subPathExpr"):
        if value := mount.get(field):
            found += check_descending_path(value, child(path, field))
    if mount.get("subPath") and mount.get("subPathExpr"):
        text = "subPathExpr and subPath are mutually exclusive"
        found.append(errors.invalid(child(path, "subPathExpr"), mount["subPathExpr"], text))
    return found


def check_descending_path(value: str, path: str) -> list[Cause]:
    """Check a path that may only lead downwards."""
    found: list[Cause] = []
    if value.startswith("/"):
        found.append(errors.invalid(path, value, "must be a relative path"))
    if ".." in value.split("/"):
        found.append(errors.invalid(path, value, "must not contain '..'"))
    return found


# Hooks and probes


def _check_hooks(container: Object, path: str, *, regular: bool) -> list[Cause]:
    """Check lifecycle and probes; ordinary init containers have none."""
    found: list[Cause] = []
    sidecar = container.get("restartPolicy") == "Always"
    for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        part = container.get(field)
        if part is None:
            continue
        at = child(path, field)
        if not regular and not sidecar:
            text = "may not be set for init containers without restartPolicy=Always"
            found.append(errors.forbidden(at, text))
        elif field == "lifecycle":
            for hook in ("postStart", "preStop"):
                if part.get(hook) is not None:
                    found += _check_handler(part[hook], child(at, hook))
        else:
            found += _check_probe(part, at, once=field != "readinessProbe")
    return found


def _check_probe(probe: Object, path: str, *, once: bool) -> list[Cause]:
    found = _check_handler(probe, path)
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        found += errors.non_negative(child(path, field), probe.get(field, 0))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        at = child(path, "terminationGracePeriodSeconds")
        found.append(errors.invalid(at, grace, "must be greater than 0"))
    successes = probe.get("successThreshold", 1)
    if once and successes != 1:
        found.append(errors.invalid(child(path, "successThreshold"), successes, "must be 1"))
    return found


def _check_handler(handler: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    named = [name for name in HANDLERS if handler.get(name) is not None]
    for position, name in enumerate(named):
        at = child(path, name)
        if position:
            found.append(errors.forbidden(at, "may not specify more than 1 handler type"))
        else:
            found += _check_action(name, handler[name], at)
    return found or ([] if named else [errors.required(path, "must specify a handler type")])


def _check_action(name: str, action: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    if name == "exec" and not action.get("command"):
        found.append(errors.required(child(path, "command")))
    if name == "httpGet" and not action.get("path"):
        found.append(errors.required(child(path, "path")))
    if "port" in action:
        port = action["port"]
        found += errors.each_invalid(child(path, "port"), port, formats.port_number_or_name(port))
    if name == "httpGet":
        found += check_choice(action, "scheme", SCHEMES, path)
    return found


# Resources


def check_resources(resources: Object, path: str) -> list[Cause]:
    """Return what is wrong with requests and limits."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found = [
        *_check_amounts(limits, child(path, "limits")),
        *_check_amounts(requests, child(path, "requests")),
    ]
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and quantity_value(amount) > quantity_value(limit):
            text = f"must be less than or equal to {name} limit of {limit}"
            found.append(errors.invalid(child(path, "requests"), amount, text))
    return found


def _check_amounts(amounts: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for name, amount in amounts.items():
        at = key(path, name)
        found += _check_resource_name(name, at)
        if quantity_value(amount) < 0:
            found.append(errors.invalid(at, amount, "must be greater than or equal to 0"))
    return found


def _check_resource_name(name: str, path: str) -> list[Cause]:
    if name in STANDARD_RESOURCES or name.startswith("hugepages-"):
        return []
    found = errors.each_invalid(path, name, formats.qualified_name(name))
    if not found and "/" not in name:
        text = "must be a standard resource type or fully qualified"
        found.append(errors.invalid(path, name, text))
        found.append(errors.invalid(path, name, "must be a standard resource for containers"))
    return found
