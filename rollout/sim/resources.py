"""The kinds that the embedded cluster serves, and how each is named in paths and in discovery.

The table is that of a Kubernetes 1.36 API server (recorded in `tests/fidelity/`). Kinds that no
part of the simulation gives a meaning to (StatefulSets, say) are stored and listed like any other,
so that clients which walk over all of discovery see what they would see on an idle cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)
READ_WRITE: Final = ("get", "patch", "update")


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One served resource (`apps/v1 daemonsets`) with the names that clients use for it.

    Every resource exists once, in `RESOURCES`, and is compared by identity: it is the key of hot
    tables.
    """

    group: str  # "" is the core group
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`daemonsets.apps`, as it stands in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """`DaemonSet.apps`, as it stands in messages about invalid objects."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def has_status(self) -> bool:
        """Whether status is written through its own subresource."""
        return "status" in self.subresources


@dataclass(frozen=True, slots=True)
class Subresource:
    """What discovery says of one subresource when it differs from its parent."""

    kind: str = ""  # "" is the parent's kind
    group: str = ""  # of the kind, where it is of another group than the parent
    version: str = ""
    verbs: tuple[str, ...] = READ_WRITE


_PROXY_VERBS: Final = ("create", "delete", "get", "patch", "update")

SUBRESOURCES: Final[dict[tuple[str, str], Subresource]] = {
    ("pods", "attach"): Subresource("PodAttachOptions", verbs=("create", "get")),
    ("pods", "binding"): Subresource("Binding", verbs=("create",)),
    ("pods", "eviction"): Subresource("Eviction", "policy", "v1", ("create",)),
    ("pods", "exec"): Subresource("PodExecOptions", verbs=("create", "get")),
    ("pods", "log"): Subresource(verbs=("get",)),
    ("pods", "portforward"): Subresource("PodPortForwardOptions", verbs=("create", "get")),
    ("pods", "proxy"): Subresource("PodProxyOptions", verbs=_PROXY_VERBS),
    ("nodes", "proxy"): Subresource("NodeProxyOptions", verbs=_PROXY_VERBS),
    ("services", "proxy"): Subresource("ServiceProxyOptions", verbs=_PROXY_VERBS),
    ("namespaces", "finalize"): Subresource(verbs=("update",)),
    ("serviceaccounts", "token"): Subresource(
        "TokenRequest", "authentication.k8s.io", "v1", ("create",)
    ),
    ("deployments", "scale"): Subresource("Scale", "autoscaling", "v1"),
    ("replicasets", "scale"): Subresource("Scale", "autoscaling", "v1"),
    ("replicationcontrollers", "scale"): Subresource("Scale", "autoscaling", "v1"),
    ("statefulsets", "scale"): Subresource("Scale", "autoscaling", "v1"),
}
"""Subresources that are more than their parent under another name, by plural and subresource."""

RESOURCES: Final[list[Resource]] = []
"""Every served resource, in the order of discovery."""


def _serve(
    api_version: str,
    plural: str,
    kind: str,
    *,
    namespaced: bool = True,
    short: str = "",
    category: str = "",
    subs: str = "",
    verbs: str = "",
) -> Resource:
    group, _, version = api_version.rpartition("/")
    resource = Resource(
        group,
        version,
        plural,
        kind,
        namespaced,
        kind.lower(),
        tuple(short.split()),
        tuple(category.split()),
        tuple(subs.split()),
        tuple(verbs.split()) or ALL_VERBS,
    )
    RESOURCES.append(resource)
    return resource


_serve("v1", "bindings", "Binding", verbs="create")
_serve("v1", "componentstatuses", "ComponentStatus", namespaced=False, short="cs", verbs="get list")
CONFIG_MAPS: Final = _serve("v1", "configmaps", "ConfigMap", short="cm")
_serve("v1", "endpoints", "Endpoints", short="ep")
EVENTS: Final = _serve("v1", "events", "Event", short="ev")
_serve("v1", "limitranges", "LimitRange", short="limits")
NAMESPACES: Final = _serve(
    "v1",
    "namespaces",
    "Namespace",
    namespaced=False,
    short="ns",
    subs="finalize status",
    verbs="create delete get list patch update watch",
)
NODES: Final = _serve("v1", "nodes", "Node", namespaced=False, short="no", subs="proxy status")
_serve("v1", "persistentvolumeclaims", "PersistentVolumeClaim", short="pvc", subs="status")
_serve("v1", "persistentvolumes", "PersistentVolume", namespaced=False, short="pv", subs="status")
PODS: Final = _serve(
    "v1",
    "pods",
    "Pod",
    short="po",
    category="all",
    subs="attach binding ephemeralcontainers eviction exec log portforward proxy resize status",
)
_serve("v1", "podtemplates", "PodTemplate")
_serve(
    "v1",
    "replicationcontrollers",
    "ReplicationController",
    short="rc",
    category="all",
    subs="scale status",
)
_serve("v1", "resourcequotas", "ResourceQuota", short="quota", subs="status")
SECRETS: Final = _serve("v1", "secrets", "Secret")
SERVICE_ACCOUNTS: Final = _serve(
    "v1", "serviceaccounts", "ServiceAccount", short="sa", subs="token"
)
SERVICES: Final = _serve(
    "v1", "services", "Service", short="svc", category="all", subs="proxy status"
)
_serve(
    "apiregistration.k8s.io/v1",
    "apiservices",
    "APIService",
    namespaced=False,
    category="api-extensions",
    subs="status",
)
CONTROLLER_REVISIONS: Final = _serve("apps/v1", "controllerrevisions", "ControllerRevision")
DAEMONSETS: Final = _serve(
    "apps/v1", "daemonsets", "DaemonSet", short="ds", category="all", subs="status"
)
DEPLOYMENTS: Final = _serve(
    "apps/v1", "deployments", "Deployment", short="deploy", category="all", subs="scale status"
)
REPLICA_SETS: Final = _serve(
    "apps/v1", "replicasets", "ReplicaSet", short="rs", category="all", subs="scale status"
)
STATEFUL_SETS: Final = _serve(
    "apps/v1", "statefulsets", "StatefulSet", short="sts", category="all", subs="scale status"
)
NEW_EVENTS: Final = _serve("events.k8s.io/v1", "events", "Event", short="ev")
SELF_SUBJECT_REVIEWS: Final = _serve(
    "authentication.k8s.io/v1",
    "selfsubjectreviews",
    "SelfSubjectReview",
    namespaced=False,
    verbs="create",
)
TOKEN_REVIEWS: Final = _serve(
    "authentication.k8s.io/v1", "tokenreviews", "TokenReview", namespaced=False, verbs="create"
)
LOCAL_SUBJECT_ACCESS_REVIEWS: Final = _serve(
    "authorization.k8s.io/v1",
    "localsubjectaccessreviews",
    "LocalSubjectAccessReview",
    verbs="create",
)
SELF_SUBJECT_ACCESS_REVIEWS: Final = _serve(
    "authorization.k8s.io/v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
    verbs="create",
)
SELF_SUBJECT_RULES_REVIEWS: Final = _serve(
    "authorization.k8s.io/v1",
    "selfsubjectrulesreviews",
    "SelfSubjectRulesReview",
    namespaced=False,
    verbs="create",
)
SUBJECT_ACCESS_REVIEWS: Final = _serve(
    "authorization.k8s.io/v1",
    "subjectaccessreviews",
    "SubjectAccessReview",
    namespaced=False,
    verbs="create",
)
_serve(
    "autoscaling/v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short="hpa",
    category="all",
    subs="status",
)
_serve(
    "autoscaling/v1",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    short="hpa",
    category="all",
    subs="status",
)
_serve("batch/v1", "cronjobs", "CronJob", short="cj", category="all", subs="status")
JOBS: Final = _serve("batch/v1", "jobs", "Job", category="all", subs="status")
_serve(
    "certificates.k8s.io/v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
    short="csr",
    subs="approval status",
)
_serve("networking.k8s.io/v1", "ingressclasses", "IngressClass", namespaced=False)
_serve("networking.k8s.io/v1", "ingresses", "Ingress", short="ing", subs="status")
_serve("networking.k8s.io/v1", "ipaddresses", "IPAddress", namespaced=False, short="ip")
NETWORK_POLICIES: Final = _serve(
    "networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", short="netpol"
)
_serve("networking.k8s.io/v1", "servicecidrs", "ServiceCIDR", namespaced=False, subs="status")
PDBS: Final = _serve(
    "policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", short="pdb", subs="status"
)
CLUSTER_ROLE_BINDINGS: Final = _serve(
    "rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
CLUSTER_ROLES: Final = _serve(
    "rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", namespaced=False
)
ROLE_BINDINGS: Final = _serve("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding")
ROLES: Final = _serve("rbac.authorization.k8s.io/v1", "roles", "Role")
_serve("storage.k8s.io/v1", "csidrivers", "CSIDriver", namespaced=False)
_serve("storage.k8s.io/v1", "csinodes", "CSINode", namespaced=False)
_serve("storage.k8s.io/v1", "csistoragecapacities", "CSIStorageCapacity")
_serve("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False, short="sc")
_serve(
    "storage.k8s.io/v1", "volumeattachments", "VolumeAttachment", namespaced=False, subs="status"
)
_serve(
    "storage.k8s.io/v1",
    "volumeattributesclasses",
    "VolumeAttributesClass",
    namespaced=False,
    short="vac",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicies",
    "MutatingAdmissionPolicy",
    namespaced=False,
    category="api-extensions",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "mutatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding",
    namespaced=False,
    category="api-extensions",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
    category="api-extensions",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
    category="api-extensions",
    subs="status",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "validatingadmissionpolicybindings",
    "ValidatingAdmissionPolicyBinding",
    namespaced=False,
    category="api-extensions",
)
_serve(
    "admissionregistration.k8s.io/v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
    category="api-extensions",
)
_serve(
    "apiextensions.k8s.io/v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
    short="crd crds",
    category="api-extensions",
    subs="status",
)
PRIORITY_CLASSES: Final = _serve(
    "scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", namespaced=False, short="pc"
)
LEASES: Final = _serve("coordination.k8s.io/v1", "leases", "Lease")
_serve("node.k8s.io/v1", "runtimeclasses", "RuntimeClass", namespaced=False)
_serve("discovery.k8s.io/v1", "endpointslices", "EndpointSlice")
_serve("resource.k8s.io/v1", "deviceclasses", "DeviceClass", namespaced=False)
_serve("resource.k8s.io/v1", "resourceclaims", "ResourceClaim", subs="status")
_serve("resource.k8s.io/v1", "resourceclaimtemplates", "ResourceClaimTemplate")
_serve("resource.k8s.io/v1", "resourceslices", "ResourceSlice", namespaced=False)
_serve(
    "flowcontrol.apiserver.k8s.io/v1", "flowschemas", "FlowSchema", namespaced=False, subs="status"
)
_serve(
    "flowcontrol.apiserver.k8s.io/v1",
    "prioritylevelconfigurations",
    "PriorityLevelConfiguration",
    namespaced=False,
    subs="status",
)

# Served by the metrics server, an aggregated API that a cluster may or may not have.
NODE_METRICS: Final = _serve(
    "metrics.k8s.io/v1beta1", "nodes", "NodeMetrics", namespaced=False, verbs="get list"
)
POD_METRICS: Final = _serve("metrics.k8s.io/v1beta1", "pods", "PodMetrics", verbs="get list")

BY_PATH: Final[dict[tuple[str, str, str], Resource]] = {
    (resource.group, resource.version, resource.plural): resource for resource in RESOURCES
}
"""Resources by group, version and plural: how a request path names them."""

BY_KIND: Final[dict[tuple[str, str], Resource]] = {
    (resource.api_version, resource.kind): resource for resource in RESOURCES
}
"""Resources by `apiVersion` and `kind`: how owner references and manifests name them."""
