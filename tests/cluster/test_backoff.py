from __future__ import annotations

import random

from rollout.cluster.backoff import Backoff


class AtTheEdge(random.Random):
    """Always draws the largest number of the interval."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the base's signature
        return b


def test_windows_double_up_to_the_limit() -> None:
    backoff = Backoff(0.5, 30.0, AtTheEdge())
    assert [backoff.next_pause() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_reset_goes_back_to_the_first_window() -> None:
    backoff = Backoff(0.5, 30.0, AtTheEdge())
    for _ in range(5):
        backoff.next_pause()
    backoff.reset()
    assert backoff.next_pause() == 0.5


def test_a_pause_is_anywhere_inside_its_window() -> None:
    backoff = Backoff(8.0, 8.0, random.Random(1))
    pauses = [backoff.next_pause() for _ in range(200)]
    assert min(pauses) < 1.0
    assert 7.0 < max(pauses) <= 8.0
