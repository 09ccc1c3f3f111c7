"""The Kubernetes client for Python, with its strict models, against the embedded cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client as k8s
from kubernetes import config, watch
from kubernetes.client.exceptions import ApiException

from rollout.sim.embedded import EmbeddedCluster
from rollout.sim.fleetfile import DaemonSetEntry, Fleet, default_fleet
from rollout.sim.images import Behaviour, Timing

HERE = "default"
CONTAINER = {"name": "c", "image": "c:1"}
POD_SPEC: dict[str, Any] = {"containers": [CONTAINER]}
TEMPLATE = {"metadata": {"labels": {"app": "c"}}, "spec": POD_SPEC}
SELECTOR = {"matchLabels": {"app": "c"}}
RBAC = "rbac.authorization.k8s.io"


def fleet() -> Fleet:
    return Fleet(
        nodes=default_fleet(3).nodes,
        daemon_sets=(DaemonSetEntry(name="agent", namespace="logging", image="agent:1"),),
        default_behaviour=Behaviour(start=Timing(0.1), stop=Timing(0.05)),
    )


@pytest.fixture(scope="module")
def cluster() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(fleet()) as embedded:
        yield embedded


@pytest.fixture(scope="module")
def api(cluster: EmbeddedCluster) -> Iterator[k8s.ApiClient]:
    with config.new_client_from_config_dict(cluster.kubeconfig()) as made:
        yield made
        made.rest_client.pool_manager.clear()


def core(api: k8s.ApiClient) -> k8s.CoreV1Api:
    return k8s.CoreV1Api(api)


def settled(api: k8s.ApiClient) -> k8s.V1DaemonSet:
    """Look until each node has its ready pod, whatever the test before has done; return the owner.

    Tests of a module come in any order where several processes share them out.
    """
    end = time.monotonic() + 120
    while True:
        (found,) = k8s.AppsV1Api(api).list_namespaced_daemon_set("logging").items
        pods = core(api).list_namespaced_pod("logging").items
        ready = [
            pod
            for pod in pods
            if not pod.metadata.deletion_timestamp
            and any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or ())
        ]
        if len(ready) == len(pods) == found.status.number_available == 3:
            return found
        assert time.monotonic() < end, (found.status, pods)


KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("CoreV1Api", "node", {}),
    ("CoreV1Api", "namespace", {}),
    ("CoreV1Api", "namespaced_pod", {"spec": POD_SPEC}),
    ("CoreV1Api", "namespaced_config_map", {"data": {"a": "b"}}),
    ("CoreV1Api", "namespaced_secret", {"stringData": {"a": "b"}}),
    ("CoreV1Api", "namespaced_service", {"spec": {"ports": [{"port": 80}]}}),
    ("CoreV1Api", "namespaced_service_account", {}),
    (
        "CoreV1Api",
        "namespaced_event",
        {"involvedObject": {"kind": "Pod", "name": "p", "namespace": HERE}, "reason": "R"},
    ),
    (
        "EventsV1Api",
        "namespaced_event",
        {
            "eventTime": "2026-01-01T00:00:00.250000Z",
            "action": "A",
            "reason": "R",
            "type": "Normal",
            "reportingController": "a/b",
            "reportingInstance": "i",
            "regarding": {"kind": "Pod", "name": "p", "namespace": HERE},
        },
    ),
    ("AppsV1Api", "namespaced_daemon_set", {"spec": {"selector": SELECTOR, "template": TEMPLATE}}),
    ("AppsV1Api", "namespaced_controller_revision", {"revision": 1, "data": {"a": 1}}),
    (
        "CoordinationV1Api",
        "namespaced_lease",
        {"spec": {"holderIdentity": "me", "renewTime": "2026-01-01T00:00:00.250000Z"}},
    ),
    (
        "PolicyV1Api",
        "namespaced_pod_disruption_budget",
        {"spec": {"maxUnavailable": 1, "selector": SELECTOR}},
    ),
    (
        "BatchV1Api",
        "namespaced_job",
        {"spec": {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}},
    ),
    ("NetworkingV1Api", "namespaced_network_policy", {"spec": {"podSelector": SELECTOR}}),
    ("RbacAuthorizationV1Api", "namespaced_role", {"rules": []}),
    ("RbacAuthorizationV1Api", "cluster_role", {"rules": []}),
    (
        "RbacAuthorizationV1Api",
        "namespaced_role_binding",
        {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "r"}},
    ),
    (
        "RbacAuthorizationV1Api",
        "cluster_role_binding",
        {"roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "r"}},
    ),
]


@pytest.mark.parametrize(("group", "kind", "rest"), KINDS, ids=lambda part: str(part)[:40])
def test_a_kind_is_created_read_watched_patched_and_deleted(
    api: k8s.ApiClient, group: str, kind: str, rest: dict[str, Any]
) -> None:
    calls = getattr(k8s, group)(api)
    place = (HERE,) if kind.startswith("namespaced_") else ()
    name = "typed-too" if group == "EventsV1Api" else "typed"
    body = {"metadata": {"name": name, "labels": {"mine": "yes"}}, **rest}
    listing = getattr(calls, f"list_{kind}")
    before = listing(*place, label_selector="mine=yes").metadata.resource_version
    created = getattr(calls, f"create_{kind}")(*place, body)
    assert created.metadata.uid
    read = getattr(calls, f"read_{kind}")(name, *place)
    assert read.metadata.uid == created.metadata.uid
    assert [item.metadata.name for item in listing(*place, label_selector="mine=yes").items] == [
        name
    ]
    patch = {"metadata": {"labels": {"more": "1"}}}
    patched = getattr(calls, f"patch_{kind}")(name, *place, patch)
    assert patched.metadata.labels["more"] == "1"
    if kind != "namespace":
        getattr(calls, f"delete_{kind}")(name, *place, grace_period_seconds=0)
        with pytest.raises(ApiException) as gone:
            getattr(calls, f"read_{kind}")(name, *place)
        assert gone.value.status == 404
    watcher = watch.Watch()
    events = watcher.stream(
        listing,
        *place,
        label_selector="mine=yes",
        resource_version=before,
        timeout_seconds=120,
        allow_watch_bookmarks=True,
    )
    last = "MODIFIED" if kind == "namespace" else "DELETED"
    types = []
    for event in events:
        types.append(event["type"])
        if event["type"] == last:
            watcher.stop()
    assert types[0] == "ADDED"
    assert "MODIFIED" in types


def test_what_the_cluster_itself_writes_fits_the_models(api: k8s.ApiClient) -> None:
    found = settled(api)
    nodes = core(api).list_node().items
    assert [node.status.conditions[-1].type for node in nodes] == ["Ready"] * 3
    assert nodes[0].status.node_info.kubelet_version
    assert found.status.desired_number_scheduled == 3
    assert found.spec.template.spec.containers[0].image == "agent:1"
    pods = core(api).list_namespaced_pod("logging").items
    assert {pod.status.container_statuses[0].state.running is None for pod in pods} == {False}
    assert all(pod.metadata.owner_references[0].controller for pod in pods)
    (revision,) = k8s.AppsV1Api(api).list_namespaced_controller_revision("logging").items
    assert revision.revision == 1


def test_a_replaced_pod_is_seen_by_a_typed_watch_with_bookmarks(api: k8s.ApiClient) -> None:
    settled(api)
    before = core(api).list_namespaced_pod("logging")
    old = before.items[0]
    core(api).delete_namespaced_pod(old.metadata.name, "logging")
    watcher = watch.Watch()
    ready = None
    for event in watcher.stream(
        core(api).list_namespaced_pod,
        "logging",
        field_selector=f"spec.nodeName={old.spec.node_name}",
        resource_version=before.metadata.resource_version,
        allow_watch_bookmarks=True,
        timeout_seconds=120,
    ):
        pod = event["object"]
        conditions = {c.type: c.status for c in pod.status.conditions or ()}
        if pod.metadata.uid != old.metadata.uid and conditions.get("Ready") == "True":
            ready = pod
            watcher.stop()
    assert ready is not None
    events = core(api).list_namespaced_event(
        "logging", field_selector=f"involvedObject.name={ready.metadata.name}"
    )
    assert {event.reason for event in events.items} >= {"Scheduled", "Started"}


def test_an_eviction_and_a_review_are_typed_as_well(api: k8s.ApiClient) -> None:
    settled(api)
    pod = core(api).list_namespaced_pod("logging").items[0]
    eviction = k8s.V1Eviction(metadata=k8s.V1ObjectMeta(name=pod.metadata.name))
    core(api).create_namespaced_pod_eviction(pod.metadata.name, "logging", eviction)
    wanted = k8s.V1ResourceAttributes(verb="delete", resource="pods", namespace="logging")
    review = k8s.AuthorizationV1Api(api).create_self_subject_access_review(
        k8s.V1SelfSubjectAccessReview(
            spec=k8s.V1SelfSubjectAccessReviewSpec(resource_attributes=wanted)
        )
    )
    assert review.status.allowed


def test_usage_is_read_through_the_custom_objects(api: k8s.ApiClient) -> None:
    usage = k8s.CustomObjectsApi(api).list_namespaced_custom_object(
        "metrics.k8s.io", "v1beta1", "logging", "pods"
    )
    assert usage["kind"] == "PodMetricsList"


def test_a_version_that_is_gone_reaches_the_client_as_410(
    cluster: EmbeddedCluster, api: k8s.ApiClient
) -> None:
    body = {"metadata": {"name": "a"}}
    created = core(api).create_namespaced_config_map(HERE, body)
    core(api).delete_namespaced_config_map("a", HERE)
    with cluster.lock:
        cluster.cluster.store.compact()
    stream = watch.Watch().stream(
        core(api).list_namespaced_config_map,
        HERE,
        resource_version=created.metadata.resource_version,
        timeout_seconds=120,
    )
    with pytest.raises(ApiException) as gone:
        list(stream)
    assert gone.value.status == 410
