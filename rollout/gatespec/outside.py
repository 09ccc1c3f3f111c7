"""Gates that ask somebody outside the cluster's API: a server, a command, a plugin."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from rollout.gatespec.base import (
    INTERVAL_DEFAULT,
    Duration,
    GateBase,
    SecretRef,
    check_positive_duration,
)
from rollout.gatespec.jsonpath import parse_path
from rollout.gatespec.promql import check_query, placeholders
from rollout.specfields import Name, Struct, checked

Status: TypeAlias = Annotated[int, msgspec.Meta(ge=100, le=599)]
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "authorization"})


def check_url(value: str) -> None:
    """Refuse what is no http address, and a password that would stand in the plan.

    Raises:
        ValueError: with what is wrong with it.
    """
    if not all("!" <= character <= "~" for character in value):
        raise ValueError("holds blanks or letters beyond ASCII; escape them (%20)")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(f"'{value}' is not an address; write https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{value}' is not an address; write https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a user or password in it; use secretRef instead")


def check_headers(value: dict[str, str]) -> None:
    """Refuse headers that are none, and those that are not the spec's to set.

    Raises:
        ValueError: with the header's name.
    """
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or not text.isprintable():
            raise ValueError(f"'{name}' is not a header of one line; mend it")
        if name.lower() in _OURS:
            raise ValueError(f"'{name}' is not set this way; a credential comes from secretRef")


class Tls(Struct, frozen=True, kw_only=True):
    """`tls`: whom to trust instead of the machine's own certificates."""

    ca_file: Name | None = None
    ca: SecretRef | None = None  # a bundle in PEM, also from a Secret
    server_name: str = ""  # in the certificate, where it isn't the address's

    def __post_init__(self) -> None:
        if self.ca_file is not None and self.ca is not None:
            raise ValueError("ca: excludes caFile; the bundle comes from one place")


class Alerts(Struct, frozen=True, kw_only=True):
    """`alerts`: passes while none of them fires, but those that are ignored by name."""

    match: dict[str, str] = msgspec.field(default_factory=dict)  # labels of the alerts that count
    ignore: tuple[Name, ...] = ()  # alert names


class PrometheusGate(GateBase, frozen=True, kw_only=True, tag="prometheus"):
    """A query of a Prometheus server, judged by the conditions on `result`; or its alerts."""

    url: str
    query: str = ""
    alerts: Alerts | None = None
    range: Duration | None = None  # a range query over so long until now; None: instant
    step: Duration = INTERVAL_DEFAULT  # of a range query
    series: Literal["one", "all", "any"] = "one"  # how many, and how many of them must pass
    max_age: Duration | None = None  # of a sample; None: anything newer than the change
    auth: Literal["bearer", "basic"] = "bearer"
    username: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("url", check_url, self.url)
        checked("headers", check_headers, self.headers)
        checked("step", check_positive_duration, self.step)
        if self.range is not None:
            checked("range", check_positive_duration, self.range)
        if self.max_age is not None:
            checked("maxAge", check_positive_duration, self.max_age)
        if urlsplit(self.url).query:
            raise ValueError("url: ends before the '?'; it is where /api/v1 begins")
        checked("query", check_query, self.query)
        self._check_placeholders()
        if bool(self.query.strip()) == (self.alerts is not None):
            raise ValueError("query: give exactly one of query and alerts")
        judged = self.success_condition or self.failure_condition or self.threshold_range
        if self.query and not judged:
            raise ValueError(
                "query: needs successCondition, failureCondition or thresholdRange to be judged by"
            )
        if self.alerts is not None and (judged or self.range is not None):
            raise ValueError("alerts: is judged by itself; leave conditions and range out")
        if self.auth == "basic" and not (self.username and self.secret_ref):
            raise ValueError("auth: basic needs username, and the password from secretRef")

    def _check_placeholders(self) -> None:
        """Refuse those that never have a value where the gate stands."""
        used, what = placeholders(self.query), self.at.rpartition("-")[2]
        if "node" in used and what != "node":
            raise ValueError("query: {{node}} has a value at before-node and after-node only")
        if "age" in used and self.precedes:
            raise ValueError(
                f"query: {{{{age}}}} has no value at {self.at}: nothing is changed yet"
            )
        if "wave" in used and what not in ("wave", "node"):
            raise ValueError(f"query: {{{{wave}}}} has no value at {self.at}, which is of no wave")


class PodPort(Struct, frozen=True, kw_only=True):
    """`podPort`: ask the updated node's own pod, at its IP."""

    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    scheme: Literal["http", "https"] = "http"
    daemon_set: str = ""  # which pod, where the rollout has several DaemonSets


class HttpGate(GateBase, frozen=True, kw_only=True, tag="http"):
    """A request whose status, and a value in whose answer, decide."""

    url: str = ""
    pod_port: PodPort | None = None
    path: str = "/"  # with podPort
    method: Literal["GET", "POST"] = "GET"
    body: str | None = None
    expected_status: tuple[Status, ...] = (200,)
    json_path: str | None = None  # the value that the conditions see as `result`
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    auth: Literal["bearer", "basic"] = "bearer"
    username: str = ""
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if bool(self.url) == (self.pod_port is not None):
            raise ValueError("url: give exactly one of url and podPort")
        if self.url:
            checked("url", check_url, self.url)
        if not self.path.startswith("/"):
            raise ValueError("path: begins with '/'")
        checked("headers", check_headers, self.headers)
        if not self.expected_status:
            raise ValueError("expectedStatus: is empty; no answer could pass")
        if self.body is not None and self.method == "GET":
            raise ValueError("body: is sent with method POST only")
        if self.auth == "basic" and not (self.username and self.secret_ref):
            raise ValueError("auth: basic needs username, and the password from secretRef")
        judged = self.success_condition or self.failure_condition or self.threshold_range
        if self.json_path is not None:
            checked("jsonPath", parse_path, self.json_path)
        if self.json_path is not None and not judged:
            raise ValueError(
                "jsonPath: needs successCondition, failureCondition or thresholdRange beside it"
            )


class WebhookGate(GateBase, frozen=True, kw_only=True, tag="webhook"):
    """Posts what happens; 2xx passes, 409 and 425 wait, anything else fails."""

    url: str
    trip: bool = False  # the inverse: 2xx means roll back now
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        checked("url", check_url, self.url)
        checked("headers", check_headers, self.headers)
        if self.success_condition or self.failure_condition or self.threshold_range:
            raise ValueError("kind: webhook is judged by its status; leave conditions out")
        if self.trip and self.on_failure not in (None, "rollback"):
            raise ValueError("trip: means roll back now; onFailure can only be rollback")
        if self.trip:
            msgspec.structs.force_setattr(self, "on_failure", "rollback")


class CommandGate(GateBase, frozen=True, kw_only=True, tag="command"):
    """A program; 0 passes, 75 is inconclusive, anything else fails. Never through a shell."""

    argv: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    per_node: bool = False

    def __post_init__(self) -> None:
        GateBase.__post_init__(self)
        if not self.argv[0] or any("\0" in part for part in self.argv):
            raise ValueError("argv: is a program and its arguments")
        for name in self.env:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"env: '{name}' is not a variable's name")


class PluginGate(GateBase, frozen=True, kw_only=True, tag="plugin"):
    """A kind of gate that an installed package brings (entry point group `rollout.gates`)."""

    plugin: Name
    per_node: bool = False
    settings: dict[str, Any] = msgspec.field(
        default_factory=dict
    )  # handed to the plugin as they are
