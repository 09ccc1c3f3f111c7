"""What the server says of itself (that it says it word for word is proved on the recordings)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rollout.sim.discovery import Discovery, storage_version_hash
from rollout.sim.resources import EVENTS, NEW_EVENTS, PODS, RESOURCES
from tests.sim.apiworld import ApiWorld


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


def test_the_hash_of_the_stored_version_is_that_of_a_real_server() -> None:
    assert storage_version_hash(PODS) == "xPOwRZ+Yhw8="


def test_events_are_stored_once_under_two_names() -> None:
    assert storage_version_hash(NEW_EVENTS) == storage_version_hash(EVENTS)


@pytest.mark.parametrize("metrics", [True, False])
def test_metrics_are_there_when_the_cluster_has_a_server_for_them(*, metrics: bool) -> None:
    groups = [group["name"] for group in Discovery(metrics=metrics).groups()["groups"]]
    assert ("metrics.k8s.io" in groups) is metrics


def test_one_group_tells_its_versions(world: ApiWorld) -> None:
    body = world.get("/apis/autoscaling").body
    assert [version["version"] for version in body["versions"]] == ["v2", "v1"]
    assert body["preferredVersion"]["version"] == "v2"


@pytest.mark.parametrize("path", ["/apis/nope", "/apis/apps/v9", "/api/v2", "/nope"])
def test_what_is_not_there_is_plainly_not_found(world: ApiWorld, path: str) -> None:
    answer = world.get(path)
    assert (answer.status, answer.text) == (404, "404 page not found\n")


def test_a_daemonset_has_no_scale(world: ApiWorld) -> None:
    world.daemonset()
    answer = world.get("/apis/apps/v1/namespaces/default/daemonsets/agent/scale")
    assert (answer.status, answer.text) == (404, "404 page not found\n")


def test_both_aggregated_formats_are_served(world: ApiWorld) -> None:
    for version in ("v2", "v2beta1"):
        accept = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        body = world.get("/api", accept=accept).body
        assert body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        assert "pods" in [
            entry["resource"] for entry in body["items"][0]["versions"][0]["resources"]
        ]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
def test_the_server_is_healthy(world: ApiWorld, path: str) -> None:
    assert world.get(path).text == "ok"


def test_openapi_says_what_kubectl_looks_for_before_it_writes(world: ApiWorld) -> None:
    paths = world.get("/openapi/v3").body["paths"]
    document = world.get(paths["apis/apps/v1"]["serverRelativeURL"]).body
    one = document["paths"]["/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}"]
    assert "fieldValidation" in [entry["name"] for entry in one["patch"]["parameters"]]
    assert one["patch"]["x-kubernetes-group-version-kind"]["kind"] == "DaemonSet"


def test_openapi_says_how_patches_merge_containers(world: ApiWorld) -> None:
    schemas = world.get("/openapi/v3/api/v1").body["components"]["schemas"]
    containers = schemas["io.k8s.api.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]


def references(described: Any) -> Iterator[str]:
    """Yield what a document refers to."""
    if isinstance(described, dict):
        if "$ref" in described:
            yield described["$ref"].removeprefix("#/definitions/")
        for part in described.values():
            yield from references(part)


def test_the_second_version_of_openapi_defines_all_kinds_and_all_that_they_refer_to(
    world: ApiWorld,
) -> None:
    definitions = world.get("/openapi/v2").body["definitions"]
    assert set(references(definitions)) <= set(definitions)
    kinds = {
        (kind["group"], kind["version"], kind["kind"])
        for one in definitions.values()
        for kind in one.get("x-kubernetes-group-version-kind", ())
    }
    served = [r for r in RESOURCES if world.api.discovery.served(r)]
    assert kinds == {(r.group, r.version, r.kind) for r in served}
    assert definitions["io.k8s.api.DaemonSet"]["properties"]["kind"] == {"type": "string"}
    unlike = definitions["io.k8s.api.apps.v1.StatefulSet"]
    assert unlike["x-kubernetes-preserve-unknown-fields"] is True
