"""The sequential test against its own promises, by exact arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.sprt import ALPHA, BAD_SHARE, BETA, ENOUGH, GOOD_SHARE, opinion, weight

COUNTS = st.integers(0, 3000)


@pytest.mark.parametrize(
    ("failures", "successes", "expected"),
    [
        (0, 0, "open"),
        (4, 0, "open"),  # 4 ln 5 = 6.44 is below ln 950 = 6.86
        (5, 0, "bad"),
        (5, 28, "bad"),  # 33 results
        (5, 29, "open"),
        (10, 200, "bad"),
        (10, 230, "open"),
        (0, 72, "open"),
        (0, 73, "good"),
        (1, 111, "open"),
        (1, 112, "good"),
        (2, 1000, "good"),
        (50, 950, "bad"),  # 5%
    ],
)
def test_known_values(failures: int, successes: int, expected: str) -> None:
    assert opinion(failures, successes) == expected


def test_a_wave_is_large_where_it_can_prove_a_release_good() -> None:
    assert ENOUGH == 73
    assert opinion(0, ENOUGH) == "good"
    assert opinion(0, ENOUGH - 1) == "open"


@given(COUNTS, COUNTS)
def test_a_failure_speaks_against_the_release_and_a_success_for_it(bad: int, good: int) -> None:
    assert weight(bad + 1, good) > weight(bad, good) > weight(bad, good + 1)
    if opinion(bad, good) == "bad":
        assert opinion(bad + 1, good) == "bad"
    if opinion(bad, good) == "good":
        assert opinion(bad, good + 1) == "good"


def chances(share: float, results: int, *, until_good: bool) -> tuple[float, float]:
    """Return how likely "bad", and "good", ever come up within so many results, exactly.

    Args:
        share: of nodes that fail.
        results: nodes that are tried.
        until_good: whether "good" ends the test.
    """
    alive = {0: 1.0}  # failures so far -> probability
    bad = good = 0.0
    for tried in range(1, results + 1):
        following: dict[int, float] = {}
        for failures, chance in alive.items():
            for more, part in ((1, chance * share), (0, chance * (1 - share))):
                following[failures + more] = following.get(failures + more, 0.0) + part
        alive = {}
        for failures, chance in following.items():
            said = opinion(failures, tried - failures)
            if said == "bad":
                bad += chance
            elif said == "good" and until_good:
                good += chance
            else:
                alive[failures] = chance
    return bad, good


@pytest.mark.parametrize("results", [73, 500, 3000])
def test_a_good_release_is_called_bad_once_in_a_thousand_however_long_the_run(results: int) -> None:
    bad, _ = chances(GOOD_SHARE, results, until_good=False)
    assert 0.0 < bad <= ALPHA / (1 - BETA)


def test_a_bad_release_is_caught_before_it_is_called_good() -> None:
    bad, good = chances(BAD_SHARE, 3000, until_good=True)
    assert good <= BETA / (1 - ALPHA)
    assert bad >= 1 - BETA / (1 - ALPHA) - 1e-3


def test_a_release_that_fails_on_half_of_the_nodes_is_stopped_by_the_fifteenth() -> None:
    bad, _ = chances(0.5, 15, until_good=True)
    assert bad > 0.94
