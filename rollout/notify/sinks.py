"""Sends one message to one sink; through the same safe way out as gates."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import CORE
from rollout.cluster.paths import resource_path
from rollout.gates.outside import Call, OutsideError, Trust, ask, read_trust
from rollout.gates.secrets import read_secret
from rollout.gates.settings import Settings
from rollout.gates.webhook import SIGNATURE, sign
from rollout.notify.messages import Message, for_kubernetes, for_pagerduty, for_slack
from rollout.notifyspec import EventsSink, PagerDutySink, Sink, SlackSink, WebhookSink
from rollout.planner.plan import Plan
from rollout.quantity import parse_duration


@dataclass(frozen=True, slots=True)
class Sender:
    """What sending needs.

    Attributes:
        client: of the cluster.
        plan: of the run.
        settings: which hosts may be asked.
        namespace: of the rollout, for Secrets without one.
    """

    client: Client
    plan: Plan
    settings: Settings
    namespace: str

    def send(self, sink: Sink, message: Message) -> None:
        """Send a message once.

        Raises:
            RolloutError: it was not taken; the text holds no secret.
        """
        match sink:
            case EventsSink():
                self._leave_events(message)
            case WebhookSink():
                body = msgspec.json.encode(message)
                headers = dict(sink.headers)
                if sink.secret_ref is not None:
                    key = read_secret(sink.secret_ref, self.client, self.namespace)
                    headers[SIGNATURE] = sign(key.reveal(), body)
                self._post(sink, self._url(sink), body, headers, read_trust(sink.tls, self))
            case SlackSink():
                body = msgspec.json.encode(for_slack(message))
                trust = read_trust(sink.tls, self)
                self._post(sink, self._url(sink), body, dict(sink.headers), trust)
            case PagerDutySink():
                key = read_secret(sink.secret_ref, self.client, self.namespace)
                body = msgspec.json.encode(for_pagerduty(message, sink, key.reveal()))
                self._post(sink, sink.url, body, {}, read_trust(sink.tls, self))

    def _url(self, sink: WebhookSink | SlackSink) -> str:
        if sink.url is not None:
            return sink.url
        assert sink.url_from is not None
        return read_secret(sink.url_from, self.client, self.namespace).reveal()

    def _post(
        self, sink: Sink, url: str, body: bytes, headers: dict[str, str], trust: Trust
    ) -> None:
        told = {**headers, "Content-Type": "application/json"}
        call = Call("POST", url, parse_duration(sink.timeout), told, body, trust)
        try:
            answer = ask(call, self.settings)
        except OutsideError as error:
            raise OutsideError(_without(str(error), url, sink)) from None
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
            raise OutsideError(f"the receiver says {answer.status}")

    def _leave_events(self, message: Message) -> None:
        for ds in self.plan.daemon_sets:
            name = f"{ds.name}.{secrets.token_hex(8)}"
            path = resource_path(CORE, "events", namespace=ds.namespace)
            self.client.create(path, for_kubernetes(message, ds, name), dict[str, Any])


def _without(text: str, url: str, sink: Sink) -> str:
    """Take an address out of a message where it is a secret itself."""
    secret = getattr(sink, "url_from", None) is not None
    return text.replace(url, "its address") if secret else text
