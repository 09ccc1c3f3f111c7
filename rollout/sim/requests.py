"""Requests and answers without a transport, and what a request's path and query ask for.

The server turns bytes on a socket into a `Request` and an `Answer` back into bytes; a test or a
simulation hands them over in process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

from rollout.sim.errors import StatusError
from rollout.sim.resources import BY_PATH, Resource

JSON: Final = "application/json"
YAML: Final = "application/yaml"
TEXT: Final = "text/plain; charset=utf-8"

encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Request:
    """One request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    target: str = ""  # path and query as they were sent, for the audit log

    @classmethod
    def parse(
        cls, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Request:
        """Build a request from a request target (`/api/v1/pods?limit=5`)."""
        path, _, query = target.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True) if query else ()
        first: dict[str, str] = {}
        for key, value in pairs:
            first.setdefault(key, value)
        path = unquote(path) if "%" in path else path
        return cls(method, path, first, headers or {}, body, target)

    @property
    def media_type(self) -> str:
        """What form the body has, without parameters; "" when nobody says."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def flag(self, name: str) -> bool:
        """Whether a boolean query parameter is set (`watch=1`, `watch=true`)."""
        return self.query.get(name, "").lower() in ("1", "t", "true")

    def number(self, name: str) -> int | None:
        """Return an integer query parameter, None when absent.

        Raises:
            StatusError: 400 when it is no number.
        """
        text = self.query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            why = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise StatusError(400, "BadRequest", why) from None


@dataclass(slots=True)
class Response:
    """An answer; `body` may be a function, run outside the cluster's lock, that renders it.

    Transports honour `delay` and `lost`, which faults set.
    """

    status: int
    body: bytes | Callable[[], bytes]
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds that the transport waits before it answers
    lost: bool = False  # the transport cuts the connection instead of answering

    def render(self) -> bytes:
        """Return the body's bytes."""
        return self.body if isinstance(self.body, bytes) else self.body()


Relay: TypeAlias = Callable[[bytes, Callable[[bytes], None]], None]
"""Gets a chunk, and what passes it on."""


class Stream:
    """An answer that goes on: watch events or followed logs, as bytes in order.

    The producer appends under the cluster's lock; the transport is told through `wake` and takes
    what is there. Closing from either side ends it.
    """

    def __init__(self, content_type: str = JSON) -> None:
        self.content_type = content_type
        self.headers: dict[str, str] = {}
        self.delay = 0.0  # seconds that the transport waits before it answers
        self.lost = False  # cut off instead of ended
        self.closed = False
        self.wake: Callable[[], None] = _nothing
        self.on_close: list[Callable[[], None]] = []
        self._chunks: list[bytes] = []
        self._relays: list[Relay] = []

    def send(self, chunk: bytes) -> None:
        """Queue bytes for the client, by way of the relays if there are any."""
        self._pass_on(0, chunk)

    def _pass_on(self, place: int, chunk: bytes) -> None:
        if place < len(self._relays):
            self._relays[place](chunk, lambda passed: self._pass_on(place + 1, passed))
        elif not self.closed:
            self._chunks.append(chunk)
            self.wake()

    def relay(self, relay: Relay) -> None:
        """Give all bytes, also those still queued, to `relay`, which may pass them on.

        Several relays stand in a row; a later one gets what an earlier one passes on.
        """
        self._relays.append(relay)
        for chunk in self.take():
            self._pass_on(len(self._relays) - 1, chunk)

    def take(self) -> list[bytes]:
        """Return what has been queued since the last call."""
        chunks, self._chunks = self._chunks, []
        return chunks

    def close(self) -> None:
        """End the stream; what is queued can still be taken."""
        if self.closed:
            return
        self.closed = True
        for callback in self.on_close:
            callback()
        self.wake()


def _nothing() -> None:
    """Nobody waits for this stream yet."""


Answer: TypeAlias = Response | Stream


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; `resource` is None for paths such as /healthz."""

    path: str
    verb: str
    resource: Resource | None = None
    namespace: str = ""
    name: str = ""
    subresource: str = ""


_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_OPTIONS: Final = {
    "POST": "CreateOptions",
    "PUT": "UpdateOptions",
    "PATCH": "PatchOptions",
    "DELETE": "DeleteOptions",
}
_NAMESPACE_SUBRESOURCES: Final = ("status", "finalize")


def options_kind(request: Request) -> str:
    """Return what a write's options are called in refusals (`CreateOptions`)."""
    return _OPTIONS.get(request.method, "ListOptions")


def check_media_type(media_type: str, accepted: Collection[str]) -> None:
    """Refuse a body in a form that nobody reads.

    Raises:
        StatusError: 415, with the accepted forms.
    """
    if media_type not in accepted:
        message = (
            "the body of the request was in an unknown format - accepted media types include: "
            f"{', '.join(accepted)}"
        )
        raise StatusError(415, "UnsupportedMediaType", message)


def target_of(request: Request) -> Target:
    """Say what the request is for; unknown paths have no resource."""
    verb = _VERBS.get(request.method, "")
    parts = [part for part in request.path.split("/") if part]
    found = _resource_of(parts)
    if found is None:
        return Target(request.path, verb)
    resource, namespace, rest = found
    name = rest[0] if rest else ""
    subresource = rest[1] if len(rest) > 1 else ""
    return Target(
        request.path, _resource_verb(request, verb, name), resource, namespace, name, subresource
    )


def _resource_of(parts: list[str]) -> tuple[Resource, str, list[str]] | None:
    if parts[:1] == ["api"]:
        group, rest = "", parts[1:]
    elif parts[:1] == ["apis"]:
        group, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
    else:
        return None
    if len(rest) < 2:  # noqa: PLR2004 - version and plural
        return None
    version, *rest = rest
    namespace = ""
    named = len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES  # noqa: PLR2004 - plural and name come first
    if rest[0] == "namespaces" and (named or (len(rest) > 2 and group)):  # noqa: PLR2004 - plural and name come first
        namespace, rest = rest[1], rest[2:]
    resource = BY_PATH.get((group, version, rest[0]))
    too_long = len(rest) > 3  # noqa: PLR2004 - plural, name and subresource
    if resource is None or too_long or (namespace and not resource.namespaced):
        return None
    return resource, namespace, rest[1:]


def _resource_verb(request: Request, verb: str, name: str) -> str:
    if verb == "get":
        if request.flag("watch"):
            return "watch"
        return "get" if name else "list"
    if verb == "delete" and not name:
        return "deletecollection"
    return verb


def status_body(code: int, **more: Any) -> bytes:  # noqa: ANN401 - details are JSON
    """Encode a `Status` that reports success."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", **more}
    if code != 200:  # noqa: PLR2004 - deletes answer without a code
        status["code"] = code
    return encode(status)


def refusal(error: StatusError) -> Response:
    """Turn a refusal into its answer."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return Response(error.code, encode(error.body()), headers=headers)
