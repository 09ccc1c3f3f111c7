"""Run records that somebody edited: read, or refused by the ConfigMap's name."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.errors import StaleError
from rollout.executor.record.record import (
    DATA_KEY,
    ConfigMap,
    decode_record,
    encode_record,
    new_record,
)
from rollout.fleet.objects import Meta
from rollout.planner.plan import Plan
from tests.fuzzing.mutations import damaged_text, damaged_value
from tests.fuzzing.test_plans import good

__all__ = ["good"]  # the fixture
SETTINGS = settings(max_examples=200, deadline=None)


def config_map(text: str) -> ConfigMap:
    return ConfigMap(Meta(name="rollout-x", namespace="logging"), {DATA_KEY: text})


@SETTINGS
@given(text=st.text(max_size=200))
def test_any_text(text: str) -> None:
    with pytest.raises(StaleError, match="logging/rollout-x"):
        decode_record(config_map(text))


@SETTINGS
@given(data=st.data())
def test_a_damaged_record_is_read_whole_or_refused_by_name(good: Plan, data: st.DataObject) -> None:
    written = encode_record(new_record(good, "run1", "2026-01-01T00:00:00Z", "ann"))
    if data.draw(st.booleans()):
        text = data.draw(damaged_text(written))
    else:
        text = msgspec.json.encode(data.draw(damaged_value(msgspec.json.decode(written)))).decode()
    try:
        record = decode_record(config_map(text))
    except StaleError as error:
        said = str(error)
    else:
        assert decode_record(config_map(encode_record(record))) == record
        return
    assert "logging/rollout-x" in said


@pytest.mark.parametrize("more", [{}, {"news": 1}], ids=["same fields", "new fields"])
def test_a_record_of_a_newer_schema_is_refused_by_name(good: Plan, more: dict[str, int]) -> None:
    written = msgspec.json.decode(encode_record(new_record(good, "run1", "2026-01-01", "ann")))
    newer = msgspec.json.encode({**written, "schemaVersion": 9, **more}).decode()
    with pytest.raises(StaleError, match="logging/rollout-x holds a run record of schema 9"):
        decode_record(config_map(newer))
