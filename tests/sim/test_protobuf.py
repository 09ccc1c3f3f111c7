"""Protobuf bodies as kubectl's typed clients write them."""

from __future__ import annotations

import pytest

from rollout.sim.errors import StatusError
from rollout.sim.protobuf import MAGIC, decode


def field(number: int, value: bytes | int | str) -> bytes:
    """One field on the wire."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, raw)


def test_a_config_map_with_maps_and_bytes() -> None:
    metadata = field(1, "c") + field(3, "default") + field(11, field(1, "k") + field(2, "v"))
    raw = field(1, metadata) + field(2, field(1, "x") + field(2, "y")) + field(4, 1)
    raw += field(3, field(1, "b") + field(2, b"\x00\xff"))
    assert decode(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default", "labels": {"k": "v"}},
        "data": {"x": "y"},
        "binaryData": {"b": "AP8="},
        "immutable": True,
    }


def test_delete_options_inside_an_eviction() -> None:
    options = field(1, -1) + field(2, field(1, "uid-1")) + field(5, "All")
    raw = field(1, field(1, "p")) + field(2, options)
    assert decode(envelope("policy/v1", "Eviction", raw))["deleteOptions"] == {
        "gracePeriodSeconds": -1,
        "preconditions": {"uid": "uid-1"},
        "dryRun": ["All"],
    }


@pytest.mark.parametrize(
    ("number", "expected"), [(field(1, 0) + field(2, 3), 3), (field(1, 1) + field(3, "50%"), "50%")]
)
def test_a_number_or_a_text(number: bytes, expected: int | str) -> None:
    raw = field(2, field(1, number))
    decoded = decode(envelope("policy/v1", "PodDisruptionBudget", raw))
    assert decoded["spec"]["minAvailable"] == expected


def test_a_container_in_a_template_with_what_json_shows_on_one_level() -> None:
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 1) + field(3, "http"))))
    probe += field(2, 3) + field(6, 4)
    variable = field(1, "V") + field(3, field(3, field(1, field(1, "cm")) + field(2, "k")))
    limits = field(1, field(1, "cpu") + field(2, field(1, "100m")))
    container = field(1, "c") + field(2, "c:1") + field(7, variable) + field(8, limits)
    container += field(11, probe)
    volume = field(1, "v") + field(2, field(19, field(1, field(1, "cm")) + field(3, 420)))
    pod = field(1, volume) + field(2, container) + field(3, "Never")
    raw = field(1, field(1, "j")) + field(2, field(6, field(2, pod)) + field(7, 0))
    spec = decode(envelope("batch/v1", "Job", raw))["spec"]
    assert spec == {
        "backoffLimit": 0,
        "template": {
            "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 420}}],
                "containers": [
                    {
                        "name": "c",
                        "image": "c:1",
                        "env": [
                            {
                                "name": "V",
                                "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}},
                            }
                        ],
                        "resources": {"limits": {"cpu": "100m"}},
                        "readinessProbe": {
                            "httpGet": {"path": "/ok", "port": "http"},
                            "initialDelaySeconds": 3,
                            "failureThreshold": 4,
                        },
                    }
                ],
                "restartPolicy": "Never",
            }
        },
    }


def test_times_of_both_kinds_and_the_event_of_the_newer_group() -> None:
    time = field(1, 1_790_000_000) + field(2, 123_456_789)
    lease = decode(envelope("coordination.k8s.io/v1", "Lease", field(2, field(4, time))))
    assert lease["spec"]["renewTime"] == "2026-09-21T14:13:20.123456Z"
    node = decode(envelope("v1", "Node", field(2, field(5, field(1, "k") + field(4, time)))))
    assert node["spec"]["taints"] == [{"key": "k", "timeAdded": "2026-09-21T14:13:20Z"}]
    event = decode(envelope("events.k8s.io/v1", "Event", field(2, time) + field(10, "n")))
    assert (event["eventTime"], event["note"]) == ("2026-09-21T14:13:20.123456Z", "n")
    assert decode(envelope("v1", "Event", field(4, "m") + field(6, b"")))["message"] == "m"


def test_numbers_in_a_list_come_one_by_one_or_packed() -> None:
    for groups in (field(4, 7) + field(4, 300), field(4, varint(7) + varint(300))):
        pod = decode(envelope("v1", "Pod", field(2, field(14, groups))))
        assert pod["spec"]["securityContext"] == {"supplementalGroups": [7, 300]}


def test_json_inside_protobuf() -> None:
    raw = field(2, field(1, b'{"spec": 1}')) + field(3, 4)
    revision = decode(envelope("apps/v1", "ControllerRevision", raw))
    assert (revision["data"], revision["revision"]) == ({"spec": 1}, 4)


def test_an_unknown_field_is_skipped() -> None:
    raw = field(99, "later") + field(1, field(1, "n"))
    assert decode(envelope("v1", "Namespace", raw))["metadata"] == {"name": "n"}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{}", 400, "does not appear to be a protobuf message"),
        (envelope("apps/v1", "StatefulSet", b""), 415, "reads StatefulSet as JSON or YAML"),
        (envelope("v1", "ConfigMap", field(1, "x" * 9)[:-3]), 400, "invalid protobuf message"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, code: int, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        decode(body)
    assert refused.value.code == code
    assert message in refused.value.message
