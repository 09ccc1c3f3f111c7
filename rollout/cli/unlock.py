"""`rollout unlock`."""

from __future__ import annotations

import threading

import click

from rollout.cli.options import ClusterOptions, cluster_options


@click.command()
@click.argument("run_id")
@cluster_options
def unlock(*, run_id: str, cluster: ClusterOptions) -> None:
    """Break the locks of a run that hangs or is gone; RUN_ID must be that of the holder.

    Shows who holds them and how old they are, takes them away, and waits until the old run, if
    it lives, must have stopped (15 s). Then the next 'rollout apply' starts at once. Without it a
    dead run's lock runs out by itself.

    \b
    Example:
      rollout unlock 3f2a9c1d -n logging
    """
    from rollout.cluster.identity import whoami
    from rollout.executor.lock.leaseprotocol import DURATION_S
    from rollout.executor.lock.leases import LeaseStore
    from rollout.executor.lock.processes import this_process
    from rollout.executor.lock.steadyclock import steady_clock
    from rollout.executor.lock.unlocking import Breaking, break_locks, breaker, locks_of

    client = cluster.connect()
    try:
        breaking = Breaking(
            store=LeaseStore(client, DURATION_S, patience_s=DURATION_S),
            me=breaker(run_id, whoami(), this_process()),
            duration_s=DURATION_S,
            clock=steady_clock,
            alarm=threading.Event(),
            tell=click.echo,
        )
        locks = locks_of(breaking.store, client.namespace, run_id)
        break_locks(breaking, locks, run_id)
    finally:
        client.close()
    names = ", ".join(sorted(name.daemon_set for name in locks))
    click.echo(f"Unlocked {names}: 'rollout apply' may take over at once.")
