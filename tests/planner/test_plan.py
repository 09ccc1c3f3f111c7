from __future__ import annotations

import json
from functools import cache

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import __version__
from rollout.errors import DocumentError
from rollout.planner.plan import SCHEMA_VERSION, Plan, decode, encode, seal
from tests.planner.worlds import (
    NOW,
    make_fleet,
    make_item,
    make_node,
    make_pod,
    make_spec,
    plan_of,
    the_daemon_set,
)


@cache
def small_plan() -> Plan:
    return plan_of(make_fleet(1))


@cache
def small_bytes() -> bytes:
    return encode(small_plan())


def refusal(data: bytes) -> str:
    with pytest.raises(DocumentError) as caught:
        decode(data, "plan.json")
    text = str(caught.value)
    assert text.startswith("plan.json:1: ")
    assert "make a new one with 'rollout plan'" in text
    return text


def test_a_plan_reads_back_what_it_writes() -> None:
    assert decode(small_bytes(), "plan.json") == small_plan()


def test_the_document_is_canonical_json_with_one_line_end() -> None:
    data = small_bytes()
    document = json.loads(data)
    written = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == written.encode() + b"\n"


def test_the_document_says_what_it_is() -> None:
    document = json.loads(small_bytes())
    assert document["apiVersion"] == "rollout/v1"
    assert document["kind"] == "Plan"
    assert document["schemaVersion"] == SCHEMA_VERSION
    assert document["toolVersion"] == __version__
    assert document["digest"].startswith("sha256:")
    assert document["createdAt"] == "2026-03-01T12:00:00Z"


def test_planning_twice_gives_the_same_bytes() -> None:
    assert encode(plan_of(make_fleet(7))) == encode(plan_of(make_fleet(7)))


def test_planning_later_gives_the_same_bytes_but_for_time_stamp_and_id() -> None:
    first, later = plan_of(make_fleet(7)), plan_of(make_fleet(7), now=NOW + 60)
    assert first.digest == later.digest
    assert first.id != later.id
    assert first.created_at != later.created_at
    blank = {"id": "", "created_at": ""}
    assert msgspec.structs.replace(first, **blank) == msgspec.structs.replace(later, **blank)


def test_the_order_in_which_the_server_lists_things_changes_nothing() -> None:
    nodes = [make_node(f"n{i}", "ab"[i % 2]) for i in range(9)]
    pods = [make_pod(node.metadata.name) for node in nodes]
    first = plan_of(make_fleet(nodes, pods))
    other = plan_of(make_fleet(list(reversed(nodes)), list(reversed(pods))))
    assert encode(first) == encode(other)


def test_another_cluster_gives_another_digest() -> None:
    assert plan_of(make_fleet(2)).digest != plan_of(make_fleet(3)).digest


def test_no_flipped_byte_at_any_place_goes_unseen() -> None:
    data = small_bytes()
    for place in range(len(data)):
        for bit in (0x01, 0x02, 0x10, 0x20, 0x80):
            refusal(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])


@given(st.data())
def test_no_changed_lost_or_added_byte_goes_unseen(data: st.DataObject) -> None:
    whole = small_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    rest = whole[place + 1 :]
    other = data.draw(st.binary(max_size=2).filter(lambda b: b != whole[place : place + 1]))
    refusal(whole[:place] + other + rest)


def test_a_space_that_json_does_not_mind_is_refused() -> None:
    assert "was changed after it was made" in refusal(small_bytes() + b" ")
    assert "was changed after it was made" in refusal(small_bytes().replace(b",", b", ", 1))
    assert "was changed after it was made" in refusal(small_bytes().rstrip(b"\n"))


def test_a_key_that_stands_twice_is_refused() -> None:
    refusal(small_bytes().replace(b'"kind":"Plan"', b'"kind":"Plan","kind":"Plan"', 1))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'"agent-n1"', b'"agent-n9"', "digest sha256:"),
        (b'"createdAt":"2026', b'"createdAt":"2027', "was changed"),
        (b'"fate":"update"', b'"fate":"delete"', "the plan was changed: "),
        (b'"warnings":[]', b'"warnings":[],"zzz":1', "the plan was changed: "),
        (b'"value":1', b'"value":"1"', "the plan was changed: "),
    ],
)
def test_a_plan_that_was_edited_is_refused(old: bytes, new: bytes, what: str) -> None:
    assert old in small_bytes()
    assert what in refusal(small_bytes().replace(old, new, 1))


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 0, "1", None])
def test_a_plan_of_another_schema_is_refused_and_says_which(version: object) -> None:
    document = json.loads(small_bytes()) | {"schemaVersion": version}
    text = refusal(json.dumps(document).encode())
    assert f"plan schema {version!r}; this tool ({__version__}) reads {SCHEMA_VERSION}" in text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"kind":"Rollout"}',
        b'{"kind":"Pl\xff\xfen"}',
        b"apiVersion: rollout/v1\nkind: Plan\n",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    assert "not a plan" in refusal(data)


def test_a_digest_covers_everything_but_itself_the_id_and_the_time_stamp() -> None:
    plan = small_plan()
    for name in plan.__struct_fields__:
        if name in ("digest", "id", "author", "created_at", "expires_at"):
            continue
        value = 3600 if name == "valid_for_s" else getattr(plan, name)
        other = "x" if isinstance(value, str) else 99 if isinstance(value, int) else None
        changed = seal(msgspec.structs.replace(plan, **{name: other}))
        assert changed.digest != plan.digest, name


def test_unchanged_secrets_of_the_template_are_not_in_the_plan() -> None:
    template = {
        "metadata": {"labels": {"app": "agent"}},
        "spec": {
            "containers": [
                {
                    "name": "agent",
                    "image": "agent:1",
                    "env": [{"name": "DB_PASSWORD", "value": "hunter2"}],
                    "args": ["--token=hunter2", "--v=1"],
                }
            ]
        },
    }
    plan = plan_of(make_fleet(2, template=template), make_spec(make_item()))
    assert the_daemon_set(plan).template_changes
    assert b"hunter2" not in encode(plan)


# Expiry


def expiring(created_at: str, valid_for_s: float = 3600.0) -> Plan:
    return seal(
        msgspec.structs.replace(small_plan(), created_at=created_at, valid_for_s=valid_for_s)
    )


def test_a_plan_that_does_not_expire_says_nothing_of_it() -> None:
    assert {"validForS", "expiresAt"}.isdisjoint(json.loads(small_bytes()))


def test_two_plans_that_are_valid_as_long_differ_in_their_times_and_ids_only() -> None:
    early, late = expiring("2026-01-01T00:00:00Z"), expiring("2026-02-28T23:59:59Z")
    assert (early.expires_at, late.expires_at) == ("2026-01-01T01:00:00Z", "2026-03-01T00:59:59Z")
    assert early.digest == late.digest
    assert early.id != late.id
    assert early.digest != expiring("2026-01-01T00:00:00Z", 7200.0).digest
    assert decode(encode(late), "plan.json") == late


def test_a_later_expiry_than_the_plan_was_given_is_refused() -> None:
    data = encode(expiring("2026-01-01T00:00:00Z"))
    assert b"2026-01-01T01:00:00Z" in data
    refusal(data.replace(b"2026-01-01T01:00:00Z", b"2027-01-01T01:00:00Z"))
    refusal(data.replace(b"2026-01-01T00:00:00Z", b"2026-01-02T00:00:00Z"))


@pytest.mark.parametrize(
    "created_at", ["", "soon", "2026-01-01", "2026-01-01T00:00:00+02:00", "9999-12-31T23:59:59Z"]
)
def test_a_plan_that_expires_and_was_made_at_no_time_is_refused(created_at: str) -> None:
    data = encode(expiring("2026-01-01T00:00:00Z"))
    assert "is no such time" in refusal(data.replace(b"2026-01-01T00:00:00Z", created_at.encode()))


@pytest.mark.parametrize("valid_for_s", ["0.0", "-3600.0", "1e300", "null", '"1h"'])
def test_an_expiry_before_the_plan_was_made_or_without_end_is_refused(valid_for_s: str) -> None:
    data = encode(expiring("2026-01-01T00:00:00Z"))
    assert b'"validForS":3600.0' in data
    refusal(data.replace(b'"validForS":3600.0', b'"validForS":' + valid_for_s.encode()))
