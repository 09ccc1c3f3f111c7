from __future__ import annotations

from typing import Any

import pytest

from rollout.planner.budget import update_limits
from tests.planner.worlds import ON_DELETE, ROLLING, make_fleet, make_item, make_spec


def limits(
    spec: dict[str, Any] | None, own: dict[str, Any], base: int
) -> tuple[tuple[int, str], tuple[int, str]]:
    item = make_item(strategy=spec) if spec is not None else make_item()
    found = update_limits(
        make_spec(item).spec.spec.daemon_sets[0], make_fleet(1, strategy=own), base
    )
    return (
        (found.max_unavailable.value, found.max_unavailable.text),
        (found.max_surge.value, found.max_surge.text),
    )


def rolling(unavailable: int | str, surge: int | str) -> dict[str, Any]:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge},
    }


@pytest.mark.parametrize(
    ("spec", "own", "unavailable", "surge"),
    [
        (None, ROLLING, (1, "1"), (0, "0")),
        (None, rolling("10%", 0), (4, "10% of 37 = 4"), (0, "0")),
        (None, rolling(0, "10%"), (0, "0"), (4, "10% of 37 = 4")),
        (None, {"type": "RollingUpdate"}, (1, "1"), (0, "0")),
        (None, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}}, (0, "0"), (2, "2")),
        (None, ON_DELETE, (1, "1"), (0, "0")),
        (None, rolling(50, 0), (50, "50"), (0, "0")),
        ({"maxUnavailable": "50%"}, ROLLING, (19, "50% of 37 = 19"), (0, "0")),
        ({"maxUnavailable": 3}, rolling(0, 1), (3, "3"), (0, "0")),
        ({}, rolling("10%", 0), (1, "1"), (0, "0")),
        ({"maxUnavailable": 2}, ON_DELETE, (2, "2"), (0, "0")),
    ],
)
def test_limits_come_from_the_spec_then_the_object_then_kubernetes(
    spec: dict[str, Any] | None,
    own: dict[str, Any],
    unavailable: tuple[int, str],
    surge: tuple[int, str],
) -> None:
    assert limits(spec, own, 37) == (unavailable, surge)


def test_leftovers_under_on_delete_are_not_looked_at() -> None:
    own = ON_DELETE | {"rollingUpdate": {"maxUnavailable": 7, "maxSurge": 3}}
    assert limits(None, own, 37) == ((1, "1"), (0, "0"))


def test_half_of_three_nodes_is_two_and_the_plan_prints_it() -> None:
    assert limits({"maxUnavailable": "50%"}, ROLLING, 3)[0] == (2, "50% of 3 = 2")
