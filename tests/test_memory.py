from __future__ import annotations

import gc

import pytest

from rollout.memory import nothing_to_collect


def test_the_collector_rests_inside_and_works_again_afterwards() -> None:
    with nothing_to_collect():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_works_again_after_an_error() -> None:
    @nothing_to_collect()
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with nothing_to_collect():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
