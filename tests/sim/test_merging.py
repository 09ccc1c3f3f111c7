from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollout.sim import schema
from rollout.sim.merging import merge

CONTAINERS = schema.structs()["PodSpec"].fields["containers"].type
NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), unique=True)


def order(live: list[str], config: list[str]) -> list[str]:
    merged = merge(
        CONTAINERS, [{"name": n} for n in live], [{"name": n, "tty": True} for n in config]
    )
    return [item["name"] for item in merged]


def test_the_configuration_decides_the_order_of_its_items() -> None:
    assert order(["a", "b"], ["b", "a"]) == ["b", "a"]
    assert order(["a", "b", "c"], ["a", "x", "c"]) == ["a", "b", "x", "c"]
    assert order(["a", "b"], ["x"]) == ["a", "b", "x"]


@given(NAMES, NAMES)
def test_no_item_is_lost_and_the_configured_keep_their_order(
    live: list[str], config: list[str]
) -> None:
    merged = order(live, config)
    assert sorted(merged) == sorted({*live, *config})
    assert [name for name in merged if name in config] == config


def test_fields_merge_and_atomic_values_are_taken() -> None:
    type_ = schema.kind_type("v1", "Pod")
    live = {"metadata": {"labels": {"a": "1"}}, "spec": {"nodeSelector": {"a": "1"}}}
    config = {"metadata": {"labels": {"b": "2"}}, "spec": {"nodeSelector": {"b": "2"}}}
    assert merge(type_, live, config) == {
        "metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {"nodeSelector": {"b": "2"}},
    }


def test_an_equal_configuration_returns_the_very_object() -> None:
    type_ = schema.kind_type("v1", "Pod")
    live = {"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}
    assert merge(type_, live, {"spec": {"containers": [{"name": "a", "image": "x"}]}}) is live
