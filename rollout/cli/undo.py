"""`rollout undo`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import (
    DAEMON_SET,
    ClusterOptions,
    Forgiving,
    JournalOptions,
    cluster_options,
    forgiving_options,
    grace_option,
    journal_option,
    junit_option,
    output_option,
    stop_at_option,
)
from rollout.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.cluster.client import Client
    from rollout.planner.plan import Plan


@click.command()
@click.argument("daemonset", type=DAEMON_SET)
@click.option("--to-revision", type=click.IntRange(min=1), help="Default: the one before.")
@click.option("--dry-run", is_flag=True, help="Show the way back, and do nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (for CI).")
@stop_at_option
@forgiving_options
@grace_option
@output_option("table", "jsonl")
@junit_option
@journal_option
@allow_options
@cluster_options
def undo(
    *,
    daemonset: str,
    to_revision: int | None,
    dry_run: bool,
    yes: bool,
    stop_at: str | None,
    forgiving: Forgiving,
    grace: float,
    output: str,
    junit: Path | None,
    journal: JournalOptions,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Plan the way back to an earlier revision of a DAEMONSET, show it, and do it.

    Without --to-revision it is the revision before the current one, unless the last run to that
    one has failed: such a one has to be asked for by its number.

    Nodes that are on that revision already are not touched; the others are replaced, unavailable
    ones first, then the newest, a third of the nodes at once, without gates. The sinks of the last
    run of the DaemonSet are told.

    \b
    Examples:
      rollout undo log-agent -n logging
      rollout undo log-agent -n logging --to-revision 3 --yes
    """
    from rollout.cli.asking import agreed
    from rollout.cli.painting import painted
    from rollout.cli.running import carry_out_plan
    from rollout.report.table import plan_text

    client = cluster.connect()
    try:
        plan = _plan(client, daemonset, to_revision)
        if output == "table":
            click.echo(painted(plan_text(plan)))
            click.echo()
        if not plan.has_changes or dry_run:
            return ExitCode.DONE
        if not agreed("Go back?", yes=yes, instead="give --yes, or --dry-run"):
            return ExitCode.DONE
        code, result = carry_out_plan(
            *(client, plan, output, journal, allowed),
            on_drift="ignore",
            stop_at=stop_at,
            grace_s=grace,
            junit=junit,
        )
        return forgiving.code(code, result)
    finally:
        client.close()


def _plan(client: Client, name: str, number: int | None) -> Plan:
    from rollout.cluster.fleet import (
        read_cluster_uid,
        read_fleet,
        read_nodes,
        read_released,
        read_selecting,
    )
    from rollout.executor.record.keeper import Keeper
    from rollout.executor.runs import read_records_widely, read_runs, recorded_strategy
    from rollout.executor.undoing import revision_meant, sinks_of_last_run
    from rollout.planner.rollback import rollback_plan, surges_by_itself

    where = client.namespace
    fleet = read_fleet(
        client,
        where,
        name,
        cluster_uid=read_cluster_uid(client),
        nodes=read_nodes(client),
    )
    rollout = f"undo-{name}"
    record = Keeper(client, where, rollout).read()
    records = read_records_widely(client, where)
    runs = read_runs(client, records)
    before_run = recorded_strategy(fleet.daemon_set.metadata.uid, records)
    fleet = replace(fleet, recorded_strategy=before_run)
    target = revision_meant(fleet, number, record, runs)
    now = client.server_time()
    version = client.server_version()[2]
    notify = sinks_of_last_run(fleet.daemon_set.metadata.uid, records)
    surges = surges_by_itself(fleet)
    left = read_released(client, where, fleet.daemon_set.metadata.uid)
    return rollback_plan(
        rollout,
        [fleet],
        {name: target},
        version,
        now,
        surges=[name] if surges else (),
        unfinished={name: frozenset(pod.node for pod in left)},
        notify=notify,
        selecting={name: read_selecting(client, where)} if surges else {},
    )
