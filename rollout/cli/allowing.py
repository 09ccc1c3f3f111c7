"""What who runs a command lets its gates do: the configuration, and flags for this run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollout.cli.gathering import gathered
from rollout.errors import UsageError

if TYPE_CHECKING:
    from rollout.gates.settings import Settings
    from rollout.gatespec import Gate


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the flags say; the configuration is read when it is asked for."""

    hosts: tuple[str, ...]
    networks: tuple[str, ...]
    commands: bool
    config: Path | None

    def settings(self) -> Settings:
        """Return the configuration with what the flags add to it.

        Raises:
            DocumentError: the configuration is wrong.
            UsageError: a flag is.
        """
        from rollout.gates.settings import load_settings

        return load_settings(self.config).with_flags(
            self.hosts, self.networks, commands=self.commands
        )

    def settings_for(self, gates: Sequence[Gate]) -> Settings:
        """Return the settings under which these gates can be measured.

        Raises:
            UsageError: a gate wants more than is allowed; with how to allow it.
        """
        from rollout.gates.permissions import refusals

        settings = self.settings()
        refused = refusals(gates, settings)
        if refused:
            raise UsageError("\n".join(refused))
        return settings


NOTHING_ALLOWED = Allowed((), (), commands=False, config=None)  # by flags


allow_options = gathered(
    "allowed",
    Allowed,
    click.option(
        "--allow-host",
        multiple=True,
        metavar="HOST",
        help="Let gates ask this host: name, name:port or *.domain; may be repeated.",
    ),
    click.option(
        "--allow-network",
        multiple=True,
        metavar="CIDR",
        help="Let allowed hosts and pods have private addresses in this network; repeatable.",
    ),
    click.option("--allow-commands", is_flag=True, help="Let gates run commands here."),
    click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="What gates may do (default: rollout/config.yaml under XDG_CONFIG_HOME).",
    ),
)
