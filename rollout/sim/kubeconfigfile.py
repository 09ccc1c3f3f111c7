"""The kubeconfig file of a running embedded cluster: written at its start, gone at its end.

A file that is not of an embedded cluster is never touched: a slip of the finger such as
`--kubeconfig ~/.kube/config` must not cost anybody their clusters.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Final

import yaml

from rollout.errors import RolloutError
from rollout.files import write_private
from rollout.sim.store import Object

NAME: Final = "rollout-sim"  # of the cluster, the user and the context in it


def kubeconfig(server_url: str, token: str) -> Object:
    """Return a kubeconfig for a user of the embedded cluster.

    Args:
        server_url: the server's base URL.
        token: the user's bearer token.
    """
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": server_url}}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [
            {"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}
        ],
        "current-context": NAME,
    }


def check_replaceable(path: Path) -> None:
    """Make sure that nothing of value stands where the kubeconfig shall go.

    Raises:
        RolloutError: when there is a file that no embedded cluster has left behind.
    """
    if path.exists() and not _is_of_a_cluster_like_this(_read(path)):
        raise RolloutError(
            f"{path}: is there already and is not the kubeconfig of an embedded cluster; "
            "choose another place with --kubeconfig, or remove the file"
        )


def write(path: Path, config: Object) -> None:
    """Write the file with mode 0600, also over one that an earlier cluster has left behind.

    Raises:
        RolloutError: when it cannot be written, or would replace a file of somebody else.
    """
    check_replaceable(path)
    write_private(path, yaml.safe_dump(config, sort_keys=False).encode())


def remove(path: Path, config: Object) -> None:
    """Remove the file, unless another cluster has taken its place by now."""
    if _read(path) == config:
        with contextlib.suppress(OSError):
            path.unlink()


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever stands there
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None


def _is_of_a_cluster_like_this(found: Any) -> bool:  # noqa: ANN401 - whatever stands there
    if not isinstance(found, dict) or found.get("kind") != "Config":
        return False
    parts = (found.get(part) for part in ("clusters", "users", "contexts"))
    return all(
        isinstance(part, list)
        and [entry.get("name") for entry in part if isinstance(entry, dict)] == [NAME]
        and len(part) == 1
        for part in parts
    )
