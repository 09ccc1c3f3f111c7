"""What can be done next about a run that has ended early: whole commands, to be copied."""

from __future__ import annotations

import shlex
from dataclasses import replace

import click
from click.core import ParameterSource

from rollout.errors import RolloutError
from rollout.executor.byhand import for_cluster
from rollout.executor.engine.actions import Outcome
from rollout.executor.result import Result
from rollout.executor.session import Session
from rollout.planner.plan import Plan
from rollout.report.nextsteps import next_steps

_CARRIED = (  # options of this command that those after it need as well
    *("allow_host", "allow_network", "allow_commands", "config"),
    *("allowed_signers", "signer", "signature"),
)


def advise(plan: Plan, result: Result, output: str, session: Session, *, walk: str = "") -> None:
    """Show the commands that lead on from here, or back; also those for when the tool can't.

    Args:
        plan: that was carried out.
        result: how it ended.
        output: format of the output; only people are told.
        session: of the run.
        walk: the command that goes on node by node, where the run did so.
    """
    if output != "table":
        return
    begun = (result.wrote or session.resumed) and _has_record(result, session)
    named = next_steps(plan, result, _where(plan.namespace), begun=begun, walk=walk)
    steps = [replace(step, command=f"{step.command}{_carried(step.command)}") for step in named]
    if result.finish.by_hand:
        options = shlex.join(_cluster())  # kubectl has the same, and must not meet another cluster
        lines = [f"  {for_cluster(line, options)}" for line in result.finish.by_hand]
        click.echo("\n".join(["", "By hand, in this order:", *lines]))
    if not steps:
        return
    width = max(len(step.command) for step in steps)
    lines = [f"  {step.command.ljust(width)}  # {step.purpose}" for step in steps]
    click.echo("\n".join(["", "Next:", *lines]))


def _has_record(result: Result, session: Session) -> bool:
    """Whether the commands that speak to a run find its record; where nobody can say, they do."""
    if result.finish.outcome in (Outcome.DONE, Outcome.ROLLED_BACK):
        return True
    try:
        return session.keeper.read() is not None
    except RolloutError:
        return True


def _where(namespace: str) -> str:
    """Return the options that lead to the same place."""
    return shlex.join(["-n", namespace, *_cluster()])


def _carried(command: str) -> str:
    """Return what this command was allowed and asked to check, as far as that one takes it too.

    Else it would end where this one did not: at a gate that may not run, or without a check of the
    signature. What comes from the environment is there for that one as well.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        return ""
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    named = root.command.get_command(root, command.split()[1])
    takes = {param.name for param in named.params} if named is not None else set()
    words: list[str] = []
    for param in context.command.params:
        name = param.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name not in _CARRIED or name not in takes or not given:
            continue
        value, flag = context.params[name], param.opts[0]
        if value is True:
            words.append(flag)
        else:
            values = value if isinstance(value, tuple) else (value,)
            words += [word for one in values for word in (flag, str(one))]
    return f" {shlex.join(words)}" if words else ""


def _cluster() -> list[str]:
    """Return the options that lead to the same cluster: those that this command was given."""
    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    words = []
    for option in ("kubeconfig", "context"):
        if given.get(option):
            words += [f"--{option}", str(given[option])]
    return words
