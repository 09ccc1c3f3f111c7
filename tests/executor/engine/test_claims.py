"""No node is taken down by two runs, and nobody waits for ever, whatever chance does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from rollout.executor.engine.claims import Claims, OtherRun
from tests.executor.claimsmodel import play

SEEDS = 1500


def play_all(make: Callable[[bool, int], Claims] = Claims) -> None:
    for seed in range(SEEDS):
        play(seed, make)


def test_no_node_is_taken_down_by_two_runs_and_all_come_to_their_end() -> None:
    play_all()


class Hasty(Claims):
    """Takes a claim for good before the watch has told it."""

    def want(self, node: str) -> None:
        super().want(node)
        self.asked[node] = 0


class Unannounced(Claims):
    """Does not wait until others know of it."""

    def told(self, word: int, run_id: str, epoch: int) -> None:
        super().told(word, run_id, epoch)
        self.owed.clear()


class Lonely(Claims):
    """Does not wait for its own record, but for those that it sees anyhow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.joined = True


class Sleepy(Claims):
    """Goes on after a sleep as if nothing had been."""

    def lapsed(self) -> None:
        return


class Greedy(Claims):
    """Takes a node that another one claims."""

    def settle(self, has_room: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        taken, self.taken = self.taken, {}
        settled = super().settle(has_room)
        self.taken = taken
        return settled


@pytest.mark.parametrize("worse", [Hasty, Unannounced, Lonely, Sleepy, Greedy])
def test_each_rule_is_needed(worse: type[Claims]) -> None:
    with pytest.raises(AssertionError, match=r"beside|are down"):
        play_all(worse)


class Patient(Claims):
    """Waits for the dead as well."""

    def looked(self, where: str, version: str, *, alive: bool) -> bool:
        del alive
        return super().looked(where, version, alive=True)


class Stubborn(Claims):
    """Keeps the claim that it has lost."""

    def settle(self, has_room: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        asked = dict(self.asked)
        won, lost = super().settle(has_room)
        for node in lost:
            self.asked[node] = asked[node]
            del self.lost[node]
        return won, []


@pytest.mark.parametrize("worse", [Patient, Stubborn])
def test_what_keeps_others_waiting_for_ever_is_found(worse: type[Claims]) -> None:
    with pytest.raises(AssertionError, match="wait for ever"):
        play_all(worse)


def test_a_run_that_sees_nobody_claims_nothing() -> None:
    claims = Claims(joins=True)
    claims.told(0, "run", 1)

    assert not claims.are_needed
    assert not claims.speak()


def test_a_run_whose_lease_had_run_out_before_costs_nothing() -> None:
    claims = Claims(joins=True)
    assert claims.saw(OtherRun("logging/old", "old", 3, nodes=frozenset({"n1"})))
    assert claims.are_needed
    claims.looked("logging/old", "", alive=False)
    claims.told(0, "run", 1)

    assert not claims.are_needed
    assert not claims.is_kept_from_us("n1")
    assert not claims.speak()


THEIRS = OtherRun("logging/theirs", "r2", 1, nodes=frozenset({"n1"}), version="1")


def beside(theirs: OtherRun) -> Claims:
    """Return what a run knows that has its record, beside one that lives and knows of it."""
    claims = Claims(joins=True)
    claims.told(0, "run", 1)
    claims.saw(replace(theirs, beside=frozenset({"run/1"})))
    claims.looked(theirs.where, theirs.version, alive=True)
    claims.unsaid = False
    return claims


def test_a_run_that_wrote_while_somebody_looked_is_not_dead_but_looked_at_again() -> None:
    claims = Claims(joins=True)
    claims.told(0, "run", 1)
    assert claims.saw(THEIRS)
    assert not claims.saw(replace(THEIRS, version="2"))  # somebody looks already

    assert claims.looked(THEIRS.where, "1", alive=False)
    assert claims.is_kept_from_us("n1")

    assert not claims.looked(THEIRS.where, "2", alive=False)
    assert not claims.is_kept_from_us("n1")


def test_what_was_claimed_before_the_lock_lapsed_is_claimed_anew() -> None:
    claims = beside(replace(THEIRS, nodes=frozenset()))
    claims.want("n2")
    assert claims.speak()
    claims.told(1, "run", 1)
    assert claims.settle(lambda _: True) == (["n2"], [])
    assert "n2" in claims.ours

    claims.lapsed()  # another run may have taken it for free meanwhile

    assert claims.are_needed
    assert "n2" not in claims.ours


def test_a_node_that_was_lost_is_claimed_again_only_when_its_withdrawal_is_told() -> None:
    """Whoever has lost it to our claim, which was itself lost, goes first."""
    claims = beside(THEIRS)
    claims.want("n1")
    assert claims.speak()
    claims.told(1, "run", 1)
    assert claims.settle(lambda _: True) == ([], ["n1"])

    claims.gone(THEIRS.where)
    assert claims.is_kept_from_us("n1")

    assert claims.speak()
    claims.told(2, "run", 1)
    assert not claims.is_kept_from_us("n1")
    assert "n1" in claims.freed


def test_one_claim_is_written_at_a_time() -> None:
    claims = beside(THEIRS)
    claims.want("n2")
    assert claims.speak()

    claims.want("n3")
    assert not claims.speak()
    claims.told(1, "run", 1)
    assert claims.speak()
