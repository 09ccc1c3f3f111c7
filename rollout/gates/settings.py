"""What the caller, not the spec, allows gates to do.

Nothing is allowed by default. A configuration file says what is always fine on this machine, and
flags add to it for one run:

    # ~/.config/rollout/config.yaml
    gates:
      hosts: [prometheus.example.com, "*.internal.example.com:9090"]
      privateNetworks: [10.20.0.0/16]
      commands: false
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import msgspec

from rollout.errors import UsageError
from rollout.yamlsource import read_documents


@dataclass(frozen=True, slots=True)
class Settings:
    """Permissions of the machine and the person that run the gates.

    Attributes:
        hosts: that may be asked: `name`, `*.example.com`, each also with `:port`.
        private: networks (CIDR) of private or link-local addresses that may be asked.
        commands: whether gates may start programs on this machine.
    """

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    commands: bool = False

    def with_flags(
        self,
        hosts: tuple[str, ...] = (),
        networks: tuple[str, ...] = (),
        *,
        commands: bool = False,
    ) -> Settings:
        """Return the settings with what the flags of one run allow besides.

        Raises:
            UsageError: a network is none.
        """
        for network in networks:
            try:
                _check_network(network)
            except ValueError as error:
                raise UsageError(f"--allow-network {network}: {error}") from None
        return Settings(
            (*self.hosts, *hosts), (*self.private, *networks), commands or self.commands
        )


def _check_network(text: str) -> None:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"'{text}' is not a network; write for example 10.0.0.0/8") from None


class _Gates(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    hosts: tuple[str, ...] = ()
    private_networks: tuple[str, ...] = ()
    commands: bool = False

    def __post_init__(self) -> None:
        for network in self.private_networks:
            try:
                _check_network(network)
            except ValueError as error:
                raise ValueError(f"privateNetworks: {error}") from None


class _File(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    gates: _Gates = _Gates()


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the configuration is looked for: `$XDG_CONFIG_HOME/rollout/config.yaml`."""
    base = environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "rollout" / "config.yaml"


def load_settings(path: Path | None) -> Settings:
    """Read the configuration.

    Args:
        path: this file, which must exist; None: the default one, if it exists.

    Raises:
        DocumentError: with `file:line` and a cure, on anything that is wrong in it.
    """
    if path is None:
        path = default_path()
        if not path.exists():
            return Settings()
    documents = read_documents(path)
    if not documents:
        return Settings()
    if len(documents) > 1:
        raise documents[1].error((), "a second document; a configuration is one")
    gates = documents[0].convert(_File).gates
    return Settings(gates.hosts, gates.private_networks, gates.commands)
