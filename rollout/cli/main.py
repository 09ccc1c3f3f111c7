"""The root command. Imports nothing heavy: every command is loaded when it is asked for.

Errors end here: a `RolloutError` becomes one message on standard error and its exit code,
anything that click calls wrong usage becomes 64.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence

import click

from rollout import __version__
from rollout.errors import ExitCode, RolloutError
from rollout.printable import by_lines

_LIKELY = 0.7  # of 1, how alike two names are by difflib
_NOBODY_READS = 141  # 128 + SIGPIPE: what the shell says of other tools

# name -> (module, attribute, one line of help); the help stands here so that listing the
# commands imports none of them.
_COMMANDS = {
    "plan": ("rollout.cli.plan", "plan", "Show what a spec would change, node by node."),
    "apply": ("rollout.cli.apply", "apply", "Carry out a saved plan, or plan a spec and do it."),
    "step": ("rollout.cli.step", "step", "Carry out a plan node by node, asking each time."),
    "pause": ("rollout.cli.control", "pause", "Let a run start nothing new."),
    "resume": ("rollout.cli.resume", "resume", "Go on with a run, also without its plan's file."),
    "approve": ("rollout.cli.control", "approve", "Let a run pass a wave, a gate, or one node."),
    "reject": ("rollout.cli.control", "reject", "Refuse an approval that a run waits for."),
    "retry": ("rollout.cli.control", "retry", "Try the failed nodes of a run again."),
    "skip": ("rollout.cli.control", "skip", "Leave nodes alone in a run."),
    "abort": ("rollout.cli.control", "abort", "End a run with no further step."),
    "rollback": ("rollout.cli.resume", "rollback", "Take a run back to the old template."),
    "undo": ("rollout.cli.undo", "undo", "Go back to an earlier revision, from outside a run."),
    "unlock": ("rollout.cli.unlock", "unlock", "Break the locks of a run that hangs or is gone."),
    "show": ("rollout.cli.show", "show", "Show a saved plan; needs no cluster."),
    "graph": ("rollout.cli.graph", "graph", "Draw the dependency graph of a saved plan."),
    "verify": ("rollout.cli.verify", "verify", "Check that a saved plan fits and may be applied."),
    "plan-diff": ("rollout.cli.plan_diff", "plan_diff", "Show how two saved plans differ."),
    "status": ("rollout.cli.status", "status", "Show where a DaemonSet stands, node by node."),
    "cleanup": ("rollout.cli.cleanup", "cleanup", "Clear up behind a run that nobody resumes."),
    "history": (
        "rollout.cli.runs",
        "history",
        "Show the revisions of a DaemonSet, and the runs.",
    ),
    "runs": ("rollout.cli.runs", "runs", "Show the runs that the cluster knows of."),
    "audit": ("rollout.cli.audit", "audit", "Check and show the journals of runs."),
    "gate": ("rollout.cli.gate", "gate", "Look at gates, and measure one of them now."),
    "sim": ("rollout.cli.sim", "sim", "Run the embedded cluster."),
}


def _choose_color(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    """Settle for a command and what is below it whether escape sequences may go out."""
    if value in ("always", "never"):
        ctx.color = value == "always"
    elif ctx.color is None and (os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"):
        ctx.color = False


def _color_option() -> click.Option:
    return click.Option(
        ["--color"],
        type=click.Choice(["always", "never", "auto"]),
        help="Colours: auto is on a terminal, unless NO_COLOR is set.",
        callback=_choose_color,
        expose_value=False,
    )


def _take_color(command: click.Command) -> None:
    """Let a command, and those below it, take `--color`; once."""
    if not any("--color" in param.opts for param in command.params):
        command.params.append(_color_option())
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _take_color(below)


class _NobodyReads(Exception):
    """Standard output is a pipe whose reader has gone; click would make a plain 1 of it."""


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of a first acquaintance."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, attribute, _ = _COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _take_color(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; of one that there is not, name those that look like it.

        click asks for that in a table of loaded commands, and here none is loaded.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            meant = get_close_matches(args[0], _COMMANDS)
            if not meant or args[0].startswith("-"):
                raise
            words = " or ".join(f"'{name}'" for name in meant)
            text = f"No such command '{args[0]}'. Did you mean {words}?"
            raise click.UsageError(text, ctx) from None

    def invoke(self, ctx: click.Context) -> object:
        """Carry a command out."""
        try:
            result: object = super().invoke(ctx)
        except BrokenPipeError as error:
            raise _NobodyReads from error
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="rollout")
def cli() -> None:
    """Safe, ordered, reviewable updates of Kubernetes DaemonSets.

    Write a spec, look at the plan, apply it:

    \b
      rollout plan -f spec.yaml --out plan.json
      rollout apply plan.json

    Without a cluster at hand, 'rollout sim start' runs one in the foreground.
    """


_take_color(cli)


def _likely(error: click.NoSuchOption) -> click.NoSuchOption:
    """Name only options that may have been meant; click takes '--yes' for '--reason'."""
    from difflib import get_close_matches

    meant = get_close_matches(error.option_name, error.possibilities or (), cutoff=_LIKELY)
    return click.NoSuchOption(error.option_name, possibilities=meant, ctx=error.ctx)


def _end_output(code: int) -> int:
    from rollout.cli.output import drop_output

    drop_output()
    return code


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code (README, "Exit codes").
    """
    try:
        result = cli.main(list(arguments), prog_name="rollout", standalone_mode=False)
    except click.NoSuchOption as error:
        _likely(error).show()
        return ExitCode.USAGE
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.ERROR
    except RolloutError as error:
        click.echo(f"error: {by_lines(str(error))}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except _NobodyReads:
        return _end_output(_NOBODY_READS)
    except OSError as error:
        where = str(error) if error.filename else f"standard output: {error.strerror or error}"
        click.echo(f"error: {where}", err=True)
        return _end_output(ExitCode.ERROR)
    return result if isinstance(result, int) else ExitCode.DONE
