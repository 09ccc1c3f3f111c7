"""`rollout undo`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rollout.cli.options import (
    ClusterOptions,
    JournalOptions,
    cluster_options,
    journal_option,
    output_option,
)
from rollout.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.planner.plan import Plan


@click.command()
@click.argument("daemonset")
@click.option("--to-revision", type=click.IntRange(min=1), help="Default: the one before.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (for CI).")
@output_option("table", "jsonl")
@journal_option
@cluster_options
def undo(
    *,
    daemonset: str,
    to_revision: int | None,
    yes: bool,
    output: str,
    journal: JournalOptions,
    cluster: ClusterOptions,
) -> int:
    """Plan the way back to an earlier revision of a DAEMONSET, show it, and do it.

    Nodes that are on that revision already are not touched; the others are replaced, unavailable
    ones first, then the newest, a third of the nodes at once, without gates.

    \b
    Example:
      rollout undo log-agent -n logging --to-revision 3
    """
    from rollout.cli.running import reporter_for, stop_on_signals  # noqa: PLC0415 - slow to import
    from rollout.executor.applying import carry_out  # noqa: PLC0415
    from rollout.executor.exitcodes import exit_code  # noqa: PLC0415
    from rollout.executor.inbox import Inbox  # noqa: PLC0415
    from rollout.executor.session import begin  # noqa: PLC0415
    from rollout.report.table import plan_text  # noqa: PLC0415

    if not yes and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("there is no terminal to ask on; give --yes")
    client = cluster.connect()
    try:
        plan = _plan(client, daemonset.removeprefix("daemonset/").removeprefix("ds/"), to_revision)
        if output == "table":
            click.echo(plan_text(plan))
            click.echo()
        if not plan.has_changes:
            return ExitCode.DONE
        if not yes and not click.confirm("Go back?", default=False):
            click.echo("Nothing was changed.")
            return ExitCode.DONE
        session = begin(client, plan, journal.place, recover=journal.recover)
        reporter = reporter_for(output, session.told)
        reporter.begin(plan, session.record.run_id, resumed=session.resumed)
        inbox = Inbox()
        with stop_on_signals(inbox, reporter):
            result = carry_out(client, plan, session, inbox, reporter, "ignore")
        code = exit_code(result.finish)
        reporter.end(result.plan, result, code)
        return code
    finally:
        client.close()


def _plan(client: Client, name: str, number: int | None) -> Plan:
    import time  # noqa: PLC0415 - imports are slow only together

    from rollout.cluster.fleet import read_cluster_uid, read_fleet, read_nodes  # noqa: PLC0415
    from rollout.planner.rollback import revision_to_undo_to, rollback_plan  # noqa: PLC0415

    fleet = read_fleet(
        client,
        client.namespace,
        name,
        cluster_uid=read_cluster_uid(client),
        nodes=read_nodes(client),
    )
    target = revision_to_undo_to(fleet, number)
    now = time.time() - (client.clock_skew_s or 0.0)
    version = client.server_version()[2]
    return rollback_plan(f"undo-{name}", [fleet], {name: target}, version, now)
