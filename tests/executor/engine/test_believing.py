from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.executor.engine.believing import disbelief

NAMES = st.sets(st.integers(0, 400).map(str))


@pytest.mark.parametrize(
    ("known", "listed", "spare", "believed"),
    [
        (0, 0, 0, True),
        (1, 1, 0, True),
        (1, 0, 0, False),  # empty where one was
        (5, 4, 0, True),  # one may always go
        (5, 3, 0, False),
        (100, 90, 0, True),
        (100, 89, 0, False),
        (100, 80, 10, True),
        (100, 79, 10, False),
        (100, 0, 100, False),
    ],
)
def test_a_tenth_may_vanish_between_two_looks_and_never_all(
    known: int, listed: int, spare: int, *, believed: bool
) -> None:
    names = [f"node-{number:03}" for number in range(known)]
    doubt = disbelief("nodes", names, names[:listed], spare)
    assert (doubt == "") is believed


def test_the_sentence_counts_names_and_says_what_to_do() -> None:
    names = [f"node-{number}" for number in range(10)]
    doubt = disbelief("nodes", names, names[:4])
    assert doubt.startswith(
        "the list of nodes lacks 6 of 10 that were there before (node-4, node-5, node-6, node-7, "
        "node-8 and 1 more); it is not believed: "
    )


@given(NAMES, NAMES)
def test_what_was_not_there_before_is_no_ground_for_doubt(known: set[str], more: set[str]) -> None:
    assert disbelief("nodes", known, known | more) == ""
    assert disbelief("nodes", set(), more) == ""
