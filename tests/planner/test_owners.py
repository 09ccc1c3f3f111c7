from __future__ import annotations

from typing import Any

import pytest

from rollout.planner.owners import foreign_owners
from tests.planner.worlds import make_template

IMAGE = "/spec/template/spec/containers/0/image"


def managed(manager: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Apply", "fieldsV1": fields} | more


def below(path: list[str], leaf: dict[str, Any]) -> dict[str, Any]:
    for step in reversed(path):
        leaf = {step: leaf}
    return leaf


def image_of(container: str) -> dict[str, Any]:
    key = f'k:{{"name":"{container}"}}'
    return below(["f:spec", "f:template", "f:spec", "f:containers", key], {".": {}, "f:image": {}})


def owners(entries: list[dict[str, Any]], *paths: str) -> dict[str, tuple[str, ...]]:
    raw = {
        "metadata": {"name": "agent", "managedFields": entries},
        "spec": {"template": make_template()},
    }
    return foreign_owners(raw, paths or (IMAGE,))


@pytest.mark.parametrize("manager", ["helm", "argocd-controller", "kustomize-controller"])
def test_who_manages_a_field_that_changes_is_named_with_the_field(manager: str) -> None:
    found = owners([managed(manager, image_of("agent"))])
    assert found == {manager: ("spec.template.spec.containers[agent].image",)}


def test_who_manages_other_fields_is_not_named() -> None:
    assert owners([managed("helm", image_of("sidecar"))]) == {}
    labels = below(["f:metadata", "f:labels"], {"f:team": {}})
    assert owners([managed("helm", labels)]) == {}


def test_the_controller_the_status_and_we_are_no_foreigners() -> None:
    entries = [
        managed("rollout", image_of("agent")),
        managed("kube-controller-manager", image_of("agent")),
        managed("helm", image_of("agent"), subresource="status"),
    ]
    assert owners(entries) == {}


def test_a_person_at_work_does_not_come_back() -> None:
    assert owners([managed("kubectl-edit", image_of("agent"))]) == {}


def test_a_field_above_that_is_owned_whole_counts() -> None:
    atomic = below(["f:spec", "f:template", "f:spec"], {"f:nodeSelector": {}})
    found = owners([managed("flux", atomic)], "/spec/template/spec/nodeSelector/pool")
    assert found == {"flux": ("spec.template.spec.nodeSelector.pool",)}


def test_managers_come_in_the_order_of_their_names() -> None:
    entries = [managed("helm", image_of("agent")), managed("argocd", image_of("agent"))]
    assert list(owners(entries)) == ["argocd", "helm"]


def test_an_object_without_managed_fields_has_no_owners() -> None:
    assert foreign_owners({"metadata": {}, "spec": {}}, [IMAGE]) == {}
