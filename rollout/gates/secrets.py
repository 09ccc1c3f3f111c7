"""Secrets of gates: read when they are needed, and never shown."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from rollout.cluster.client import Client
from rollout.cluster.paths import resource_path
from rollout.errors import ClusterError, RolloutError
from rollout.fleet.objects import JsonObject
from rollout.gatespec.base import SecretKey, SecretRef

LARGEST = 64 * 1024  # bytes; a secret is a word or a key, not a file system
HIDDEN = "***"


class SecretError(RolloutError):
    """A secret cannot be had; the message says where it should be, never what it is."""


class Secret:
    """A value that no representation shows; only `reveal` hands it out."""

    __slots__ = ("_forms", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._forms = _forms(value)

    def reveal(self) -> str:
        """Return the value, for the one place that sends it."""
        return self._value

    def redact(self, text: str) -> str:
        """Return text without the value: neither as it is, nor quoted, nor in base64."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


def read_secret(
    ref: SecretRef,
    client: Client,
    namespace: str,
    environ: Mapping[str, str] = os.environ,
) -> Secret:
    """Read a secret from where the spec says.

    Args:
        ref: the place.
        client: for a Kubernetes Secret.
        namespace: of a Secret that names none.
        environ: for an environment variable.

    Raises:
        SecretError: it isn't there, or is empty, too large, or not text.
    """
    if ref.env is not None:
        place, raw = f"environment variable {ref.env}", _from_environment(ref.env, environ)
    elif ref.file is not None:
        place, raw = f"file {ref.file}", _from_file(ref.file)
    else:
        assert ref.secret is not None
        place = f"Secret {ref.secret.namespace or namespace}/{ref.secret.name}"
        place, raw = f"{place}, key {ref.secret.key}", _from_cluster(ref.secret, client, namespace)
    if len(raw) > LARGEST:
        raise SecretError(f"the secret in {place} is larger than {LARGEST // 1024} KiB")
    try:
        text = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"the secret in {place} is not text in UTF-8") from None
    if not text:
        raise SecretError(f"the secret in {place} is empty; set it")
    return Secret(text)


def _from_environment(name: str, environ: Mapping[str, str]) -> bytes:
    if name not in environ:
        raise SecretError(f"environment variable {name} is not set; export it before the run")
    return environ[name].encode(errors="surrogateescape")


def _from_file(name: str) -> bytes:
    try:
        with Path(name).expanduser().open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SecretError(f"file {name} cannot be read: {reason}; check the path") from None


def _from_cluster(ref: SecretKey, client: Client, namespace: str) -> bytes:
    where = f"Secret {ref.namespace or namespace}/{ref.name}"
    path = resource_path("v1", "secrets", namespace=ref.namespace or namespace, name=ref.name)
    try:
        found: JsonObject = client.get(path, dict)
    except ClusterError as error:
        raise SecretError(f"{where} cannot be read: {error}") from None
    data = found.get("data") or {}
    if ref.key not in data:
        raise SecretError(f"{where} has no key '{ref.key}'; add it")
    try:
        return base64.b64decode(data[ref.key], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise SecretError(f"{where}, key {ref.key}: not base64") from None


def _forms(value: str) -> tuple[str, ...]:
    """Return the ways in which a value may come back to us, the longest first."""
    raw = value.encode(errors="surrogateescape")
    encoded = base64.b64encode(raw).decode()
    escaped = value.encode("unicode_escape").decode()
    lines = [line.strip() for line in value.splitlines() if len(line.strip()) > 8]  # noqa: PLR2004 - a key's line
    forms = {value, " ".join(value.split()), quote(value, safe=""), quote(value), escaped}
    forms |= {encoded, encoded.rstrip("="), base64.urlsafe_b64encode(raw).decode(), *lines}
    return tuple(sorted((form for form in forms if form), key=len, reverse=True))
