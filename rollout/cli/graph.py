"""`rollout graph`."""

from __future__ import annotations

from pathlib import Path

import click

from rollout.cli.options import FILE, output_option
from rollout.errors import ExitCode, UsageError


@click.command()
@click.argument("plan", type=FILE, required=False)
@click.option("-f", "--file", "spec", type=FILE, help="With --draw-cycles: the spec.")
@click.option(
    "--draw-cycles",
    is_flag=True,
    help="Draw how the spec's DaemonSets wait for each other, cycles in red; needs no cluster.",
)
@output_option("tree", "dot", "mermaid", "json")
def graph(*, plan: Path | None, spec: Path | None, draw_cycles: bool, output: str) -> int:
    """Draw the dependency graph of a saved PLAN; needs no cluster.

    \b
    Examples:
      rollout graph plan.json
      rollout graph plan.json -o mermaid
      rollout graph -f spec.yaml --draw-cycles
    """
    if draw_cycles:
        if spec is None:
            raise UsageError("--draw-cycles draws a spec; name it with -f")
        return _draw_cycles(spec)
    if plan is None:
        raise UsageError("name a saved plan; 'rollout plan -f SPEC --out PLAN' makes one")
    from rollout.cli.saved import read_plan
    from rollout.report.dot import plan_dot
    from rollout.report.mermaid import plan_mermaid
    from rollout.report.tree import plan_graph_json, plan_tree

    saved = read_plan(plan)
    match output:
        case "dot":
            click.echo(plan_dot(saved))
        case "mermaid":
            click.echo(plan_mermaid(saved))
        case "json":
            click.echo(plan_graph_json(saved))
        case _:
            click.echo(plan_tree(saved))
    return ExitCode.DONE


def _draw_cycles(spec: Path) -> int:
    from rollout.planner.graph import Link, cycle_edges
    from rollout.report.dot import links_dot
    from rollout.specfile import load_spec

    items = load_spec(spec).spec.spec.daemon_sets
    links = [
        Link(item.name, item.after.daemon_set, item.after.scope)
        for item in items
        if item.after is not None
    ]
    marked = cycle_edges([item.name for item in items], links)
    click.echo(links_dot([item.name for item in items], links, marked))
    return ExitCode.BAD_DOCUMENT if marked else ExitCode.DONE
