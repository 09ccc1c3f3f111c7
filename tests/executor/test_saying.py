"""What people say to a run, as its record keeps it: serial, bounded, bound to one plan."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import StaleError, UsageError
from rollout.executor import saying
from rollout.executor.record.record import (
    RecordedDaemonSet,
    RunPhase,
    RunRecord,
    encode_record,
    name_runs,
    wave_name,
    wave_numbers,
)
from rollout.executor.record.wishes import wishes_of
from rollout.executor.saying import Speaker, speaker

LIMIT = 1_048_576  # bytes that a ConfigMap may hold (Kubernetes, MaxSecretSize)
WORST_NODE = "n" * 253
ANN = speaker("ann@host", "2026-01-01T00:00:00Z", "a look")
Change = Callable[[RunRecord], RunRecord]


def record(waves: int = 3, phase: RunPhase = "running", **changes: object) -> RunRecord:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}
    daemon_set = RecordedDaemonSet(
        name="d" * 253,
        namespace="s" * 63,
        uid="u" * 36,
        original_strategy=strategy,
        final_strategy=strategy,
        target_digest="t" * 16,
        previous_digest="p" * 16,
        surges=True,
    )
    made = RunRecord(
        schema_version=1,
        run_id="0a1b2c3d",
        plan_id="3f2a91c0d4e5",
        plan_digest="sha256:" + "0" * 64,
        name="n",
        phase=phase,
        started_at="2026-01-01T00:00:00Z",
        started_by="ann@host",
        daemon_sets=(daemon_set,),
        waves=name_runs(f"wave-{n}" for n in range(1, waves + 1)),
        wave_count=waves,
    )
    return msgspec.structs.replace(made, **changes)


WORDS: dict[str, Change] = {
    "pause": lambda r: saying.pause(r, ANN),
    "resume": lambda r: saying.resume(r, ANN),
    "abort": lambda r: saying.abort(r, ANN),
    "rollback": lambda r: saying.roll_back(r, ANN),
    "approve": lambda r: saying.approve_waves(r, ANN, [1]),
    "approve node": lambda r: saying.approve_nodes(r, ANN, ["n1"], interrupted=False),
    "approve gate": lambda r: saying.approve_gate(r, ANN, "people"),
    "reject": lambda r: saying.reject(r, ANN, "wave wave-1"),
    "retry": lambda r: saying.retry(r, ANN),
    "skip": lambda r: saying.skip(r, ANN, ["n1"]),
}


@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=12))
def test_whatever_is_said_the_last_wish_counts_and_every_word_is_kept(words: list[str]) -> None:
    now, accepted = record(), []
    for word in words:
        try:
            now = WORDS[word](now)
        except StaleError:
            assert now.wish is not None
            assert now.wish.verb in ("abort", "rollback")
            continue
        accepted.append(word.partition(" ")[0])
    assert [said.verb for said in now.said] == accepted
    assert [said.number for said in now.said] == list(range(1, len(accepted) + 1))
    assert wishes_of(now).stop == now.wish


@pytest.mark.parametrize("word", sorted(WORDS.keys() - {"rollback"}))
@pytest.mark.parametrize("phase", ["complete", "rolled back", "aborted", "superseded"])
def test_nothing_but_a_rollback_is_said_to_a_run_that_is_over(word: str, phase: RunPhase) -> None:
    with pytest.raises(StaleError, match=phase):
        WORDS[word](record(phase=phase))


def test_s10_a_rollback_is_not_paused_but_it_can_be_ended() -> None:
    back = record(phase="rolling back")
    with pytest.raises(StaleError, match="rolling back"):
        saying.pause(back, ANN)
    assert saying.abort(back, ANN).wish is not None
    assert saying.roll_back(saying.abort(back, ANN), ANN).wish is not None


def test_updates_37_a_word_for_another_plan_is_refused() -> None:
    made = record()
    saying.require_plan(made, made.plan_id)
    saying.require_plan(made, made.plan_digest)
    with pytest.raises(StaleError, match="3f2a91c0d4e5"):
        saying.require_plan(made, "aaaaaaaaaaaa")


def test_an_approval_of_an_older_plan_counts_for_nothing() -> None:
    made = saying.approve_gate(record(), ANN, "people")
    assert wishes_of(made).gates == {"people": ("ann@host",)}
    assert wishes_of(msgspec.structs.replace(made, plan_id="another")).gates == {}


def test_an_approval_says_who_when_and_why() -> None:
    made = saying.approve_waves(record(), ANN, [2])
    (word,) = made.approvals
    assert (word.wave, word.by, word.at, word.reason) == (
        "wave-2",
        "ann@host",
        "2026-01-01T00:00:00Z",
        "a look",
    )
    assert wishes_of(made).waves == {2}


def test_an_unknown_wave_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(UsageError, match="wave-1, wave-2, wave-3"):
        saying.number_of(record(), "canary")


def test_a_name_that_several_waves_have_lets_none_pass() -> None:
    names = ["canary", "rest", "canary", "rest"]
    made = msgspec.structs.replace(record(waves=0), waves=name_runs(names), wave_count=4)
    with pytest.raises(UsageError, match="several waves 'canary': give the number, one of 1, 3"):
        saying.number_of(made, "canary")
    assert saying.number_of(made, "3") == 3
    waits = msgspec.structs.replace(made, waits_for="3")
    assert saying.number_of(waits, "canary") == 3, "it waits behind this one"
    with pytest.raises(UsageError, match="several waves 'rest'"):
        saying.number_of(waits, "rest")


@given(st.lists(st.text("ab-0129", min_size=1, max_size=5), max_size=40))
def test_wave_names_are_found_again_however_they_are_kept(names: list[str]) -> None:
    made = msgspec.structs.replace(record(waves=0), waves=name_runs(names), wave_count=len(names))
    for number, name in enumerate(names, start=1):
        assert wave_name(made, number) == name
        assert number in wave_numbers(made, name)


def test_a_plan_of_100_000_waves_keeps_its_names_in_few_bytes() -> None:
    made = record(waves=100_000)
    assert len(encode_record(made)) < 2_000
    assert wave_numbers(made, "wave-99999") == [99_999]


def _words(n: int, who: Speaker) -> list[Change]:
    node = f"{n:03}{WORST_NODE[3:]}"
    return [
        lambda r: saying.skip(r, who, [node]),
        lambda r: saying.retry(r, who, [node]),
        lambda r: saying.approve_nodes(r, who, [node], interrupted=False),
        lambda r: saying.approve_waves(r, who, [2 * n + 1]),
        lambda r: saying.approve_gate(r, who, f"{n}{WORST_NODE[:60]}"),
        lambda r: saying.note_step(r, who, node, []),
    ]


def test_the_record_stays_below_its_limit_however_much_is_said() -> None:
    who = speaker('"' * 300, "2026-01-01T00:00:00Z", '"' * 400)
    made = msgspec.structs.replace(
        record(waves=0),
        waves=name_runs("w" * 250 + f"{n:02}x" for n in range(2_000)),
        wave_count=2_000,
    )
    for n in range(1_000):
        for word in _words(n, who):
            with contextlib.suppress(UsageError):
                made = word(made)
    failed = tuple(f"{n:03}{WORST_NODE[3:]}" for n in range(100))
    made = msgspec.structs.replace(made, failed=failed, failed_count=100_000)
    assert len(encode_record(made).encode()) < LIMIT - 150_000  # of earlier runs, and the object
    assert made.said_count > 1_000


def test_a_list_that_is_full_is_refused_with_what_to_do_instead() -> None:
    made = record()
    with pytest.raises(UsageError, match=r"nodes\.exclude"):
        saying.skip(made, ANN, [f"n{n}" for n in range(saying.MOST_NODES + 1)])


def test_a_reason_is_printable_and_short() -> None:
    who = speaker("ann\x1b[31m", "2026-01-01T00:00:00Z", "line\nline " + "ü" * 500)
    assert who.by.isprintable()
    assert who.reason.isprintable()
    assert len(who.reason.encode()) <= saying.MOST_REASON


@pytest.mark.parametrize("said", ["abort", "rollback"])
@pytest.mark.parametrize("word", ["approve", "approve node", "approve gate", "pause", "retry"])
def test_faults_52_no_word_that_leads_forward_is_accepted_behind_one_that_ends_the_run(
    said: str, word: str
) -> None:
    ending = WORDS[said](record(phase="paused"))
    with pytest.raises(StaleError, match="run 0a1b2c3d is to be"):
        WORDS[word](ending)
