"""Amounts of resources as Kubernetes writes them."""

from __future__ import annotations

import pytest

from rollout.amounts import parse_amount


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", 0.1),
        ("1.5", 1.5),
        ("250000000n", 0.25),
        ("7u", 7e-6),
        ("2k", 2000.0),
        ("1Ki", 1024.0),
        ("512Mi", 512 * 2.0**20),
        ("2G", 2e9),
        ("1Ei", 2.0**60),
        ("1e3", 1000.0),
        ("3E", 3e18),
        (2, 2.0),
    ],
)
def test_an_amount_is_a_number(text: str | float, value: float) -> None:
    assert parse_amount(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "Mi", "1KiB", "1K", "ten", "1 Mi x", "--1"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_amount(text)
