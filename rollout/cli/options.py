"""Options that mean the same wherever they stand, and the cluster that they lead to."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from rollout.cli.gathering import gathered
from rollout.errors import ClusterError, ExitCode, Forbidden, RolloutError, Unreachable
from rollout.quantity import parse_duration

if TYPE_CHECKING:
    from rollout.cluster.client import Client
    from rollout.executor.result import Result
    from rollout.journal.place import Place

F = TypeVar("F", bound=Callable[..., Any])


class _Duration(click.ParamType[float, str | float]):
    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _DaemonSetName(click.ParamType[str, str]):
    name = "text"

    def convert(
        self,
        value: str,
        param: click.Parameter | None,  # noqa: ARG002 - as click calls it
        ctx: click.Context | None,  # noqa: ARG002 - as click calls it
    ) -> str:
        return value.removeprefix("daemonset/").removeprefix("ds/")


DURATION = _Duration()
DAEMON_SET = _DaemonSetName()  # as kubectl takes it, with or without its kind
_CONTEXT = "rollout.context"  # key of the name of the context that is in use
FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


@dataclass(frozen=True, slots=True)
class Forgiving:
    """Which ends of a run count as a success."""

    allow_deferred: bool
    success_on_pause: bool
    until_paused: bool

    def code(self, code: ExitCode, result: Result) -> ExitCode:
        """Return the exit code of the command.

        `--until-paused` forgives what the plan or people provide for (an approval, a pause),
        never a signal: a job that is cancelled has not succeeded; nor pods that fail, and nor a
        gate that could not be measured (S8: unknown is not passed).
        """
        planned = self.until_paused and not (result.interrupted or result.troubled)
        forgiven = {
            ExitCode.DEFERRED: self.allow_deferred,
            ExitCode.PAUSED: self.success_on_pause or planned,
        }
        return ExitCode.DONE if forgiven.get(code, False) else code


def reason_option(command: F) -> F:
    """Add `--reason`."""
    return click.option("--reason", default="", help="Why, for the record.")(command)


def grace_option(command: F) -> F:
    """Add `--grace`."""
    return click.option(
        "--grace",
        type=DURATION,
        default="10m",
        show_default=True,
        help="How long the first Ctrl-C or SIGTERM waits for what is in flight.",
    )(command)


def stop_at_option(command: F) -> F:
    """Add `--stop-at`."""
    return click.option(
        "--stop-at", metavar="WAVE", help="End with 6 when this wave (name or number) is done."
    )(command)


def _file_to_write(_ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a place where no file can be: not at the end of a run, when it is too late."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise click.BadParameter(f"'{path}' is no file in a directory that there is", param=param)
    return path


def junit_option(command: F) -> F:
    """Add `--junit`; what ends the command without a result is reported there too."""

    @functools.wraps(command)
    def reporting(*, junit: Path | None, **options: object) -> object:
        try:
            return command(junit=junit, **options)
        except RolloutError as error:
            if junit is not None:
                _report_error(junit, error)
            raise

    return click.option(
        "--junit",
        metavar="FILE",
        type=click.Path(path_type=Path),
        callback=_file_to_write,
        help="Write the result here as JUnit XML too: a case for each node and gate.",
    )(cast("F", reporting))


def _report_error(path: Path, error: RolloutError) -> None:
    from rollout.report.junit import junit_of_error

    write_report(path, junit_of_error(str(error), error.exit_code))


def write_report(path: Path, document: bytes) -> None:
    """Write a report of what is over, so a full disk is told and no more."""
    try:
        path.write_bytes(document)
    except OSError as error:
        click.echo(f"warning: {path}: cannot be written: {error.strerror or error}", err=True)


def ignore_window_option(command: F) -> F:
    """Add `--ignore-window`."""
    return click.option(
        "--ignore-window",
        is_flag=True,
        help="Go on outside of the windows; who did so, and when, goes into the record.",
    )(command)


def enforce_strategy_option(command: F) -> F:
    """Add `--enforce-strategy`."""
    return click.option(
        "--enforce-strategy",
        is_flag=True,
        help="Set OnDelete again, once, where somebody turns it back in mid-run; the run holds.",
    )(command)


forgiving_options = gathered(
    "forgiving",
    Forgiving,
    click.option(
        "--allow-deferred", is_flag=True, help="Exit with 0 although nodes were left out."
    ),
    click.option("--success-on-pause", is_flag=True, help="Exit with 0 whenever it pauses."),
    click.option(
        "--until-paused",
        is_flag=True,
        help="For a CI stage: run to the next approval or pause, and exit with 0 there; a "
        "failure, a gate without a verdict, or a signal keeps its own code.",
    ),
)


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster, and which namespace, the user means."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None

    def connect(self) -> Client:
        """Return a client; imports the Kubernetes client, so only commands that need it call it."""
        from rollout.cluster.client import connect

        client = connect(self.kubeconfig, self.context, self.namespace)
        click.get_current_context().meta[_CONTEXT] = client.context
        return client

    @property
    def words(self) -> str:
        """The options that lead to the same cluster, as a shell reads them; kubectl knows them."""
        given = (("--kubeconfig", self.kubeconfig), ("--context", self.context))
        return shlex.join(word for name, value in given if value for word in (name, str(value)))

    def explained(self, error: Unreachable | Forbidden) -> ClusterError:
        """Return an error that says as whom and where it was tried, and what to do."""
        from rollout.executor.handwork import WayBackRefused

        name = click.get_current_context().meta.get(_CONTEXT, self.context)
        context = f"context '{name}'" if name else "the current context"
        files = self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        cure = ""
        if isinstance(error, Unreachable):
            cure = "; is it up? --kubeconfig and --context choose another cluster"
        where = "from inside the cluster" if name == "in-cluster" else f"{context} of {files}"
        if isinstance(error, WayBackRefused):
            return error.with_options(self.words, f" (tried: {where})")
        return type(error)(f"{error}{cure} (tried: {where})")


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Where the journal of a run shall be, and what to do where it cannot be written on."""

    recover: bool
    given: str

    @property
    def place(self) -> Place:
        """The place that was chosen."""
        from rollout.journal.place import Place

        return Place(self.given)


_gather_cluster = gathered(
    "cluster",
    ClusterOptions,
    click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path),
        help="Kubeconfig file (default: KUBECONFIG, then ~/.kube/config).",
    ),
    click.option("--context", help="Kubeconfig context (default: the current one)."),
    click.option("-n", "--namespace", help="Namespace (default: the context's own)."),
)


def cluster_options(command: F) -> F:
    """Add `--kubeconfig`, `--context` and `-n`; they come in as one `cluster` argument."""

    @functools.wraps(command)
    def explained(*args: object, cluster: ClusterOptions, **given: object) -> object:
        try:
            return command(*args, cluster=cluster, **given)
        except (Unreachable, Forbidden) as error:
            raise cluster.explained(error) from None

    return _gather_cluster(cast("F", explained))


journal_place_option = click.option(
    "--journal",
    metavar="FILE|DIR|none",
    default="",
    envvar="ROLLOUT_JOURNAL",
    help="Where the journal of the run is kept (default: under XDG_STATE_HOME).",
)


journal_option = gathered(
    "journal",
    JournalOptions,
    click.option(
        "--recover-from-cluster",
        is_flag=True,
        help="Where the run's journal is broken, begin another one; the cluster is the state.",
    ),
    journal_place_option,
)


def output_option(*choices: str) -> Callable[[F], F]:
    """Add `-o` with these formats; the first is the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="Output format.",
    )
