"""Which cluster, and as whom: from kubeconfig files or from inside a pod, as kubectl finds it.

The kubernetes client loads certificates, tokens and exec plugins. What it leaves unsaid is checked
here first, because it would otherwise go wrong later or silently: a context that isn't there, a
user without usable credentials, a failed plugin, impersonation. No request is made here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import yaml
from kubernetes.client import Configuration
from kubernetes.config import load_kube_config
from kubernetes.config.incluster_config import InClusterConfigLoader

from rollout.errors import ClusterError, Forbidden, UsageError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
IN_CLUSTER = "in-cluster"  # the context's name inside a pod
POOL_SIZE = 32  # connections kept open: more than the threads that write and the watches together
DEFAULT_NAMESPACE = "default"

Entry = dict[str, Any]  # one context, cluster or user, as the file has it


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster and one identity.

    `configuration` belongs to the kubernetes client; `headers` go with every request.
    """

    configuration: Configuration
    context: str
    namespace: str
    headers: tuple[tuple[str, str], ...] = ()
    compress: bool = True

    @property
    def server(self) -> str:
        """The server's URL, without a password that may stand in it."""
        url = urlsplit(str(self.configuration.host))
        return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True, slots=True)
class _Merged:
    """The entries of all files; the first file that names something wins, as with kubectl."""

    files: tuple[Path, ...]
    current: str = ""
    contexts: dict[str, Entry] = field(default_factory=dict)
    clusters: dict[str, Entry] = field(default_factory=dict)
    users: dict[str, Entry] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return ", ".join(map(str, self.files))


def load_target(
    kubeconfig: Path | None,
    context: str | None,
    *,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Target:
    """Find the cluster and load the credentials for it.

    Args:
        kubeconfig: this file and no other; None: KUBECONFIG, else ~/.kube/config, else the pod's
            service account.
        context: None for the file's current context.
        environ: where KUBECONFIG and the in-cluster addresses are looked up.
        service_account: directory with token, ca.crt and namespace inside a pod.

    Raises:
        UsageError: the file or the context that was asked for doesn't exist.
        Forbidden: the credentials can't be had (a plugin failed).
        ClusterError: there's no usable configuration.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise UsageError(f"kubeconfig {kubeconfig} does not exist")
    wanted = [kubeconfig] if kubeconfig is not None else _default_files(environ)
    merged = _merge([path for path in wanted if path.is_file()])
    if merged.files:
        return _from_files(merged, context)
    if context in (None, IN_CLUSTER) and (service_account / "token").is_file():
        return _from_pod(environ, service_account)
    looked = ", ".join(map(str, wanted))
    raise ClusterError(
        f"no kubeconfig found (looked at {looked}); pass --kubeconfig FILE or set KUBECONFIG"
    )


def _default_files(environ: Mapping[str, str]) -> list[Path]:
    listed = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return [Path(part).expanduser() for part in listed or ["~/.kube/config"]]


def _merge(paths: Sequence[Path]) -> _Merged:
    documents = {path: document for path in paths if (document := _read(path))}
    current = next((c for d in documents.values() if (c := d.get("current-context"))), "")
    merged = _Merged(tuple(documents), str(current))
    for path, document in documents.items():
        for key, entries in (
            ("contexts", merged.contexts),
            ("clusters", merged.clusters),
            ("users", merged.users),
        ):
            for name, entry in _named(path, document, key):
                entries.setdefault(name, entry)
    return merged


def _read(path: Path) -> Entry:
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ClusterError(f"kubeconfig {path}:{line}: not YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise ClusterError(f"kubeconfig {path} cannot be read: {said}") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ClusterError(f"kubeconfig {path} is not a mapping with contexts, clusters and users")
    return document


def _named(path: Path, document: Entry, key: str) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of one list; `contexts` hold their body under `context`, and so on."""
    try:
        for entry in document.get(key) or []:
            body = entry[key.removesuffix("s")] or {}
            yield str(entry["name"]), dict(body)
    except (KeyError, TypeError, ValueError) as error:
        raise ClusterError(f"kubeconfig {path}: {key} is not a list of named entries") from error


def _from_files(merged: _Merged, context: str | None) -> Target:
    name = context or merged.current
    if not name:
        raise UsageError(
            f"kubeconfig {merged.where} has no current context; "
            f"choose one with --context: {_listing(merged.contexts)}"
        )
    if name not in merged.contexts:
        known = _listing(merged.contexts)
        raise UsageError(f"context {name!r} is not in {merged.where}; it has: {known}")
    body = merged.contexts[name]
    cluster = _referenced(merged, name, "cluster", merged.clusters)
    user = _referenced(merged, name, "user", merged.users) if body.get("user") else {}
    _check_server(f"cluster {body['cluster']!r} in {merged.where}", cluster.get("server"))
    return Target(
        _load(merged, name, cluster, user),
        name,
        str(body.get("namespace") or DEFAULT_NAMESPACE),
        tuple(_impersonation(user)),
        compress=not cluster.get("disable-compression", False),
    )


def _listing(names: Mapping[str, Entry]) -> str:
    return ", ".join(sorted(names)) or "none"


def _referenced(merged: _Merged, context: str, kind: str, entries: dict[str, Entry]) -> Entry:
    name = merged.contexts[context].get(kind)
    if name not in entries:
        raise ClusterError(
            f"context {context!r} names the {kind} {name!r}, which is not in {merged.where}"
        )
    return entries[name]


def _check_server(place: str, server: object) -> None:
    try:
        url = urlsplit(str(server or ""))
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ClusterError(f"{place}: the server {server!r} is not an http or https URL")


def _load(merged: _Merged, context: str, cluster: Entry, user: Entry) -> Configuration:
    configuration = _configuration()
    files = os.pathsep.join(map(str, merged.files))
    with _complaints() as complaints:
        try:
            load_kube_config(files, context, configuration)
        except Exception as error:  # plugins of any kind run in there
            said = " ".join(str(error).split())
            raise ClusterError(f"kubeconfig {merged.where}: {said}") from error
    if not cluster.get("proxy-url") and _is_loopback(str(configuration.host)):
        configuration.proxy = None
    _check_credentials(configuration, user, complaints)
    _keep_token_clean(configuration)
    return configuration


def _is_loopback(server: str) -> bool:
    """Whether the server is this machine: no proxy of the environment leads there, as in Go."""
    host = urlsplit(server).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _configuration() -> Configuration:
    configuration = Configuration()
    configuration.retries = False  # ours is the only retry policy
    configuration.connection_pool_maxsize = POOL_SIZE
    configuration.keep_alive = True
    return configuration


def _check_credentials(configuration: Configuration, user: Entry, complaints: list[str]) -> None:
    """Refuse to go on as nobody where the file promised a plugin: the client only logs that."""
    if configuration.api_key.get("BearerToken") or configuration.cert_file:
        return
    if plugin := user.get("exec"):
        said = "; ".join([*complaints, *([hint] if (hint := plugin.get("installHint")) else [])])
        raise Forbidden(f"the credential plugin {plugin.get('command')!r} failed: {said}")
    if provider := user.get("auth-provider"):
        raise Forbidden(
            f"the auth-provider {provider.get('name')!r} gave no token; use an exec plugin"
        )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what the client logs about a failed plugin instead of raising it."""
    messages: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]  # the one method that a handler has to have
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield messages
    finally:
        root.removeHandler(handler)


def _keep_token_clean(configuration: Configuration) -> None:
    """Strip the line end that token files have and that no header may have.

    The client sets the token, and its hook, anew before every request.
    """
    renew = configuration.refresh_api_key_hook

    def refresh(renewed: Configuration) -> None:
        if renew is not None:
            with _complaints():
                renew(renewed)
            renewed.refresh_api_key_hook = refresh
        if token := renewed.api_key.get("BearerToken"):
            renewed.api_key["BearerToken"] = token.strip()

    refresh(configuration)


def _impersonation(user: Entry) -> Iterator[tuple[str, str]]:
    """Yield the headers for `as`: the client would act with the user's own rights instead."""
    if name := user.get("as"):
        yield "Impersonate-User", str(name)
    if uid := user.get("as-uid"):
        yield "Impersonate-Uid", str(uid)
    for group in user.get("as-groups") or []:
        yield "Impersonate-Group", str(group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(key), safe='')}", str(value)


def _from_pod(environ: Mapping[str, str], service_account: Path) -> Target:
    configuration = _configuration()
    loader = InClusterConfigLoader(
        token_filename=str(service_account / "token"),
        cert_filename=str(service_account / "ca.crt"),
        environ=environ,
    )
    try:
        loader.load_and_set(configuration)
        namespace = (service_account / "namespace").read_text("utf-8").strip()
    except Exception as error:  # the client's own errors and the file system's
        raise ClusterError(f"inside a pod, but {service_account}: {error}") from error
    _keep_token_clean(configuration)
    return Target(configuration, IN_CLUSTER, namespace or DEFAULT_NAMESPACE)
