"""`resume` and `rollback`: what goes on with a run, or back, without the plan's file at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import (
    FILE,
    ClusterOptions,
    JournalOptions,
    cluster_options,
    enforce_strategy_option,
    forgiving_options,
    grace_option,
    ignore_window_option,
    journal_option,
    junit_option,
    output_option,
    reason_option,
    stop_at_option,
)
from rollout.cli.signing import Signers, signers_options
from rollout.errors import ExitCode, Forbidden, LockedError, Rejected, StaleError

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.cli.options import Forgiving
    from rollout.cli.speaking import Hearing
    from rollout.cluster.client import Client
    from rollout.executor.session import Session
    from rollout.planner.plan import Plan
    from rollout.signature import Signed


@click.command()
@click.argument("rollout")
@click.argument("plan", type=FILE, required=False)
@stop_at_option
@forgiving_options
@grace_option
@reason_option
@output_option("table", "jsonl")
@junit_option
@journal_option
@allow_options
@signers_options
@ignore_window_option
@enforce_strategy_option
@cluster_options
def resume(
    *,
    rollout: str,
    plan: Path | None,
    stop_at: str | None,
    forgiving: Forgiving,
    grace: float,
    reason: str,
    output: str,
    junit: Path | None,
    journal: JournalOptions,
    allowed: Allowed,
    signers: Signers,
    ignore_window: bool,
    enforce_strategy: bool,
    cluster: ClusterOptions,
) -> int:
    """Go on with a run of ROLLOUT that was paused, held or killed; from any machine.

    The plan is the one that the run began with: it is kept in the cluster, or given as the file
    PLAN where it is too large for that. A run at work that is pausing just goes on.

    \b
    Examples:
      rollout resume log-agent-2.4 -n logging
      rollout resume log-agent-2.4 plan.json -n logging --stop-at canary
    """
    from rollout.cli.running import carry_out_plan
    from rollout.cli.speaking import hearing, tell
    from rollout.executor import saying

    with hearing(cluster, rollout, reason) as run:
        checked = signed_plan(run, plan, signers)
        record = run.say(saying.resume)
        meant, signed = checked or (kept_or_given(run, plan), None)
        try:
            code, result = carry_out_plan(
                run.client,
                meant,
                output,
                journal,
                allowed,
                ignore_windows=ignore_window,
                enforces_strategy=enforce_strategy,
                stop_at=stop_at,
                grace_s=grace,
                junit=junit,
                signed=signed,
            )
        except LockedError as error:
            require_own(error, record.run_id)
            tell(f"Asked: run {record.run_id} is at work, and goes on by itself.", output)
            return ExitCode.DONE
        return forgiving.code(code, result)


@click.command()
@click.argument("rollout")
@grace_option
@reason_option
@output_option("table", "jsonl")
@junit_option
@journal_option
@allow_options
@cluster_options
def rollback(
    *,
    rollout: str,
    grace: float,
    reason: str,
    output: str,
    junit: Path | None,
    journal: JournalOptions,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Take a run of ROLLOUT back to the old template; always accepted, and never held up by health.

    Only the nodes that the run has touched are replaced. Where an earlier run had left the template
    of before half-way, it goes back to the one before that, as the plan says. While 'apply' is at
    work, it is asked to do it; during a rollback, and after one that is not complete, it goes on.

    \b
    Example:
      rollout rollback log-agent-2.4 -n logging
    """
    from rollout.cli.speaking import hearing, tell
    from rollout.executor import saying
    from rollout.executor.handwork import WayBackRefused, not_asked

    with hearing(cluster, rollout, reason) as run:
        if run.record.phase == "rolled back":
            done = f"Run {run.record.run_id} is rolled back already; nothing is left to take back."
            tell(done, output)
            return ExitCode.DONE
        if run.record.phase in ("complete", "superseded", "cleaned up"):
            raise StaleError(
                f"run {run.record.run_id} is {run.record.phase}: nothing is left to take back; "
                "'rollout undo DAEMONSET' plans a way back from outside a run"
            )
        try:
            run.say(saying.roll_back)
            return roll_back_or_ask(run, output, journal, allowed, grace, junit)
        except WayBackRefused:
            raise
        except (Forbidden, Rejected) as error:
            raise not_asked(run.client, _session(run, journal), error) from None


def kept_or_given(run: Hearing, given: Path | None) -> Plan:
    """Return the plan of the run: from the file, or from the cluster.

    Raises:
        StaleError: when the file holds another plan, or the cluster holds none.
        DocumentError: when what either holds is no plan, or was changed.
    """
    from rollout.cli.saved import read_plan
    from rollout.executor.record.planstore import read_kept_plan
    from rollout.executor.saying import require_plan

    if given is None:
        return read_kept_plan(run.client, run.client.namespace, run.record)
    plan = read_plan(given)
    require_plan(run.record, plan.id)
    return plan


def signed_plan(
    run: Hearing, given: Path | None, signers: Signers
) -> tuple[Plan, Signed | None] | None:
    """Return the plan of the run and who has signed it; None where it needs no signature.

    This is to be asked before anything is said to the run.

    Raises:
        DocumentError: when it is not signed by somebody who may.
        StaleError: when the file holds another plan, or the cluster holds none.
    """
    if not signers.required:
        return None
    plan = kept_or_given(run, given)
    return plan, signers.of_run(run, plan, given)


def roll_back_or_ask(
    run: Hearing,
    output: str,
    journal: JournalOptions,
    allowed: Allowed,
    grace_s: float = 600.0,
    junit: Path | None = None,
) -> int:
    """Take the run back, or leave that to the process that is at work."""
    from rollout.cli.advice import advise
    from rollout.cli.running import reporter_for, stop_on_signals, teller_for, write_junit
    from rollout.cli.speaking import tell
    from rollout.executor.exitcodes import exit_code
    from rollout.executor.inbox import Inbox
    from rollout.executor.tuning import Tuning
    from rollout.executor.wayback import roll_back
    from rollout.notify.messages import about_record
    from rollout.notify.notifier import Told

    session = _session(run, journal)
    reporter = reporter_for(output, session.told)
    inbox, tuning = Inbox(), Tuning(grace_s=grace_s)
    about = about_record(session.record, run.client.namespace)
    teller = teller_for(run.client, about, allowed, reporter, output, "goes back")

    def begun(client: Client) -> None:
        teller.write_through(client)
        teller.notifier.begin()

    tell(f"Run {run.record.run_id} of rollout {run.record.name} is to go back.", output)
    try:
        with teller.notifier as notifier, stop_on_signals(inbox, reporter):
            told = Told(reporter, notifier)
            result = roll_back(
                *(run.client, session, inbox, told, tuning), begun=begun, ended=notifier.end
            )
    except LockedError as error:
        require_own(error, run.record.run_id)
        tell(f"Asked: run {run.record.run_id} is at work and rolls back itself.", output)
        return ExitCode.DONE
    code = exit_code(result.finish)
    reporter.end(result.plan, result, code)
    write_junit(junit, result, code)
    advise(result.plan, result, output, session)
    return code


def end_or_ask(
    run: Hearing, journal: JournalOptions, allowed: Allowed, output: str = "table"
) -> int:
    """End a run that nobody carries out, as was said; leave it to the process that is at work.

    Whoever asks for the way back while this process has the lock takes it for one that is at work,
    and leaves it to do that.
    """
    from rollout.cli.running import reporter_for, teller_for
    from rollout.cli.speaking import tell
    from rollout.executor.closing import end_now
    from rollout.executor.inbox import Inbox
    from rollout.executor.record.record import stopped_text
    from rollout.notify.messages import about_record

    session = _session(run, journal)
    reporter = reporter_for(output, session.told)
    about = about_record(session.record, run.client.namespace)
    teller = teller_for(run.client, about, allowed, reporter, output)
    try:
        with teller.notifier as notifier:
            ended = end_now(
                *(run.client, session, Inbox(), reporter),
                begun=teller.write_through,
                ended=notifier.ended_by_hand,
            )
    except LockedError as error:
        require_own(error, run.record.run_id)
        why = f"Asked: run {run.record.run_id} is at work; it ends when nothing is in flight."
        tell(why, output)
        return ExitCode.DONE
    last = run.keeper.read() or ended
    if last.wish is not None and last.wish.verb == "rollback":
        return roll_back_or_ask(run, output, journal, allowed)
    tell(f"Run {ended.run_id} is {stopped_text(ended.phase, ended.message)}", output)
    return ExitCode.DONE


def require_own(error: LockedError, run_id: str) -> None:
    """Raise the error again where another run is at work: it does not do what this one was asked.

    Raises:
        LockedError: the lock is another run's.
    """
    if error.by not in ("", run_id):
        raise error


def _session(run: Hearing, journal: JournalOptions) -> Session:
    from rollout.cluster.fleet import read_cluster_uid
    from rollout.executor.session import Session

    return Session(
        run.keeper,
        run.keeper.found or run.record,
        read_cluster_uid(run.client),
        resumed=True,
        place=journal.place,
        recover=journal.recover,
    )
