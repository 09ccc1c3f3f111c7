from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from rollout.errors import DocumentError
from rollout.fleet.snapshot import Fleet
from rollout.planner.desired import RESTARTED_AT, Desired, desired_state
from tests.planner.worlds import (
    ON_DELETE,
    ROLLING,
    make_fleet,
    make_item,
    make_revision,
    make_spec,
    make_template,
)

STAMP = "2026-03-01T12:00:00Z"


def desired(
    target: Any, fleet: Fleet | None = None, manifest: dict[str, Any] | None = None
) -> Desired:
    spec = make_spec(make_item(target=target), manifests={"agent": manifest} if manifest else None)
    return desired_state(spec, 0, spec.spec.spec.daemon_sets[0], fleet or make_fleet(1), STAMP)


def complaint(target: Any, **more: Any) -> str:
    with pytest.raises(DocumentError) as caught:
        desired(target, **more)
    text = str(caught.value)
    assert text.startswith("<stdin>:")
    assert int(text.split(":")[1]) > 1, "the line of the key itself"
    return text


def set_field(path: str, value: Any, template: dict[str, Any] | None = None) -> dict[str, Any]:
    fleet = make_fleet(1, template=template or make_template())
    return desired({"set": {"field": {path: value}}}, fleet).template


def the_container(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["spec"]["containers"][0]
    return found


def test_live_is_what_is_there() -> None:
    found = desired({"live": True})
    assert found.template == make_template()
    assert found.strategy == ROLLING
    assert (found.fields, found.labels, found.annotations) == ({}, {}, {})


def test_a_restart_is_one_annotation_of_the_template() -> None:
    template = desired({"restart": True}).template
    assert template["metadata"].pop("annotations") == {RESTARTED_AT: STAMP}
    assert template == make_template()


def test_a_restart_keeps_other_annotations() -> None:
    live = make_template()
    live["metadata"]["annotations"] = {"a": "b", RESTARTED_AT: "2020"}
    template = desired({"restart": True}, make_fleet(1, template=live)).template
    assert template["metadata"]["annotations"] == {"a": "b", RESTARTED_AT: STAMP}


def test_the_live_object_is_never_changed_by_looking_at_what_it_shall_become() -> None:
    fleet = make_fleet(1)
    before = deepcopy(fleet.raw)
    for target in (
        {"restart": True},
        {"set": {"image": {"agent": "x"}, "env": {"agent": {"A": "1"}}, "field": {"spec.x": 1}}},
    ):
        desired(target, fleet)
    assert fleet.raw == before
    assert fleet.daemon_set.spec.template == before["spec"]["template"]


# An older revision.


def test_an_older_revision_gives_its_template_byte_for_byte() -> None:
    old = make_template(image="agent:0")
    fleet = make_fleet(1, revisions=[make_revision(3, old), make_revision(4, make_template())])
    assert desired({"revision": 3}, fleet).template == old


def test_a_revision_that_was_pruned_is_refused_with_those_that_are_known() -> None:
    fleet = make_fleet(
        1, revisions=[make_revision(3, make_template(image="a")), make_revision(5, make_template())]
    )
    text = complaint({"revision": 4}, fleet=fleet)
    assert "DaemonSet agent has no revision 4; known are 3, 5" in text


# Single fields.


def test_a_new_image_is_set_in_the_named_container_also_an_init_container() -> None:
    live = make_template(initContainers=[{"name": "init", "image": "init:1"}])
    template = desired(
        {"set": {"image": {"agent": "agent:9", "init": "init:9"}}}, make_fleet(1, template=live)
    ).template
    assert the_container(template)["image"] == "agent:9"
    assert template["spec"]["initContainers"] == [{"name": "init", "image": "init:9"}]


@pytest.mark.parametrize("what", [{"image": {"aegnt": "x"}}, {"env": {"aegnt": {"A": "1"}}}])
def test_a_container_that_is_not_there_is_refused_with_those_that_are(what: Any) -> None:
    assert "the template has no container 'aegnt'; it has agent" in complaint({"set": what})


def test_variables_are_replaced_in_their_place_added_at_the_end_and_removed() -> None:
    live = make_template()
    the_container(live)["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "C", "value": "$(A)"},
    ]
    changes = {"A": "2", "B": "plain", "C": None, "D": "new", "E": None}
    template = desired({"set": {"env": {"agent": changes}}}, make_fleet(1, template=live)).template
    assert the_container(template)["env"] == [
        {"name": "A", "value": "2"},
        {"name": "B", "value": "plain"},
        {"name": "D", "value": "new"},
    ]


def test_when_the_last_variable_goes_no_empty_list_stays() -> None:
    live = make_template()
    the_container(live)["env"] = [{"name": "A", "value": "1"}]
    template = desired(
        {"set": {"env": {"agent": {"A": None}}}}, make_fleet(1, template=live)
    ).template
    assert template == make_template()


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("spec.priorityClassName", "high", ("spec", "priorityClassName")),
        (
            "spec.containers[agent].resources.limits.cpu",
            "200m",
            ("spec", "containers", 0, "resources", "limits", "cpu"),
        ),
        ("spec.containers[0].image", "agent:9", ("spec", "containers", 0, "image")),
        ("spec.tolerations", [{"operator": "Exists"}], ("spec", "tolerations")),
        (
            "metadata.annotations[a.example.com/b]",
            "x",
            ("metadata", "annotations", "a.example.com/b"),
        ),
        ("metadata.labels[app]", "agent", ("metadata", "labels", "app")),
    ],
)
def test_any_field_can_be_set_by_its_path(path: str, value: Any, where: tuple[Any, ...]) -> None:
    found: Any = set_field(path, value)
    for step in where:
        found = found[step]
    assert found == value


def test_null_removes_a_field_and_is_no_mistake_when_it_is_absent() -> None:
    live = make_template(hostNetwork=True)
    assert "hostNetwork" not in set_field("spec.hostNetwork", None, live)["spec"]
    assert set_field("spec.hostPID", None) == make_template()
    assert set_field("spec.containers[agent]", None)["spec"]["containers"] == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("", "'' is not a path"),
        ("spec..image", "is not a path"),
        (".spec", "is not a path"),
        ("spec.", "is not a path"),
        ("spec.containers[", "is not a path"),
        ("spec.containers[]", "is not a path"),
        ("spec.containers]", "is not a path"),
        ("spec.containers[nope].image", "the list has no item 'nope'"),
        ("spec.containers[7].image", "the list has no item '7'"),
        ("spec.sidecars[a].image", "there is no list 'spec.sidecars'"),
        ("spec.containers.image", "'spec.containers' is a list; write [name] behind it"),
        ("spec.containers[agent].image.tag", "is no mapping"),
        ("spec.containers[agent].image.tag.x", "is no mapping"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_with_the_reason(path: str, reason: str) -> None:
    text = complaint({"set": {"field": {path: 1}}})
    assert "cannot be set: " in text
    assert reason in text


# A manifest.


def manifest(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "logging"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": make_template(image="agent:2"),
        }
        | spec,
    }


def from_manifest(fleet: Fleet | None = None, metadata: Any = None, **spec: Any) -> Desired:
    document = manifest(**spec)
    document["metadata"] |= metadata or {}
    return desired({"manifest": "a.yaml"}, fleet, document)


def test_a_manifest_is_taken_whole() -> None:
    fleet = make_fleet(1, spec={"minReadySeconds": 5, "revisionHistoryLimit": 10})
    found = from_manifest(
        fleet,
        {"labels": {"team": "x"}, "annotations": {"kubernetes.io/change-cause": "v2"}},
        minReadySeconds=30,
        updateStrategy={"rollingUpdate": {"maxUnavailable": "10%"}},
    )
    assert found.template == make_template(image="agent:2")
    assert found.fields == {"minReadySeconds": 30}
    assert found.strategy == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "10%", "maxSurge": 0},
    }
    assert found.labels == {"team": "x"}
    assert found.annotations == {"kubernetes.io/change-cause": "v2"}


def test_what_a_manifest_leaves_out_gets_kubernetes_default() -> None:
    fleet = make_fleet(1, spec={"minReadySeconds": 5, "revisionHistoryLimit": 3})
    found = from_manifest(fleet)
    assert found.fields == {"minReadySeconds": 0, "revisionHistoryLimit": 10}
    assert found.strategy == ROLLING


def test_under_on_delete_nothing_is_defaulted() -> None:
    assert from_manifest(updateStrategy={"type": "OnDelete"}).strategy == ON_DELETE


def test_labels_and_annotations_that_are_there_already_are_no_change() -> None:
    fleet = make_fleet(1, annotations={"a": "b"})
    assert from_manifest(fleet, {"annotations": {"a": "b"}}).annotations == {}


def test_what_the_server_and_we_write_into_annotations_is_not_wished_for() -> None:
    """A manifest that came from `kubectl get -o yaml` carries them."""
    found = from_manifest(
        make_fleet(1, template_generation="7"),
        {
            "annotations": {
                "deprecated.daemonset.template.generation": "3",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "rollout/plan": "sha256:x",
                "mine": "yes",
            }
        },
    )
    assert found.annotations == {"mine": "yes"}


def test_a_manifest_with_another_selector_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"another spec\.selector, which cannot be changed"):
        from_manifest(selector={"matchLabels": {"app": "other"}})


# What is sent.


def test_the_patch_replaces_template_and_strategy_whole() -> None:
    patch = desired({"set": {"image": {"agent": "agent:2"}}}).patch()
    assert patch == {
        "metadata": {},
        "spec": {
            "template": make_template(image="agent:2") | {"$patch": "replace"},
            "updateStrategy": ROLLING | {"$patch": "replace"},
        },
    }


def test_the_servers_own_completion_takes_the_place_of_ours() -> None:
    completed = {
        "spec": {
            "template": make_template(image="agent:2", restartPolicy="Always"),
            "updateStrategy": ROLLING,
        }
    }
    found = desired({"live": True}).with_defaults_of(completed)
    assert found.completed
    assert found.template["spec"]["restartPolicy"] == "Always"
