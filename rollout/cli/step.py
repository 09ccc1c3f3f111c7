"""`rollout step`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.cli.options import (
    FILE,
    ClusterOptions,
    JournalOptions,
    cluster_options,
    journal_option,
)
from rollout.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.run import Result
    from rollout.executor.session import Session
    from rollout.planner.plan import Plan


@click.command()
@click.argument("plan", type=FILE)
@click.option("--reason", default="", help="Why, for the record of approvals.")
@journal_option
@cluster_options
def step(*, plan: Path, reason: str, journal: JournalOptions, cluster: ClusterOptions) -> int:
    """Carry a saved PLAN out wave by wave, asking before each; with 'waves: manual', node by node.

    What is left undone today goes on tomorrow with the next one. End of input stops; nothing is
    ever taken for a yes but a yes.

    \b
    Example:
      rollout plan -f plans/step-through.yaml --out plan.json
      rollout step plan.json
    """
    from rollout.cli.saved import read_plan  # noqa: PLC0415 - slow to import

    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; use 'apply' and 'approve' instead")
    saved = read_plan(plan)
    client = cluster.connect()
    try:
        return _walk(client, saved, reason, journal)
    finally:
        client.close()


def _walk(client: Client, plan: Plan, reason: str, journal: JournalOptions) -> ExitCode:
    from rollout.cli.running import reporter_for, stop_on_signals  # noqa: PLC0415 - slow to import
    from rollout.executor.inbox import Inbox  # noqa: PLC0415
    from rollout.executor.session import begin, carry_out, exit_code  # noqa: PLC0415

    while True:
        session = begin(client, plan, journal.place, recover=journal.recover)
        reporter = reporter_for("table", 0)
        inbox = Inbox()
        with stop_on_signals(inbox, reporter):
            result = carry_out(client, plan, session, inbox, reporter)
        if not result.unapproved:
            code = exit_code(result.finish)
            reporter.end(result.plan, result, code)
            return code
        if not _ask(session, plan, result, reason):
            click.echo("Stopped; 'rollout step' of the same plan goes on here.")
            return ExitCode.PAUSED


def _ask(session: Session, plan: Plan, result: Result, reason: str) -> bool:
    """Ask whether to go on behind the wave that is done; True when somebody said yes."""
    from rollout.quantity import cut  # noqa: PLC0415 - imports are slow only together

    following = [
        s.node for s in plan.steps if s.kind == "update" and s.wave == result.unapproved + 1
    ]
    click.echo(f"Next: {cut(following)}.")
    while True:
        click.echo("Go on? [y]es, [n]o, [a]ll that are left: ", nl=False)
        answer = sys.stdin.readline()
        match answer.strip().lower():
            case "y" | "yes":
                _approve(session, [result.unapproved], reason)
                return True
            case "a" | "all":
                _approve(session, list(range(result.unapproved, len(plan.waves))), reason)
                return True
            case "n" | "no" | "q" | "quit":
                return False
            case _ if not answer:  # end of input
                return False


def _approve(session: Session, waves: list[int], reason: str) -> None:
    import time  # noqa: PLC0415 - imports are slow only together

    from rollout.executor.saying import approve_waves, speaker  # noqa: PLC0415
    from rollout.executor.session import whoami  # noqa: PLC0415
    from rollout.fleet.objects import format_time  # noqa: PLC0415

    who = speaker(whoami(), format_time(time.time()), reason)
    session.keeper.read()  # the run has written it since
    session.keeper.update(session.record.run_id, lambda r: approve_waves(r, who, waves))
