"""Fill in what the writer of an object left out, as a 1.36 API server does.

Called on every write, so every function returns the very same object when nothing is missing, and
shares what it does not touch: 100,000 pods of one template stay small. What the server decides
itself rather than defaults (names, generations, status) is in `strategies` and `admission`.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from typing import Any, Final

from rollout.sim import decoding, schema
from rollout.sim.resources import Resource
from rollout.sim.store import Object

FILE_MODE: Final = 0o644  # of files in secret, config map and projected volumes
TOKEN_SECONDS: Final = 3600
SESSION_SECONDS: Final = 10_800
FIRST_NODE_PORT: Final = 30_000
NODE_PORTS: Final = 2768
UNLIMITED_RETRIES: Final = 2**31 - 1
RBAC_GROUP: Final = "rbac.authorization.k8s.io"

_UNSET: Final = (None, "", 0)


def with_defaults(resource: Resource, obj: Object) -> Object:
    """Return the object with its defaults; unchanged parts are shared.

    Args:
        resource: what it is.
        obj: an object in the server's form (`decoding.decode`).
    """
    rule = _RULES.get(resource.kind)
    return _with_zero_parts(resource, rule(obj) if rule else obj)


def _with_zero_parts(resource: Resource, obj: Object) -> Object:
    """Add the parts that are written even when empty: `status: {numberReady: 0, ...}`."""
    type_ = schema.kind_type(resource.api_version, resource.kind)
    if type_ is None:
        return obj
    empty = decoding.zero(type_)
    obj = _with_keys(obj, empty)
    status = obj.get("status")
    if status and (zeros := empty.get("status")):
        return _replaced(obj, "status", _with_keys(status, zeros))
    return obj


def _with_keys(obj: Object, zeros: Object) -> Object:
    missing = {key: zero for key, zero in zeros.items() if key not in obj}
    return {**obj, **missing} if missing else obj  # the kind stays in front


# Helpers that keep identity


def _filled(obj: Object, **defaults: Any) -> Object:  # noqa: ANN401 - JSON
    """Add the defaults whose keys are absent or null."""
    missing = {key: value for key, value in defaults.items() if obj.get(key) is None}
    return {**obj, **missing} if missing else obj


def _filled_values(obj: Object, **defaults: Any) -> Object:  # noqa: ANN401 - JSON
    """Add the defaults of fields whose zero value means that nobody set them."""
    missing = {key: value for key, value in defaults.items() if obj.get(key) in _UNSET}
    return {**obj, **missing} if missing else obj


def _replaced(obj: Object, key: str, value: Any) -> Object:  # noqa: ANN401 - JSON
    return obj if obj.get(key) is value else {**obj, key: value}


def _inside(obj: Object, key: str, rule: Callable[[Object], Object]) -> Object:
    """Apply a rule to a part, if it is there."""
    part = obj.get(key)
    return _replaced(obj, key, rule(part)) if part is not None else obj


def _each(obj: Object, key: str, rule: Callable[[Object], Object]) -> Object:
    """Apply a rule to every item of a list, if it is there."""
    items = obj.get(key)
    if not items:
        return obj
    new = [rule(item) for item in items]
    same = all(now is old for now, old in zip(new, items, strict=True))
    return obj if same else {**obj, key: new}


# Pods


def _pod(pod: Object) -> Object:
    pod = _inside(pod, "spec", _pod_spec_of_pod)
    pod = _replaced(pod, "status", _filled_values(pod.get("status") or {}, phase="Pending"))
    return _inside(pod, "status", _pod_status)


def _pod_spec_of_pod(spec: Object) -> Object:
    """Apply the rules that hold for pods but not for templates."""
    spec = _filled(_pod_spec(spec), enableServiceLinks=True)
    spec = _each(spec, "initContainers", _requests_from_limits)
    spec = _each(spec, "containers", _requests_from_limits)
    if spec.get("hostNetwork"):
        spec = _each(spec, "containers", _host_ports)
        spec = _each(spec, "initContainers", _host_ports)
    return spec


def _pod_status(status: Object) -> Object:
    if status.get("podIP") and not status.get("podIPs"):
        return {**status, "podIPs": [{"ip": status["podIP"]}]}
    return status


def _requests_from_limits(container: Object) -> Object:
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits"), resources.get("requests") or {}
    if not limits or all(name in requests for name in limits):
        return container
    return {**container, "resources": {**resources, "requests": {**limits, **requests}}}


def _host_ports(container: Object) -> Object:
    def same_port(port: Object) -> Object:
        return _filled_values(port, hostPort=port["containerPort"])

    return _each(container, "ports", same_port)


def _pod_spec(spec: Object) -> Object:
    spec = _filled(spec, securityContext={}, terminationGracePeriodSeconds=30)
    spec = _filled_values(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        schedulerName="default-scheduler",
    )
    spec = _service_account(spec)
    spec = _each(spec, "volumes", _volume)
    spec = _each(spec, "initContainers", _container)
    spec = _each(spec, "containers", _container)
    return _each(spec, "ephemeralContainers", _container)


def _service_account(spec: Object) -> Object:
    """Keep the old name of the field equal to the new one."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if not name or (spec.get("serviceAccountName") == spec.get("serviceAccount") == name):
        return spec
    return {**spec, "serviceAccountName": name, "serviceAccount": name}


def _template(owner: Object) -> Object:
    return _inside(owner, "template", lambda template: _inside(template, "spec", _pod_spec))


# Containers


def _container(container: Object) -> Object:
    container = _filled_values(
        container,
        imagePullPolicy=pull_policy(container.get("image") or ""),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    container = _filled(container, resources={})
    container = _each(container, "ports", _protocol)
    container = _each(container, "env", _environment)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        container = _inside(container, probe, _probe)
    return _inside(container, "lifecycle", _lifecycle)


def pull_policy(image: str) -> str:
    """Return `Always` for the tag `latest` or none, `IfNotPresent` for other tags and digests."""
    if not image or "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _protocol(port: Object) -> Object:
    return _filled_values(port, protocol="TCP")


def _environment(variable: Object) -> Object:
    return _inside(variable, "valueFrom", _field_ref)


def _field_ref(source: Object) -> Object:
    return _inside(source, "fieldRef", lambda ref: _filled_values(ref, apiVersion="v1"))


def _probe(probe: Object) -> Object:
    probe = _filled_values(
        probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3
    )
    probe = _inside(probe, "grpc", lambda grpc: _filled(grpc, service=""))
    return _inside(probe, "httpGet", _http_get)


def _http_get(action: Object) -> Object:
    return _filled_values(action, path="/", scheme="HTTP")


def _lifecycle(lifecycle: Object) -> Object:
    for hook in ("postStart", "preStop"):
        lifecycle = _inside(lifecycle, hook, lambda handler: _inside(handler, "httpGet", _http_get))
    return lifecycle


# Volumes


def _volume(volume: Object) -> Object:
    if all(volume[key] is None for key in volume if key != "name"):
        return {**volume, "emptyDir": {}}
    for source, rule in _VOLUME_RULES.items():
        volume = _inside(volume, source, rule)
    return volume


def _with_file_mode(source: Object) -> Object:
    return _filled(source, defaultMode=FILE_MODE)


def _downward(source: Object) -> Object:
    return _each(source, "items", _field_ref)


def _projected(source: Object) -> Object:
    return _each(_with_file_mode(source), "sources", _projection)


def _projection(projection: Object) -> Object:
    projection = _inside(
        projection,
        "serviceAccountToken",
        lambda token: _filled(token, expirationSeconds=TOKEN_SECONDS),
    )
    return _inside(projection, "downwardAPI", _downward)


def _image_volume(source: Object) -> Object:
    return _filled_values(source, pullPolicy=pull_policy(source.get("reference") or ""))


def _claim_template(source: Object) -> Object:
    def claim(template: Object) -> Object:
        return _inside(template, "spec", lambda spec: _filled(spec, volumeMode="Filesystem"))

    return _inside(source, "volumeClaimTemplate", claim)


_VOLUME_RULES: Final[dict[str, Callable[[Object], Object]]] = {
    "hostPath": lambda source: _filled(source, type=""),
    "secret": _with_file_mode,
    "configMap": _with_file_mode,
    "downwardAPI": lambda source: _downward(_with_file_mode(source)),
    "projected": _projected,
    "image": _image_volume,
    "ephemeral": _claim_template,
    "iscsi": lambda source: _filled_values(source, iscsiInterface="default"),
    "rbd": lambda source: _filled_values(
        source, pool="rbd", user="admin", keyring="/etc/ceph/keyring"
    ),
    "azureDisk": lambda source: _filled(
        source, cachingMode="ReadWrite", kind="Shared", fsType="ext4", readOnly=False
    ),
    "scaleIO": lambda source: _filled_values(source, storageMode="ThinProvisioned", fsType="xfs"),
}


# Workloads


def _daemonset(daemonset: Object) -> Object:
    return _inside(daemonset, "spec", _daemonset_spec)


def _daemonset_spec(spec: Object) -> Object:
    """Apply behaviour.md section 2.6."""
    spec = _filled(_template(spec), revisionHistoryLimit=10)
    strategy = _filled_values(spec.get("updateStrategy") or {}, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        limits = _filled(strategy.get("rollingUpdate") or {}, maxUnavailable=1, maxSurge=0)
        strategy = _replaced(strategy, "rollingUpdate", limits)
    return _replaced(spec, "updateStrategy", strategy)


def _job(job: Object) -> Object:
    return _inside(job, "spec", _job_spec)


def _job_spec(spec: Object) -> Object:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec = _filled(spec, completions=1)
    retries = 6 if spec.get("backoffLimitPerIndex") is None else UNLIMITED_RETRIES
    replacement = "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
    spec = _filled(
        spec,
        parallelism=1,
        backoffLimit=retries,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy=replacement,
    )
    return _template(spec)


# Services


def _service(service: Object) -> Object:
    metadata = service.get("metadata") or {}
    return _inside(service, "spec", lambda spec: _service_spec(spec, metadata.get("uid", "")))


def _service_spec(spec: Object, uid: str) -> Object:
    spec = _filled_values(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        seconds = {"clientIP": {"timeoutSeconds": SESSION_SECONDS}}
        spec = _filled(spec, sessionAffinityConfig=seconds)
    spec = _each(spec, "ports", _service_port)
    if spec["type"] == "ExternalName":
        return spec
    spec = _filled(spec, internalTrafficPolicy="Cluster", ipFamilyPolicy="SingleStack")
    spec = _filled_values(spec, clusterIP=_cluster_ip(uid))
    spec = _filled(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"])
    if spec["type"] in {"NodePort", "LoadBalancer"}:
        spec = _filled_values(spec, externalTrafficPolicy="Cluster")
        spec = _each(spec, "ports", lambda port: _node_port(port, uid))
    if spec["type"] == "LoadBalancer":
        spec = _filled(spec, allocateLoadBalancerNodePorts=True)
    return spec


def _service_port(port: Object) -> Object:
    return _filled_values(port, protocol="TCP", targetPort=port["port"])


def _node_port(port: Object, uid: str) -> Object:
    """Give a port of 30000 to 32767 that follows from the service's uid and the port."""
    number = zlib.crc32(f"{uid}/{port['port']}/{port['protocol']}".encode())
    return _filled_values(port, nodePort=FIRST_NODE_PORT + number % NODE_PORTS)


def _cluster_ip(uid: str) -> str:
    """Return an address of 10.96.0.0/12 that follows from the service's uid."""
    number = zlib.crc32(uid.encode()) & 0xFFFFF
    return f"10.{96 + (number >> 16)}.{number >> 8 & 0xFF}.{number & 0xFF}"


# Network policies


def _network_policy(policy: Object) -> Object:
    return _inside(policy, "spec", _network_policy_spec)


def _network_policy_spec(spec: Object) -> Object:
    types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    spec = _filled(spec, policyTypes=types)
    return _each(_each(spec, "ingress", _policy_rule), "egress", _policy_rule)


def _policy_rule(rule: Object) -> Object:
    return _each(rule, "ports", lambda port: _filled_values(port, protocol="TCP"))


# The rest


def _node(node: Object) -> Object:
    return _inside(_inside(node, "spec", _pod_cidrs), "status", _allocatable)


def _pod_cidrs(spec: Object) -> Object:
    return _filled(spec, podCIDRs=[spec["podCIDR"]]) if spec.get("podCIDR") else spec


def _allocatable(status: Object) -> Object:
    return _filled(status, allocatable=status["capacity"]) if status.get("capacity") else status


def _secret(secret: Object) -> Object:
    secret = _filled_values(secret, type="Opaque")
    texts = secret.get("stringData")
    if not texts:
        return secret
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    rest = {key: value for key, value in secret.items() if key != "stringData"}
    return {**rest, "data": {**(secret.get("data") or {}), **encoded}}


def _namespace(namespace: Object) -> Object:
    status = _filled_values(namespace.get("status") or {}, phase="Active")
    return _replaced(namespace, "status", status)


def _binding(binding: Object) -> Object:
    binding = _inside(binding, "roleRef", lambda ref: _filled_values(ref, apiGroup=RBAC_GROUP))
    return _each(binding, "subjects", _subject)


def _subject(subject: Object) -> Object:
    if subject.get("kind") in {"User", "Group"}:
        return _filled_values(subject, apiGroup=RBAC_GROUP)
    return subject


def _priority_class(priority: Object) -> Object:
    return _filled(priority, preemptionPolicy="PreemptLowerPriority")


_RULES: Final[dict[str, Callable[[Object], Object]]] = {
    "ClusterRoleBinding": _binding,
    "DaemonSet": _daemonset,
    "Job": _job,
    "Namespace": _namespace,
    "NetworkPolicy": _network_policy,
    "Node": _node,
    "Pod": _pod,
    "PriorityClass": _priority_class,
    "RoleBinding": _binding,
    "Secret": _secret,
    "Service": _service,
}
