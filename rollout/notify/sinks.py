"""Sends one message to one sink; through the same safe way out as gates."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.fleet import CORE
from rollout.cluster.paths import resource_path
from rollout.errors import RolloutError
from rollout.gates.outside import Call, OutsideError, ask, read_trust
from rollout.gates.secrets import Secret, read_secret
from rollout.gates.settings import Settings
from rollout.gates.webhook import SIGNATURE, sign
from rollout.gatespec import SecretRef
from rollout.notify.messages import About, Message, for_kubernetes, for_pagerduty, for_slack
from rollout.notifyspec import EventsSink, PagerDutySink, Sink, SlackSink, WebhookSink
from rollout.quantity import parse_duration


@dataclass(slots=True)
class Sender:
    """What sending needs.

    Attributes:
        client: of the cluster; once the run has its lock the one whose writes ask for it (S5).
        about: the run.
        settings: which hosts may be asked.
    """

    client: Client
    about: About
    settings: Settings

    @property
    def namespace(self) -> str:
        """Of the rollout, for Secrets without one."""
        return self.about.namespace

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
                signed = _signed(body, self._secret(sink.secret_ref)) if sink.secret_ref else {}
                self._post(sink, self._url(sink), body, {**sink.headers, **signed})
            case SlackSink():
                body = msgspec.json.encode(for_slack(message))
                self._post(sink, self._url(sink), body, sink.headers)
            case PagerDutySink():
                key = self._secret(sink.secret_ref).reveal()
                body = msgspec.json.encode(for_pagerduty(message, sink, key))
                self._post(sink, sink.url, body, {})

    def _secret(self, ref: SecretRef) -> Secret:
        return read_secret(ref, self.client, self.namespace)

    def _url(self, sink: WebhookSink | SlackSink) -> str | Secret:
        if sink.url is not None:
            return sink.url
        assert sink.url_from is not None
        return self._secret(sink.url_from)

    def _post(
        self,
        sink: WebhookSink | SlackSink | PagerDutySink,
        address: str | Secret,
        body: bytes,
        headers: Mapping[str, str],
    ) -> None:
        url = address.reveal() if isinstance(address, Secret) else address
        told = {**headers, "Content-Type": "application/json"}
        trust = read_trust(sink.tls, self)
        call = Call("POST", url, parse_duration(sink.timeout), told, body, trust)
        try:
            answer = ask(call, self.settings)
        except RolloutError as error:
            text = address.redact(str(error)) if isinstance(address, Secret) else str(error)
            raise OutsideError(text) from None
        if answer.redirects:
            raise OutsideError(f"it redirects ({answer.status}); give its final address")
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110, section 15.3
            raise OutsideError(f"it answers {answer.status}")

    def _leave_events(self, message: Message) -> None:
        for ds in self.about.daemon_sets:
            name = f"{ds.name}.{secrets.token_hex(8)}"
            path = resource_path(CORE, "events", namespace=ds.namespace)
            self.client.create(path, for_kubernetes(message, ds, name), dict[str, Any])


def _signed(body: bytes, key: Secret) -> dict[str, str]:
    return {SIGNATURE: sign(key.reveal(), body)}
