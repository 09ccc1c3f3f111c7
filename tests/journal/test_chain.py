from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.journal.chain import SCHEMA, START, Head, read, seal

VALUES = st.one_of(st.text(max_size=20), st.integers(-(2**40), 2**40), st.booleans())
KEYS = st.text("abcdefgh", min_size=1, max_size=3)
ENTRIES = st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=2, max_size=8)


def chained(entries: list[dict[str, Any]]) -> list[bytes]:
    head, lines = Head(), []
    for entry in [{"type": "version", "schema": SCHEMA, "run": "r1"}, *entries]:
        line, head = seal(head, entry)
        lines.append(line)
    return lines


@given(ENTRIES)
def test_a_whole_journal_is_read_to_its_end(entries: list[dict[str, Any]]) -> None:
    lines = chained(entries)
    reading = read(lines)
    assert (reading.broken, reading.torn) == ("", 0)
    assert reading.head.seq == len(lines)
    assert reading.size == sum(map(len, lines))
    assert reading.first["run"] == "r1"


@given(ENTRIES)
def test_anybody_can_check_a_line_with_a_json_library_and_sha256(
    entries: list[dict[str, Any]],
) -> None:
    before = START
    for line in chained(entries):
        entry = json.loads(line)
        claimed = entry.pop("hash")
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert entry["prev"] == before
        assert hashlib.sha256(canonical.encode()).hexdigest() == claimed
        before = claimed


@given(ENTRIES, st.data())
def test_any_changed_byte_is_found_at_its_line(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines = chained(entries)
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[number]) - 2))
    changed = bytearray(lines[number])
    changed[place] ^= data.draw(st.integers(1, 255).filter(lambda x: changed[place] ^ x != 10))
    reading = read([*lines[:number], bytes(changed), *lines[number + 1 :]])
    assert reading.broken
    assert reading.head.seq == number


def test_a_value_that_was_changed_in_the_last_line_is_found() -> None:
    *before, last = chained([{"type": "word"}, {"by": "ann"}])
    changed = last.replace(b'"ann"', b'"bob"')
    assert changed != last
    assert "not what its hash was made of" in read([*before, changed]).broken


@given(ENTRIES, st.data())
def test_a_missing_line_is_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = chained(entries)
    number = data.draw(st.integers(0, len(lines) - 2))
    del lines[number]
    reading = read(lines)
    assert reading.broken
    assert reading.head.seq == number


@given(ENTRIES, st.data())
def test_swapped_lines_are_found(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    lines = chained(entries)
    one, other = sorted(data.draw(st.permutations(range(len(lines))))[:2])
    lines[one], lines[other] = lines[other], lines[one]
    reading = read(lines)
    assert reading.broken
    assert reading.head.seq == one


@given(ENTRIES, st.data())
def test_a_new_line_is_found_even_with_a_hash_of_its_own(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines = chained(entries)
    number = data.draw(st.integers(1, len(lines) - 1))
    built_on = read(lines[:number]).head
    new, _ = seal(built_on, {"type": "forged"})
    lines.insert(number, new)
    reading = read(lines)
    assert reading.broken
    assert reading.head.seq == number + 1


@given(ENTRIES, st.data())
def test_a_last_line_that_was_cut_off_is_torn_and_the_others_hold(
    entries: list[dict[str, Any]], data: st.DataObject
) -> None:
    lines = chained(entries)
    whole = lines.pop()
    kept = data.draw(st.integers(1, len(whole) - 1))
    reading = read([*lines, whole[:kept]])
    assert (reading.broken, reading.torn) == ("", kept)
    assert reading.head.seq == len(lines)
    assert reading.size == sum(map(len, lines))


@pytest.mark.parametrize("schema", ["rollout.journal/v0", "rollout.journal/v2", "other/v1"])
def test_another_schema_is_named_and_not_read(schema: str) -> None:
    line, _ = seal(Head(), {"type": "version", "schema": schema, "tool": "9.9"})
    reading = read([line])
    assert schema in reading.broken
    assert "9.9" in reading.broken
    assert reading.head == Head()


def test_a_file_that_is_no_journal_is_told_so() -> None:
    assert "names its schema" in read([b'{"seq":1}\n']).broken
    assert "no JSON" in read([b"hello\n"]).broken


def test_the_number_of_the_last_told_event_is_known() -> None:
    lines = chained([{"event": 4}, {"event": 7}, {"type": "intent"}])
    assert read(lines).told == 7
