from __future__ import annotations

import pytest

from rollout.cluster.bodies import delete_options, leading_number, selectors


def test_a_deletion_means_one_uid_and_keeps_the_pods_own_grace_period() -> None:
    assert delete_options("u", "") == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": "u"},
    }


def test_what_becomes_of_the_owned_is_said_where_it_is_asked_for() -> None:
    assert delete_options("u", "Background")["propagationPolicy"] == "Background"


def test_empty_selectors_are_left_out() -> None:
    assert selectors("", "") == {}
    assert selectors("a=b", "") == {"labelSelector": "a=b"}


@pytest.mark.parametrize(("text", "number"), [("36", 36), ("36+", 36), ("", 0), ("x", 0)])
def test_a_version_is_the_number_in_front(text: str, number: int) -> None:
    assert leading_number(text) == number
