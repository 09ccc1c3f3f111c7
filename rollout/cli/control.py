"""`rollout approve`, `pause` and `rollback`: what others say to a run, through its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from rollout.cli.options import (
    ClusterOptions,
    JournalOptions,
    cluster_options,
    journal_option,
    output_option,
)
from rollout.errors import ExitCode, LockedError, NotFound, StaleError

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.keeper import Keeper
    from rollout.executor.record import Control, RunRecord

_ENDED = ("complete", "rolled back")


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

    from rollout.executor.record import Approval  # noqa: PLC0415
    from rollout.executor.record import approve as approved  # noqa: PLC0415
    from rollout.executor.session import whoami  # noqa: PLC0415
    from rollout.fleet.objects import format_time  # noqa: PLC0415

    client = cluster.connect()
    try:
        keeper, record = _record(client, rollout)
        approval = Approval(wave, whoami(), format_time(time.time()), reason)
        keeper.update(record.run_id, lambda found: approved(found, approval))
    finally:
        client.close()
    click.echo(f"Approved: run {record.run_id} may go on behind wave {wave}; apply the plan again.")


@click.command()
@click.argument("rollout")
@click.option("--reason", default="", help="Why, for the record.")
@cluster_options
def pause(*, rollout: str, reason: str, cluster: ClusterOptions) -> None:
    """Let a running ROLLOUT start nothing new; it ends with exit code 6.

    'rollout apply' of the same plan goes on where it stopped.

    \b
    Example:
      rollout pause log-agent-2.4 -n logging --reason "error rate is up"
    """
    client = cluster.connect()
    try:
        keeper, record = _record(client, rollout)
        if record.phase != "running":
            click.echo(f"Run {record.run_id} does not run: it is {record.phase}.")
            return
        control = _control("pause", reason)
        keeper.update(record.run_id, lambda found: _with(found, control))
    finally:
        client.close()
    click.echo(f"Asked: run {record.run_id} starts nothing new and ends when its nodes are done.")


@click.command()
@click.argument("rollout")
@click.option("--reason", default="", help="Why, for the record.")
@output_option("table", "jsonl")
@journal_option
@cluster_options
def rollback(
    *, rollout: str, reason: str, output: str, journal: JournalOptions, cluster: ClusterOptions
) -> int:
    """Take a ROLLOUT that was held, paused or killed back to the old template.

    Only the nodes that the run has touched are replaced. While 'apply' still runs, it is asked to
    do it.

    \b
    Example:
      rollout rollback log-agent-2.4 -n logging
    """
    client = cluster.connect()
    try:
        keeper, record = _record(client, rollout)
        if record.phase in _ENDED:
            raise StaleError(
                f"run {record.run_id} is {record.phase}: nothing is left to take back; "
                "'rollout undo DAEMONSET' plans a way back from outside a run"
            )
        try:
            return _roll_back(client, keeper, record, output, journal)
        except LockedError:
            control = _control("rollback", reason)
            keeper.update(record.run_id, lambda found: _with(found, control))
            click.echo(f"Asked: run {record.run_id} is at work and rolls back itself.")
            return ExitCode.DONE
    finally:
        client.close()


def _roll_back(
    client: Client, keeper: Keeper, record: RunRecord, output: str, journal: JournalOptions
) -> int:
    from rollout.cli.running import reporter_for, stop_on_signals  # noqa: PLC0415
    from rollout.cluster.fleet import read_cluster_uid  # noqa: PLC0415
    from rollout.executor.inbox import Inbox  # noqa: PLC0415
    from rollout.executor.session import Session, exit_code, roll_back  # noqa: PLC0415

    session = Session(
        keeper,
        record,
        read_cluster_uid(client),
        resumed=True,
        place=journal.place,
        recover=journal.recover,
    )
    reporter = reporter_for(output, session.told)
    inbox = Inbox()
    with stop_on_signals(inbox):
        result = roll_back(client, session, inbox, reporter)
    code = exit_code(result.finish)
    reporter.end(result.plan, result, code)
    return code


def _record(client: Client, rollout: str) -> tuple[Keeper, RunRecord]:
    from rollout.executor.keeper import Keeper  # noqa: PLC0415 - slow to import
    from rollout.executor.record import record_name  # noqa: PLC0415

    keeper = Keeper(client, client.namespace, rollout)
    record = keeper.read()
    if record is None:
        where = f"{client.namespace}/{record_name(rollout)}"
        raise NotFound(f"there is no run of {rollout}: no ConfigMap {where}; check -n")
    return keeper, record


def _control(wish: Literal["pause", "rollback"], reason: str) -> Control:
    import time  # noqa: PLC0415 - imports are slow only together

    from rollout.executor.record import Control  # noqa: PLC0415
    from rollout.executor.session import whoami  # noqa: PLC0415
    from rollout.fleet.objects import format_time  # noqa: PLC0415

    return Control(wish, whoami(), format_time(time.time()), reason)


def _with(record: RunRecord, control: Control) -> RunRecord:
    import msgspec  # noqa: PLC0415 - imports are slow only together

    return msgspec.structs.replace(record, control=control)
