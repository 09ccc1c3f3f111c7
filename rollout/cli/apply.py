"""`rollout apply`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.asking import agreed, is_interactive
from rollout.cli.options import (
    FILE,
    ClusterOptions,
    Forgiving,
    JournalOptions,
    cluster_options,
    enforce_strategy_option,
    forgiving_options,
    grace_option,
    ignore_window_option,
    journal_option,
    junit_option,
    output_option,
    stop_at_option,
)
from rollout.cli.signing import Signers, signers_options
from rollout.errors import ExitCode, UsageError
from rollout.memory import nothing_to_collect

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.fitting import DriftPolicy
    from rollout.planner.plan import Plan
    from rollout.signature import Signed
    from rollout.spec import LoadedSpec


@click.command()
@click.argument("plan", type=FILE, required=False)
@click.option("-f", "--file", "spec", type=FILE, help="Plan this spec, show it, ask, do it.")
@click.option("--waves", help="With -f: other waves, such as 1,10%,100%.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask (for CI).")
@stop_at_option
@forgiving_options
@grace_option
@click.option(
    "--idempotent",
    is_flag=True,
    help="Exit as the first time when the plan was applied before, and well.",
)
@click.option(
    "--on-drift",
    type=click.Choice(["fail", "reconcile", "ignore"]),
    default="fail",
    show_default=True,
    help="When nodes or pods changed since the plan: refuse, fit the plan to them, or go on.",
)
@output_option("table", "jsonl")
@junit_option
@journal_option
@allow_options
@signers_options
@ignore_window_option
@enforce_strategy_option
@cluster_options
def apply(
    *,
    plan: Path | None,
    spec: Path | None,
    waves: str | None,
    yes: bool,
    stop_at: str | None,
    forgiving: Forgiving,
    grace: float,
    idempotent: bool,
    on_drift: DriftPolicy,
    output: str,
    junit: Path | None,
    journal: JournalOptions,
    allowed: Allowed,
    signers: Signers,
    ignore_window: bool,
    enforce_strategy: bool,
    cluster: ClusterOptions,
) -> int:
    """Carry out a saved PLAN, or plan a spec (-f) and carry that out.

    The first Ctrl-C starts nothing new and waits for what is in flight (--grace); a second one ends
    at once. Either way the same command goes on where it stopped, and so does 'rollout resume'.

    \b
    Examples:
      rollout apply plan.json
      rollout apply -f plans/log-agent.yaml --yes -o jsonl
      rollout apply plan.json --stop-at canary --until-paused   # one stage of a pipeline
      rollout apply plan.json --allowed-signers release-team    # as 'ssh-keygen -Y verify -f'
    """
    with nothing_to_collect():
        from rollout.cli.running import carry_out_plan
        from rollout.executor.session import AlreadyApplied

    if (plan is None) == (spec is None):
        raise UsageError("give either a saved PLAN or a spec with -f; see 'rollout apply --help'")
    if plan is not None and waves is not None:
        raise UsageError("a saved plan has its waves; --waves goes with -f only")
    if spec is not None and not yes and not is_interactive():
        raise UsageError("there is no terminal to ask on; give --yes, or apply a saved plan")
    given, signed = _read(plan, spec, waves, signers)
    client = cluster.connect()
    try:
        made = _made(client, given, cluster.namespace, junit, yes=yes, output=output)
        if made is None:
            return ExitCode.DONE
        code, result = carry_out_plan(
            client,
            made,
            output,
            journal,
            allowed,
            ignore_windows=ignore_window,
            enforces_strategy=enforce_strategy,
            on_drift=on_drift,
            stop_at=stop_at,
            grace_s=grace,
            junit=junit,
            signed=signed,
        )
    except AlreadyApplied as error:
        if not idempotent:
            raise
        click.echo(f"Nothing to do: {error}", err=output == "jsonl")
        return ExitCode.DONE if forgiving.allow_deferred else error.code
    finally:
        client.close()
    return forgiving.code(code, result)


def _read(
    plan: Path | None, spec: Path | None, waves: str | None, signers: Signers
) -> tuple[Plan | LoadedSpec, Signed | None]:
    """Read what was given, and whose signature it bears, before any cluster is asked."""
    if plan is not None:
        from rollout.cli.saved import read_plan

        saved = read_plan(plan)
        return saved, signers.of_file(saved, plan)
    from rollout.cli.planning import read_spec

    assert spec is not None
    signers.refuse_spec(spec)
    return read_spec(spec, waves), None


def _made(
    client: Client,
    given: Plan | LoadedSpec,
    namespace: str | None,
    junit: Path | None,
    *,
    yes: bool,
    output: str,
) -> Plan | None:
    """Return the saved plan, or plan, show and ask; None when nothing shall be done.

    Programs get the end of a run also where there is nothing to do.
    """
    from rollout.cli.painting import painted
    from rollout.cli.planning import make_plan
    from rollout.cli.speaking import tell
    from rollout.executor.record.keeper import Keeper
    from rollout.executor.record.planstore import read_kept_plan
    from rollout.executor.superseding import (
        open_question,
        require_no_open_question,
        still_stands,
    )
    from rollout.planner.plan import Plan
    from rollout.report.table import plan_text

    if isinstance(given, Plan):
        return given
    made = make_plan(client, given, namespace)
    stopped = Keeper(client, made.namespace, made.name).read()
    question = open_question(stopped, made)
    if stopped is not None and question and still_stands(client, stopped):
        kept = read_kept_plan(client, made.namespace, stopped)
        if kept.gates != made.gates:
            require_no_open_question(client, stopped, made)
        name = f"{made.name} -n {made.namespace}"
        tell(
            f"Run {stopped.run_id} of rollout {made.name} {question}: it goes on with its own plan "
            f"{stopped.plan_id}; 'rollout abort {name}' ends it, and the spec is planned anew",
            output,
        )
        return kept
    if output == "table":
        click.echo(painted(plan_text(made)))
        click.echo()
    if not made.has_changes:
        return made if made.totals.deferred or output == "jsonl" or junit else None
    return made if agreed("Apply this plan?", yes=yes) else None
