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


def test_an_unknown_field_is_skipped() -> None:
    raw = field(99, "later") + field(1, field(1, "n"))
    assert decode(envelope("v1", "Namespace", raw))["metadata"] == {"name": "n"}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"{}", 400, "does not appear to be a protobuf message"),
        (envelope("apps/v1", "Deployment", b""), 415, "reads Deployment as JSON or YAML"),
        (envelope("v1", "ConfigMap", field(1, "x" * 9)[:-3]), 400, "invalid protobuf message"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, code: int, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        decode(body)
    assert refused.value.code == code
    assert message in refused.value.message
