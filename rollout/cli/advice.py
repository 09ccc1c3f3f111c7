"""What can be done next about a run that has ended early: whole commands, to be copied."""

from __future__ import annotations

import shlex

import click

from rollout.executor.result import Result
from rollout.planner.plan import Plan
from rollout.report.nextsteps import next_steps


def advise(plan: Plan, result: Result, output: str, *, begun: bool, walk: str = "") -> None:
    """Show the commands that lead on from here, or back.

    Args:
        plan: that was carried out.
        result: how it ended.
        output: format of the output; only people are told.
        begun: whether there is a run record that these commands find.
        walk: the command that goes on node by node, where the run did so.
    """
    steps = next_steps(plan, result, _where(plan.namespace), begun=begun, walk=walk)
    if output != "table" or not steps:
        return
    width = max(len(step.command) for step in steps)
    lines = [f"  {step.command.ljust(width)}  # {step.purpose}" for step in steps]
    click.echo("\n".join(["", "Next:", *lines]))


def _where(namespace: str) -> str:
    """Return the options that lead to the same place: those that this command was given."""
    context = click.get_current_context(silent=True)
    given = context.params if context is not None else {}
    words = ["-n", namespace]
    for option in ("kubeconfig", "context"):
        if given.get(option):
            words += [f"--{option}", str(given[option])]
    return shlex.join(words)
