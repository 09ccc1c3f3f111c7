"""`rollout verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rollout.cli.options import FILE, ClusterOptions, cluster_options, output_option
from rollout.cli.signing import Signers, signers_options
from rollout.errors import DocumentError, ExitCode, Forbidden

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.precheck import Check
    from rollout.planner.plan import Plan


@click.command()
@click.argument("plan", type=FILE)
@output_option("table", "json")
@signers_options
@cluster_options
def verify(*, plan: Path, output: str, signers: Signers, cluster: ClusterOptions) -> int:
    """Check that a saved PLAN still fits and may be applied; changes nothing.

    Compares the cluster with the plan (and with what its run has done, where one is in progress),
    asks for each permission that 'apply' needs, names the PodDisruptionBudgets that select the
    pods, and looks for the revision to go back to. With --allowed-signers it also says who has
    signed the plan.

    \b
    Examples:
      rollout verify plan.json
      rollout verify plan.json --allowed-signers release-team
    """
    import msgspec

    from rollout.cli.saved import read_plan
    from rollout.executor.precheck import run_checks
    from rollout.report.table import text_table

    saved = read_plan(plan)
    signature = _signature(saved, plan, signers)
    client = cluster.connect()
    try:
        checks = [*signature, *run_checks(client, saved, _goes_on(client, saved))]
    finally:
        client.close()
    if output == "json":
        click.echo(msgspec.json.encode(checks))
    else:
        rows = [(check.verdict, check.what, check.detail) for check in checks]
        click.echo(text_table(("", "CHECK", "DETAIL"), rows))
    return _exit_code(checks)


def _goes_on(client: Client, plan: Plan) -> Literal["", "on", "back"]:
    """Return whether `apply` would go on with a run of this very plan, and which way."""
    from rollout.executor.record.keeper import Keeper
    from rollout.executor.record.record import ENDED
    from rollout.executor.wayback import goes_back

    try:
        found = Keeper(client, plan.namespace, plan.name).read()
    except Forbidden:  # the check of that permission says so
        return ""
    if found is None or (found.plan_digest, found.plan_id) != (plan.digest, plan.id):
        return ""
    if found.phase in ENDED:
        return ""
    return "back" if goes_back(found) else "on"


def _signature(saved: Plan, path: Path, signers: Signers) -> list[Check]:
    """Return whether somebody who may has signed the plan; nothing where it needs no signature."""
    from rollout.executor.precheck import Check

    what = "the plan is signed"
    try:
        signed = signers.of_file(saved, path)
    except DocumentError as error:
        return [Check("signature", what, "failed", str(error))]
    return [Check("signature", what, "ok", f"by {signed}")] if signed is not None else []


def _exit_code(checks: list[Check]) -> ExitCode:
    """A signature weighs most, and permissions more than drift: `apply` asks in this order."""
    failed = [check for check in checks if check.verdict == "failed"]
    if any(check.kind == "signature" for check in failed):
        return ExitCode.BAD_DOCUMENT
    if any(check.kind == "permission" for check in failed):
        return ExitCode.NOT_AUTHORISED
    return ExitCode.STALE if failed else ExitCode.DONE
