"""Who we are: for the cluster by its own word, which no environment variable can change."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

import msgspec

from rollout.cluster.paths import resource_path
from rollout.errors import Forbidden, NotFound, Rejected

if TYPE_CHECKING:
    from rollout.cluster.client import Client

_NOBODY = frozenset({"", "system:anonymous"})


class _UserInfo(msgspec.Struct, frozen=True):
    username: str = ""


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    user_info: _UserInfo = _UserInfo()


class _Review(msgspec.Struct, frozen=True):
    kind: str
    status: _Status = _Status()


def cluster_user(client: Client) -> str | None:
    """Return the name under which the cluster knows us; None where it doesn't say.

    Asked with a SelfSubjectReview (authentication.k8s.io/v1, since Kubernetes 1.28).

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = resource_path("authentication.k8s.io/v1", "selfsubjectreviews")
    try:
        name = client.create(path, body, _Review, dry_run=True).status.user_info.username
    except (Forbidden, NotFound, Rejected):
        return None
    return None if name in _NOBODY else name


def identity(client: Client) -> str:
    """Return who speaks where it matters that it is nobody else: plans and approvals.

    The cluster's own name for us; the local one, as `whoami`, only where it doesn't say.

    Raises:
        ClusterError: when the cluster cannot be asked.
    """
    return cluster_user(client) or whoami()


def whoami() -> str:
    """Return who runs this, for the record: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
