"""The account of a run: a true lower bound, and losses that add up to the rest."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.accounting import API_LIMIT, REACTION, TAIL, WAVES, Slot, Wait, settle

TIMES = st.floats(0, 1000, allow_nan=False).map(lambda t: round(t, 3))


@st.composite
def slots(draw: st.DrawFn) -> Slot:
    return Slot(*sorted(draw(st.tuples(TIMES, TIMES, TIMES, TIMES))))


WAITS = st.builds(Wait, st.sampled_from(["gates", "bake", "prepare"]), TIMES, TIMES)


@given(
    st.lists(slots(), max_size=12),
    st.lists(WAITS, max_size=5),
    st.integers(1, 6),
    TIMES,
    TIMES,
    st.floats(0, 100),
)
def test_losses_are_never_negative_and_add_up(
    nodes: list[Slot], waits: list[Wait], limit: int, one: float, other: float, held_back: float
) -> None:
    account = settle(min(one, other), max(one, other), limit, nodes, waits, held_back_s=held_back)
    assert all(seconds > 0 for seconds in account.lost.values())
    assert account.least_s <= account.makespan_s + 1e-6
    total = account.least_s + sum(account.lost.values())
    assert total == pytest.approx(account.makespan_s, abs=1e-6)


@given(st.lists(st.floats(0.1, 50), min_size=1, max_size=20), st.integers(1, 5))
def test_a_run_that_never_leaves_a_slot_empty_loses_its_tail_only(
    durations: list[float], limit: int
) -> None:
    free = [0.0] * limit
    nodes = []
    for duration in durations:
        start = heapq.heappop(free)
        heapq.heappush(free, start + duration)
        nodes.append(Slot(0.0, start, start, start + duration))
    account = settle(0.0, max(free), limit, nodes)
    lost = {reason for reason, seconds in account.lost.items() if seconds > 1e-6}
    assert lost <= {TAIL}
    assert account.makespan_s <= 2 * account.least_s + 1e-6, "Graham: at most twice the least"


def test_each_empty_moment_has_its_reason() -> None:
    nodes = [
        Slot(ready=10, asked=10, accepted=11, ended=21),  # the canary, alone
        Slot(ready=31, asked=31, accepted=31, ended=41),  # behind a bake of 10 s
        Slot(ready=31, asked=33, accepted=33, ended=41),
    ]
    waits = [Wait("bake", 21, 31), Wait("prepare", 0, 10), Wait("restore", 41, 43)]
    account = settle(0, 43, 2, nodes, waits)
    assert (account.nodes_s, account.longest_s, account.least_s) == (28, 10, 14)
    assert account.lost == {
        "bake": 10,
        "prepare": 10,
        WAVES: 5.5,
        "restore": 2,
        REACTION: 1.5,
    }


def test_held_back_writes_are_taken_out_of_the_reaction_and_no_more() -> None:
    nodes = [Slot(0, 0, 4, 5), Slot(0, 0, 4, 5)]
    assert settle(0, 5, 2, nodes, held_back_s=6.0).lost == {API_LIMIT: 3, REACTION: 1}
    assert settle(0, 5, 2, nodes, held_back_s=60.0).lost == {API_LIMIT: 4}


def test_slots_beside_the_longest_node_are_no_loss_where_nothing_could_fill_them() -> None:
    nodes = [Slot(0, 0, 0, 100), Slot(0, 0, 0, 10)]
    account = settle(0, 100, 10, nodes)
    assert account.least_s == 100
    assert not account.lost


def test_a_run_without_nodes_has_an_account_too() -> None:
    assert settle(5, 7, 3, []).lost == {TAIL: 2}
