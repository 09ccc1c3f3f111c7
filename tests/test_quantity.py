from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.quantity import Amount, cut, format_age, format_duration, parse_amount, parse_duration

BASES = (0, 1, 2, 3, 4, 5, 7, 10, 11, 100, 101)
# behaviour.md section 2.1, the whole table of executed vectors; but for 99% of 11, where the
# table says 10 against its own rule (10.89 rounded up).
PERCENT_VECTORS = {
    "1%": (0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2),
    "10%": (0, 1, 1, 1, 1, 1, 1, 1, 2, 10, 11),
    "25%": (0, 1, 1, 1, 1, 2, 2, 3, 3, 25, 26),
    "33%": (0, 1, 1, 1, 2, 2, 3, 4, 4, 33, 34),
    "34%": (0, 1, 1, 2, 2, 2, 3, 4, 4, 34, 35),
    "50%": (0, 1, 1, 2, 2, 3, 4, 5, 6, 50, 51),
    "99%": (0, 1, 2, 3, 4, 5, 7, 10, 11, 99, 100),
    "100%": (0, 1, 2, 3, 4, 5, 7, 10, 11, 100, 101),
}


@pytest.mark.parametrize(
    ("percent", "base", "expected"),
    [
        (percent, base, value)
        for percent, values in PERCENT_VECTORS.items()
        for base, value in zip(BASES, values, strict=True)
    ],
)
def test_percentages_resolve_as_the_controller_resolves_them(
    percent: str, base: int, expected: int
) -> None:
    assert parse_amount(percent).resolve(base) == expected


@given(st.integers(0, 100), st.integers(0, 10**9))
def test_a_percentage_is_the_smallest_count_that_is_not_less_than_the_share(
    percent: int, base: int
) -> None:
    share = Fraction(percent * base, 100)
    resolved = Amount(percent, percent=True).resolve(base)
    assert resolved - 1 < share <= resolved


def test_counts_are_used_as_they_are_without_a_clamp() -> None:
    assert parse_amount(50).resolve(5) == 50


@pytest.mark.parametrize("value", [0, 1, 5000, "0%", "10%", "100%"])
def test_an_amount_reads_back_what_it_writes(value: int | str) -> None:
    assert str(parse_amount(value)) == str(value)


@pytest.mark.parametrize(
    "value",
    [-1, True, False, "", "5", "-1%", "10 %", " 10%", "10%\n", "1.5%", "%", "ten", "10%%", "٣%"],
)
def test_what_is_no_count_and_no_percentage_is_refused_with_an_example(value: int | str) -> None:
    with pytest.raises(ValueError, match="write 10 or '10%'"):
        parse_amount(value)


@pytest.mark.parametrize("value", ["101%", "1000%"])
def test_more_than_all_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="over 100%; write at most '100%'"):
        parse_amount(value)


@pytest.mark.parametrize(
    ("value", "base", "text"),
    [("10%", 37, "10% of 37 = 4"), ("50%", 3, "50% of 3 = 2"), (3, 37, "3")],
)
def test_a_resolved_number_is_explained_with_its_base(
    value: int | str, base: int, text: str
) -> None:
    assert parse_amount(value).explain(base) == text


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (90, 90.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1d", 86400.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("1m30s", 90.0),
    ],
)
def test_durations_are_read_in_seconds(value: int | str, seconds: float) -> None:
    assert parse_duration(value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "10", "m", "-5s", -5, True, "5 m", "5x", "m5", "5s!", "1,5h"]
)
def test_what_is_no_duration_is_refused_with_examples(value: int | str) -> None:
    with pytest.raises(ValueError, match="write '30s', '10m' or '1h30m'"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (1.9, "1s"),
        (45, "45s"),
        (60, "1m"),
        (200, "3m20s"),
        (3600, "1h"),
        (11100, "3h5m"),
        (86400, "1d"),
        (90000, "1d1h"),
        (12 * 86400 + 3600, "12d"),
    ],
)
def test_durations_are_shown_as_kubectl_shows_ages(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("0s", "0s"),
        ("500ms", "500ms"),
        ("1ms", "1ms"),
        ("0.999s", "999ms"),
        ("0.29s", "290ms"),
        ("0.0001s", "0s"),
        ("1s", "1s"),
        ("1500ms", "1s"),
        ("10m", "10m"),
    ],
)
def test_what_takes_less_than_a_second_is_shown_in_thousandths(written: str, text: str) -> None:
    assert format_duration(parse_duration(written)) == text


@given(st.integers(0, 86399))
def test_below_a_day_a_whole_minute_survives_showing_and_reading(seconds: int) -> None:
    shown = parse_duration(format_duration(seconds))
    assert seconds - 60 < shown <= seconds


def test_a_list_of_names_is_cut_with_a_count() -> None:
    assert cut(["a", "b"]) == "a, b"
    assert cut([str(n) for n in range(8)]) == "0, 1, 2, 3, 4 and 3 more"
    assert cut([]) == ""


@pytest.mark.parametrize(
    ("limit", "count", "base", "exceeded"),
    [
        ("2%", 2, 100, False),
        ("2%", 3, 100, True),
        ("2%", 1, 20, True),
        (1, 1, 2, False),
        (0, 1, 9, True),
    ],
)
def test_more_than_a_share_is_told_without_rounding(
    limit: int | str, count: int, base: int, *, exceeded: bool
) -> None:
    assert parse_amount(limit).exceeded_by(count, base) is exceeded
