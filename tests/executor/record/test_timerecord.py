"""Which times stand in the run record: in few bytes, and told again where that went wrong."""

from __future__ import annotations

import msgspec

from rollout.executor.engine import events as ev
from rollout.executor.engine.storedtimes import TimeStore
from rollout.executor.record.record import encode_record
from rollout.executor.record.timerecord import (
    MOST_BYTES,
    StoredTimes,
    recorded_starts,
    times_from,
    written,
)
from tests.executor.test_saying import LIMIT, record
from tests.simulation.world import World


def starts(count: int, name: str = "ip-10-0-{}-12.eu-central-1.compute.internal") -> StoredTimes:
    return StoredTimes(
        {f"update/log-agent/{name.format(n)}": 1_790_000_000.0 + n // 50 for n in range(count)},
        1_790_000_000.0,
    )


def test_what_is_written_down_is_read_again() -> None:
    told = starts(120)
    kept = recorded_starts(told.started)
    assert [len(start.nodes) for start in kept] == [50, 50, 20]
    assert times_from(kept, written(told.counts_from), "") == told
    assert times_from((), written(None), written(None)) == StoredTimes()


def test_a_record_with_100000_nodes_in_flight_stays_small_and_keeps_the_oldest() -> None:
    kept = recorded_starts(starts(100_000).started)
    text = msgspec.json.encode(kept)
    assert MOST_BYTES - 1000 < len(text) <= MOST_BYTES
    assert len(encode_record(record(waves=100_000, starts=kept))) < LIMIT
    assert times_from(kept, "", "").started.items() < starts(100_000).started.items()
    assert next(iter(kept)).nodes[0] == "ip-10-0-0-12.eu-central-1.compute.internal"


def test_the_longest_names_are_bounded_as_well() -> None:
    worst = {f"update/{'d' * 253}/{n:06}{'n' * 247}": 1_790_000_000.0 + n for n in range(3000)}
    assert len(msgspec.json.encode(recorded_starts(worst))) <= MOST_BYTES


def test_what_could_not_be_written_is_told_again() -> None:
    world = World(5, health={"soak": 1, "nodeTimeout": "10m"})
    world.break_release("never-ready")
    world.until_deletes(2)
    world.advance(22.0)
    told = world.run.recorded
    assert len(told.started) == 2

    world.run.recorded = StoredTimes()
    world.run.engine.observe(ev.TimesNotStored(), world.now)
    world.advance(1.0)
    assert world.run.recorded == StoredTimes()  # not at once: the server may be in trouble
    world.advance(12.0)

    assert world.run.recorded == told


def test_a_record_that_could_not_be_written_is_told_also_that_nothing_is_left() -> None:
    store = TimeStore(StoredTimes(), node_timeout_s=600.0)
    store.store(starts(3), 1.0)
    store.forget()  # whatever it held before is what it holds

    assert store.lacks(StoredTimes())
    store.store(StoredTimes(), 2.0)
    assert not store.lacks(StoredTimes())


def test_a_node_that_is_over_leaves_the_record() -> None:
    world = World(3, waves=[2, "100%"], health={"soak": "40s", "nodeTimeout": "10m"})
    world.until_deletes(2)
    world.advance(22.0)
    first = set(world.run.recorded.started)
    assert len(first) == 2

    world.until_deletes(3)
    world.advance(22.0)

    assert len(world.run.recorded.started) == 1
    assert first.isdisjoint(world.run.recorded.started)
