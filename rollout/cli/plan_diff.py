"""`rollout plan-diff`."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.cli.options import FILE, output_option
from rollout.errors import ExitCode


@click.command("plan-diff")
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when the plans differ.")
@output_option("table", "json")
def plan_diff(*, old: Path, new: Path, detailed_exitcode: bool, output: str) -> int:
    """Show how two saved plans differ in meaning; needs no cluster.

    \b
    Example:
      rollout plan-diff monday.json today.json
    """
    import msgspec

    from rollout.cli.saved import read_plan
    from rollout.planner.compare import plan_changes
    from rollout.report.table import text_table

    changes = plan_changes(read_plan(old), read_plan(new))
    if output == "json":
        click.echo(msgspec.json.encode(changes))
    elif changes:
        click.echo(text_table(("WHAT", "OLD", "NEW"), [(c.what, c.old, c.new) for c in changes]))
    else:
        click.echo("The plans mean the same.")
    return ExitCode.CHANGES_PENDING if changes and detailed_exitcode else ExitCode.DONE
