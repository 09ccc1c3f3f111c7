"""`rollout approve`."""

from __future__ import annotations

import click

from rollout.cli.options import ClusterOptions, cluster_options


@click.command()
@click.argument("rollout")
@click.option("--wave", required=True, help="The wave that the run waits behind.")
@click.option("--reason", default="", help="Why, for the record.")
@cluster_options
def approve(*, rollout: str, wave: str, reason: str, cluster: ClusterOptions) -> None:
    """Let a paused run of ROLLOUT go on behind a wave; binds to the plan that it runs.

    The approval goes into the run record. 'rollout apply' of the same plan then goes on.

    \b
    Example:
      rollout approve log-agent-2.4 --wave canary -n logging --reason "looked at the graphs"
    """
    import time  # noqa: PLC0415 - imports are slow only together

    from rollout.errors import NotFound  # noqa: PLC0415
    from rollout.executor.keeper import Keeper  # noqa: PLC0415
    from rollout.executor.record import Approval, record_name  # noqa: PLC0415
    from rollout.executor.record import approve as approved  # noqa: PLC0415
    from rollout.executor.session import whoami  # noqa: PLC0415
    from rollout.fleet.objects import format_time  # noqa: PLC0415

    client = cluster.connect()
    try:
        keeper = Keeper(client, client.namespace, rollout)
        record = keeper.read()
        if record is None:
            where = f"{client.namespace}/{record_name(rollout)}"
            raise NotFound(f"there is no run of {rollout}: no ConfigMap {where}; check -n")
        approval = Approval(wave, whoami(), format_time(time.time()), reason)
        keeper.write(approved(record, approval))
    finally:
        client.close()
    click.echo(f"Approved: run {record.run_id} may go on behind wave {wave}; apply the plan again.")
