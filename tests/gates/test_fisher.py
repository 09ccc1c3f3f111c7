"""Fisher's exact test against tables whose p is known, and its laws."""

from __future__ import annotations

from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.gates.fisher import worse

COUNTS = st.integers(min_value=0, max_value=60)


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((3, 1, 1, 3), 0.24285714285714285),  # Fisher's lady tasting tea
        ((4, 0, 0, 4), 1 / 70),
        ((1, 0, 0, 19), 0.05),  # one bad canary beside 19 good nodes
        ((1, 0, 0, 9), 0.1),
        ((3, 0, 0, 17), 1 / 1140),
        ((10, 2, 3, 15), 0.0004651809434),  # Fisher 1935: criminal twins
        ((0, 10, 0, 10), 1.0),
        ((5, 0, 0, 0), 1.0),
        ((0, 0, 4, 4), 1.0),
    ],
)
def test_p_is_that_of_the_textbook(table: tuple[int, int, int, int], p: float) -> None:
    assert worse(*table) == pytest.approx(p, rel=1e-6)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_p_is_a_chance(bad: int, good: int, control_bad: int, control_good: int) -> None:
    assert 0 < worse(bad, good, control_bad, control_good) <= 1


@given(COUNTS, COUNTS.filter(bool), COUNTS, COUNTS)
def test_one_more_bad_pod_never_looks_better(
    bad: int, good: int, control_bad: int, control_good: int
) -> None:
    before = worse(bad, good, control_bad, control_good)
    assert worse(bad + 1, good - 1, control_bad, control_good) <= before * (1 + 1e-9)


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_both_tails_overlap_in_the_table_itself(a: int, b: int, c: int, d: int) -> None:
    table = comb(a + b, a) * comb(c + d, c) / comb(a + b + c + d, a + c)
    assert worse(a, b, c, d) + worse(b, a, d, c) == pytest.approx(1 + table)


def test_thousands_of_pods_are_no_burden() -> None:
    assert worse(2500, 0, 0, 2500) == pytest.approx(0.0)
    assert worse(1250, 1250, 1250, 1250) == pytest.approx(0.511, abs=0.001)


def test_a_negative_count_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="negative"):
        worse(-1, 2, 3, 4)
