"""Patterns of users: RE2's language, and never more time than the text is long."""

from __future__ import annotations

import time

import pytest

from rollout.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "line", "found"),
    [
        ("panic:", "goroutine 1: panic: nil map", True),
        ("^panic", "no panic", False),
        ("(?i)error", "ERROR: disk full", True),
        (r"code=5\d\d", "code=502", True),
        ("größe", "die Größe", False),
        ("Größe", "die Größe", True),
        ("x", "broken \ud800 surrogate x", True),
    ],
)
def test_a_pattern_matches_anywhere_in_a_line(pattern: str, line: str, *, found: bool) -> None:
    assert compile_pattern(pattern).found_in(line) is found


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "missing )"),
        (r"(a)\1", "invalid escape sequence"),
        ("(?=a)", "invalid perl operator"),
        ("(a{1000}){1000}", "invalid repetition size"),
        ("\ud800", "not UTF-8"),
    ],
)
def test_what_takes_more_than_linear_time_is_no_pattern(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression of RE2") as caught:
        compile_pattern(pattern)
    assert words in str(caught.value)


def test_a_pattern_that_takes_other_engines_ages_takes_none() -> None:
    pattern = compile_pattern("(a+)+$")  # Python's own `re` needs 2^100000 steps here
    begin = time.thread_time()
    assert not pattern.found_in("a" * 100_000 + "!")
    assert time.thread_time() - begin < 5
