"""`rollout show`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from rollout.cli.options import FILE, output_option


@click.command()
@click.argument("plan", type=FILE)
@output_option("table", "json", "dot", "mermaid", "markdown")
def show(*, plan: Path, output: str) -> None:
    """Show a saved plan; needs no cluster.

    \b
    Example:
      rollout show plan.json -o dot | dot -Tsvg > plan.svg
    """
    from rollout.cli.painting import painted
    from rollout.cli.saved import read_plan
    from rollout.planner.plan import encode
    from rollout.report.dot import plan_dot
    from rollout.report.markdown import plan_markdown
    from rollout.report.mermaid import plan_mermaid
    from rollout.report.table import plan_text

    saved = read_plan(plan)
    match output:
        case "json":
            click.echo(encode(saved), nl=False)
        case "dot":
            click.echo(plan_dot(saved))
        case "mermaid":
            click.echo(plan_mermaid(saved))
        case "markdown":
            click.echo(plan_markdown(saved, time.time()))
        case _:
            click.echo(painted(plan_text(saved, time.time())))
