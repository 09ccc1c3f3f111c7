"""Hashes of templates, and which revisions are thrown away."""

from __future__ import annotations

import pytest

from rollout.sim.controllers.revisions import safe_encode, template_hash, to_truncate
from rollout.sim.store import Object

TEMPLATE = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}


def test_the_hash_depends_on_the_template_and_not_on_the_order_of_its_keys() -> None:
    turned = dict(reversed(TEMPLATE.items()))
    assert template_hash(TEMPLATE, None) == template_hash(turned, None)
    assert template_hash(TEMPLATE, None) != template_hash({**TEMPLATE, "x": 1}, None)


def test_every_collision_gives_another_hash() -> None:
    assert len({template_hash(TEMPLATE, count) for count in (None, 0, 1, 2)}) == 4


def test_a_hash_is_written_in_kubernetes_safe_letters() -> None:
    assert safe_encode("0123456789") == "456789bcdf"
    assert set(template_hash(TEMPLATE, None)) <= set("456789bcdf")


def revision(number: int) -> Object:
    return {
        "revision": number,
        "metadata": {"labels": {"controller-revision-hash": f"h{number}"}},
    }


@pytest.mark.parametrize(
    ("numbers", "live", "limit", "deleted"),
    [
        ([1, 2, 3], set(), 10, []),
        ([3, 1, 2], set(), 1, [1, 2]),
        ([1, 2, 3], {"h1"}, 1, [2, 3]),
        ([1, 2, 3], {"h1", "h3"}, 0, [2]),
        ([1, 2], set(), 0, [1, 2]),
    ],
)
def test_the_lowest_numbers_go_first_and_live_ones_never(
    numbers: list[int], live: set[str], limit: int, deleted: list[int]
) -> None:
    gone = to_truncate([revision(number) for number in numbers], live, limit)
    assert [int(item["revision"]) for item in gone] == deleted  # section 4.3
