"""Which API groups a server has: what is not served is not a broken line.

For a group that isn't installed the API server answers as any Go program does for an address that
it does not know: 404, and `404 page not found` as plain text (recorded with Kubernetes 1.36). A
proxy on the way could say the same of anything. So it counts only below `/apis/`, and only when
the server's own list of groups, read right then, doesn't have it. Objects of groups that are
served are never taken for missing on such a word.
"""

from __future__ import annotations

import re

import msgspec

NOT_ROUTED = b"404 page not found"
GROUPS = "/apis"
_GROUPED = re.compile(r"/apis/([^/]+/[^/]+)(?:/|$)")


class _Version(msgspec.Struct, frozen=True, rename="camel"):
    group_version: str


class _Group(msgspec.Struct, frozen=True):
    name: str
    versions: tuple[_Version, ...]


class Groups(msgspec.Struct, frozen=True, tag="APIGroupList", tag_field="kind"):
    """The answer of `/apis`."""

    groups: tuple[_Group, ...]


def group_version(path: str) -> str:
    """Return the group and version that a request's path names: `apps/v1`; "" for the core."""
    match = _GROUPED.match(path)
    return match[1] if match else ""


def lacks(found: Groups, wanted: str) -> bool:
    """Whether a list of groups, which must hold some, is without this group and version."""
    there = {version.group_version for group in found.groups for version in group.versions}
    return bool(there) and wanted not in there
