from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cluster.skew import ClockSkew

START = 1_790_000_000.0


def answer(skew: ClockSkew, server_now: float, ahead: float, latency: float = 0.01) -> None:
    """Let the server answer at its `server_now` to a client whose clock is `ahead`."""
    ours = server_now + ahead
    skew.observe(ours - latency / 2, ours + latency / 2, formatdate(server_now, usegmt=True))


def test_nothing_is_known_without_an_answer_that_has_a_date() -> None:
    skew = ClockSkew()
    skew.observe(1.0, 2.0, "")
    skew.observe(1.0, 2.0, "yesterday")
    assert skew.seconds is None


def test_one_answer_tells_it_to_half_a_second() -> None:
    skew = ClockSkew()
    answer(skew, START + 0.9, ahead=300.0)
    assert skew.seconds == pytest.approx(300.0, abs=0.51)


def test_answers_around_the_turn_of_a_second_close_in() -> None:
    skew = ClockSkew()
    for tenth in range(30):
        answer(skew, START + tenth / 10, ahead=-7.0)
    assert skew.seconds == pytest.approx(-7.0, abs=0.06)


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    skew = ClockSkew()
    for tenth in range(30):
        answer(skew, START + tenth / 10, ahead=0.0)
    answer(skew, START + 5.0, ahead=3600.0)
    assert skew.seconds == pytest.approx(3600.0, abs=0.51)


@given(
    st.floats(-1e5, 1e5),
    st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 2.0)), min_size=1),
)
def test_the_truth_is_never_further_away_than_a_second_and_the_latency(
    ahead: float, answers: list[tuple[float, float]]
) -> None:
    skew = ClockSkew()
    for moment, latency in answers:
        answer(skew, START + moment, ahead, latency)
    assert skew.seconds is not None
    assert abs(skew.seconds - ahead) <= 0.5 + max(latency for _, latency in answers) / 2 + 1e-3
