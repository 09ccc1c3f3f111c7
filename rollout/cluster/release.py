"""Which Kubernetes the server is: too old to work with, or not the one that a plan was made on."""

from __future__ import annotations

import re

from rollout.cluster.client import Client
from rollout.errors import ClusterError, StaleError

OLDEST = (1, 25)  # DaemonSets with maxSurge are stable from here on
_RELEASE = re.compile(r"v?(\d+)\.(\d+)")


def read_release(client: Client) -> str:
    """Return the server's version, such as `v1.36.1`.

    Raises:
        ClusterError: when it is too old, or cannot be read.
    """
    major, minor, version = client.server_version()
    if (major, minor) < OLDEST:
        raise ClusterError(
            f"{client.server} runs Kubernetes {version or f'{major}.{minor}'}; rollout needs "
            f"{OLDEST[0]}.{OLDEST[1]} or newer"
        )
    return version


def check_release(client: Client, planned: str) -> None:
    """Refuse a server that was upgraded to another minor release since the plan was made.

    Args:
        client: of the cluster.
        planned: the version that stands in the plan.

    Raises:
        StaleError: when it was; eligibility and defaults may differ between releases.
        ClusterError: when the server is too old, or cannot be asked.
    """
    version = read_release(client)
    if _minor(version) != _minor(planned):
        raise StaleError(
            f"the plan was made on Kubernetes {planned}, but {client.server} runs {version} now; "
            "make a new plan"
        )


def _minor(version: str) -> tuple[str, ...]:
    found = _RELEASE.match(version)
    return found.groups() if found else (version,)
