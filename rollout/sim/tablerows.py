"""The cells of server-side tables, kind by kind, in the order of `columns.json`.

Source: pkg/printers/internalversion/printers.go; what is recorded is tested against it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from rollout.sim import timestamps
from rollout.sim.durations import UNKNOWN, age, human_duration, since
from rollout.sim.podrow import NONE, find_condition, pod_cells
from rollout.sim.resources import BY_KIND
from rollout.sim.store import Object

Cells: TypeAlias = list[Any]
Row: TypeAlias = Callable[[Object, float], Cells]

_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"


def cells(kind: str, obj: Object, now: float) -> Cells:
    """Return the cells of an object's row.

    Args:
        kind: of the object.
        obj: the object.
        now: seconds since the epoch.
    """
    return _ROWS.get(kind, _other)(obj, now)


def _name(obj: Object) -> str:
    name: str = obj["metadata"].get("name", "")
    return name


# Nodes


def _node(node: Object, now: float) -> Cells:
    status = node.get("status") or {}
    info = status.get("nodeInfo") or {}
    return [
        _name(node),
        _node_status(node),
        ",".join(_node_roles(node)) or NONE,
        age(node, now),
        info.get("kubeletVersion", ""),
        _node_address(status, "InternalIP"),
        _node_address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_status(node: Object) -> str:
    ready = find_condition(node.get("status") or {}, "Ready")
    text = "Unknown"
    if ready:
        text = "Ready" if ready["status"] == "True" else "NotReady"
    cordoned = (node.get("spec") or {}).get("unschedulable")
    return f"{text},SchedulingDisabled" if cordoned else text


def _node_roles(node: Object) -> list[str]:
    roles = set()
    for label, value in (node["metadata"].get("labels") or {}).items():
        if label.startswith(_ROLE_PREFIX) and label != _ROLE_PREFIX:
            roles.add(label.removeprefix(_ROLE_PREFIX))
        elif label == _ROLE_LABEL and value:
            roles.add(value)
    return sorted(roles)


def _node_address(status: Object, kind: str) -> str:
    for address in status.get("addresses") or []:
        if address["type"] == kind:
            found: str = address["address"]
            return found
    return NONE


# Workloads


def _daemonset(daemonset: Object, now: float) -> Cells:
    spec, status = daemonset.get("spec") or {}, daemonset.get("status") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        _name(daemonset),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        _labels(pod.get("nodeSelector")),
        age(daemonset, now),
        *_containers(pod),
        _selector(spec.get("selector")),
    ]


def _containers(pod: Object) -> tuple[str, str]:
    containers = pod.get("containers") or []
    names = ",".join(container["name"] for container in containers)
    return names, ",".join(container.get("image", "") for container in containers)


def _labels(labels: Object | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _selector(selector: Object | None) -> str:
    """Write a label selector in the syntax of `labelSelector`."""
    if not selector:
        return NONE
    terms = {key: f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()}
    for wanted in selector.get("matchExpressions") or []:
        key, values = wanted["key"], ",".join(sorted(wanted.get("values") or []))
        terms[key] = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }.get(wanted["operator"], "<error>")
    return ",".join(terms[key] for key in sorted(terms)) or NONE


def _controller_revision(revision: Object, now: float) -> Cells:
    owners = revision["metadata"].get("ownerReferences") or []
    owner = next((owner for owner in owners if owner.get("controller")), None)
    shown = NONE
    if owner is not None:
        resource = BY_KIND.get((owner["apiVersion"], owner["kind"]))
        group = f".{resource.group}" if resource and resource.group else ""
        shown = f"{owner['kind'].lower()}{group}/{owner['name']}"
    return [_name(revision), shown, revision.get("revision", 0), age(revision, now)]


def _job(job: Object, now: float) -> Cells:
    spec, status = job.get("spec") or {}, job.get("status") or {}
    started, completed = status.get("startTime"), status.get("completionTime")
    duration = ""
    if started:
        end = timestamps.parse(completed) if completed else now
        duration = human_duration(end - timestamps.parse(started))
    return [
        _name(job),
        _job_status(job),
        _completions(spec, status),
        duration,
        age(job, now),
        *_containers((spec.get("template") or {}).get("spec") or {}),
        _selector(spec.get("selector")),
    ]


def _job_status(job: Object) -> str:
    status = job.get("status") or {}
    kinds = ("Complete", "Failed", "", "Suspended", "FailureTarget", "SuccessCriteriaMet")
    for kind in kinds:
        if not kind:
            if "deletionTimestamp" in job["metadata"]:
                return "Terminating"
        elif find_condition(status, kind).get("status") == "True":
            return kind
    return "Running"


def _completions(spec: Object, status: Object) -> str:
    done = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallel = spec.get("parallelism") or 0
    return f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"


def _budget(budget: Object, now: float) -> Cells:
    spec = budget.get("spec") or {}
    return [
        _name(budget),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        (budget.get("status") or {}).get("disruptionsAllowed", 0),
        age(budget, now),
    ]


# Data and services


def _config_map(config: Object, now: float) -> Cells:
    count = len(config.get("data") or {}) + len(config.get("binaryData") or {})
    return [_name(config), count, age(config, now)]


def _secret(secret: Object, now: float) -> Cells:
    return [
        _name(secret),
        secret.get("type", ""),
        len(secret.get("data") or {}),
        age(secret, now),
    ]


def _service_account(account: Object, now: float) -> Cells:
    return [_name(account), len(account.get("secrets") or []), age(account, now)]


def _service(service: Object, now: float) -> Cells:
    spec = service.get("spec") or {}
    ports = ",".join(map(_service_port, spec.get("ports") or []))
    return [
        _name(service),
        spec.get("type", ""),
        spec.get("clusterIP") or NONE,
        _external_address(service),
        ports or NONE,
        age(service, now),
        _labels(spec.get("selector")),
    ]


def _service_port(port: Object) -> str:
    outside = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{outside}/{port.get('protocol', 'TCP')}"


def _external_address(service: Object) -> str:
    spec = service.get("spec") or {}
    external = ",".join(spec.get("externalIPs") or [])
    match spec.get("type"):
        case "ExternalName":
            return spec.get("externalName") or NONE
        case "LoadBalancer":
            balancer = (service.get("status") or {}).get("loadBalancer") or {}
            found = [at.get("ip") or at.get("hostname") for at in balancer.get("ingress") or []]
            return ",".join(filter(None, [*found, external])) or "<pending>"
    return external or NONE


# The rest


def _event(event: Object, now: float) -> Cells:
    """Print both forms of events; the newer one names some fields otherwise."""
    about = event.get("involvedObject") or event.get("regarding") or {}
    target = about.get("kind", "").lower()
    if about.get("name"):
        target += f"/{about['name']}"
    last, first, count = _event_times(event, now)
    return [
        last,
        event.get("type", ""),
        event.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        _event_source(event),
        (event.get("message") or event.get("note") or "").strip(),
        first,
        count,
        _name(event),
    ]


def _event_times(event: Object, now: float) -> tuple[str, str, int]:
    begun = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp")
    first = since(begun or event.get("eventTime"), now)
    ended = event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")
    last = since(ended, now) if ended else first
    if series := event.get("series"):
        return since(series.get("lastObservedTime"), now), first, series.get("count", 0)
    return last, first, event.get("count") or event.get("deprecatedCount") or 1


def _event_source(event: Object) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component: str = (
        source.get("component")
        or event.get("reportingComponent")
        or event.get("reportingController")
        or ""
    )
    instance = source.get("host") or event.get("reportingInstance")
    return f"{component}, {instance}" if instance else component


def _lease(lease: Object, now: float) -> Cells:
    holder = (lease.get("spec") or {}).get("holderIdentity") or ""
    return [_name(lease), holder, age(lease, now)]


def _namespace(namespace: Object, now: float) -> Cells:
    phase = (namespace.get("status") or {}).get("phase", "")
    return [_name(namespace), phase, age(namespace, now)]


def _network_policy(policy: Object, now: float) -> Cells:
    selector = (policy.get("spec") or {}).get("podSelector") or {}
    return [_name(policy), _selector(selector), age(policy, now)]


def _binding(binding: Object, now: float) -> Cells:
    role, subjects = binding.get("roleRef") or {}, binding.get("subjects") or []

    def named(kind: str) -> str:
        return ", ".join(
            f"{subject.get('namespace', '')}/{subject['name']}"
            if kind == "ServiceAccount"
            else subject["name"]
            for subject in subjects
            if subject["kind"] == kind
        )

    return [
        _name(binding),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age(binding, now),
        named("User"),
        named("Group"),
        named("ServiceAccount"),
    ]


def _priority_class(priority: Object, now: float) -> Cells:
    return [
        _name(priority),
        priority.get("value", 0),
        bool(priority.get("globalDefault")),
        age(priority, now),
        priority.get("preemptionPolicy", ""),
    ]


def _other(obj: Object, now: float) -> Cells:
    del now
    return [_name(obj), obj["metadata"].get("creationTimestamp") or UNKNOWN]


_ROWS: Final[dict[str, Row]] = {
    "ClusterRoleBinding": _binding,
    "ConfigMap": _config_map,
    "ControllerRevision": _controller_revision,
    "DaemonSet": _daemonset,
    "Event": _event,
    "Job": _job,
    "Lease": _lease,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "Node": _node,
    "Pod": pod_cells,
    "PodDisruptionBudget": _budget,
    "PriorityClass": _priority_class,
    "RoleBinding": _binding,
    "Secret": _secret,
    "Service": _service,
    "ServiceAccount": _service_account,
}
