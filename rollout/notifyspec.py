"""The sinks of a spec, as types: who is told what about a run, and where the address comes from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from rollout.gatespec.base import Duration, SecretRef, check_name, check_positive_duration
from rollout.gatespec.outside import Tls, check_headers, check_url
from rollout.specfields import Name, Struct, checked

Occasion: TypeAlias = Literal[
    "started", "wave-done", "approval-wanted", "held", "failed", "rolled-back", "done"
]


class SinkBase(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What all kinds of sinks have in common."""

    name: Name
    events: tuple[Occasion, ...] = ()  # empty: all of them
    timeout: Duration = "10s"  # of one try

    @property
    def kind(self) -> str:
        """The kind, as the spec writes it."""
        return str(self.__struct_config__.tag)

    def __post_init__(self) -> None:
        checked("name", check_name, self.name)
        checked("timeout", check_positive_duration, self.timeout)


class _Addressed(SinkBase, frozen=True, kw_only=True):
    """A sink at an address that stands in the spec, or is itself a secret."""

    url: str | None = None
    url_from: SecretRef | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        SinkBase.__post_init__(self)
        if (self.url is None) == (self.url_from is None):
            raise ValueError("url: give exactly one of url and urlFrom")
        if self.url is not None:
            checked("url", check_url, self.url)
        checked("headers", check_headers, self.headers)


class WebhookSink(_Addressed, frozen=True, kw_only=True, tag="webhook"):
    """Gets every message as JSON (schema `rollout.notice/v1`)."""

    secret_ref: SecretRef | None = None  # signs the body: X-Rollout-Signature: sha256=HMAC


class SlackSink(_Addressed, frozen=True, kw_only=True, tag="slack"):
    """Gets a line of text, as Slack's incoming webhooks and their like take it."""


class PagerDutySink(SinkBase, frozen=True, kw_only=True, tag="pagerduty"):
    """Gets alerts of the Events API v2: one for each run, triggered and resolved."""

    secret_ref: SecretRef  # the routing key
    url: str = "https://events.pagerduty.com/v2/enqueue"
    events: tuple[Occasion, ...] = ("approval-wanted", "held", "failed", "rolled-back", "done")
    severity: Literal["critical", "error", "warning", "info"] = "error"
    tls: Tls = Tls()

    def __post_init__(self) -> None:
        SinkBase.__post_init__(self)
        checked("url", check_url, self.url)


class EventsSink(SinkBase, frozen=True, kw_only=True, tag="events"):
    """Leaves Kubernetes Events on the DaemonSets: `kubectl describe daemonset` shows them."""


Sink: TypeAlias = WebhookSink | SlackSink | PagerDutySink | EventsSink
