"""The kinds that the embedded cluster serves, and how each is named in paths and in discovery."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One served resource (`apps/v1 daemonsets`) with the names that clients use for it."""

    group: str  # "" is the core group
    version: str
    plural: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`daemonsets.apps`, as it stands in messages."""
        return f"{self.plural}.{self.group}" if self.group else self.plural
