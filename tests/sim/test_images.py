"""How the behaviour of images is looked up, and how long things take."""

from __future__ import annotations

import random
import statistics

import pytest

from rollout.sim.images import DEFAULT, Behaviour, Fault, FaultKind, Images, Timing

CRASH = Fault(FaultKind.CRASH)
NEVER = Fault(FaultKind.NEVER_READY)


def test_a_fixed_time_draws_nothing() -> None:
    rng = random.Random(1)
    state = rng.getstate()
    assert Timing(3.0).draw(rng) == 3.0
    assert rng.getstate() == state


def test_a_lognormal_time_lies_around_its_median() -> None:
    rng = random.Random(1)
    draws = [Timing(10.0, sigma=0.5).draw(rng) for _ in range(4000)]
    assert statistics.median(draws) == pytest.approx(10.0, rel=0.05)
    assert min(draws) < 3
    assert max(draws) > 30


def test_some_are_stragglers() -> None:
    rng = random.Random(1)
    draws = [Timing(1.0, stragglers=0.1, factor=20.0).draw(rng) for _ in range(2000)]
    assert set(draws) == {1.0, 20.0}
    assert draws.count(20.0) / 2000 == pytest.approx(0.1, abs=0.02)


def test_an_unknown_image_behaves_as_the_default() -> None:
    assert Images().behaviour("x:1", "n0") == DEFAULT


@pytest.mark.parametrize(
    ("image", "node", "fault"),
    [
        ("agent:v2", "n0", CRASH),
        ("agent:v2", "n1", NEVER),
        ("agent:v3", "n0", None),
        ("other:v2", "n0", None),
    ],
)
def test_an_entry_for_a_node_comes_before_the_one_for_all(
    image: str, node: str, fault: Fault | None
) -> None:
    images = Images({"agent:v2": Behaviour(fault=NEVER), "agent:v2@n0": Behaviour(fault=CRASH)})
    assert images.behaviour(image, node).fault == fault


def test_what_a_particular_entry_leaves_open_comes_from_the_general_ones() -> None:
    images = Images(
        {
            "*": Behaviour(stop=Timing(9.0)),
            "agent:v2": Behaviour(start=Timing(5.0)),
            "agent:v2@n0": Behaviour(fault=CRASH),
        }
    )
    found = images.behaviour("agent:v2", "n0")
    assert (found.start, found.stop, found.fault) == (Timing(5.0), Timing(9.0), CRASH)


@pytest.mark.parametrize(
    ("key", "image", "node", "fits"),
    [
        ("agent:bad*", "agent:bad3", "n0", True),
        ("agent:bad*", "agent:v3", "n0", False),
        ("*@n0", "anything", "n0", True),
        ("*@n0", "anything", "n1", False),
        ("agent:v1@rack-7-*", "agent:v1", "rack-7-3", True),
        ("agent@sha256:abc", "agent@sha256:abc", "n0", True),
        ("agent@sha256:abc@n0", "agent@sha256:abc", "n1", False),
        ("a.c", "abc", "n0", False),
    ],
)
def test_keys_may_hold_wildcards(key: str, image: str, node: str, *, fits: bool) -> None:
    images = Images({key: Behaviour(fault=CRASH)})
    assert (images.behaviour(image, node).fault is CRASH) is fits


def test_behaviour_can_change_at_run_time() -> None:
    images = Images({"a:1": Behaviour(start=Timing(7.0))})
    images.set_fault("a:1", NEVER)
    assert images.behaviour("a:1", "n").fault is NEVER
    assert images.behaviour("a:1", "n").start == Timing(7.0)
    images.set_fault("a:1", None)
    assert images.behaviour("a:1", "n").fault is None
    images.set("a:1", None)
    assert images.behaviour("a:1", "n") == DEFAULT


def test_healing_everything_keeps_the_times() -> None:
    images = Images({"a:1": Behaviour(start=Timing(7.0), fault=CRASH), "b": Behaviour(fault=NEVER)})
    images.clear_faults()
    assert images.entries() == {"a:1": Behaviour(start=Timing(7.0))}
