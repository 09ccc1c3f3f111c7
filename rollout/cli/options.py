"""Options that mean the same wherever they stand, and the cluster that they lead to."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollout.errors import ClusterError, ExitCode, Forbidden, Unreachable
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


DURATION = _Duration()
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


def ignore_window_option(command: F) -> F:
    """Add `--ignore-window`."""
    return click.option(
        "--ignore-window",
        is_flag=True,
        help="Go on outside of the windows; who did so, and when, goes into the record.",
    )(command)


def forgiving_options(command: F) -> F:
    """Add `--allow-deferred`, `--success-on-pause` and `--until-paused`, as one `forgiving`."""

    def wrapper(
        *args: Any,  # noqa: ANN401 - whatever the command takes
        allow_deferred: bool,
        success_on_pause: bool,
        until_paused: bool,
        **kwargs: Any,  # noqa: ANN401 - whatever the command takes
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        forgiving = Forgiving(allow_deferred, success_on_pause, until_paused)
        return command(*args, forgiving=forgiving, **kwargs)

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Any = wrapper
    for option in (
        click.option(
            "--until-paused",
            is_flag=True,
            help="For a CI stage: run to the next approval or pause, and exit with 0 there; a "
            "failure, a gate without a verdict, or a signal keeps its own code.",
        ),
        click.option("--success-on-pause", is_flag=True, help="Exit with 0 whenever it pauses."),
        click.option(
            "--allow-deferred", is_flag=True, help="Exit with 0 although nodes were left out."
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster, and which namespace, the user means."""

    kubeconfig: Path | None
    context: str | None
    namespace: str | None

    def connect(self) -> Client:
        """Return a client; imports the Kubernetes client, so only commands that need it call it."""
        from rollout.cluster.client import connect  # noqa: PLC0415 - slow to import

        client = connect(self.kubeconfig, self.context, self.namespace)
        click.get_current_context().meta[_CONTEXT] = client.context
        return client

    def explained(self, error: Unreachable | Forbidden) -> ClusterError:
        """Return an error that says as whom and where it was tried, and what to do."""
        name = click.get_current_context().meta.get(_CONTEXT, self.context)
        context = f"context '{name}'" if name else "the current context"
        files = self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        cure = ""
        if isinstance(error, Unreachable):
            cure = "; is it up? --kubeconfig and --context choose another cluster"
        where = "from inside the cluster" if name == "in-cluster" else f"{context} of {files}"
        return type(error)(f"{error}{cure} (tried: {where})")


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """Where the journal of a run shall be, and what to do where it cannot be written on."""

    given: str
    recover: bool

    @property
    def place(self) -> Place:
        """The place that was chosen."""
        from rollout.journal.place import Place  # noqa: PLC0415 - only for commands that run

        return Place(self.given)


def cluster_options(command: F) -> F:
    """Add `--kubeconfig`, `--context` and `-n`; they come in as one `cluster` argument."""

    def wrapper(
        *args: Any,  # noqa: ANN401 - whatever the command takes
        kubeconfig: Path | None,
        context: str | None,
        namespace: str | None,
        **kwargs: Any,  # noqa: ANN401 - whatever the command takes
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        cluster = ClusterOptions(kubeconfig, context, namespace)
        try:
            return command(*args, cluster=cluster, **kwargs)
        except (Unreachable, Forbidden) as error:
            raise cluster.explained(error) from None

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    options = (
        click.option("-n", "--namespace", help="Namespace (default: the context's own)."),
        click.option("--context", help="Kubeconfig context (default: the current one)."),
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path),
            help="Kubeconfig file (default: KUBECONFIG, then ~/.kube/config).",
        ),
    )
    decorated: Any = wrapper
    for option in options:
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


journal_place_option = click.option(
    "--journal",
    metavar="FILE|DIR|none",
    default="",
    envvar="ROLLOUT_JOURNAL",
    help="Where the journal of the run is kept (default: under XDG_STATE_HOME).",
)


def journal_option(command: F) -> F:
    """Add `--journal` and `--recover-from-cluster`; they come in as one `journal` argument."""

    def wrapper(
        *args: Any,  # noqa: ANN401 - whatever the command takes
        journal: str,
        recover_from_cluster: bool,
        **kwargs: Any,  # noqa: ANN401 - whatever the command takes
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        return command(*args, journal=JournalOptions(journal, recover_from_cluster), **kwargs)

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Any = journal_place_option(wrapper)
    return click.option(  # type: ignore[no-any-return]
        "--recover-from-cluster",
        is_flag=True,
        help="Where the run's journal is broken, begin another one; the cluster is the state.",
    )(decorated)


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
