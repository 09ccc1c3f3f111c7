from __future__ import annotations

import pytest

from rollout.cluster.bodies import delete_options, leading_number, selectors


def test_a_deletion_without_a_grace_period_keeps_the_pods_own() -> None:
    assert delete_options("u", None) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u"},
    }


def test_a_grace_period_of_zero_is_not_forgotten() -> None:
    assert delete_options("u", 0)["gracePeriodSeconds"] == 0


def test_empty_selectors_are_left_out() -> None:
    assert selectors("", "") == {}
    assert selectors("a=b", "") == {"labelSelector": "a=b"}


@pytest.mark.parametrize(("text", "number"), [("36", 36), ("36+", 36), ("", 0), ("x", 0)])
def test_a_version_is_the_number_in_front(text: str, number: int) -> None:
    assert leading_number(text) == number
