"""Leases are judged by one's own clock; and in no reachable state are two holders valid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollout.executor.lock.leaseprotocol import (
    Again,
    Attempt,
    Busy,
    Deleted,
    Found,
    Holder,
    Kept,
    LeaseState,
    Lost,
    Observation,
    Policy,
    Take,
    Tenure,
    Verdict,
    Wait,
    confirm,
    judge,
    observe,
    parse_holder,
    releasing,
    renewing,
    settle,
    taking,
)
from tests.executor.leasemodel import Rules, search

ME = Holder("mine", "ann@laptop", "11.1")
OTHER = Holder("other", "bob@ci", "22.2")
POLICY = Policy()
HELD = LeaseState("uid", "7", OTHER.identity, 3, "2026-01-01T00:00:00.000000Z", "r1")


def verdict(
    lease: LeaseState | None = HELD,
    *,
    still_s: float = 0.0,
    moved: bool = False,
    age_s: float | None = 100.0,
    ended: bool = False,
    policy: Policy = POLICY,
    me: Holder = ME,
    held_before: bool = False,
) -> Verdict:
    seen = Observation(lease, 1000.0 - still_s, moved)
    return judge(seen, 1000.0, policy, me, age_s=age_s, ended=ended, held_before=held_before)


# Who holds it


@pytest.mark.parametrize("who", ["ann@laptop", "Ann Lee@laptop", ""])
def test_an_identity_is_read_as_it_was_written(who: str) -> None:
    holder = Holder("3f2a", who, "11.1")
    assert parse_holder(holder.identity) == holder


def test_a_foreign_identity_is_somebody() -> None:
    assert str(parse_holder("leader-7f9c")) == "run leader-7f9c of somebody"


# When it may be taken


def test_a_lease_that_nobody_holds_is_taken_at_once() -> None:
    assert verdict(None) == Take()
    assert verdict(replace(HELD, holder="")) == Take()


def test_a_lease_that_was_deleted_under_its_holder_is_waited_for_in_full() -> None:
    assert verdict(None, held_before=True, age_s=None) == Wait(1.0)
    assert verdict(None, held_before=True, still_s=14.5, moved=True) == Wait(0.5)
    assert verdict(None, held_before=True, still_s=15.0) == Take()
    gone = observe(None, None, 10.0)
    assert observe(gone, None, 12.0) == gone


def test_what_we_hold_ourselves_is_taken_at_once() -> None:
    assert verdict(replace(HELD, holder=ME.identity)) == Take()


def test_a_holder_who_renewed_just_now_is_alive() -> None:
    assert verdict(age_s=3.0) == Busy()
    assert verdict(age_s=14.9) == Busy()


@pytest.mark.parametrize("age_s", [15.0, 3600.0, -300.0, None])
def test_a_holder_who_may_be_dead_is_watched_and_not_believed_dead(age_s: float | None) -> None:
    assert verdict(age_s=age_s) == Wait(1.0)


def test_a_lease_is_taken_after_a_full_duration_without_a_sign_of_life() -> None:
    assert verdict(still_s=14.5) == Wait(0.5)
    assert verdict(still_s=15.0) == Take()


def test_a_sign_of_life_while_we_look_ends_the_wait() -> None:
    assert verdict(still_s=1.0, moved=True, age_s=None) == Busy()


def test_our_duration_counts_and_not_the_one_in_the_lease() -> None:
    assert verdict(still_s=4.0, policy=Policy(4.0)) == Take()
    assert verdict(still_s=15.0, policy=Policy(60.0)) == Wait(1.0)


def test_the_same_run_is_let_in_at_once_only_when_its_process_has_ended() -> None:
    mine = replace(HELD, holder=replace(ME, process="33.3").identity)
    assert verdict(mine, age_s=3.0) == Busy()
    assert verdict(mine, age_s=3.0, ended=True) == Take()


def test_another_run_waits_although_the_process_has_ended() -> None:
    assert verdict(ended=True) == Wait(1.0)


def test_a_renewal_starts_the_wait_anew_and_an_annotation_does_not() -> None:
    first = observe(None, HELD, 10.0)
    annotated = replace(HELD, version="8")
    assert observe(first, annotated, 12.0) == Observation(annotated, 10.0)
    renewed = replace(HELD, version="9", renewed="r2")
    assert observe(first, renewed, 12.0) == Observation(renewed, 12.0, moved=True)
    assert observe(first, None, 12.0) == Observation(None, 12.0, moved=True)


# What is written, and what came of it


def stored(attempt: Attempt, version: str = "8") -> LeaseState:
    return LeaseState(
        "uid", version, attempt.holder, attempt.epoch, attempt.acquired, attempt.renewed
    )


TENURE = Tenure(replace(HELD, holder=ME.identity), sent=100.0)
RENEWAL = renewing(TENURE, "r2", sent=105.0)


def test_a_lease_is_taken_under_a_new_epoch_and_counts_from_the_sending() -> None:
    attempt = taking(HELD, 4, ME, "r2", sent=50.0)
    assert confirm(attempt, stored(attempt)) == Tenure(stored(attempt), 50.0)
    assert Tenure(stored(attempt), 50.0).valid_until(POLICY) == 60.0


def test_a_lease_that_somebody_else_took_is_not_ours() -> None:
    attempt = taking(HELD, 4, ME, "r2", sent=50.0)
    assert confirm(attempt, None) is None
    assert confirm(attempt, HELD) is None
    assert confirm(attempt, replace(stored(attempt), holder=OTHER.identity)) is None


def test_a_renewal_keeps_holder_epoch_and_beginning() -> None:
    assert (RENEWAL.holder, RENEWAL.epoch, RENEWAL.acquired) == (ME.identity, 3, HELD.acquired)
    assert settle(TENURE, RENEWAL, stored(RENEWAL)) == Kept(Tenure(stored(RENEWAL), 105.0))


def test_a_renewal_that_was_not_stored_gives_no_time() -> None:
    unchanged = TENURE.lease
    assert settle(TENURE, RENEWAL, unchanged) == Again(TENURE)
    earlier = replace(unchanged, version="9", renewed="r1b")  # a late one of ours
    assert settle(TENURE, RENEWAL, earlier) == Again(Tenure(earlier, 100.0))


def test_a_stale_read_is_no_loss() -> None:
    assert settle(TENURE, RENEWAL, replace(HELD, epoch=2, version="5")) == Again(TENURE)
    assert settle(TENURE, RENEWAL, None) == Again(TENURE)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (replace(HELD, epoch=4), "taken over by run other of bob@ci (epoch 4, ours was 3)"),
        (replace(HELD, epoch=4, holder=""), "released"),
        (replace(HELD, holder=""), "released"),
        (replace(TENURE.lease, epoch=4), "taken over"),
        (replace(TENURE.lease, uid="another"), "deleted"),
        (Deleted(), "deleted"),
    ],
)
def test_whatever_else_is_found_the_lease_is_lost(found: Found, why: str) -> None:
    outcome = settle(TENURE, RENEWAL, found)
    assert isinstance(outcome, Lost)
    assert why in outcome.why


def test_a_release_leaves_the_epoch_for_the_next_holder() -> None:
    attempt = releasing(TENURE.lease, "r2", sent=105.0)
    assert (attempt.holder, attempt.epoch) == ("", 3)


# Every state

BREAKING = Rules(breaker=True, takeovers=3, stale_reads=0, crashes=0, late_writes=False)


DELETING = Rules(deletions=1, stale_reads=0, crashes=0, late_writes=False)


def test_two_holders_are_never_valid_at_once() -> None:
    found = search(Rules())
    assert not found.violation
    assert not found.given_up
    assert found.states > 10_000
    assert found.epochs == (2, 2)
    assert found.replaced_a_dead_holder


@pytest.mark.slow
@pytest.mark.parametrize(
    "rules",
    [
        Rules(same_run=True),
        Rules(takeovers=3),
        BREAKING,
        DELETING,
    ],
    ids=["one run twice", "three takeovers", "a third breaks the lock", "the lease is deleted"],
)
def test_nor_when_more_happens(rules: Rules) -> None:
    found = search(rules)
    assert not found.violation
    assert not found.given_up
    assert found.epochs == (rules.takeovers, rules.takeovers)


def judge_impatiently(
    seen: Observation, now: float, policy: Policy, me: Holder, **known: Any
) -> Verdict:
    return judge(seen, now, Policy(policy.duration_s - 1), me, **known)


def judge_without_waiting(
    seen: Observation, now: float, policy: Policy, me: Holder, **known: Any
) -> Verdict:
    return judge(seen, now, Policy(0 * policy.duration_s), me, **known)


def judge_by_run_alone(
    seen: Observation, now: float, policy: Policy, me: Holder, **known: Any
) -> Verdict:
    return judge(seen, now, policy, me, **{**known, "ended": True})


def settle_by_holder_alone(tenure: Tenure, attempt: Attempt, found: Found) -> Kept | Again | Lost:
    outcome = settle(tenure, attempt, found)
    if isinstance(outcome, Again):
        return Kept(Tenure(outcome.tenure.lease, attempt.sent))
    return outcome


@pytest.mark.parametrize(
    "broken",
    [
        Rules(judge=judge_without_waiting),
        Rules(judge=judge_impatiently),
        Rules(judge=judge_by_run_alone, same_run=True),
        Rules(settle=settle_by_holder_alone),
        Rules(counts_from_answer=True),
        Rules(counts_from_question=True),
        Rules(stops_before_release=False),
        Rules(swaps=False),
        Rules(clock_sleeps=True),
        replace(BREAKING, breaker_waits=False),
        Rules(epochs_rise=False),
        replace(DELETING, above_the_record=False),
        replace(DELETING, waits_for_deleted=False),
    ],
    ids=[
        "nobody waits",
        "the wait is too short",
        "a run is let in beside itself",
        "a renewal counts although it was not stored",
        "validity begins with the answer",
        "the wait begins with the question",
        "the lease is released before the last write",
        "writes are no swaps",
        "the clock sleeps with the machine",
        "a broken lock is free at once",
        "the epoch does not rise",
        "the record's epoch is not looked at",
        "a lease that was deleted is free at once",
    ],
)
def test_without_any_one_rule_two_can_be_valid_at_once(broken: Rules) -> None:
    assert search(broken).violation


def settle_by_any_read(tenure: Tenure, attempt: Attempt, found: Found) -> Kept | Again | Lost:
    return settle(tenure, attempt, Deleted() if found is None else found)


def test_a_holder_that_believed_an_old_read_would_give_up_what_is_its_own() -> None:
    assert search(Rules(settle=settle_by_any_read)).given_up
