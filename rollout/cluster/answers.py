"""What an HTTP answer means: one pure translation into the error tree of `rollout.errors`.

Codes and bodies are those of the recorded exchanges with Kubernetes 1.36. The same code means
different things for a read and for a write: after a failed read nothing is lost, but a write
whose answer is a 5xx or garbage may have been done, and only a read can tell. An answer that
isn't the API server's own (a proxy's HTML page) is never taken for "not found" or "nothing there".
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

import msgspec

from rollout.cluster.serving import NOT_ROUTED
from rollout.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    NotRouted,
    Rejected,
    Throttled,
    Unauthenticated,
    UnknownOutcome,
    Unreachable,
)
from rollout.unreadable import UNREADABLE

SHOWN_BODY = 120  # characters of a foreign answer that go into a message

_BY_CODE: dict[int, type[ClusterError]] = {
    HTTPStatus.BAD_REQUEST: Rejected,
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.METHOD_NOT_ALLOWED: Rejected,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Gone,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Rejected,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Rejected,
    HTTPStatus.UNPROCESSABLE_ENTITY: Rejected,
}


class Effect(enum.Enum):
    """What a request can do to the cluster, and so what silence after it means."""

    READ = "read"
    WRITE = "write"


class Cause(msgspec.Struct, frozen=True):
    """`details.causes[]` of a `Status`."""

    reason: str = ""
    message: str = ""
    field: str = ""


class Details(msgspec.Struct, frozen=True, rename="camel"):
    """`details` of a `Status`."""

    causes: tuple[Cause, ...] | None = None
    retry_after_seconds: float | None = None


class Status(msgspec.Struct, frozen=True):
    """Kubernetes' own error object; `code` is also set inside a watch stream."""

    kind: Literal["Status"]
    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The single complaints behind the message."""
        return (self.details.causes or ()) if self.details else ()

    def has_cause(self, reason: str) -> bool:
        """Whether one of the causes has this reason."""
        return any(cause.reason == reason for cause in self.causes)

    def text(self) -> str:
        """Return the message with those causes that it doesn't already contain.

        A server that refuses an object says it back as a whole, with all that its variables hold.
        """
        extra = [c.message for c in self.causes if c.message and c.message not in self.message]
        said = ": ".join([self.message or self.reason, *(["; ".join(extra)] if extra else [])])
        return _SAID_BACK.sub("Invalid value", said)


# A whole object, as Go (`"map[a:b]"`, `core.Pod{...}`) or JSON writes it: up to the last end, as
# what it holds may look like one.
_SAID_BACK = re.compile(r'Invalid value: (?:"map\[.*\]"|"?&?[\w.]*\{.*\}"?)(?=: )', re.DOTALL)
_DECODER = msgspec.json.Decoder(Status)


def decode_status(body: bytes) -> Status | None:
    """Return the `Status` object in the body, or None if it holds anything else."""
    try:
        return _DECODER.decode(body)
    except UNREADABLE:
        return None


def retry_after_s(headers: Mapping[str, str], status: Status | None = None) -> float | None:
    """Return how many seconds the server wants us to wait, or None if it doesn't say."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    if value:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        # RFC 9110 dates are in GMT; "-0000" parses as naive and means the same.
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return max((aware - datetime.now(UTC)).total_seconds(), 0.0)
    return status.details.retry_after_seconds if status and status.details else None


def lost(message: str, effect: Effect, retry_after: float | None = None) -> ClusterError:
    """Return the error for a request that went out and got no usable answer."""
    if effect is Effect.WRITE:
        return UnknownOutcome(f"{message}; whether the change was made is not known")
    return Unreachable(message, retry_after)


def error_of_answer(
    request: str,
    effect: Effect,
    code: int,
    body: bytes,
    headers: Mapping[str, str],
) -> ClusterError:
    """Translate a refused request.

    Args:
        request: method, path and server, for the message.
        effect: whether the request could change anything.
        code: HTTP status, anything but 2xx.
        body: of the answer, as it came.
        headers: of the answer.
    """
    status = decode_status(body)
    said = status.text() if status else _excerpt(body)
    delay = retry_after_s(headers, status)
    if code == HTTPStatus.UNAUTHORIZED:
        return Unauthenticated(
            f"{request}: the server does not accept the credentials ({code} {said}); "
            "log in again, or choose another --context"
        )
    if status is not None and status.has_cause("NamespaceTerminating"):
        return Rejected(
            f"{said}; nothing can be made there any more: see what its deletion waits for with "
            "'kubectl describe namespace', or plan anew once it has been made again"
        )
    if code == HTTPStatus.FORBIDDEN:
        return Forbidden(f"{said or request}; ask for this permission, or choose another --context")
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        return Throttled(f"{request}: the server asks for patience: {said}", delay)
    if status is not None and code in _BY_CODE:
        return _BY_CODE[code](said)
    if code == HTTPStatus.NOT_FOUND and effect is Effect.READ and body.strip() == NOT_ROUTED:
        return NotRouted(f"{request}: {code} {said}", delay)
    return lost(f"{request}: {code} {said}".rstrip(), effect, delay)


def error_of_status(request: str, status: Status) -> ClusterError:
    """Translate an ERROR event inside a watch stream."""
    body = msgspec.json.encode(status)
    return error_of_answer(request, Effect.READ, status.code, body, {})


def _excerpt(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return text if len(text) <= SHOWN_BODY else text[:SHOWN_BODY] + "..."
