from __future__ import annotations

import msgspec

from rollout.executor.record.history import (
    HISTORY_KEY,
    MOST_BYTES,
    MOST_RUNS,
    PastRun,
    RunSubject,
    decode_history,
    encode_history,
    with_run,
)
from rollout.executor.record.record import ConfigMap
from rollout.fleet.objects import Meta


def run(number: int, subjects: int = 1) -> PastRun:
    daemon_sets = tuple(
        RunSubject("logging", f"agent-{i}", f"uid-{i}", "a" * 16, "b" * 16) for i in range(subjects)
    )
    return PastRun(f"r{number}", "p", "d", "complete", "t0", "me@here", "t1", "", daemon_sets)


def config_map(text: str) -> ConfigMap:
    return ConfigMap(metadata=Meta(name="rollout-x"), data={HISTORY_KEY: text})


def test_the_oldest_runs_make_room() -> None:
    history: tuple[PastRun, ...] = ()
    for number in range(MOST_RUNS + 5):
        history = with_run(history, run(number))
    assert [item.run_id for item in history] == [f"r{n}" for n in range(5, MOST_RUNS + 5)]


def test_runs_of_many_daemon_sets_make_room_by_their_size() -> None:
    history: tuple[PastRun, ...] = ()
    for number in range(MOST_RUNS):
        history = with_run(history, run(number, subjects=200))
    assert 0 < len(encode_history(history)) <= MOST_BYTES
    assert history[-1].run_id == f"r{MOST_RUNS - 1}"


def test_a_history_is_read_as_it_was_written() -> None:
    history = (run(1), run(2))
    assert decode_history(config_map(encode_history(history))) == history


def test_keys_of_a_later_version_are_left_alone() -> None:
    known = msgspec.to_builtins(run(1))
    known["later"] = {"any": "thing"}
    text = msgspec.json.encode([known]).decode()
    assert decode_history(config_map(text)) == (run(1),)


def test_what_is_no_history_is_none() -> None:
    assert decode_history(config_map("{")) == ()
    assert decode_history(ConfigMap(metadata=Meta(name="x"))) == ()
