"""The rules of behaviour.md sections 1 to 5 as tables: pods in, decisions out."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from rollout.sim.controllers.decisions import (
    DaemonPod,
    Half,
    Limits,
    NodeCount,
    NodeGone,
    NodeGroups,
    NodeWork,
    Place,
    Situation,
    Target,
    affinity_target,
    allows_surge,
    classify,
    count_node,
    daemon_pod,
    manage_node,
    next_change,
    plan_rolling,
    resolve,
    resolve_limits,
    surge_limit,
)

NOW = 10_000.0
TARGET = Target("new", "2")
PERCENT_TABLE = {
    "1%": [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2],
    "10%": [0, 1, 1, 1, 1, 1, 1, 1, 2, 10, 11],
    "25%": [0, 1, 1, 1, 1, 2, 2, 3, 3, 25, 26],
    "33%": [0, 1, 1, 1, 2, 2, 3, 4, 4, 33, 34],
    "34%": [0, 1, 1, 2, 2, 2, 3, 4, 4, 34, 35],
    "50%": [0, 1, 1, 2, 2, 3, 4, 5, 6, 50, 51],
    "99%": [0, 1, 2, 3, 4, 5, 7, 10, 11, 99, 100],  # the document has 10 of 11: ceil(10.89) is 11
    "100%": [0, 1, 2, 3, 4, 5, 7, 10, 11, 100, 101],
}
BASES = [0, 1, 2, 3, 4, 5, 7, 10, 11, 100, 101]


def pod(
    name: str = "p",
    *,
    old: bool = False,
    ready: bool = True,
    since: float = 0.0,
    phase: str = "Running",
    terminating: bool = False,
    bound: bool = True,
    created: str = "2026-01-01T00:00:00Z",
    node: str = "n",
) -> DaemonPod:
    return DaemonPod(
        namespace="ns",
        name=name,
        uid=f"uid-{name}",
        node=node,
        bound=bound,
        created=created,
        phase=phase,
        ready_since=since if ready else None,
        terminating=terminating,
        hash="old" if old else "new",
        generation="1" if old else "2",
    )


def broken(name: str = "p", *, old: bool = False) -> DaemonPod:
    return pod(name, old=old, ready=False)


def work(
    *pods: DaemonPod,
    place: Place = Place.WANTED,
    should_continue: bool = True,
    surge: bool = False,
    min_ready: float = 0,
) -> NodeWork:
    return manage_node(
        pods,
        place=place,
        should_continue=should_continue,
        surge=surge,
        target_hash="new",
        min_ready=min_ready,
        now=NOW,
    )


def names(pods: tuple[DaemonPod, ...]) -> list[str]:
    return [p.name for p in pods]


@pytest.mark.parametrize("percent", PERCENT_TABLE)
def test_percentages_round_up_as_recorded_in_v13(percent: str) -> None:
    assert [resolve(percent, base) for base in BASES] == PERCENT_TABLE[percent]


def test_a_count_is_not_limited_by_the_nodes() -> None:
    assert resolve(50, 5) == 50


def test_a_number_written_as_text_is_refused() -> None:
    with pytest.raises(ValueError, match="string is not a percentage"):
        resolve("5", 10)


def test_a_missing_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="nil value for IntOrString"):
        resolve(None, 10)


def rolling(unavailable: int | str, surge: int | str) -> dict[str, object]:
    return {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge},
    }


def test_two_zero_limits_become_one_unavailable_node() -> None:
    assert resolve_limits(rolling(0, "0%"), 4) == Limits(1, 0)


def test_two_zero_limits_stay_zero_without_nodes() -> None:
    assert resolve_limits(rolling(0, 0), 0) == Limits(0, 0)


@pytest.mark.parametrize(
    ("surge", "allowed"), [(0, False), ("0%", False), (1, True), ("1%", True), ("100%", True)]
)
def test_any_surge_but_zero_allows_two_pods_on_a_node(surge: int | str, *, allowed: bool) -> None:
    assert allows_surge(rolling(0, surge)) is allowed


def test_surge_counts_as_zero_unless_the_type_is_rolling_update() -> None:
    leftover = {**rolling(0, 3), "type": "OnDelete"}
    assert surge_limit(leftover, 10) == 0
    assert not allows_surge(leftover)


# Availability (2.2)


@pytest.mark.parametrize(
    ("ready", "since", "min_ready", "available"),
    [
        (True, NOW, 0, True),
        (True, NOW - 30, 30, True),
        (True, NOW - 29, 30, False),
        (True, NOW + 60, 0, True),
        (True, NOW + 60, 1, False),  # a clock that is ahead (catalogue 68)
        (True, float("inf"), 1, False),  # no transition time
        (False, 0, 0, False),
    ],
)
def test_available_is_ready_for_long_enough(
    *, ready: bool, since: float, min_ready: float, available: bool
) -> None:
    assert pod(ready=ready, since=since).available(min_ready, NOW) is available


def test_the_next_change_is_when_the_first_ready_pod_becomes_available() -> None:
    pods = [pod(since=NOW - 10), pod(since=NOW - 20), pod(since=NOW - 40), broken()]
    assert next_change(pods, 30, NOW) == NOW + 10
    assert next_change(pods, 0, NOW) is None


# Up to date or not (3.3)


@pytest.mark.parametrize(
    ("hash_", "generation", "updated"),
    [
        ("new", "2", True),
        ("new", "1", True),
        ("old", "2", True),  # V29, V41: the generation alone is enough
        ("old", "1", False),
        ("", "", False),  # V36: the label is gone
    ],
)
def test_a_pod_is_up_to_date_by_hash_or_by_generation(
    hash_: str, generation: str, *, updated: bool
) -> None:
    labelled = pod()
    changed = DaemonPod(
        labelled.namespace, "p", "u", "n", True, "", "Running", None, False, hash_, generation
    )
    assert TARGET.matches(changed) is updated


def test_without_a_known_generation_only_the_hash_counts() -> None:
    assert not Target("other", "").matches(pod())


def test_nothing_matches_an_unknown_hash() -> None:
    assert not Target("", "").matches(pod())


# Manage phase (1.5)


def test_a_node_without_a_pod_gets_one() -> None:
    assert work() == NodeWork(create=True)


def test_a_node_that_is_not_wanted_gets_none() -> None:
    assert work(place=Place.UNWANTED) == NodeWork()


def test_a_terminating_pod_holds_its_node_without_surge() -> None:
    assert work(pod(terminating=True)) == NodeWork()


def test_a_terminating_pod_does_not_hold_its_node_with_surge() -> None:
    assert work(pod(terminating=True), surge=True).create  # V25


def test_pods_may_stay_on_a_node_that_is_only_not_wanted() -> None:
    assert work(pod(), place=Place.UNWANTED) == NodeWork()


def test_pods_must_leave_a_node_that_does_not_tolerate_them() -> None:
    done = work(pod("a"), pod("b", terminating=True), place=Place.UNWANTED, should_continue=False)
    assert names(done.delete) == ["a"]


def test_without_surge_all_but_the_oldest_bound_pod_go() -> None:
    first = pod("z", created="2026-01-01T00:00:00Z", old=True, ready=False)
    second = pod("a", created="2026-01-01T00:00:01Z")
    unbound = pod("b", bound=False, created="2025-01-01T00:00:00Z")
    assert names(work(unbound, second, first).delete) == ["a", "b"]  # V12, V06


def test_pods_of_one_age_are_kept_by_name() -> None:
    assert names(work(pod("b"), pod("a")).delete) == ["b"]


def test_failed_pods_go_by_backoff_and_succeeded_ones_at_once() -> None:
    done = work(pod("f", phase="Failed"), pod("s", phase="Succeeded"), pod("r"))
    assert (names(done.failed), names(done.succeeded), done.delete) == (["f"], ["s"], ())


def test_a_failed_pod_blocks_a_new_one_without_surge() -> None:
    assert not work(pod("f", phase="Failed")).create


def test_failed_pods_pile_up_with_surge() -> None:
    done = work(pod("f", phase="Failed"), surge=True)  # V07
    assert done.create
    assert names(done.failed) == ["f"]


@pytest.mark.parametrize(
    ("new", "old", "deleted"),
    [
        (pod("new"), pod("old", old=True), ["old"]),
        (broken("new"), pod("old", old=True), []),
        (broken("new"), broken("old", old=True), ["old"]),  # V26
        (pod("new"), broken("old", old=True), ["old"]),
    ],
)
def test_with_surge_the_old_pod_goes_when_it_is_unready_or_the_new_one_available(
    new: DaemonPod, old: DaemonPod, deleted: list[str]
) -> None:
    assert names(work(new, old, surge=True).delete) == deleted


def test_with_surge_ready_but_not_yet_available_keeps_the_old_pod() -> None:
    young = pod("new", since=NOW - 5)
    assert names(work(young, pod("old", old=True), surge=True, min_ready=10).delete) == []


def test_with_surge_the_oldest_new_and_the_oldest_old_pod_stay() -> None:
    pods = [
        pod(f"{kind}{age}", old=kind == "old", ready=kind == "old", created=f"2026-01-0{age}")
        for kind in ("old", "new")
        for age in (1, 2)
    ]
    assert sorted(names(work(*pods, surge=True).delete)) == ["new2", "old2"]  # V21, V17


def test_with_surge_a_pod_that_is_current_by_generation_alone_counts_as_old_here() -> None:
    by_generation = replace(pod("gen"), hash="old")
    assert TARGET.matches(by_generation)
    assert names(work(by_generation, pod("new"), surge=True).delete) == ["gen"]  # V42


def test_unbound_pods_of_a_node_that_does_not_exist_are_deleted() -> None:
    done = work(
        pod("bound"), pod("unbound", bound=False), place=Place.MISSING, should_continue=False
    )
    assert names(done.delete) == ["unbound"]


# Rolling update (2.4, 2.5)


def groups(*nodes: list[DaemonPod], places: dict[int, Place] | None = None) -> NodeGroups:
    result = NodeGroups(random.Random(7))
    for number, pods in enumerate(nodes):
        place = (places or {}).get(number, Place.WANTED)
        situation = classify(pods, place=place, target=TARGET, min_ready=0, now=NOW)
        result.place(f"n{number}", situation)
    return result


def deleted(groups_: NodeGroups, limit: int) -> list[str]:
    return sorted(plan_rolling(groups_, Limits(limit, 0), 5).delete_old)


NEW, OLD = [pod()], [pod(old=True)]
NEW_BROKEN, OLD_BROKEN = [broken()], [broken(old=True)]
BOTH = [pod("a"), pod("b", old=True)]
TWO_OLD = [pod("a", old=True), pod("b", old=True)]
LEAVING = [pod(old=True, terminating=True)]


def test_candidates_are_taken_up_to_the_limit() -> None:
    assert len(deleted(groups(OLD, OLD, OLD, NEW), 2)) == 2


def test_all_broken_old_pods_go_whatever_the_limit() -> None:
    assert deleted(groups(OLD_BROKEN, OLD_BROKEN, OLD_BROKEN, OLD), 1) == ["n0", "n1", "n2"]  # V02


def test_broken_old_pods_use_the_budget_of_healthy_ones() -> None:
    assert deleted(groups(OLD_BROKEN, OLD, OLD), 1) == ["n0"]
    assert len(deleted(groups(OLD_BROKEN, OLD, OLD), 2)) == 2


@pytest.mark.parametrize(
    "unavailable", [NEW_BROKEN, LEAVING, [], BOTH, TWO_OLD, [pod("a"), pod("b")]]
)
def test_what_counts_as_unavailable(unavailable: list[DaemonPod]) -> None:
    assert deleted(groups(unavailable, OLD, OLD), 1) == []  # V01
    assert len(deleted(groups(unavailable, OLD, OLD), 2)) == 1


def test_dead_nodes_block_the_rollout_when_they_use_up_the_budget() -> None:
    dead = dict.fromkeys(range(3), Place.UNWANTED)
    nodes = [LEAVING] * 3 + [OLD] * 7
    assert deleted(groups(*nodes, places=dead), 2) == []  # V32


def test_an_old_pod_on_a_tainted_node_is_a_candidate_too_but_the_last() -> None:
    places = {0: Place.UNWANTED}
    assert deleted(groups(OLD, OLD, places=places), 1) == ["n1"]
    assert deleted(groups(OLD, NEW, places=places), 1) == ["n0"]  # V04


def test_an_old_pod_on_a_node_that_is_gone_may_waste_a_turn() -> None:
    assert deleted(groups(OLD, NEW, places={0: Place.MISSING}), 1) == ["n0"]  # V09


def test_victims_are_drawn_by_chance() -> None:
    chosen = Counter(
        plan_rolling(_five_old(seed), Limits(1, 0), 5).delete_old[0] for seed in range(200)
    )
    assert set(chosen) == {f"n{number}" for number in range(5)}
    assert max(chosen.values()) < 70  # V18


def _five_old(seed: int) -> NodeGroups:
    result = NodeGroups(random.Random(seed))
    for number in range(5):
        result.place(f"n{number}", Situation(Half.NONE, Half.HEALTHY, Place.WANTED))
    return result


def surge(groups_: NodeGroups, limit: int, desired: int = 5) -> tuple[list[str], list[str]]:
    plan = plan_rolling(groups_, Limits(1, limit), desired)
    return sorted(plan.delete_old), sorted(plan.create)


def test_surge_ignores_max_unavailable() -> None:
    assert surge(groups(OLD, OLD), 2) == ([], ["n0", "n1"])  # V23


def test_surge_creates_beside_available_old_pods_up_to_the_limit() -> None:
    old, new = surge(groups(OLD, OLD, OLD), 1)
    assert (old, len(new)) == ([], 1)


def test_surge_creates_beside_broken_old_pods_without_limit() -> None:
    assert surge(groups(OLD_BROKEN, OLD_BROKEN, NEW), 1) == ([], ["n0", "n1"])


def test_a_new_pod_that_is_not_available_holds_a_surge_slot() -> None:
    waiting = [broken("a"), pod("b", old=True)]
    assert surge(groups(waiting, OLD), 1) == ([], [])  # V22


def test_an_old_pod_goes_when_the_new_one_beside_it_is_available() -> None:
    assert surge(groups(BOTH, NEW), 1) == (["n0"], [])


def test_a_new_pod_alone_uses_no_slot_whatever_its_health() -> None:
    assert surge(groups(NEW_BROKEN, OLD), 1) == ([], ["n1"])  # V28, V31


def test_a_broken_old_pod_on_an_unwanted_node_goes_at_once() -> None:
    assert surge(groups(OLD_BROKEN, places={0: Place.UNWANTED}), 1) == (["n0"], [])  # V37


def test_a_healthy_old_pod_on_an_unwanted_node_waits_until_there_are_more_than_wanted() -> None:
    nodes = groups(OLD, NEW, NEW, places={0: Place.UNWANTED})
    assert surge(nodes, 1, desired=3) == ([], [])
    assert surge(nodes, 1, desired=2) == (["n0"], [])


def test_surge_fails_over_an_old_pod_on_a_node_that_is_gone() -> None:
    nodes = groups(OLD, OLD, places={0: Place.MISSING})
    with pytest.raises(NodeGone):
        plan_rolling(nodes, Limits(0, 1), 2)  # V09


def test_two_old_pods_on_a_node_hold_a_surge_slot() -> None:
    assert surge(groups(TWO_OLD, OLD), 1) == ([], [])


def test_a_node_can_leave_the_groups() -> None:
    nodes = groups(OLD, OLD)
    nodes.place("n0", None)
    assert deleted(nodes, 5) == ["n1"]


# Status (5)


def count(*pods: DaemonPod, place: Place = Place.WANTED) -> NodeCount:
    return count_node(pods, place=place, target=TARGET, min_ready=0, now=NOW)


def total(counts: list[NodeCount]) -> NodeCount:
    return NodeCount(*map(sum, zip(*counts, strict=True)))


def test_a_terminating_ready_pod_and_a_pending_one_count_as_in_v15() -> None:
    nodes = [
        count(pod(old=True, terminating=True)),
        count(pod()),
        count(pod(ready=False, phase="Pending", bound=False)),
    ]
    assert total(nodes) == NodeCount(3, 3, 0, ready=2, updated=2, available=2)


def test_a_dead_node_is_only_misscheduled_as_in_v33() -> None:
    nodes = [count(broken(old=True), place=Place.UNWANTED), count(pod()), count(pod())]
    assert total(nodes) == NodeCount(2, 2, 1, ready=2, updated=2, available=2)


def test_the_oldest_bound_pod_speaks_for_its_node() -> None:
    old = pod("old", old=True, terminating=True, created="2026-01-01")
    new = pod("new", created="2026-01-02")
    assert count(new, old).updated == 0  # V15b


def test_pods_of_nodes_that_are_gone_count_nowhere() -> None:
    assert count(pod(), place=Place.MISSING) == NodeCount()


# Reading pods


def test_a_pod_is_read_from_its_object() -> None:
    body = {
        "metadata": {
            "namespace": "ns",
            "name": "p",
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "deletionTimestamp": "2026-01-01T00:01:00Z",
            "labels": {"controller-revision-hash": "h", "pod-template-generation": "3"},
        },
        "spec": {"nodeName": "n1"},
        "status": {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": "2026-01-01T00:00:30Z",
                }
            ],
        },
    }
    read = daemon_pod(body)
    assert (read.node, read.bound, read.terminating) == ("n1", True, True)
    assert (read.hash, read.generation) == ("h", "3")
    assert read.ready


def test_an_unbound_pod_belongs_to_the_node_that_its_affinity_names() -> None:
    field = {"key": "metadata.name", "operator": "In", "values": ["n7"]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert affinity_target({"affinity": affinity}) == "n7"
    assert affinity_target({}) == ""
