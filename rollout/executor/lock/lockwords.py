"""What people read of a lock: who holds it, since when, whether alive, and what to do. Pure."""

from __future__ import annotations

from rollout.executor.lock.leaseprotocol import LeaseState, parse_holder
from rollout.executor.lock.leases import LeaseName


def waiting_text(
    name: LeaseName, lease: LeaseState | None, age_s: float | None, duration_s: float
) -> str:
    """Return why a lease is not taken at once.

    Args:
        name: of the lease.
        lease: whose holder looks dead; None: it was deleted.
        age_s: of the last renewal; None when it's not known.
        duration_s: after which a silent holder is dead.
    """
    wait = f"waiting {duration_s:.0f} s to be sure"
    if lease is None:
        return (
            f"the lease of DaemonSet {name} was deleted while a run held it, which may not "
            f"have noticed yet; {wait}"
        )
    return (
        f"DaemonSet {name} is locked by {parse_holder(lease.holder)} "
        f"({held_since(lease, age_s)}), which looks dead; {wait}"
    )


def locked_text(name: LeaseName, lease: LeaseState, age_s: float | None) -> str:
    """Return who holds a lease, since when, whether alive, and what to do.

    Args:
        name: of the lease.
        lease: which is held.
        age_s: of the last renewal; None when it's not known.
    """
    holder = parse_holder(lease.holder)
    cure = f"'rollout unlock {holder.run_id} -n {name.namespace}'"
    return (
        f"DaemonSet {name} is locked by {holder} ({held_since(lease, age_s)}); wait until it has "
        f"ended, or, if it hangs or is gone: {cure}"
    )


def held_since(lease: LeaseState, age_s: float | None) -> str:
    """Return since when a lease is held, and when it was renewed last (`age_s` ago)."""
    renewed = f"last renewal {lease.renewed or 'unknown'}"
    if age_s is not None:
        renewed += f", {age_s:.0f} s ago"
    return f"since {lease.acquired or 'unknown'}, {renewed}"
