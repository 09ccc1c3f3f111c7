"""`pause`, `approve`, `reject`, `retry`, `skip` and `abort`: words to a run, through its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollout.cli.allowing import Allowed, allow_options
from rollout.cli.options import (
    FILE,
    ClusterOptions,
    JournalOptions,
    cluster_options,
    journal_option,
    output_option,
    reason_option,
)
from rollout.cli.signing import Signers, signers_options
from rollout.errors import ExitCode, LockedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from rollout.cli.speaking import Hearing
    from rollout.executor.record.record import FailurePolicy, RunRecord
    from rollout.executor.saying import Speaker

_PLAN_HELP = "Only if the run carries out this plan (id or digest)."


@click.command()
@click.argument("rollout")
@reason_option
@cluster_options
def pause(*, rollout: str, reason: str, cluster: ClusterOptions) -> None:
    """Let a run of ROLLOUT start nothing new; nodes in flight are finished, then it ends with 6.

    'rollout resume' takes it back while it is still pausing, and goes on where it stopped later.

    \b
    Example:
      rollout pause log-agent-2.4 -n logging --reason "error rate is up"
    """
    from rollout.cli.speaking import go_on, hearing, stood_still, tell
    from rollout.executor import saying

    with hearing(cluster, rollout, reason) as run:
        record = run.say(saying.pause)
        if run.at_work():
            tell(f"Asked: run {record.run_id} starts nothing new and ends when its nodes are done.")
        else:
            tell(f"Run {record.run_id} does not run: it is {stood_still(record)}.")
        tell(f"{go_on(record, run.client.namespace).capitalize()}.")


@click.command()
@click.argument("rollout")
@click.argument("plan_file", metavar="[PLAN]", type=FILE, required=False)
@click.option("--wave", help="The wave behind which the run may go on; by name or number.")
@click.option("--node", "nodes", multiple=True, help="A node that may move; can be repeated.")
@click.option("--gate", help="The approval gate that gets your voice.")
@click.option("--plan", default="", help=_PLAN_HELP)
@reason_option
@output_option("table", "jsonl")
@journal_option
@allow_options
@signers_options
@cluster_options
def approve(
    *,
    rollout: str,
    plan_file: Path | None,
    wave: str | None,
    nodes: tuple[str, ...],
    gate: str | None,
    plan: str,
    reason: str,
    output: str,
    journal: JournalOptions,
    allowed: Allowed,
    signers: Signers,
    cluster: ClusterOptions,
) -> int:
    """Let a run of ROLLOUT go on: behind a wave, on a single node, or through a gate.

    Without an option it approves what the run waits for. An approval counts for the plan that the
    run carries out, and for no other; it may be given ahead, and while 'apply' is at work.

    With --node only that node moves, the rest stays paused. Where no 'apply' is at work, this
    command moves it itself; it takes the plan from the cluster, or from the file PLAN.

    A voice for a gate that would not count is refused (11): that of the plan's author, or of
    somebody whom the gate does not ask.

    \b
    Examples:
      rollout approve log-agent-2.4 -n logging --reason "looked at the graphs"
      rollout approve log-agent-2.4 --wave canary --plan 3f2a91c0d4e5 -n logging
      rollout approve log-agent-2.4 --node node-7 -n logging
    """
    from rollout.cli.named import require_voice
    from rollout.cli.speaking import go_on, hearing, tell
    from rollout.executor import saying

    if sum(map(bool, (wave, nodes, gate))) > 1:
        raise UsageError("give one of --wave, --node and --gate")
    with hearing(cluster, rollout, reason, plan) as run:
        if nodes:
            return _approve_nodes(run, nodes, plan_file, output, journal, allowed, signers)
        if gate := _meant_gate(run, wave, gate):
            voice = run.proven()
            needed = require_voice(run, gate, voice.by)
            record = run.say(lambda found, _: saying.approve_gate(found, voice, gate))
            given = {a.by for a in record.approvals if a.gate == gate and a.plan == record.plan_id}
            what = f"gate {gate} has your voice ({len(given)}{needed})"
        else:
            named = wave or _awaited(run.record)
            record = run.say(
                lambda found, who: saying.approve_waves(
                    found, who, [saying.number_of(found, named)]
                )
            )
            what = f"run {record.run_id} may go on behind wave {named}"
        then = "it goes on by itself" if run.at_work() else go_on(record, run.client.namespace)
        tell(f"Approved: {what}; {then}.")
    return ExitCode.DONE


@click.command()
@click.argument("rollout")
@click.option("--wave", help="The wave whose approval is refused; by name or number.")
@click.option("--gate", help="The approval gate that is refused.")
@click.option("--plan", default="", help=_PLAN_HELP)
@click.option(
    "--then",
    type=click.Choice(["hold", "rollback", "abort"]),
    help="What the run does (default: 'failure.onFailure' of its plan).",
)
@reason_option
@output_option("table", "jsonl")
@journal_option
@allow_options
@cluster_options
def reject(
    *,
    rollout: str,
    wave: str | None,
    gate: str | None,
    plan: str,
    then: FailurePolicy | None,
    reason: str,
    output: str,
    journal: JournalOptions,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """Refuse an approval that a run of ROLLOUT waits for; it does what its plan says on failure.

    Without an option it refuses what the run waits for. A run that nobody carries out now is held,
    aborted or taken back by this command itself. 'approve' of the same wave undoes a hold.

    \b
    Example:
      rollout reject log-agent-2.4 --wave canary --then rollback -n logging --reason "5xx up"
    """
    from rollout.cli.resume import end_or_ask, roll_back_or_ask
    from rollout.cli.speaking import hearing, tell
    from rollout.executor import saying

    if wave and gate:
        raise UsageError("give one of --wave and --gate")
    with hearing(cluster, rollout, reason, plan) as run:
        gate = _meant_gate(run, wave, gate)
        speaker = run.proven() if gate else run.who
        if gate:
            about = f"gate {gate}"
        else:
            named = wave or _awaited(run.record)
            saying.number_of(run.record, named)
            about = f"wave {named}"
        record = run.say(lambda found, _: saying.reject(found, speaker, about, then))
        assert record.wish is not None
        tell(f"Rejected: {about}; run {record.run_id} is to be {record.wish}.", output)
        match record.wish.verb:
            case "rollback":
                return roll_back_or_ask(run, output, journal, allowed)
            case _:
                return end_or_ask(run, journal, allowed, output)


@click.command()
@click.argument("rollout")
@click.option("--node", "nodes", multiple=True, help="A failed node (default: all of them).")
@reason_option
@cluster_options
def retry(*, rollout: str, nodes: tuple[str, ...], reason: str, cluster: ClusterOptions) -> None:
    """Try the failed nodes of a run of ROLLOUT again, and end its hold.

    A new pod that failed is deleted once more, by its UID; a node that is healthy by now is only
    looked at again. A node that was skipped is no longer skipped when it is named.

    \b
    Example:
      rollout retry log-agent-2.4 --node node-7 -n logging --reason "disk was full"
    """
    from rollout.cli.named import require_nodes
    from rollout.cli.speaking import go_on, hearing, tell
    from rollout.executor import saying

    with hearing(cluster, rollout, reason) as run:
        require_nodes(run, nodes)
        record = run.say(lambda found, who: saying.retry(found, who, nodes))
        names = ", ".join(nodes) or ", ".join(record.failed[:5]) or "all failed nodes"
        then = "it does so now" if run.at_work() else go_on(record, run.client.namespace)
        tell(f"Asked: run {record.run_id} tries again: {names}; {then}.")


@click.command()
@click.argument("rollout")
@click.argument("nodes", metavar="NODE...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why, for the record.")
@cluster_options
def skip(*, rollout: str, nodes: tuple[str, ...], reason: str, cluster: ClusterOptions) -> None:
    """Leave nodes alone in a run of ROLLOUT: before their turn, or after they have failed.

    The run then ends with 12 (0 with 'apply --allow-deferred'), and its strategy stays OnDelete
    where restoring it would let the controller replace those nodes. 'retry --node' takes it back.

    \b
    Example:
      rollout skip log-agent-2.4 node-7 -n logging --reason "disk is being replaced"
    """
    from rollout.cli.named import require_nodes
    from rollout.cli.speaking import go_on, hearing, tell
    from rollout.executor import saying

    with hearing(cluster, rollout, reason) as run:
        require_nodes(run, nodes)
        record = run.say(lambda found, who: saying.skip(found, who, nodes))
        then = "it does so now" if run.at_work() else go_on(record, run.client.namespace)
        tell(f"Asked: run {record.run_id} leaves {', '.join(nodes)} alone; {then}.")


@click.command()
@click.argument("rollout")
@reason_option
@journal_option
@allow_options
@cluster_options
def abort(
    *,
    rollout: str,
    reason: str,
    journal: JournalOptions,
    allowed: Allowed,
    cluster: ClusterOptions,
) -> int:
    """End a run of ROLLOUT, or its rollback, with no further step; nodes in flight are watched.

    The fleet stays as it is, partly updated, and the strategy stays OnDelete so that nothing moves;
    'apply' ends with 3. 'rollout rollback' takes an aborted run back, a new plan goes forward.

    \b
    Example:
      rollout abort log-agent-2.4 -n logging --reason "wrong release"
    """
    from rollout.cli.resume import end_or_ask
    from rollout.cli.speaking import hearing
    from rollout.executor import saying

    with hearing(cluster, rollout, reason) as run:
        run.say(saying.abort)
        return end_or_ask(run, journal, allowed)


def _meant_gate(run: Hearing, wave: str | None, gate: str | None) -> str | None:
    """Return the gate that is meant: the named one, or the only one that the run waits for."""
    from rollout.cli.named import awaited_gates, require_approval_gate

    if gate:
        require_approval_gate(run, gate)
        return gate
    if wave or run.record.waits_for:
        return None
    awaited = awaited_gates(run.record)
    if len(awaited) > 1:
        raise UsageError(
            f"run {run.record.run_id} waits for gates {', '.join(awaited)}; name one with --gate"
        )
    return awaited[0] if awaited else None


def _awaited(record: RunRecord) -> str:
    """Return the wave that the run waits for."""
    from rollout.executor.saying import require_open

    require_open(record)
    if not record.waits_for:
        raise UsageError(
            f"run {record.run_id} is {record.phase} and waits for no approval now; name what you "
            "mean with --wave, --node or --gate"
        )
    return record.waits_for


def _approve_nodes(
    run: Hearing,
    nodes: tuple[str, ...],
    plan_file: Path | None,
    output: str,
    journal: JournalOptions,
    allowed: Allowed,
    signers: Signers,
) -> int:
    from rollout.cli.named import require_nodes
    from rollout.cli.resume import kept_or_given, require_own, signed_plan
    from rollout.cli.running import carry_out_plan
    from rollout.cli.speaking import tell
    from rollout.executor import saying
    from rollout.executor.engine.actions import Outcome

    require_nodes(run, nodes)
    at_work, epoch = run.at_work(), run.record.epoch
    checked = None if at_work else signed_plan(run, plan_file, signers)

    def word(found: RunRecord, who: Speaker) -> RunRecord:
        interrupted = not at_work and found.epoch == epoch  # nobody has gone on with it meanwhile
        return saying.approve_nodes(found, who, nodes, interrupted=interrupted)

    record = run.say(word)
    moves = f"Approved: {', '.join(nodes)} may move; the rest of run {record.run_id} stays as is."
    tell(moves, output)
    if at_work:
        return ExitCode.DONE
    try:
        meant, signed = checked or (kept_or_given(run, plan_file), None)
        code, result = carry_out_plan(run.client, meant, output, journal, allowed, signed=signed)
    except LockedError as error:
        require_own(error, record.run_id)
        return ExitCode.DONE  # it is at work by now, and hears of it
    moved = not {*nodes} & {run.node for run in result.steps if run.reason or not run.ended_at}
    paused = result.finish.outcome is Outcome.PAUSED
    return ExitCode.DONE if paused and moved else code
