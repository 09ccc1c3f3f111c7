from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.planner.waves import Candidate, PlannedWave, plan_waves
from rollout.quantity import parse_amount
from tests.planner.worlds import ZONE, at, make_body, make_node


def candidate(
    name: str,
    zone: str = "",
    *,
    labels: dict[str, str] | None = None,
    available: bool = True,
    restarts: int = 0,
    created: float = -100.0,
    predicted: float = 0.0,
    own: bool = False,
) -> Candidate:
    node = make_node(name, zone, labels=labels)
    return Candidate(node, available, restarts, at(created), predicted, own)


def nodes(count: int, zones: str = "") -> list[Candidate]:
    """Return n00, n01, ... whose zones take turns."""
    return [candidate(f"n{i:02}", zones[i % len(zones)] if zones else "") for i in range(count)]


def waves(rules: Any, candidates: list[Candidate], **rest: Any) -> list[PlannedWave]:
    return plan_waves(make_body(waves=rules, **rest), candidates)


def names(planned: list[PlannedWave]) -> list[list[str]]:
    return [list(wave.nodes) for wave in planned]


def sizes(planned: list[PlannedWave]) -> list[int]:
    return [len(wave.nodes) for wave in planned]


# Sizes.


@pytest.mark.parametrize(
    ("rules", "count", "expected"),
    [
        ([1, "10%", "100%"], 25, [1, 3, 21]),
        ([1, 3], 11, [1, 3, 3, 3, 1]),
        ([5], 12, [5, 5, 2]),
        (["100%"], 7, [7]),
        (["50%"], 5, [3, 2]),
        ([1, "1%"], 4, [1, 1, 1, 1]),
        ([{"size": [1, "10%", "100%"]}], 25, [1, 3, 21]),
        ([{"size": [1, 2]}], 6, [1, 2, 2, 1]),
        ([{"size": 2}, {"size": "50%"}, {"name": "last"}], 10, [2, 4, 4]),
        ([{"size": 2}], 5, [2, 3]),
        ([{"size": 50}], 5, [5]),
        ("fast", 9, [9]),
        ("standard", 1000, [1, 5, 10, 50, 250, 684]),
        ("standard", 10, [1, 5, 1, 1, 2]),
        ("standard", 1, [1]),
        ("manual", 3, [1, 1, 1]),
    ],
)
def test_sizes_take_their_share_and_the_last_of_a_list_repeats(
    rules: Any, count: int, expected: list[int]
) -> None:
    assert sizes(waves(rules, nodes(count))) == expected


def test_a_wave_says_its_size_with_the_base() -> None:
    planned = waves([1, "10%"], nodes(25))
    assert [wave.rule for wave in planned[:2]] == ["1", "10% of 25 = 3"]
    assert [wave.name for wave in planned[:2]] == ["wave-1", "wave-2"]


def test_no_nodes_make_no_waves() -> None:
    for rules in ("standard", "critical", [1, 2], [{"name": "all"}]):
        assert waves(rules, []) == []


# Which nodes.


def test_batches_by_label_come_in_the_order_of_the_rules() -> None:
    mixed = [candidate(f"n{i}", labels={"pool": "core" if i % 2 else "edge"}) for i in range(4)]
    planned = waves([{"selector": "pool=edge"}, {"selector": "pool=core"}], mixed)
    assert names(planned) == [["n0", "n2"], ["n1", "n3"]]


def test_unlabelled_nodes_form_a_last_explicit_wave() -> None:
    mixed = [candidate("a", labels={"pool": "edge"}), candidate("b"), candidate("c")]
    planned = waves([{"name": "edge", "selector": "pool=edge"}], mixed)
    assert [(wave.name, wave.nodes) for wave in planned] == [("edge", ("a",)), ("rest", ("b", "c"))]
    assert planned[1].rule == "nodes that no other wave took"


def test_zone_by_zone_every_zone_is_a_wave_and_nodes_without_one_come_last() -> None:
    mixed = [*nodes(4, "ba"), candidate("nowhere")]
    planned = waves([{"by": ZONE}], mixed)
    assert [(w.name, w.nodes, w.rule) for w in planned[:2]] == [
        ("a", ("n01", "n03"), f"{ZONE}=a"),
        ("b", ("n00", "n02"), f"{ZONE}=b"),
    ]
    assert planned[2].nodes == ("nowhere",)


def test_the_profile_critical_is_one_canary_and_then_zone_by_zone() -> None:
    planned = waves("critical", nodes(5, "ab"))
    assert names(planned) == [["n00"], ["n02", "n04"], ["n01", "n03"]]


def test_the_profile_manual_asks_after_every_wave() -> None:
    assert {wave.pause for wave in waves("manual", nodes(3))} == {"approval"}


def test_named_nodes_are_the_wave_and_those_that_need_no_update_are_no_mistake() -> None:
    planned = waves([{"name": "canary", "nodes": ["n03", "gone", "n01"]}], nodes(5))
    assert set(planned[0].nodes) == {"n03", "n01"}
    assert planned[0].rule == "named nodes"
    assert planned[1].nodes == ("n00", "n02", "n04")


def test_a_wave_that_gets_no_node_is_left_out() -> None:
    assert names(waves([{"selector": "pool=x"}, {}], nodes(2))) == [["n00", "n01"]]


def test_a_wave_has_its_own_limit_bake_and_pause() -> None:
    rule = {"size": 2, "maxUnavailable": "50%", "bake": "10m", "pause": "approval"}
    first, rest = waves([rule], nodes(3))
    assert (first.max_unavailable, first.bake_s, first.pause) == ("50%", 600.0, "approval")
    assert (rest.max_unavailable, rest.bake_s, rest.pause) == (None, 0.0, "")


# Spread.


def zones_of(wave: PlannedWave, candidates: list[Candidate]) -> list[str]:
    zone = {c.name: c.label(ZONE) for c in candidates}
    return sorted(zone[name] for name in wave.nodes)


def in_zones(**counts: int) -> list[Candidate]:
    return [candidate(f"{zone}{i}", zone) for zone, n in counts.items() for i in range(n)]


@pytest.mark.parametrize(
    ("size", "counts", "expected"),
    [
        (2, {"a": 5, "b": 5}, ["a", "b"]),
        (5, {"a": 5, "b": 5}, ["a", "a", "a", "b", "b"]),
        (3, {"a": 9, "b": 9, "c": 1}, ["a", "b", "c"]),
        (4, {"a": 9, "b": 1}, ["a", "a", "a", "b"]),
        (2, {"a": 3}, ["a", "a"]),
    ],
)
def test_canaries_are_spread_over_zones(
    size: int, counts: dict[str, int], expected: list[str]
) -> None:
    candidates = in_zones(**counts)
    planned = waves([{"size": size, "spread": ZONE}, {}], candidates)
    assert zones_of(planned[0], candidates) == expected


@given(
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=20),
    st.integers(min_value=1, max_value=20),
)
def test_no_zone_gives_two_more_canaries_than_one_that_has_nodes_left(
    zones: list[str], size: int
) -> None:
    candidates = [candidate(f"n{i:02}", zone) for i, zone in enumerate(zones)]
    planned = waves([{"size": size, "spread": ZONE}, {}], candidates)
    taken = {z: zones_of(planned[0], candidates).count(z) for z in set(zones)}
    assert sum(taken.values()) == min(size, len(zones))
    unfinished = [z for z in taken if taken[z] < zones.count(z)]
    assert all(max(taken.values()) - taken[z] <= 1 for z in unfinished)


def test_in_a_spread_wave_zones_take_turns_behind_what_is_broken() -> None:
    mixed = [
        candidate("a1", "a"),
        candidate("a2", "a"),
        candidate("b1", "b"),
        candidate("b2", "b", available=False),
        candidate("c1", "c", own=True),
    ]
    assert names(waves([{"spread": ZONE}], mixed)) == [["b2", "a1", "b1", "a2", "c1"]]


def test_zones_go_on_taking_turns_from_one_wave_to_the_next() -> None:
    candidates = in_zones(a=2, b=2, c=2)
    planned = waves([{"size": [2], "spread": ZONE}], candidates)
    assert [zones_of(wave, candidates) for wave in planned] == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_a_wave_for_each_of_very_many_nodes_takes_no_longer_than_they_are_many() -> None:
    assert len(waves("manual", nodes(20_000))) == 20_000  # minutes, if each looked at all others


# Order.


def order(candidates: list[Candidate], *keys: str, **rest: Any) -> list[str]:
    (wave,) = waves("fast", candidates, nodes={"order": list(keys)} | rest)
    return list(wave.nodes)


def test_nodes_without_an_available_pod_go_first_whatever_the_keys() -> None:
    mixed = [candidate("a", "a"), candidate("b", "b", available=False), candidate("c", "c")]
    assert order(mixed, "zone") == ["b", "a", "c"]


def test_in_growing_waves_what_is_broken_is_mended_in_the_first() -> None:
    mixed = [*nodes(5), candidate("z8", available=False), candidate("z9", available=False)]
    assert names(waves([1, 1, 5], mixed))[:2] == [["z8"], ["z9"]]


def test_our_own_node_goes_last() -> None:
    mixed = [candidate("a", own=True, available=False), candidate("b"), candidate("c")]
    assert order(mixed) == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["name"], ["a", "b", "c", "d"]),
        ([], ["a", "b", "c", "d"]),
        (["zone"], ["b", "d", "a", "c"]),
        (["age"], ["c", "d", "a", "b"]),
        (["restarts"], ["c", "a", "d", "b"]),
        (["label:rack"], ["b", "a", "c", "d"]),
        (["zone", "restarts"], ["d", "b", "c", "a"]),
        (["restarts", "zone"], ["c", "d", "a", "b"]),
    ],
)
def test_the_specs_keys_order_a_wave_and_ties_go_by_name(
    keys: list[str], expected: list[str]
) -> None:
    mixed = [
        candidate("d", "x", labels={"rack": "2"}, created=-300, restarts=1),
        candidate("c", "y", labels={"rack": "1"}, created=-400, restarts=0),
        candidate("b", "x", labels={}, created=-100, restarts=2),
        candidate("a", "y", labels={"rack": "1"}, created=-200, restarts=1),
    ]
    assert order(mixed, *keys) == expected


def test_the_fewest_restarts_make_the_canary() -> None:
    mixed = [
        candidate("a", restarts=3),
        candidate("b", restarts=0),
        candidate("c", restarts=0),
        candidate("d", restarts=1),
    ]
    planned = waves([{"size": 2}, {}], mixed, nodes={"order": ["restarts"]})
    assert list(planned[0].nodes) == ["b", "c"]


def test_those_that_take_longest_start_first_inside_their_wave() -> None:
    mixed = [candidate("a", predicted=1), candidate("b", predicted=60), candidate("c", predicted=9)]
    assert order(mixed) == ["b", "c", "a"]
    assert names(waves([1, 2], mixed)) == [["a"], ["b", "c"]]  # no prediction chooses the canary


def test_the_users_keys_come_before_predictions() -> None:
    mixed = [candidate("a", "z", predicted=60), candidate("b", "a", predicted=1)]
    assert order(mixed, "zone") == ["b", "a"]


def test_a_shuffle_depends_on_its_seed_and_on_nothing_else() -> None:
    mixed = nodes(30)
    first = order(mixed, "shuffle", seed=1)
    assert first == order(list(reversed(mixed)), "shuffle", seed=1)
    assert first != order(mixed, "shuffle", seed=2)
    assert sorted(first) == [c.name for c in mixed]
    without = [c for c in mixed if c.name != first[7]]  # one node less changes no other's place
    assert order(without, "shuffle", seed=1) == [n for n in first if n != first[7]]


# Every node in exactly one wave, always the same.

size_values = st.one_of(st.integers(1, 6), st.sampled_from(["1%", "10%", "33%", "50%", "100%"]))
wave_rules = st.one_of(
    st.fixed_dictionaries({}, optional={"selector": st.sampled_from(["pool=edge", "pool!=edge"])}),
    st.fixed_dictionaries(
        {"size": st.one_of(size_values, st.lists(size_values, min_size=1, max_size=3))},
        optional={"spread": st.just(ZONE), "selector": st.sampled_from(["pool", "!pool"])},
    ),
    st.just({"by": ZONE}),
    st.builds(
        lambda chosen: {"nodes": chosen},
        st.lists(st.sampled_from(["n00", "n03", "n07"]), min_size=1),
    ),
)
all_rules = st.one_of(
    st.sampled_from(["fast", "standard", "critical", "manual"]),
    st.lists(size_values, min_size=1, max_size=4),
    st.lists(wave_rules, min_size=1, max_size=4),
)
worlds = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b"]),
        st.sampled_from([{}, {"pool": "edge"}, {"pool": "x"}]),
        st.booleans(),
    ),
    max_size=12,
).map(
    lambda rows: [
        candidate(f"n{i:02}", zone, labels=labels, available=available)
        for i, (zone, labels, available) in enumerate(rows)
    ]
)


@given(all_rules, worlds)
def test_waves_partition_the_nodes_to_update(rules: Any, candidates: list[Candidate]) -> None:
    planned = waves(rules, candidates)
    flat = [name for wave in planned for name in wave.nodes]
    assert sorted(flat) == [c.name for c in candidates]
    assert all(wave.nodes for wave in planned)


@given(all_rules, worlds, st.randoms(use_true_random=False))
def test_the_same_nodes_in_any_order_give_the_same_waves(
    rules: Any, candidates: list[Candidate], rng: random.Random
) -> None:
    shuffled = list(candidates)
    rng.shuffle(shuffled)
    assert waves(rules, candidates) == waves(rules, shuffled)


@given(st.lists(size_values, min_size=1, max_size=5), st.integers(0, 60))
def test_each_size_is_a_share_of_all_until_nothing_is_left(
    rules: list[int | str], count: int
) -> None:
    left = count
    expected: list[int] = []
    while left:
        rule = rules[min(len(expected), len(rules) - 1)]
        taken = min(left, max(1, parse_amount(rule).resolve(count)))
        expected.append(taken)
        left -= taken
    assert sizes(waves(rules, nodes(count))) == expected


@given(all_rules, worlds)
def test_broken_nodes_come_first_in_every_wave(rules: Any, candidates: list[Candidate]) -> None:
    broken = {c.name for c in candidates if not c.available}
    for wave in waves(rules, candidates):
        flags = [name in broken for name in wave.nodes]
        assert flags == sorted(flags, reverse=True)


def test_a_node_that_is_named_twice_is_in_the_wave_once() -> None:
    assert names(waves([{"nodes": ["n00", "n00"]}, {}], nodes(2))) == [["n00"], ["n01"]]
