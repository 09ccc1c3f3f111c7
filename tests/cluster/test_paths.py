from __future__ import annotations

from rollout.cluster.paths import resource_path


def test_core_and_group_resources_have_their_own_roots() -> None:
    assert resource_path("v1", "nodes") == "/api/v1/nodes"
    assert resource_path("apps/v1", "daemonsets") == "/apis/apps/v1/daemonsets"


def test_an_object_and_its_subresource_have_a_path() -> None:
    path = resource_path("v1", "pods", namespace="ns", name="a", subresource="eviction")
    assert path == "/api/v1/namespaces/ns/pods/a/eviction"


def test_a_name_cannot_leave_its_segment() -> None:
    path = resource_path("v1", "pods", namespace="../x", name="a/b?c=d")
    assert path == "/api/v1/namespaces/..%2Fx/pods/a%2Fb%3Fc%3Dd"
