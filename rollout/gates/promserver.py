"""Questions to a Prometheus server over its HTTP API, and answers that can be believed.

An answer that is not what the API documents, says "error" or warns that it may be incomplete is an
error: nothing is concluded from half of the data.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from rollout.gates.context import Context, quote
from rollout.gates.outside import Answer, Call, OutsideError, ask, read_trust
from rollout.gatespec import PrometheusGate
from rollout.quantity import parse_duration
from rollout.unreadable import UNREADABLE

LARGEST = 16 << 20  # bytes; 5,000 series with their labels are about 2 MB
_LONGEST_GET = 4000  # characters of a query in an address; a longer one is posted
T = TypeVar("T")


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant answer (`vector`): value is [time, "number"]."""

    metric: dict[str, str]
    value: tuple[float, str] | None = None  # None: a native histogram


class Line(msgspec.Struct, frozen=True):
    """One series of a range answer (`matrix`)."""

    metric: dict[str, str]
    values: tuple[tuple[float, str], ...] = ()


class Data(msgspec.Struct, frozen=True, rename="camel"):
    """`data` of a query."""

    result_type: str
    result: msgspec.Raw


class Alert(msgspec.Struct, frozen=True):
    """One active alert."""

    labels: dict[str, str]
    state: str


class Alerts(msgspec.Struct, frozen=True):
    """`data` of `/api/v1/alerts`."""

    alerts: tuple[Alert, ...]


class Rule(msgspec.Struct, frozen=True):
    """One rule; `query` and `state` of alerting rules."""

    name: str
    query: str = ""
    state: str = ""


class RuleGroup(msgspec.Struct, frozen=True):
    """A group of rules."""

    rules: tuple[Rule, ...]


class Rules(msgspec.Struct, frozen=True):
    """`data` of `/api/v1/rules`."""

    groups: tuple[RuleGroup, ...]


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    warnings: tuple[str, ...] = ()


def fetch(
    gate: PrometheusGate,
    context: Context,
    path: str,
    parameters: Mapping[str, str],
    type_: type[T],
    timeout_s: float | None = None,
) -> T:
    """Ask the server of a gate.

    Args:
        gate: with address, credentials and certificates.
        context: with the secret and the caller's permissions.
        path: below `/api/v1/`.
        parameters: of the request.
        type_: of `data` in the answer.
        timeout_s: what is left of the gate's own; None: all of it.

    Raises:
        OutsideError: there's no answer that can be believed.
    """
    text = urlencode(parameters)
    url = f"{gate.url.rstrip('/')}/api/v1/{path}"
    headers = {**gate.headers, **credentials(gate.auth, gate.username, context)}
    posted = len(text) > _LONGEST_GET
    if posted:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    elif text:
        url += f"?{text}"
    call = Call(
        "POST" if posted else "GET",
        url,
        parse_duration(gate.timeout) if timeout_s is None else timeout_s,
        headers,
        text.encode() if posted else None,
        read_trust(gate.tls, context),
        LARGEST,
    )
    return _decode(ask(call, context.settings), type_, context)


def credentials(auth: str, username: str, context: Context) -> dict[str, str]:
    """Return the Authorization header that a gate's secret makes; nothing without a secret.

    Raises:
        OutsideError: the secret can't stand in a header.
    """
    if context.secret is None:
        return {}
    secret = context.secret.reveal()
    if auth == "basic":
        pair = base64.b64encode(f"{username}:{secret}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    if not secret.isascii() or not secret.isprintable():
        raise OutsideError("the secret is no token of one line; look at what secretRef names")
    return {"Authorization": f"Bearer {secret}"}


def _decode(answer: Answer, type_: type[T], context: Context) -> T:
    if answer.redirects:
        raise OutsideError(f"the server redirects ({answer.status}); give its final address")
    try:
        envelope = msgspec.json.decode(answer.body, type=_Envelope)
    except UNREADABLE:
        raise OutsideError(
            f"the server answers {answer.status} and not as Prometheus does; is it the address?"
        ) from None
    if envelope.status != "success" or answer.status != 200:  # noqa: PLR2004 - OK
        raise OutsideError(
            f"the server says {answer.status}: {quote(context, envelope.error, 200)}"
        )
    if envelope.warnings:
        raise OutsideError(
            f"the answer may be incomplete: {quote(context, envelope.warnings[0], 200)}"
        )
    found: T = decode(envelope.data, type_)
    return found


def decode(raw: msgspec.Raw, type_: Any) -> Any:  # noqa: ANN401 - any type of this module
    """Return a part of an answer as its type.

    Raises:
        OutsideError: it is something else.
    """
    try:
        return msgspec.json.decode(raw, type=type_)
    except UNREADABLE:
        raise OutsideError("the answer is not what Prometheus documents") from None
