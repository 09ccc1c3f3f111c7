"""`rollout cleanup`."""

from __future__ import annotations

import secrets

import click

from rollout.cli.options import DAEMON_SET, ClusterOptions, cluster_options, journal_place_option
from rollout.errors import ExitCode, UsageError


@click.command()
@click.argument("rollout", metavar="[NAME]", required=False)
@click.option("--daemonset", type=DAEMON_SET, help="Only what is left on this DaemonSet.")
@click.option("--dry-run", is_flag=True, help="Show what is left over, and do nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Restore a strategy although the controller then replaces outdated pods at once.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask (for CI).")
@journal_place_option
@cluster_options
def cleanup(
    *,
    rollout: str | None,
    daemonset: str | None,
    dry_run: bool,
    force: bool,
    yes: bool,
    journal: str,
    cluster: ClusterOptions,
) -> int:
    """Clear up behind a run that nobody resumes: of rollout NAME, or all in the namespace.

    Released pods are deleted where their successor is ready, and taken back where it isn't. The
    strategy of before the run is restored exactly, unless the controller would then replace pods
    at once that the run has left out: then it says so, and exits with 3. Locks of dead runs and
    plans that no run needs any more are removed. While a run is alive it exits with 10.

    \b
    Examples:
      rollout cleanup -n logging --dry-run
      rollout cleanup log-agent-2.4 -n logging
    """
    from rollout.cli.asking import agreed
    from rollout.cluster.identity import whoami
    from rollout.executor.cleaning import clean
    from rollout.executor.cleanup import Scope, survey
    from rollout.executor.lock.leaseprotocol import Holder
    from rollout.executor.lock.processes import this_process
    from rollout.journal.place import Place
    from rollout.report.cleanup import refusal_text, survey_text

    if rollout is not None and daemonset is not None:
        raise UsageError("give either NAME or --daemonset")
    client = cluster.connect()
    try:
        scope = Scope(client.namespace, rollout or "", daemonset or "", force)
        found = survey(client, scope)
        if found.empty:
            click.echo(survey_text(found) or "Nothing is left over.")
            return ExitCode.DONE
        click.echo(survey_text(found))
        if dry_run:
            return ExitCode.DONE
        if not agreed("Clear this up?", yes=yes, instead="give --yes, or --dry-run"):
            return ExitCode.DONE
        click.echo()
        me = Holder(f"cleanup-{secrets.token_hex(4)}", whoami(), this_process())
        found = clean(client, scope, me, click.echo, Place(journal))
    finally:
        client.close()
    for left in found.refused:
        click.echo(f"{refusal_text(left)}.", err=True)
    return ExitCode.HELD if found.refused else ExitCode.DONE
