"""Reads a fleet from the API server: one paged list for each resource, and nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.paths import resource_path
from rollout.errors import Conflict, Forbidden, NotFound, NotServed, Rejected, Unreachable
from rollout.fleet import marks
from rollout.fleet.objects import (
    ControllerRevision,
    DaemonSet,
    JsonObject,
    LabelSelector,
    Meta,
    Namespace,
    Node,
    Pod,
)
from rollout.fleet.released import ReleasedPod
from rollout.fleet.selecting import Selecting, Selectors
from rollout.fleet.selectors import selector_of
from rollout.fleet.snapshot import Fleet, build_fleet

T = TypeVar("T")
APPS = "apps/v1"
CORE = "v1"


def daemon_set_path(namespace: str, name: str) -> str:
    """Return the path of a DaemonSet."""
    return resource_path(APPS, "daemonsets", namespace=namespace, name=name)


def read_cluster_uid(client: Client) -> str:
    """Return the UID of kube-system, by which clusters are told apart.

    Raises:
        ClusterError: when it cannot be read.
    """
    path = resource_path(CORE, "namespaces", name="kube-system")
    return client.get(path, Namespace).metadata.uid


def read_nodes(client: Client) -> list[Node]:
    """Return all nodes."""
    return client.list(resource_path(CORE, "nodes"), Node).items


def read_daemon_set(client: Client, namespace: str, name: str) -> tuple[DaemonSet, JsonObject]:
    """Return a DaemonSet, typed and as the server wrote it.

    Raises:
        NotFound: when there is none, with the way to see what there is.
    """
    try:
        raw = client.get(daemon_set_path(namespace, name), dict)
    except NotFound:
        raise NotFound(
            f"DaemonSet {namespace}/{name} does not exist on {client.server}; "
            f"see 'kubectl get daemonsets -n {namespace}'"
        ) from None
    return msgspec.convert(raw, DaemonSet), raw


def read_from_store(client: Client, namespace: str, name: str) -> tuple[DaemonSet, JsonObject]:
    """Return a DaemonSet as it is in the server's store, whatever caches show.

    A patch that changes nothing, as a dry run, is answered with the object that a real one would
    have been made on; where it may not be sent, an ordinary read must do.

    Raises:
        NotFound: when there is none.
    """
    path = daemon_set_path(namespace, name)
    try:
        raw = client.patch(path, {}, PatchKind.MERGE, dict, dry_run=True)
    except (NotFound, Forbidden, Rejected, Conflict):
        return read_daemon_set(client, namespace, name)
    return msgspec.convert(raw, DaemonSet), raw


def read_fleet(
    client: Client,
    namespace: str,
    name: str,
    *,
    nodes: Sequence[Node],
    cluster_uid: str = "",
    from_store: bool = False,
) -> Fleet:
    """Return the snapshot of one DaemonSet.

    Args:
        client: of the cluster.
        namespace: of the DaemonSet.
        name: of the DaemonSet.
        nodes: from `read_nodes`; one list serves all DaemonSets.
        cluster_uid: from `read_cluster_uid`; "" where nothing is compared with a plan, for those
            who only look may not read it.
        from_store: see `read_from_store`; for those who may patch it.

    Raises:
        NotFound: when the DaemonSet does not exist.
        ClusterError: on any other failure.
    """
    read = read_from_store if from_store else read_daemon_set
    daemon_set, raw = read(client, namespace, name)
    selector = str(selector_of(daemon_set.spec.selector))
    revisions = read_revisions(client, daemon_set)
    pods = client.list(
        resource_path(CORE, "pods", namespace=namespace), Pod, label_selector=selector
    )
    return build_fleet(cluster_uid, daemon_set, raw, revisions, nodes, pods.items)


def read_revisions(client: Client, daemon_set: DaemonSet) -> Sequence[ControllerRevision]:
    """Return the revisions that a DaemonSet selects; those of others may be among them.

    Raises:
        ClusterError: when they cannot be read.
    """
    path = resource_path(APPS, "controllerrevisions", namespace=daemon_set.metadata.namespace)
    selector = str(selector_of(daemon_set.spec.selector))
    return client.list(path, ControllerRevision, label_selector=selector).items


def read_released(client: Client, namespace: str, uid: str = "") -> list[ReleasedPod]:
    """Return the pods that runs have handed over in a namespace.

    Args:
        client: of the cluster.
        namespace: where to look.
        uid: of the DaemonSet that they were released from; "" for any.
    """
    selector = f"{marks.RELEASED_FROM}={uid}" if uid else marks.RELEASED_FROM
    path = resource_path(CORE, "pods", namespace=namespace)
    return client.list(path, ReleasedPod, label_selector=selector).items


class _LabelsSpec(msgspec.Struct, frozen=True):
    selector: dict[str, str] = {}


class _ByLabels(msgspec.Struct, frozen=True):  # a Service, a ReplicationController
    metadata: Meta
    spec: _LabelsSpec = _LabelsSpec()


class _SelectorSpec(msgspec.Struct, frozen=True, rename="camel"):
    selector: LabelSelector | None = None  # of all others
    pod_selector: LabelSelector | None = None  # of a NetworkPolicy


class _Selecting(msgspec.Struct, frozen=True):
    metadata: Meta
    spec: _SelectorSpec = _SelectorSpec()


def read_selecting(client: Client, namespace: str) -> Selectors:
    """Return what selects pods by labels: Services, NetworkPolicies, controllers and so on.

    A kind that is not served has no objects; one that may not be listed is named as unseen.
    """
    found: list[Selecting] = []
    unseen: list[str] = []

    def listed(kind: str, version: str, plural: str, type_: type[T]) -> list[T]:
        try:
            return client.list(resource_path(version, plural, namespace=namespace), type_).items
        except (NotFound, NotServed):
            return []
        except (Forbidden, Unreachable):
            unseen.append(kind)
            return []

    for kind, plural in (
        ("Service", "services"),
        ("ReplicationController", "replicationcontrollers"),
    ):
        found += [
            Selecting(kind, item.metadata.name, LabelSelector(match_labels=item.spec.selector))
            for item in listed(kind, CORE, plural, _ByLabels)
            if item.spec.selector
        ]
    for kind, version, plural in (
        ("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets"),
        ("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies"),
        ("DaemonSet", APPS, "daemonsets"),
        ("ReplicaSet", APPS, "replicasets"),
        ("StatefulSet", APPS, "statefulsets"),
    ):
        for item in listed(kind, version, plural, _Selecting):
            selector = item.spec.selector or item.spec.pod_selector or LabelSelector()
            found.append(Selecting(kind, item.metadata.name, selector))
    return Selectors(tuple(found), tuple(unseen))
