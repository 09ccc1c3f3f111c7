"""`rollout runs` and `rollout history`: what was rolled out, by whom, when, with what result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rollout.cli.options import DAEMON_SET, ClusterOptions, cluster_options, output_option
from rollout.errors import Forbidden, NotFound, UsageError

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.runs import FoundRecord
    from rollout.fleet.objects import ControllerRevision
    from rollout.fleet.snapshot import Fleet


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="The runs of all namespaces.")
@output_option("table", "json")
@cluster_options
def runs(*, all_namespaces: bool, output: str, cluster: ClusterOptions) -> None:
    """Show the runs that the cluster knows of: whose, since when, how they ended, who holds a lock.

    The last run of each rollout is in its record, with up to 20 runs before it. A run that says
    it is at work while nobody holds its lock is shown as interrupted: apply its plan again, take
    it back with 'rollout rollback', or clear up behind it with 'rollout cleanup'.

    \b
    Examples:
      rollout runs -n logging
      rollout runs -A -o json
    """
    import msgspec

    from rollout.executor.runs import read_records, read_runs
    from rollout.report.runs import run_row, runs_text

    if all_namespaces and cluster.namespace:
        raise UsageError("give either -A or -n")
    client = cluster.connect()
    try:
        namespace = "" if all_namespaces else client.namespace
        records = read_records(client, namespace)
        rows = [run_row(known) for known in read_runs(client, records)]
    finally:
        client.close()
    as_json = output == "json"
    click.echo(msgspec.json.encode(rows).decode() if as_json else runs_text(rows, namespace))


class _PairOfWords(click.Command):
    """A command that takes `--diff A B` for `--diff A..B`; an option with one word has no rest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Join the two numbers behind `--diff` before click sees them."""
        match args[args.index("--diff") + 1 :] if "--diff" in args else []:
            case [first, second, *rest] if first.isdecimal() and second.isdecimal():
                args = [*args[: -len(rest) - 2], f"{first}..{second}", *rest]
        return super().parse_args(ctx, args)


@click.command(cls=_PairOfWords)
@click.argument("daemonset", type=DAEMON_SET)
@click.option("--revision", type=click.IntRange(min=1), help="Show the template of this one.")
@click.option("--diff", metavar="A B", help="Show what changed between two revisions; also A..B.")
@output_option("table", "json")
@cluster_options
def history(
    *, daemonset: str, revision: int | None, diff: str | None, output: str, cluster: ClusterOptions
) -> None:
    """Show the revisions of a DAEMONSET: how many pods each has, and which runs led to it.

    What looks like a secret is masked, in templates and in diffs.

    \b
    Examples:
      rollout history log-agent -n logging
      rollout history log-agent -n logging --diff 2 3
    """
    from rollout.cluster.fleet import read_fleet, read_nodes

    if revision is not None and diff is not None:
        raise UsageError("give either --revision or --diff")
    pair = _pair(diff) if diff is not None else None
    client = cluster.connect()
    try:
        fleet = read_fleet(client, client.namespace, daemonset, nodes=read_nodes(client))
        if pair is not None:
            text = _diff_text(fleet, *pair, output)
        elif revision is not None:
            text = _template_text(_revision(fleet, revision), output)
        else:
            text = _history_text(client, fleet, output)
    finally:
        client.close()
    click.echo(text)


def _pair(text: str) -> tuple[int, int]:
    first, dots, second = text.partition("..")
    if not (dots and first.isdecimal() and second.isdecimal()):
        raise UsageError(f"--diff {text}: give two numbers of revisions, such as 2 3 or 2..3")
    return int(first), int(second)


def _revision(fleet: Fleet, number: int) -> ControllerRevision:
    for item in fleet.revisions:
        if item.revision == number:
            return item
    meta = fleet.daemon_set.metadata
    known = ", ".join(str(item.revision) for item in fleet.revisions) or "none"
    raise NotFound(
        f"DaemonSet {meta.namespace}/{meta.name} has no revision {number}; it has {known}"
    )


def _diff_text(fleet: Fleet, first: int, second: int, output: str) -> str:
    import msgspec

    from rollout.cli.painting import painted
    from rollout.planner.diff import object_diff

    before, after = _revision(fleet, first), _revision(fleet, second)
    names = (f"revision {first}", f"revision {second}")
    lines = object_diff(before.template, after.template, names)
    if output == "json":
        return msgspec.json.encode({"from": first, "to": second, "diff": lines}).decode()
    return painted("\n".join(lines)) or f"Revisions {first} and {second} hold the same template."


def _template_text(revision: ControllerRevision, output: str) -> str:
    import msgspec
    import yaml

    from rollout.planner.diff import masked_text

    text = masked_text(revision.template)
    if output == "json":
        shown = {"revision": revision.revision, "template": yaml.safe_load(text)}
        return msgspec.json.encode(shown).decode()
    return text


def _history_text(client: Client, fleet: Fleet, output: str) -> str:
    import msgspec

    from rollout.executor.runs import read_records_widely, read_runs
    from rollout.report.runs import daemon_set_history, history_text

    records: list[FoundRecord] = []
    try:
        records = read_records_widely(client, fleet.daemon_set.metadata.namespace)
    except Forbidden as error:  # the revisions are there to be seen all the same
        click.echo(f"Warning: which run led to which revision is not known: {error}", err=True)
    found = daemon_set_history(fleet, read_runs(client, records))
    return msgspec.json.encode(found).decode() if output == "json" else history_text(found)
