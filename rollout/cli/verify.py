"""`rollout verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.cli.options import FILE, ClusterOptions, cluster_options, output_option
from rollout.errors import ExitCode

if TYPE_CHECKING:
    from rollout.executor.precheck import Check


@click.command()
@click.argument("plan", type=FILE)
@output_option("table", "json")
@cluster_options
def verify(*, plan: Path, output: str, cluster: ClusterOptions) -> int:
    """Check that a saved PLAN still fits and may be applied; changes nothing.

    Compares the cluster with the plan, asks for each permission that 'apply' needs, names the
    PodDisruptionBudgets that select the pods, and looks for the revision to go back to.

    \b
    Example:
      rollout verify plan.json
    """
    import msgspec

    from rollout.cli.saved import read_plan
    from rollout.executor.precheck import run_checks
    from rollout.report.table import text_table

    saved = read_plan(plan)
    client = cluster.connect()
    try:
        checks = run_checks(client, saved)
    finally:
        client.close()
    if output == "json":
        click.echo(msgspec.json.encode(checks))
    else:
        rows = [(check.verdict, check.what, check.detail) for check in checks]
        click.echo(text_table(("", "CHECK", "DETAIL"), rows))
    return _exit_code(checks)


def _exit_code(checks: list[Check]) -> ExitCode:
    """Missing permissions weigh more than drift: without them nothing else could be tried."""
    failed = [check for check in checks if check.verdict == "failed"]
    if any(check.kind == "permission" for check in failed):
        return ExitCode.NOT_AUTHORISED
    return ExitCode.STALE if failed else ExitCode.DONE
