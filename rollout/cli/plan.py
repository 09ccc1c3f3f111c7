"""`rollout plan`."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import FILE, ClusterOptions, cluster_options, output_option
from rollout.errors import ExitCode


@click.command()
@click.option("-f", "--file", "spec", type=FILE, required=True, help="The spec; - reads stdin.")
@click.option("--waves", help="In place of the spec's: a profile, or sizes such as 1,10%,100%.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan here.")
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 2 when there is something to do."
)
@output_option("table", "json")
@allow_options
@cluster_options
def plan(
    *,
    spec: Path,
    waves: str | None,
    out: Path | None,
    detailed_exitcode: bool,
    output: str,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Show what a spec would change, node by node, and save it for 'rollout apply'.

    Reads the cluster and writes nothing to it.

    \b
    Example:
      rollout plan -f plans/log-agent.yaml --out plan.json
    """
    from rollout.cli.alertadvice import with_alert_warnings
    from rollout.cli.painting import painted
    from rollout.cli.planning import make_plan, read_spec
    from rollout.files import write_private
    from rollout.planner.plan import encode
    from rollout.report.table import plan_text

    loaded = read_spec(spec, waves)
    settings = allowed.settings()
    client = cluster.connect()
    try:
        made = with_alert_warnings(make_plan(client, loaded, cluster.namespace), client, settings)
    finally:
        client.close()
    if out is not None:
        write_private(out, encode(made))
    if output == "json":
        click.echo(encode(made), nl=False)
    else:
        click.echo(painted(plan_text(made)))
        if out is not None:
            click.echo(f"\nSaved to {out}; 'rollout apply {out}' carries it out.")
    return ExitCode.CHANGES_PENDING if detailed_exitcode and made.has_changes else ExitCode.DONE
