"""The lock over HTTP: taken, kept, lost, given back."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.sending import Sender
from rollout.errors import LockedError, NotFound, PausedError, Withheld
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.leases import LeaseName
from rollout.executor.lock.steadyclock import steady_clock
from tests.executor.leaseworld import (
    ANN,
    BOB,
    LEASE,
    LEASES,
    OTHER,
    LeaseWorld,
    Turnstile,
    Unhurried,
    lease_world,
)

T = TypeVar("T")
PODS = "/api/v1/namespaces/logging/pods"
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LeaseWorld]:
    with lease_world(tmp_path) as world:
        yield world


# Taking


def test_a_lease_says_who_holds_it_since_when_and_under_which_epoch(world: LeaseWorld) -> None:
    lock = world.held()
    lease = world.lease()
    spec = lease["spec"]
    assert lease["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rollout"}
    assert spec["holderIdentity"] == "run-a ann@laptop 1.1"
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (15, 1)
    assert MICRO_TIME.fullmatch(spec["acquireTime"])
    assert spec["acquireTime"] == spec["renewTime"]
    assert lock.valid()
    assert (lock.epoch, lock.lost) == (1, "")


def test_a_second_run_is_refused_at_once_and_hears_by_whom(world: LeaseWorld) -> None:
    world.held()
    before = world.lease()
    world.time.now += 3
    with pytest.raises(LockedError) as refused:
        world.lock(BOB).acquire()
    said = str(refused.value)
    assert "DaemonSet logging/log-agent is locked by run run-a of ann@laptop" in said
    assert f"since {before['spec']['acquireTime']}" in said
    assert "3 s ago" in said
    assert "rollout unlock run-a -n logging" in said
    assert refused.value.exit_code == 10
    assert not world.time.waited
    assert world.lease() == before


def test_a_lease_that_was_deleted_under_its_holder_is_taken_after_a_full_lease(
    world: LeaseWorld,
) -> None:
    living = world.held()
    world.delete()
    lock = world.held(BOB, above=1, held_before=True)
    assert sum(world.time.waited) == pytest.approx(15)
    assert "was deleted while a run held it" in world.waits[0]
    assert (lock.epoch, lock.valid(), living.valid()) == (2, True, False)


def test_the_lease_of_a_dead_holder_is_taken_after_a_full_lease_and_not_sooner(
    world: LeaseWorld,
) -> None:
    dead = world.held()
    world.time.now += 3600
    lock = world.held(BOB)
    assert sum(world.time.waited) == pytest.approx(15)
    assert "looks dead; waiting 15 s" in world.waits[0]
    assert (world.holder(), lock.epoch, lock.valid()) == ("run-b", 2, True)
    assert not dead.valid()


def test_the_old_holder_stops_for_good_when_it_wakes_up(world: LeaseWorld) -> None:
    old = world.held()
    world.time.now += 3600
    world.held(BOB)
    assert old.renew() == math.inf
    assert "taken over by run run-b of bob@ci (epoch 2, ours was 1)" in old.lost
    assert world.told[0].startswith("the lock was not renewed for 3615 s")
    assert world.told[1:] == [old.lost]  # silent first, then gone: it must hear of both
    assert not old.valid()
    old.release()
    assert world.holder() == "run-b"


def test_a_holder_whose_clock_is_wrong_is_alive_when_it_renews(world: LeaseWorld) -> None:
    alive = world.held(wall=lambda: world.time.wall() - 600)
    world.time.meanwhile = lambda: None if world.time.now < 4 else void(alive.renew())
    with pytest.raises(LockedError, match="run-a of ann@laptop"):
        world.lock(BOB).acquire()
    assert world.time.now == pytest.approx(4)
    assert alive.valid()


def void(_: object) -> None:
    """Drop a value."""


def test_a_dead_holder_whose_clock_ran_ahead_is_replaced(world: LeaseWorld) -> None:
    world.held(wall=lambda: world.time.wall() + 600)
    world.time.now += 20
    assert world.held(BOB).epoch == 2
    assert sum(world.time.waited) == pytest.approx(15)


def test_the_duration_in_the_lease_does_not_count(world: LeaseWorld) -> None:
    world.held(duration_s=86_400.0)
    assert world.lease()["spec"]["leaseDurationSeconds"] == 86_400
    world.time.now += 60
    assert world.held(BOB, duration_s=4.0).valid()
    assert sum(world.time.waited) == pytest.approx(4)


def test_a_killed_run_goes_on_at_once_where_its_end_is_certain(world: LeaseWorld) -> None:
    world.held()
    again = Holder(ANN.run_id, ANN.who, "3.3")
    lock = world.held(again, ended=lambda process: process == ANN.process)
    assert (lock.epoch, world.time.waited) == (2, [])


def test_the_same_run_beside_itself_is_refused(world: LeaseWorld) -> None:
    world.held()
    with pytest.raises(LockedError):
        world.lock(Holder(ANN.run_id, "eve@other", "3.3")).acquire()


def test_waiting_for_a_lease_can_be_stopped(world: LeaseWorld) -> None:
    world.held()
    world.time.now += 60
    world.time.rung = True
    with pytest.raises(PausedError, match="nothing was changed"):
        world.lock(BOB).acquire()
    assert world.holder() == "run-a"


# Several


def test_several_leases_have_one_epoch(world: LeaseWorld) -> None:
    world.held().release()
    world.held().release()
    lock = world.held(BOB, OTHER, LEASE)
    assert lock.epoch == world.epoch(LEASE) == world.epoch(OTHER) == 3


def test_either_all_leases_are_taken_or_none(world: LeaseWorld) -> None:
    world.held(ANN, OTHER)
    with pytest.raises(LockedError, match="logging/metrics-agent is locked by run run-a"):
        world.lock(BOB, LEASE, OTHER).acquire()
    assert not world.client.list(LEASES, dict, field_selector=f"metadata.name={LEASE.name}").items


def test_what_was_taken_is_given_back_when_another_is_quicker(world: LeaseWorld) -> None:
    quicker = world.lock(ANN, OTHER)

    def wall() -> float:
        if not quicker.valid():  # just before the first write of the slower one
            quicker.acquire()
        return world.time.wall()

    with pytest.raises(LockedError, match="logging/metrics-agent is locked by run run-a"):
        world.lock(BOB, LEASE, OTHER, wall=wall).acquire()
    assert (world.holder(LEASE), world.holder(OTHER)) == (None, "run-a")


def test_what_was_taken_is_given_back_when_the_user_stops_it(world: LeaseWorld) -> None:
    calls = iter(range(9))

    def wall() -> float:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return world.time.wall()

    with pytest.raises(KeyboardInterrupt):
        world.lock(BOB, LEASE, OTHER, wall=wall).acquire()
    assert world.holder(LEASE) is None


def before_the_second(world: LeaseWorld, deed: Callable[[], object]) -> Callable[[], float]:
    """Return a wall clock: right before the second lease is taken a lease's time goes by."""
    calls = iter(range(99))

    def wall() -> float:
        if next(calls) == 1:
            world.time.now += 15.0
            deed()
        return world.time.wall()

    return wall


def test_a_lease_that_another_run_takes_while_the_next_is_taken_slowly_ends_the_start(
    world: LeaseWorld,
) -> None:
    wall = before_the_second(world, world.lock(BOB, LEASE).acquire)
    with pytest.raises(LockedError, match="logging/log-agent is locked by run run-b") as caught:
        world.lock(ANN, LEASE, OTHER, wall=wall).acquire()
    assert caught.value.by == "run-b"
    assert (world.holder(LEASE), world.holder(OTHER)) == ("run-b", None)
    assert world.told == []


def test_a_lease_that_is_deleted_while_the_next_is_taken_slowly_is_taken_anew(
    world: LeaseWorld,
) -> None:
    lock = world.held(ANN, LEASE, OTHER, wall=before_the_second(world, world.delete))
    assert lock.valid()
    assert (lock.lost, world.told) == ("", [])
    assert (world.holder(LEASE), world.holder(OTHER)) == ("run-a", "run-a")
    assert lock.epoch == world.epoch(LEASE) == world.epoch(OTHER) == 2


def test_several_leases_are_held_no_longer_than_the_one_that_was_renewed_longest_ago(
    tmp_path: Path,
) -> None:
    match = f"match: {{verbs: [update], resources: [leases*], names: [{OTHER.name}]}}"
    with lease_world(tmp_path, f"faults: [{{{match}, error: 503}}]") as world:
        lock = world.held(ANN, LEASE, OTHER)
        world.time.now = 8.0
        assert lock.renew() == 1.0  # one of them is renewed, and the other cannot be
        world.time.now = 10.5

        assert world.lease(LEASE)["spec"]["renewTime"] != world.lease(OTHER)["spec"]["renewTime"]
        assert not lock.valid()


# Keeping


def test_a_renewal_gives_time_from_its_sending(world: LeaseWorld) -> None:
    lock = world.held()
    world.time.now += 9.9
    assert lock.valid()
    assert lock.renew() == 5.0
    world.time.now += 9.9
    assert lock.valid()
    world.time.now += 0.1
    assert not lock.valid()


def test_a_machine_that_slept_writes_nothing_before_it_has_renewed(world: LeaseWorld) -> None:
    lock = world.held()
    world.time.now += 7200
    assert not lock.valid()
    lock.renew()
    assert lock.valid()
    assert world.told == ["the lock was not renewed for 7200 s", ""]
    assert not lock.lost


def test_fault_28_a_machine_that_wakes_up_between_two_attempts_sends_nothing_more(
    tmp_path: Path,
) -> None:
    busy = "faults: [{match: {verbs: [delete], resources: [pods]}, throttle: 5s, count: 1}]"
    with lease_world(tmp_path, busy) as world:
        lock = world.held()

        def sleep(_seconds: float) -> None:
            world.time.now += 7200

        world.client._sender._given_sleep = sleep
        pod = world.client.list(PODS, dict).items[0]["metadata"]
        with pytest.raises(Withheld, match="not renewed for 7200 s"):
            world.client.guarded(lock.objection).delete(f"{PODS}/{pod['name']}", uid=pod["uid"])
        assert deletes(world) == [429]
        assert hits(world) == 1
        lock.renew()
        world.client.guarded(lock.objection).delete(f"{PODS}/{pod['name']}", uid=pod["uid"])
        assert deletes(world) == [429, 200]


def deletes(world: LeaseWorld) -> list[int]:
    with world.cluster.lock:
        return [e.status for e in world.cluster.audit.entries if e.verb == "delete"]


def test_a_write_is_objected_to_with_the_reason(world: LeaseWorld) -> None:
    lock = world.lock()
    assert lock.objection() == "the lock is not held"
    lock.acquire()
    assert not lock.objection()
    world.time.now += 11
    assert lock.objection() == "the lock was not renewed for 11 s"
    world.delete()
    lock.renew()
    assert lock.objection() == lock.lost != ""


def test_a_higher_epoch_in_a_record_ends_the_lock_for_good(world: LeaseWorld) -> None:
    lock = world.held()
    lock.outrun(0, "run run-0")
    lock.outrun(1, "run run-a")
    assert lock.valid()
    lock.outrun(2, "run run-b")
    assert world.told == ["run run-b writes under epoch 2, ours is 1"]
    assert lock.renew() == math.inf
    assert not lock.valid()


def test_an_epoch_is_above_all_that_are_known_to_have_been_held(world: LeaseWorld) -> None:
    assert world.held(above=7).epoch == world.epoch() == 8


def test_a_renewal_leaves_what_others_wrote(world: LeaseWorld) -> None:
    lock = world.held()
    began = world.lease()["spec"]["acquireTime"]
    body = {"metadata": {"annotations": {"team": "storage"}, "labels": {"a": "b"}}}
    world.client.patch(f"{LEASES}/{LEASE.name}", body, PatchKind.MERGE, dict)
    lock.renew()
    lease = world.lease()
    assert lease["metadata"]["annotations"] == {"team": "storage"}
    assert lease["metadata"]["labels"]["a"] == "b"
    assert lease["spec"]["acquireTime"] == began < lease["spec"]["renewTime"]


class Noting(Unhurried):
    """Keeps what it sends in place of an object."""

    def __init__(self, sender: Sender, namespace: str, sent: list[dict[str, Any]]) -> None:
        super().__init__(sender, namespace)
        self.sent = sent

    def urgent(self, total_s: float) -> Client:
        return Noting(super().urgent(total_s)._sender, self.namespace, self.sent)

    def replace(self, path: str, body: Any, type_: type[T]) -> T:
        self.sent.append(body["metadata"])
        return super().replace(path, body, type_)


def test_a_renewal_names_the_very_lease_and_its_version(world: LeaseWorld) -> None:
    """A server makes a lease anew from a PUT without a UID: that of a holder who has lost it."""
    world.client = client = Noting(world.client._sender, world.client.namespace, [])
    lock = world.held()
    before = world.lease()["metadata"]

    lock.renew()

    (sent,) = client.sent
    named = ("name", "uid", "resourceVersion")
    assert [sent[key] for key in named] == [before[key] for key in named]


def test_a_deleted_lease_is_lost_and_not_made_again(world: LeaseWorld) -> None:
    lock = world.held()
    world.delete()
    assert lock.renew() == math.inf
    assert lock.lost == "the lease of logging/log-agent was deleted"
    assert world.told == [lock.lost]
    assert not world.client.list(LEASES, dict).items


# Reads of before there was a lease; the first one is that of `held`, which finds none either.
STALE = "faults: [{match: {verbs: [get], resources: [leases*]}, stale: 1h, count: COUNT}]"


def annotate(world: LeaseWorld) -> None:
    """Change the lease behind the holder's back: its next renewal meets a conflict."""
    body = {"metadata": {"annotations": {"team": "storage"}}}
    world.client.patch(f"{LEASES}/{LEASE.name}", body, PatchKind.MERGE, dict)


def test_a_conflict_and_an_old_read_that_finds_no_lease_lose_nothing(tmp_path: Path) -> None:
    with lease_world(tmp_path, STALE.replace("COUNT", "2")) as world:
        lock = world.held()
        annotate(world)
        world.time.now += 8

        assert lock.renew() == 5.0

        assert hits(world) == 2
        world.time.now += 8
        assert lock.valid()
        assert not world.told


def test_a_lease_that_no_read_shows_is_valid_until_its_time_is_over(tmp_path: Path) -> None:
    with lease_world(tmp_path, STALE.replace("COUNT", "11")) as world:
        lock = world.held()
        annotate(world)
        world.time.now += 8
        assert lock.renew() == 1.0
        assert lock.valid()
        world.time.now += 2
        assert lock.renew() == 1.0
        assert (lock.valid(), lock.lost) == (False, "")
        assert "its lease changes, or cannot be written" in world.told[0]

        lock.renew()

        assert hits(world) == 11
        assert lock.valid()
        assert world.told[1:] == [""]


LOST_ANSWER = "faults: [{match: {verbs: [update], resources: [leases*]}, count: 1, ACTION: true}]"


@pytest.mark.parametrize("action", ["lose", "refuse"])
def test_a_renewal_without_an_answer_is_cleared_up_by_a_read(tmp_path: Path, action: str) -> None:
    with lease_world(tmp_path, LOST_ANSWER.replace("ACTION", action)) as world:
        lock = world.held()
        world.time.now += 8
        assert lock.renew() == 5.0
        world.time.now += 8
        assert lock.valid()
        assert not world.told
        assert hits(world) == 1


def test_a_lease_that_was_taken_without_an_answer_is_ours(tmp_path: Path) -> None:
    faults = "faults: [{match: {verbs: [create], resources: [leases*]}, lose: true, count: 1}]"
    with lease_world(tmp_path, faults) as world:
        assert world.held().epoch == 1
        assert hits(world) == 1


def hits(world: LeaseWorld) -> int:
    assert world.cluster.injector is not None
    return sum(counter.hits for counter in world.cluster.injector.counters.values())


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("error: 503, count: 35", "its lease changes, or cannot be written"),
        ("revoke: true, count: 7", "not allowed|forbidden|cannot update"),
    ],
)
def test_a_lock_that_cannot_be_renewed_ends_in_time_and_comes_back(
    tmp_path: Path, fault: str, why: str
) -> None:
    match = "match: {verbs: [update], resources: [leases*]}"
    with lease_world(tmp_path, f"faults: [{{{match}, {fault}}}]") as world:
        lock = world.held()
        for _ in range(6):
            assert lock.renew() == 1.0
            assert lock.valid() is not bool(world.told)
            world.time.now += 2
        assert re.search(why, world.told[0])
        assert (lock.valid(), lock.lost) == (False, "")
        lock.renew()
        lock.renew()
        assert lock.valid()
        assert world.told[1:] == [""]


# The thread


def test_a_thread_that_cannot_go_on_says_so(world: LeaseWorld) -> None:
    """Else the run would wait for ever for a lock that nobody renews any more (L3)."""
    lock = world.held(wall=iter([world.time.wall()]).__next__)

    with pytest.raises(StopIteration):
        lock._keep()

    assert "the lock is not renewed any more: StopIteration" in lock.lost
    assert world.told == [lock.lost]


def test_a_lock_in_a_namespace_that_is_not_there_says_so(world: LeaseWorld) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        world.lock(ANN, LeaseName("nowhere", "log-agent")).acquire()


def test_with_renews_until_the_end_and_then_gives_back(world: LeaseWorld) -> None:
    turnstile = Turnstile(world.time)
    with world.lock(alarm=turnstile) as lock:
        stamps = []
        for _ in range(3):
            stamps.append(world.lease()["spec"]["renewTime"])
            assert turnstile.let_pass() == 5.0
            turnstile.waiting.put(turnstile.waiting.get(timeout=120))  # it has renewed
        assert stamps == sorted(set(stamps))
        assert lock.valid()
    assert not lock.valid()
    assert world.holder() is None
    assert world.epoch() == 1
    assert not world.told
    assert "lease" not in [thread.name for thread in threading.enumerate()]


def test_the_thread_ends_when_the_lock_is_lost(world: LeaseWorld) -> None:
    turnstile, lost = Turnstile(world.time), threading.Event()
    with world.lock(alarm=turnstile, on_change=lambda _why: lost.set()) as lock:
        world.delete()
        turnstile.let_pass()
        assert lost.wait(120)
        assert lock.lost


def test_a_released_lock_is_taken_at_once_under_the_next_epoch(world: LeaseWorld) -> None:
    first = world.held()
    first.release()
    assert "holderIdentity" not in world.lease()["spec"]
    assert world.held(BOB).epoch == 2
    assert not world.time.waited
    assert not first.valid()


def test_a_release_that_cannot_be_sent_is_no_error(tmp_path: Path) -> None:
    faults = "faults: [{match: {verbs: [update], resources: [leases*]}, error: 503}]"
    with lease_world(tmp_path, faults) as world:
        lock = world.held()
        lock.release()
        assert not lock.valid()
        assert world.holder() == "run-a"


def test_the_steady_clock_goes_on() -> None:
    assert steady_clock() <= steady_clock()
