"""The lock over HTTP in any order of events: at most one run may write, and a dead one is replaced.

`test_leaseprotocol.py` searches the protocol exhaustively; here the whole lock is driven, with its
requests and its clock, and with others who write into the lease or delete it.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from rollout.cluster.client import PatchKind
from rollout.errors import LockedError
from rollout.executor.lock.leaseprotocol import CLOCK_ERROR_S, DURATION_S, Holder
from rollout.executor.lock.lock import Lock
from tests.executor.leaseworld import LEASE, LEASES, lease_world

RUNS = st.sampled_from(["ann", "bob", "eve"])


class LockMachine(RuleBasedStateMachine):
    """Three runs and one lease; their time is turned by the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = ExitStack()
        directory = self.ends.enter_context(tempfile.TemporaryDirectory())
        self.world = self.ends.enter_context(lease_world(Path(directory)))
        self.locks: dict[str, Lock] = {}  # runs whose process lives and that got the lock
        self.epochs = [0]
        self.processes = 0

    def teardown(self) -> None:
        self.ends.close()

    def free(self) -> bool:
        """Whether nobody stands in the lease."""
        found = self.world.client.get_or_none(f"{LEASES}/{LEASE.name}", dict)
        return found is None or not found["spec"].get("holderIdentity")

    @rule(run=RUNS, alive=st.booleans())
    def acquire(self, run: str, *, alive: bool) -> None:
        """Ask for the lock; whoever lives renews meanwhile, or is too slow for it."""
        if run in self.locks:
            return
        free = self.free()
        others = list(self.locks.values()) if alive else []

        def meanwhile() -> None:
            for lock in others:
                lock.renew()

        self.world.time.meanwhile = meanwhile
        self.processes += 1
        lock = self.world.lock(Holder(run, f"{run}@host", str(self.processes)))
        try:
            lock.acquire()
        except LockedError:
            assert not free, "a lease that nobody holds was refused"
            return
        finally:
            self.world.time.meanwhile = lambda: None
        assert lock.epoch > self.epochs[-1], "each holder has a higher epoch than the one before"
        self.epochs.append(lock.epoch)
        self.locks[run] = lock

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        lock = self.locks[data.draw(st.sampled_from(sorted(self.locks)))]
        lock.renew()
        assert lock.valid() == (not lock.lost)

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lock = self.locks.pop(data.draw(st.sampled_from(sorted(self.locks))))
        lock.release()
        assert not lock.valid()

    @precondition(lambda self: self.locks)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        """End a process without a word; its lock stands until the lease has run out."""
        self.locks.pop(data.draw(st.sampled_from(sorted(self.locks))))

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 5.0, 9.9, 10.1, 14.9, 15.1, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.time.now += seconds

    @rule()
    def somebody_annotates_the_lease(self) -> None:
        body = {"metadata": {"annotations": {"seen": str(self.world.time.now)}}}
        if self.world.client.get_or_none(f"{LEASES}/{LEASE.name}", dict) is not None:
            self.world.client.patch(f"{LEASES}/{LEASE.name}", body, PatchKind.MERGE, dict)

    @invariant()
    def at_most_one_may_write(self) -> None:
        valid = [run for run, lock in self.locks.items() if lock.valid()]
        assert len(valid) <= 1, f"{valid} may write at once, under {self.epochs}"

    @precondition(lambda self: not self.locks)
    @rule()
    def a_dead_holder_is_replaced(self) -> None:
        began = self.world.time.now
        self.processes += 1
        lock = self.world.lock(Holder("next", "next@host", str(self.processes)))
        try:
            lock.acquire()
        except LockedError:  # it renewed a moment ago, so it may live: asked again later
            self.world.time.now += DURATION_S + CLOCK_ERROR_S  # the age is an estimate
            lock.acquire()
        assert self.world.time.now - began <= 3 * DURATION_S
        assert lock.epoch > self.epochs[-1]
        self.epochs.append(lock.epoch)
        lock.release()


LockMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
test_lock = LockMachine.TestCase
