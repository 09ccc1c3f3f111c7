"""Breaking a lock: the old holder is fenced first, and nobody comes in before it has stopped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from rollout.cli.unlock import unlock
from rollout.errors import ExitCode, LockedError, NotFound, RolloutError
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.processes import this_process
from rollout.executor.lock.unlocking import Breaking, break_locks, breaker, locks_of
from tests.executor.leaseworld import ANN, BOB, LEASE, OTHER, LeaseWorld, lease_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LeaseWorld]:
    with lease_world(tmp_path) as world:
        yield world


def break_run(world: LeaseWorld, run_id: str = "run-a", **changes: Any) -> None:
    do = Breaking(
        store=world.store(),
        me=breaker(run_id, "eve@desk", "9.9"),
        duration_s=15.0,
        clock=world.time.clock,
        alarm=world.time,
        tell=world.told.append,
        ended=lambda _process: False,
    )
    do = replace(do, **changes)
    break_locks(do, locks_of(do.store, LEASE.namespace, run_id), run_id)


def test_a_broken_lock_is_free_after_the_old_run_must_have_stopped(world: LeaseWorld) -> None:
    old = world.held(ANN, LEASE, OTHER)
    world.time.meanwhile = lambda: none_valid(old.valid())
    break_run(world)
    assert world.time.waited == [15.0]
    assert (world.holder(LEASE), world.holder(OTHER)) == (None, None)
    world.time.meanwhile = lambda: None
    assert world.held(BOB).epoch == 3
    assert world.time.waited == [15.0]


def none_valid(valid: bool) -> None:  # noqa: FBT001 - its only argument
    assert not valid


def test_it_says_who_held_it_and_how_old_it_was(world: LeaseWorld) -> None:
    world.held()
    world.time.now += 40
    break_run(world)
    assert world.told[0].startswith("DaemonSet logging/log-agent: run run-a of ann@laptop, since ")
    assert "40 s ago" in world.told[0]


def test_a_live_holder_hears_of_it_at_its_next_renewal(world: LeaseWorld) -> None:
    alive = world.held()
    renewed: list[float] = []

    def renew() -> None:
        renewed.append(alive.renew())
        assert not alive.valid()

    world.time.meanwhile = renew
    break_run(world)
    assert renewed == [math.inf]
    assert "taken over by run unlock-run-a of eve@desk" in alive.lost


def test_a_process_that_takes_the_run_over_meanwhile_is_waited_for_as_well(
    world: LeaseWorld,
) -> None:
    """Seed 1588: its predecessor's end proved nothing about it."""
    world.held()
    looked: list[str] = []

    def tell(sentence: str) -> None:
        looked.append(sentence)
        if len(looked) == 1:  # right behind the look at who holds it
            world.held(replace(ANN, process="2.2"), ended=lambda _: True)
            world.time.waited.clear()

    break_run(world, tell=tell, ended=lambda process: process == ANN.process)

    assert world.time.waited == [15.0]


def test_nobody_comes_in_while_it_waits(world: LeaseWorld) -> None:
    world.held()

    def intrude() -> None:
        with pytest.raises(LockedError, match="unlock-run-a of eve@desk"):
            world.lock(BOB, wall=lambda: world.time.wall() - 15).acquire()

    world.time.meanwhile = intrude
    break_run(world)
    assert world.holder() is None


def test_nothing_is_waited_for_when_the_process_has_certainly_ended(world: LeaseWorld) -> None:
    world.held()
    break_run(world, ended=lambda process: process == ANN.process)
    assert not world.time.waited
    assert world.holder() is None


def test_an_unlock_that_was_stopped_is_gone_on_with(world: LeaseWorld) -> None:
    world.held()
    world.time.rung = True
    with pytest.raises(RolloutError, match="'rollout unlock run-a' goes on"):
        break_run(world)
    assert world.holder() == "unlock-run-a"
    world.time.rung = False
    break_run(world, ended=lambda _process: True)  # of the first unlock, not of the run
    assert world.time.waited == [15.0]
    assert world.holder() is None


def test_the_lock_of_another_run_is_left_alone(world: LeaseWorld) -> None:
    world.held()
    before = world.lease()
    with pytest.raises(LockedError) as refused:
        break_run(world, "run-b")
    assert "run run-b holds no lock in namespace logging" in str(refused.value)
    assert "locked by run run-a of ann@laptop" in str(refused.value)
    assert world.lease() == before


@pytest.mark.parametrize("part", ["run", "run-", "RUN-A", "run-a ann@laptop"])
def test_the_run_id_must_be_given_in_full(world: LeaseWorld, part: str) -> None:
    world.held()
    with pytest.raises(LockedError):
        break_run(world, part)


def test_there_is_nothing_to_unlock_when_nothing_is_locked(world: LeaseWorld) -> None:
    world.held().release()
    with pytest.raises(NotFound, match="no DaemonSet in namespace logging is locked"):
        break_run(world)


def test_a_lock_that_changed_hands_meanwhile_is_left_alone(world: LeaseWorld) -> None:
    first = world.held()

    def tell(_text: str) -> None:
        first.release()
        world.held(BOB)

    with pytest.raises(LockedError, match="not that of run run-a any more"):
        break_run(world, tell=tell)
    assert world.holder() == "run-b"


# The command


def test_the_command_unlocks_what_a_dead_process_left(world: LeaseWorld, tmp_path: Path) -> None:
    pid, _, rest = this_process().partition(".")
    dead = f"{pid}.1.{rest.partition('.')[2]}"  # our number, but from long ago
    world.held(Holder("run-a", "ann@laptop", dead))
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(yaml.safe_dump(world.cluster.kubeconfig()))
    where = ["-n", "logging", "--kubeconfig", str(kubeconfig)]
    done = CliRunner().invoke(unlock, ["run-a", *where], catch_exceptions=False)
    assert done.exit_code == ExitCode.DONE
    assert "run run-a of ann@laptop" in done.output
    assert "Unlocked log-agent" in done.output
    assert world.holder() is None
    again = CliRunner().invoke(unlock, ["run-a", *where])
    assert isinstance(again.exception, NotFound)
