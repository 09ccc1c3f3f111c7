"""Breaking the locks of a run that hangs, or that is gone.

The old run may be alive, and may not hear of it before its next renewal. So its leases are first
taken over under a higher epoch, which ends every renewal; a full duration later nothing that the
old run still believes can be valid, and they are released. Then anybody may take them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rollout.errors import LockedError, NotFound, RolloutError
from rollout.executor.lock.leaseprotocol import (
    Again,
    Attempt,
    Deleted,
    Holder,
    LeaseState,
    Tenure,
    confirm,
    parse_holder,
    releasing,
    settle,
    taking,
)
from rollout.executor.lock.leases import LeaseName, LeaseStore
from rollout.executor.lock.lock import Alarm
from rollout.executor.lock.lockwords import held_since, locked_text
from rollout.executor.lock.processes import has_ended

BREAKER = "unlock-"  # run id of whoever breaks the locks of a run, in front of that run's id
_ROUNDS = 5  # renewals of the old run that may come between


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaking:
    """What breaking a lock needs.

    Attributes:
        store: the leases.
        me: who does it.
        duration_s: of a lease.
        clock: own steady clock in seconds.
        alarm: how to wait.
        tell: is told what happens, one sentence at a time.
        ended: whether the process of a holder has certainly ended.
    """

    store: LeaseStore
    me: Holder
    duration_s: float
    clock: Callable[[], float]
    alarm: Alarm
    tell: Callable[[str], None]
    ended: Callable[[str], bool] = has_ended


def breaker(run_id: str, who: str, process: str) -> Holder:
    """Return the holder as whom somebody breaks the locks of a run."""
    return Holder(f"{BREAKER}{run_id}", who, process)


def locks_of(store: LeaseStore, namespace: str, run_id: str) -> dict[LeaseName, LeaseState]:
    """Return the leases that a run holds.

    Args:
        store: the leases.
        namespace: where its DaemonSets are.
        run_id: of the run; it must be given in full.

    Raises:
        LockedError: other runs hold locks there, this one doesn't.
        NotFound: nobody does.
    """
    held = store.held(namespace)
    mine = {name: lease for name, lease in held.items() if _belongs(lease, run_id)}
    if mine:
        return mine
    if not held:
        raise NotFound(f"no DaemonSet in namespace {namespace} is locked; check -n")
    lines = [locked_text(n, lease, store.age_s(lease.renewed)) for n, lease in held.items()]
    listing = "\n".join(f"  {line}" for line in lines)
    raise LockedError(f"run {run_id} holds no lock in namespace {namespace}:\n{listing}")


def break_locks(do: Breaking, locks: Mapping[LeaseName, LeaseState], run_id: str) -> None:
    """Break the locks of a run; nobody holds them afterwards.

    Args:
        do: how.
        locks: from `locks_of`.
        run_id: of the run.

    Raises:
        LockedError: meanwhile another run has taken one.
        ClusterError: they cannot be written; the same command goes on.
    """
    for name, lease in locks.items():
        since = held_since(lease, do.store.age_s(lease.renewed))
        do.tell(f"DaemonSet {name}: {parse_holder(lease.holder)}, {since}")
    fenced = {name: _fence(do, name, lease, run_id) for name, lease in locks.items()}
    if all(_has_ended(do, broken, run_id) for broken, _ in fenced.values()):
        do.tell("Its process has ended on this machine.")
    else:
        do.tell(
            f"It can't renew any more; waiting {do.duration_s:.0f} s until it must have noticed."
        )
        if do.alarm.wait(do.duration_s):
            raise RolloutError(f"stopped; 'rollout unlock {run_id}' goes on")
    for name, (_, tenure) in fenced.items():
        _clear(do, name, tenure)


def _belongs(lease: LeaseState, run_id: str) -> bool:
    return parse_holder(lease.holder).run_id in {run_id, f"{BREAKER}{run_id}"}


def _has_ended(do: Breaking, lease: LeaseState, run_id: str) -> bool:
    """Whether the run's own process has; the end of another breaker proves nothing about it."""
    holder = parse_holder(lease.holder)
    return holder.run_id == run_id and do.ended(holder.process)


def _fence(
    do: Breaking, name: LeaseName, lease: LeaseState | None, run_id: str
) -> tuple[LeaseState, Tenure]:
    """Take a lease over, whether its holder lives or not; returns also what it was right before.

    Another process of the run may have taken it since somebody looked last.
    """
    for _ in range(_ROUNDS):
        if lease is None or not _belongs(lease, run_id):
            raise LockedError(
                f"the lease of {name} is not that of run {run_id} any more; look again"
            )
        attempt = taking(lease, lease.epoch + 1, do.me, do.store.stamp(), do.clock())
        found = do.store.write(name, attempt)
        tenure = confirm(attempt, found)
        if tenure is not None:
            return lease, tenure
        lease = None if isinstance(found, Deleted) else found
    raise LockedError(f"the lease of {name} changes all the time; try again")


def _clear(do: Breaking, name: LeaseName, tenure: Tenure) -> None:
    """Release a lease that was fenced; if somebody else has it by now, it's none of ours."""
    for _ in range(_ROUNDS):
        attempt: Attempt = releasing(tenure.lease, do.store.stamp(), do.clock())
        outcome = settle(tenure, attempt, do.store.write(name, attempt))
        if not isinstance(outcome, Again):
            return
        tenure = outcome.tenure
