from __future__ import annotations

from typing import Any

import pytest

from rollout.sim import decoding
from rollout.sim.decoding import DecodeError
from rollout.sim.resources import (
    BY_KIND,
    CONFIG_MAPS,
    DAEMONSETS,
    LEASES,
    NODES,
    PODS,
    SECRETS,
    STATEFUL_SETS,
)
from tests.sim.recorded import answer, objects, request


def daemonset(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "a", "image": "agent:v1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent"},
        "spec": {"template": template, **spec},
    }


def test_everything_a_real_server_answered_is_already_in_its_form() -> None:
    bodies = [body for body in objects() if (body["apiVersion"], body["kind"]) in BY_KIND]
    assert len(bodies) > 100
    for body in bodies:
        decoded, unknown = decoding.decode(BY_KIND[body["apiVersion"], body["kind"]], body)
        assert decoded is body
        assert unknown == []


def test_unknown_fields_are_named_by_their_path_and_dropped() -> None:
    body = daemonset(bogus=1)
    body["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    body["metadata"]["nmae"] = "x"
    decoded, unknown = decoding.decode(DAEMONSETS, body)
    assert sorted(unknown) == [
        "metadata.nmae",
        "spec.bogus",
        "spec.template.spec.containers[0].imagee",
    ]
    assert "bogus" not in decoded["spec"]
    assert "bogus" in body["spec"]  # the input stays as it was


def test_strict_validation_answers_as_recorded() -> None:
    _, unknown = decoding.decode(DAEMONSETS, request("03", "create with unknown field, strict"))
    error = decoding.unhandled(DAEMONSETS, decoding.strict_error(unknown))
    assert error.body() == answer("03", "create with unknown field, strict")


def test_a_bad_time_answers_as_recorded() -> None:
    with pytest.raises(DecodeError) as caught:
        decoding.decode(LEASES, request("05", "bad time"))
    assert decoding.unhandled(LEASES, str(caught.value)).body() == answer("05", "bad time")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"minReadySeconds": "five"},
            (
                "json: cannot unmarshal string into Go struct field "
                "DaemonSetSpec.spec.minReadySeconds of type int32"
            ),
        ),
        (
            {"minReadySeconds": 1.5},
            (
                "json: cannot unmarshal number 1.5 into Go struct field "
                "DaemonSetSpec.spec.minReadySeconds of type int32"
            ),
        ),
        (
            {"minReadySeconds": 2**31},
            (
                "json: cannot unmarshal number 2147483648 into Go struct field "
                "DaemonSetSpec.spec.minReadySeconds of type int32"
            ),
        ),
        (
            {"updateStrategy": "OnDelete"},
            (
                "json: cannot unmarshal string into Go struct field "
                "DaemonSetSpec.spec.updateStrategy of type v1.DaemonSetUpdateStrategy"
            ),
        ),
        (
            {"updateStrategy": {"type": 1}},
            (
                "json: cannot unmarshal number into Go struct field "
                "DaemonSetUpdateStrategy.spec.updateStrategy.type of type "
                "v1.DaemonSetUpdateStrategyType"
            ),
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"maxSurge": True}}},
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            {"template": {"metadata": {"labels": {"a": 1}}}},
            (
                "json: cannot unmarshal number into Go struct field "
                "ObjectMeta.spec.template.metadata.labels of type string"
            ),
        ),
        (
            {"template": {"spec": {"containers": {}}}},
            (
                "json: cannot unmarshal object into Go struct field "
                "PodSpec.spec.template.spec.containers of type []v1.Container"
            ),
        ),
        (
            {"template": {"spec": {"containers": [{"image": 5}]}}},
            (
                "json: cannot unmarshal number into Go struct field "
                "Container.spec.template.spec.containers.image of type string"
            ),
        ),
        (
            {"template": {"spec": {"overhead": {"cpu": "lots"}}}},
            (
                "quantities must match the regular expression "
                "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            ),
        ),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_in_gos_words(
    spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decoding.decode(DAEMONSETS, daemonset(**spec))
    assert str(caught.value) == message


def test_secrets_must_be_base64() -> None:
    with pytest.raises(DecodeError, match="illegal base64 data at input byte 4"):
        decoding.decode(SECRETS, {"data": {"a": "YWJj!"}})


def test_a_body_that_is_no_object_names_the_kind() -> None:
    with pytest.raises(DecodeError, match=r"array into Go value of type v1\.DaemonSet"):
        decoding.decode(DAEMONSETS, [])


def test_zero_values_disappear_and_pointers_stay() -> None:
    spec = {"hostNetwork": False, "nodeName": "", "enableServiceLinks": False, "tolerations": []}
    decoded, _ = decoding.decode(PODS, {"spec": {**spec, "containers": [{"name": "a"}]}})
    assert decoded["spec"] == {
        "enableServiceLinks": False,
        "containers": [{"name": "a", "resources": {}}],
    }


def test_what_go_never_omits_appears() -> None:
    node, _ = decoding.decode(NODES, {"metadata": {"name": "n"}, "spec": {"unschedulable": False}})
    assert node["spec"] == {}
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
    assert node["status"]["nodeInfo"]["kubeletVersion"] == ""
    condition = {"type": "Ready", "status": "True"}
    node, _ = decoding.decode(NODES, {"status": {"conditions": [condition]}})
    assert node["status"]["conditions"] == [
        {**condition, "lastHeartbeatTime": None, "lastTransitionTime": None}
    ]


def test_null_is_as_if_absent() -> None:
    decoded, unknown = decoding.decode(
        CONFIG_MAPS, {"metadata": {"name": "c", "labels": None}, "data": None}
    )
    assert decoded == {"metadata": {"name": "c"}}
    assert unknown == []


def test_a_kind_without_description_comes_as_it_is() -> None:
    body = {"spec": {"replicas": "three", "bogus": 1}}
    assert decoding.decode(STATEFUL_SETS, body) == (body, [])


def test_a_patch_that_spoils_a_value_is_invalid() -> None:
    error = decoding.undecodable_patch("map[a:1]", "unrecognized type: int32")
    assert error.code == 422
    assert error.message == (
        ' "" is invalid: patch: Invalid value: "map[a:1]": unrecognized type: int32'
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"minReadySeconds": "5"}, "unrecognized type: int32"),
        ({"minReadySeconds": 1.5}, "cannot convert float64 to int32"),
        ({"selector": "x"}, "cannot restore struct from: string"),
        ({"template": {"spec": {"containers": {}}}}, "cannot restore slice from map"),
        ({"template": {"metadata": {"labels": []}}}, "cannot restore map from slice"),
        ({"template": {"metadata": {"labels": {"a": 1}}}}, "cannot convert int64 to string"),
        ({"template": {"metadata": {"labels": {"a": True}}}}, "unrecognized type: string"),
        ({"template": {"spec": {"hostNetwork": "yes"}}}, "unrecognized type: bool"),
    ],
)
def test_strategic_patches_have_words_of_their_own(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        decoding.decode(DAEMONSETS, daemonset(**spec))
    assert caught.value.converted == message
