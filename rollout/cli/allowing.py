"""What who runs a command lets its gates do: the configuration, and flags for this run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollout.errors import UsageError

if TYPE_CHECKING:
    from rollout.gates.settings import Settings
    from rollout.gatespec import Gate

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the flags say; the configuration is read when it is asked for."""

    config: Path | None
    hosts: tuple[str, ...]
    networks: tuple[str, ...]
    commands: bool

    def settings(self) -> Settings:
        """Return the configuration with what the flags add to it.

        Raises:
            DocumentError: the configuration is wrong.
            UsageError: a flag is.
        """
        from rollout.gates.settings import load_settings  # noqa: PLC0415 - slow to import

        return load_settings(self.config).with_flags(
            self.hosts, self.networks, commands=self.commands
        )

    def settings_for(self, gates: Sequence[Gate]) -> Settings:
        """Return the settings under which these gates can be measured.

        Raises:
            UsageError: a gate wants more than is allowed; with how to allow it.
        """
        from rollout.gates.permissions import refusals  # noqa: PLC0415 - slow to import

        settings = self.settings()
        refused = refusals(gates, settings)
        if refused:
            raise UsageError("\n".join(refused))
        return settings


NOTHING_ALLOWED = Allowed(None, (), (), commands=False)  # by flags


def allow_options(command: F) -> F:
    """Add `--allow-host`, `--allow-network`, `--allow-commands` and `--config`, as `allowed`."""

    def wrapper(
        *args: Any,  # noqa: ANN401 - whatever the command takes
        config: Path | None,
        allow_host: tuple[str, ...],
        allow_network: tuple[str, ...],
        allow_commands: bool,
        **kwargs: Any,  # noqa: ANN401 - whatever the command takes
    ) -> Any:  # noqa: ANN401 - whatever the command returns
        allowed = Allowed(config, allow_host, allow_network, allow_commands)
        return command(*args, allowed=allowed, **kwargs)

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    wrapper.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Any = wrapper
    for option in (
        click.option(
            "--config",
            type=click.Path(dir_okay=False, path_type=Path),
            help="What gates may do (default: rollout/config.yaml under XDG_CONFIG_HOME).",
        ),
        click.option("--allow-commands", is_flag=True, help="Let gates run commands here."),
        click.option(
            "--allow-network",
            multiple=True,
            metavar="CIDR",
            help="Let gates ask private addresses in this network; may be repeated.",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            metavar="HOST",
            help="Let gates ask this host: name, name:port or *.domain; may be repeated.",
        ),
    ):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]
