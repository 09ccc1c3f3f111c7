"""The kubeconfig of a running embedded cluster: written at its start, gone at its end.

Where there are other clusters in the file, the embedded one stands beside them as `kubectl config`
would put it there: nothing of theirs is touched, and they stay the current ones unless somebody
wants it otherwise. A file that is no kubeconfig is refused, and so is one in which an embedded
cluster stands that still answers: it would run on, and nobody would reach it.
"""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from rollout.errors import RolloutError
from rollout.files import write_private
from rollout.sim.store import Object

NAME: Final = "rollout-sim"  # of the cluster, the user and the context in it
_PARTS: Final = ("clusters", "users", "contexts")
_PLAIN_KEYS: Final = {*_PARTS, "apiVersion", "kind", "current-context", "preferences"}
_PATIENCE_S: Final = 2.0  # for the answer of an embedded cluster on this machine
_MOST_ANSWER: Final = 65536  # bytes
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    """Reads times as the text that they are, so that they are written back unchanged."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _TIMESTAMP]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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


def check_place(path: Path) -> None:
    """Make sure that the kubeconfig can go there.

    Raises:
        RolloutError: when there is a file that is no kubeconfig, or that of an embedded cluster
            which still runs.
    """
    if not path.exists():
        return
    found = _read(path)
    if not _is_kubeconfig(found):
        raise RolloutError(
            f"{path}: is there already and is no kubeconfig; choose another place with "
            "--kubeconfig, or remove the file"
        )
    for url in _servers(found):
        if _answers(url):
            raise RolloutError(
                f"{path}: another embedded cluster answers at the address in it, {url}; end that "
                "one, or choose another place with --kubeconfig"
            )


def write(path: Path, config: Object, *, use_context: bool = False) -> str:
    """Write the file with mode 0600, or put the cluster beside those that are in it.

    Args:
        path: the file; there may be one of an earlier embedded cluster, or of others.
        config: what `kubeconfig` returned.
        use_context: make its context the current one although there are others.

    Returns:
        The context that is current now.

    Raises:
        RolloutError: when it cannot be written, or `check_place` refuses it.
    """
    check_place(path)
    found = _read(path) if path.exists() else {}
    others = _others(found)
    merged = {**config, **found} | {part: others[part] + config[part] for part in _PARTS}
    if use_context or not any(others.values()) or not found.get("current-context"):
        merged["current-context"] = NAME
    _put(path, merged)
    return str(merged["current-context"])


def current_context(path: Path) -> str:
    """Return the context that is current in a file; "" where there is none."""
    found = _read(path)
    return str(found.get("current-context") or "") if _is_kubeconfig(found) else ""


def remove(path: Path, config: Object, before: str = "") -> None:
    """Take the cluster out again, unless another one has taken its place by now.

    Args:
        path: the file; it goes away where nothing else is in it.
        config: what was written.
        before: the context that becomes the current one again, where ours is.
    """
    found = _read(path)
    if not _is_kubeconfig(found):
        return
    if any(entry not in (found.get(part) or ()) for part in _PARTS for entry in config[part]):
        return
    others = _others(found)
    with contextlib.suppress(OSError, RolloutError):
        if not any(others.values()) and set(found) <= _PLAIN_KEYS:
            path.unlink()
            return
        rest = found | others
        if rest.get("current-context") == NAME:
            rest["current-context"] = before if before != NAME else ""
        _put(path, rest)


def _servers(found: Object) -> list[str]:
    """Return where the embedded cluster of a kubeconfig is."""
    entries = [e.get("cluster") for e in found.get("clusters") or () if e["name"] == NAME]
    return [str(cluster.get("server")) for cluster in entries if isinstance(cluster, dict)]


def _answers(url: str) -> bool:
    """Whether an embedded cluster is there: one that is suspended is, though it says nothing.

    Anything else may have got the port of one that has ended.
    """
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port
    except ValueError:
        return False
    if address.scheme != "http" or host is None or port is None:
        return False
    speaker = http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
    try:
        speaker.request("GET", "/version")
        answer = speaker.getresponse().read(_MOST_ANSWER)
    except TimeoutError:
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        speaker.close()
    return b'"gitVersion"' in answer or b'"Status"' in answer  # an error is one that a fault made


def _put(path: Path, document: Object) -> None:
    write_private(path.resolve(), yaml.safe_dump(document, sort_keys=False).encode())


def _others(found: Object) -> Object:
    """Return the entries that are not of an embedded cluster."""
    return {
        part: [entry for entry in found.get(part) or () if entry["name"] != NAME] for part in _PARTS
    }


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever stands there
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError):
        return None


def _is_kubeconfig(found: Any) -> bool:  # noqa: ANN401 - whatever stands there
    if not isinstance(found, dict) or found.get("kind") != "Config":
        return False
    return all(
        isinstance(entries := found.get(part) or [], list)
        and all(isinstance(e, dict) and isinstance(e.get("name"), str) for e in entries)
        for part in _PARTS
    )
