"""What the caller, not the spec, allows gates to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Permissions of the machine and the person that run the gates.

    Attributes:
        hosts: that may be asked: names, `*.example.com`, or `HOST:PORT`.
        private: networks (CIDR) of private or link-local addresses that may be asked.
        commands: whether gates may start programs on this machine.
    """

    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    commands: bool = False
