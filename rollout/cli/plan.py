"""`rollout plan`."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import (
    DURATION,
    FILE,
    ClusterOptions,
    cluster_options,
    output_option,
)
from rollout.errors import ExitCode


def _a_time_to_be_valid(
    _ctx: click.Context, param: click.Parameter, seconds: float | None
) -> float | None:
    from rollout.planner.plan import LONGEST_VALID_S

    if seconds is not None and not 1 <= seconds <= LONGEST_VALID_S:
        raise click.BadParameter("write 1s or more, and at most ten years", param=param)
    return seconds


@click.command()
@click.option("-f", "--file", "spec", type=FILE, required=True, help="The spec; - reads stdin.")
@click.option("--waves", help="In place of the spec's: a profile, or sizes such as 1,10%,100%.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan here.")
@click.option(
    "--valid-for",
    type=DURATION,
    callback=_a_time_to_be_valid,
    help="Let no run of the plan begin later than this, such as 24h (default: no limit).",
)
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
    valid_for: float | None,
    detailed_exitcode: bool,
    output: str,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Show what a spec would change, node by node, and save it for 'rollout apply'.

    Reads the cluster and writes nothing to it.

    \b
    Examples:
      rollout plan -f plans/log-agent.yaml --out plan.json
      rollout plan -f plans/log-agent.yaml --out plan.json --valid-for 24h
    """
    from rollout.cli.alertadvice import with_alert_warnings
    from rollout.cli.painting import painted
    from rollout.cli.planning import make_plan, read_spec
    from rollout.cli.signing import carried_out_by
    from rollout.files import write_private
    from rollout.planner.plan import encode
    from rollout.report.table import plan_text

    loaded = read_spec(spec, waves)
    settings = allowed.settings()
    client = cluster.connect()
    try:
        made = make_plan(client, loaded, cluster.namespace, valid_for)
        made = with_alert_warnings(made, client, settings)
    finally:
        client.close()
    if out is not None:
        write_private(out, encode(made))
    if output == "json":
        click.echo(encode(made), nl=False)
    else:
        click.echo(painted(plan_text(made)))
        if out is not None:
            click.echo(f"\nSaved to {out}; {carried_out_by(out)}.")
    return ExitCode.CHANGES_PENDING if detailed_exitcode and made.has_changes else ExitCode.DONE
