"""`rollout step`."""

from __future__ import annotations

import shlex
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import (
    FILE,
    ClusterOptions,
    JournalOptions,
    cluster_options,
    journal_option,
)
from rollout.cli.signing import Signers, signers_options
from rollout.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.engine.actions import Ask
    from rollout.executor.inbox import Inbox
    from rollout.executor.record.record import RunRecord
    from rollout.planner.plan import Plan
    from rollout.signature import Signed
    from rollout.spec import LoadedSpec

_SHOWN = 10  # earlier answers that are shown
_WORDS: dict[str, Literal["go", "skip", "all", "stop"]] = {
    **dict.fromkeys(("y", "yes"), "go"),
    **dict.fromkeys(("s", "skip"), "skip"),
    **dict.fromkeys(("a", "all", "c", "continue"), "all"),
}  # all else is "stop"


@click.command()
@click.argument("plan", type=FILE, required=False)
@click.option("-f", "--file", "spec", type=FILE, help="Plan this spec, and walk through that.")
@journal_option
@allow_options
@signers_options
@cluster_options
def step(
    *,
    plan: Path | None,
    spec: Path | None,
    journal: JournalOptions,
    allowed: Allowed,
    signers: Signers,
    cluster: ClusterOptions,
) -> int:
    """Carry a saved PLAN out node by node, asking before each; or plan a spec (-f) and do that.

    One node a question, with all its checks, whatever the waves are: y(es), n(o), s(kip) it,
    a(ll) that are left, q(uit). End of input, no terminal, anything unclear: it stops with 6, and
    the same command goes on with that node, today or tomorrow. A node whose pod you delete by hand
    counts as done when its successor is healthy.

    \b
    Examples:
      rollout step plan.json
      rollout step -f plans/step-through.yaml
    """
    from rollout.cli.planning import read_spec
    from rollout.cli.saved import read_plan

    if (plan is None) == (spec is None):
        raise UsageError("give either a saved PLAN or a spec with -f; see 'rollout step --help'")
    saved, signed = None, None
    if plan is not None:
        saved = read_plan(plan)
        signed = signers.of_file(saved, plan)
    if spec is not None:
        signers.refuse_spec(spec)
    loaded = read_spec(spec, None) if spec is not None else None
    if not sys.stdin.isatty():  # a stop, as at the end of input (nodes.md 55)
        text = "there is no terminal to ask on: nothing was done; see 'apply' and 'approve'"
        click.echo(text, err=True)
        return ExitCode.PAUSED
    client = cluster.connect()
    try:
        if saved is None:
            assert loaded is not None
            saved = _planned(client, loaded, cluster.namespace)
        return _walk(client, saved, journal, allowed, _again(plan, spec), signed)
    finally:
        client.close()


def _again(plan: Path | None, spec: Path | None) -> str:
    """Return the command that goes on with this walk."""
    given = [str(plan)] if plan is not None else ["-f", str(spec)]
    return shlex.join(["rollout", "step", *given])


def _planned(client: Client, spec: LoadedSpec, namespace: str | None) -> Plan:
    """Plan a spec; where a run towards the same target is not over, go on with its plan."""
    from rollout.cli.planning import make_plan
    from rollout.errors import DocumentError, StaleError
    from rollout.executor.record.keeper import Keeper
    from rollout.executor.record.planstore import read_kept_plan
    from rollout.executor.record.record import ENDED
    from rollout.report.table import plan_text

    made = make_plan(client, spec, namespace)
    record = Keeper(client, made.namespace, made.name).read()
    targets = {ds.name: ds.target.template_digest for ds in made.daemon_sets}
    if record is not None and record.phase not in ENDED:
        begun = {ds.name: ds.target_digest for ds in record.daemon_sets}
        if begun == targets:
            try:
                return read_kept_plan(client, made.namespace, record)
            except (StaleError, DocumentError) as error:
                click.echo(f"a new plan is walked through: {error}")
    click.echo(plan_text(made))
    click.echo()
    return made


def _walk(
    client: Client,
    plan: Plan,
    journal: JournalOptions,
    allowed: Allowed,
    again: str,
    signed: Signed | None,
) -> ExitCode:
    from rollout.cli.advice import advise
    from rollout.cli.running import (
        stop_on_signals,
        tell_begin,
        teller_for,
        verb_of,
        write_line,
    )
    from rollout.executor.applying import GateChoices, carry_out
    from rollout.executor.exitcodes import exit_code
    from rollout.executor.inbox import Inbox
    from rollout.executor.session import begin
    from rollout.notify.messages import about_plan
    from rollout.notify.notifier import Told
    from rollout.report.progress import LineReporter

    if not plan.has_changes:
        click.echo("Nothing to do.")
        return ExitCode.DONE
    gates = GateChoices(allowed.settings_for(plan.gates))
    session = begin(client, plan, journal.place, recover=journal.recover)
    session = replace(session, signed=signed)
    _show_earlier(session.record)
    reporter = LineReporter(write_line)
    inbox = Inbox()
    about = about_plan(plan, session.record)
    teller = teller_for(client, about, allowed, reporter, "table", verb_of(session))

    def begun(client: Client) -> None:
        tell_begin(reporter, plan, session)
        teller.write_through(client)

    with teller.notifier as notifier, stop_on_signals(inbox, reporter):
        result = carry_out(
            client,
            plan,
            session,
            inbox,
            Told(reporter, notifier),
            ask=lambda ask: _ask(ask, plan, inbox),
            gates=gates,
            begun=begun,
            ended=notifier.end,
        )
    code = exit_code(result.finish)
    reporter.end(result.plan, result, code)
    advise(result.plan, result, "table", session, walk=again)
    return code


def _show_earlier(record: RunRecord) -> None:
    """Say who let which node go before, and when."""
    words = [word for word in record.approvals if word.node and word.plan == record.plan_id]
    for word in words[-_SHOWN:]:
        click.echo(f"{word.node}: {word.by} let it go at {word.at}")
    if len(words) > _SHOWN:
        click.echo(f"and {len(words) - _SHOWN} before; see 'rollout status'")


def _ask(ask: Ask, plan: Plan, inbox: Inbox) -> None:
    """Ask in a thread of its own: the run goes on to watch, and to hold its lock."""
    threading.Thread(target=_put_answer, args=(ask, plan, inbox), daemon=True).start()


def _put_answer(ask: Ask, plan: Plan, inbox: Inbox) -> None:
    from rollout.executor.engine.events import Decided

    wave = plan.waves[ask.wave - 1].name
    click.echo(f"Next: {ask.node} (wave {wave}, DaemonSet {ask.daemon_set}).")
    click.echo("May it go? [y]es, [n]o, [s]kip, [a]ll that are left, [q]uit: ", nl=False)
    sys.stdout.flush()
    try:
        answer = sys.stdin.readline()
    except (OSError, ValueError):  # the terminal is gone
        answer = ""
    inbox.put(Decided(ask.node, _WORDS.get(answer.strip().lower(), "stop"), ask.wave))
