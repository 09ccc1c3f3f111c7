from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.sim.scalars import canonical_quantity, canonical_time, quantity_value


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("100m", "100m"),
        ("1500m", "1500m"),
        ("2000m", "2"),
        ("1024Mi", "1Gi"),
        ("1000Mi", "1000Mi"),
        ("0.5Gi", "512Mi"),
        ("128974848", "128974848"),
        ("129e6", "129e6"),
        ("1e3", "1e3"),
        ("129M", "129M"),
        ("1000k", "1M"),
        ("512Ki", "512Ki"),
        ("0", "0"),
        ("-1", "-1"),
        ("0.0000000001", "1n"),
    ],
)
def test_quantities_become_canonical(given_text: str, expected: str) -> None:
    assert canonical_quantity(given_text) == expected


@given(
    st.integers(min_value=0, max_value=10**9),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]),
)
def test_the_canonical_form_is_the_same_amount_and_stays(number: int, suffix: str) -> None:
    text = canonical_quantity(f"{number}{suffix}")
    assert quantity_value(text) == quantity_value(f"{number}{suffix}")
    assert canonical_quantity(text) == text


@pytest.mark.parametrize("text", ["", "abc", "1Qi", "1 Gi", "--1"])
def test_malformed_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantities must match the regular expression"):
        canonical_quantity(text)


def test_a_quantity_is_an_exact_number() -> None:
    assert quantity_value("100m") == Fraction(1, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-23T17:24:55Z", "2026-11-23T17:24:55Z"),
        ("2026-11-23T17:24:55.123Z", "2026-11-23T17:24:55Z"),
        ("2026-11-23T19:24:55+02:00", "2026-11-23T17:24:55Z"),
    ],
)
def test_times_come_back_in_utc_and_whole_seconds(text: str, expected: str) -> None:
    assert canonical_time(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yesterday", 'as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        ("2026-11-23", 'as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2026-13-23T17:24:55Z", ": month out of range"),
        ("2026-02-31T17:24:55+01:00", ": day out of range"),
        ("2026-11-23T17:24:55Zx", ': extra text: "x"'),
    ],
)
def test_malformed_times_are_refused_as_go_refuses_them(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="parsing time") as caught:
        canonical_time(text)
    assert str(caught.value).removeprefix(f'parsing time "{text}"').strip() == why.strip()


def test_a_micro_time_needs_its_six_digits() -> None:
    assert canonical_time("2026-01-01T00:00:00.000000Z", micro=True).endswith(".000000Z")
    with pytest.raises(ValueError, match=r'cannot parse "Z" as "\.000000"'):
        canonical_time("2026-01-01T00:00:00Z", micro=True)
