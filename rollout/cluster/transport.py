"""Requests over the kubernetes client's `ApiClient`, raw bytes in and out, nothing leaking.

Why not the generated methods: their models cost 60 times more to decode, and their errors come
from three libraries. Here every call has a timeout, nothing is retried, and whatever goes wrong is
raised as one of `rollout.errors`. A 401 renews the credentials once (exec plugin, token file,
rotated kubeconfig) and repeats the request, which was not carried out.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected
from types import TracebackType
from typing import Any, Self

import urllib3
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from urllib3 import exceptions as broken

from rollout import __version__
from rollout.cluster.answers import Effect, error_of_answer, lost
from rollout.cluster.connect import Target
from rollout.cluster.skew import ClockSkew
from rollout.errors import ClusterError, Forbidden, RolloutError, Unreachable

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 30.0
CHUNK = 1 << 16  # bytes asked of an answer at a time
LARGEST_ANSWER = 1 << 30  # bytes; the list of 100,000 pods in one piece takes half of it
LARGEST_EVENT = 1 << 24  # bytes of one line of a watch; etcd stores no object of more than 1.5 MiB

# Whatever the libraries raise in place of an answer; our own mistakes are not among them.
_FAILURES = (broken.HTTPError, ApiException, HTTPException, OSError, ValueError)
_NEVER_SENT = (
    broken.NewConnectionError,  # refused, no route, no such host
    broken.ConnectTimeoutError,
    broken.ProxyError,
    broken.ClosedPoolError,
    broken.EmptyPoolError,
    broken.LocationValueError,
)
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (broken.NameResolutionError, "the host name cannot be resolved"),
    (broken.ReadTimeoutError, "the server is silent"),
    (broken.DecodeError, "the answer cannot be decompressed"),
    (RemoteDisconnected, "the connection was closed without an answer"),
    (IncompleteRead, "the answer was cut short"),
    (BadStatusLine, "the answer is not HTTP"),
    (TimeoutError, f"no connection within {CONNECT_TIMEOUT_S:g} s"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request below the server's URL."""

    method: str
    path: str
    query: Mapping[str, str]
    effect: Effect
    body: object = None
    content_type: str = "application/json"
    gzip: bool = False


class Transport:
    """Sends requests from any thread.

    Args:
        load: finds the cluster and the credentials of a context (None: the current one); called
            again, for the context that it found, when they stop being accepted.
        context: which to load first.
        read_timeout_s: the longest silence in the middle of an answer.
        largest_answer: bytes, unpacked, of an answer that is read; more is an attack.
        now: wall clock in seconds, compared with the server's.
    """

    def __init__(
        self,
        load: Callable[[str | None], Target],
        context: str | None = None,
        *,
        read_timeout_s: float = READ_TIMEOUT_S,
        largest_answer: int = LARGEST_ANSWER,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self._now = now
        self._timeout = (CONNECT_TIMEOUT_S, read_timeout_s)
        self._largest = largest_answer
        self._lock = threading.Lock()
        self._session = _Session(load(context))
        self.reached = False
        self.skew = ClockSkew()

    @property
    def target(self) -> Target:
        """Where requests go, and as whom."""
        return self._session.target

    def send(
        self,
        request: Request,
        *,
        permit: Callable[[], None] = lambda: None,
        timeout_s: float | None = None,
    ) -> bytes:
        """Return the body of the answer to a request that the server accepted.

        Args:
            request: what to send.
            permit: called right before every sending, also before the one with renewed
                credentials; keeps the request back by raising.
            timeout_s: for the connection and for each silence, where it must be shorter than usual.

        Raises:
            ClusterError: the one that says what to do next.
        """
        response = self._exchange(request, self._shortened(timeout_s), permit)
        if not HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self._refusal(request, response)
        return self._read(request, response)

    def open(self, request: Request, silence_s: float) -> Stream:
        """Return the lines of an answer that goes on.

        Args:
            request: a watch.
            silence_s: without a byte for so long, reading raises TimeoutError.
        """
        response = self._exchange(request, (CONNECT_TIMEOUT_S, silence_s), lambda: None)
        if response.status != HTTPStatus.OK:
            raise self._refusal(request, response)
        return Stream(response.response, lambda error: self._failure(request, error))

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _shortened(self, limit_s: float | None) -> tuple[float, float]:
        connect_s, read_s = self._timeout
        return self._timeout if limit_s is None else (min(connect_s, limit_s), min(read_s, limit_s))

    def _exchange(  # the client's response is untyped
        self, request: Request, timeout: tuple[float, float], permit: Callable[[], None]
    ) -> Any:  # noqa: ANN401 - urllib3's or the plugin's response
        session = self._session
        response = self._attempt(session, request, timeout, permit)
        if response.status != HTTPStatus.UNAUTHORIZED:
            return response
        response.response.drain_conn()
        return self._attempt(self._renewed(session), request, timeout, permit)

    def _attempt(
        self,
        session: _Session,
        request: Request,
        timeout: tuple[float, float],
        permit: Callable[[], None],
    ) -> Any:  # noqa: ANN401 - as above
        prepared = session.prepare(request)
        permit()  # behind the plugin that may have run just now
        asked = self._now()
        try:
            response = session.api.call_api(*prepared, _request_timeout=timeout)
        except _FAILURES as error:
            raise self._failure(request, error) from error
        self.reached = True
        self.skew.observe(asked, self._now(), response.headers.get("Date", ""))
        return response

    def _renewed(self, old: _Session) -> _Session:
        """Load the credentials again; threads that met the same 401 share the result."""
        with self._lock:
            if self._session is old:
                self._session = _Session(self._reload(old.target))
                old.close()
            return self._session

    def _reload(self, old: Target) -> Target:
        """Read the same context again: by now the current one may be another cluster's."""
        try:
            target = self._load(old.context)
        except RolloutError as error:
            raise Forbidden(f"the credentials cannot be renewed: {error}") from error
        if target.server != old.server:
            raise Forbidden(
                f"the credentials cannot be renewed: context {old.context!r} "
                f"was {old.server} and is {target.server} now"
            )
        return target

    def _describe(self, request: Request) -> str:
        return f"{request.method} {self.target.server}{request.path}"

    def _read(self, request: Request, response: Any) -> bytes:  # noqa: ANN401 - as above
        parts: list[bytes] = []
        size = 0
        try:
            for part in response.response.stream(CHUNK):
                size += len(part)
                if size > self._largest:
                    response.response.close()
                    break
                parts.append(part)
        except _FAILURES as error:
            raise self._failure(request, error) from error
        if size > self._largest:
            described = self._describe(request)
            raise lost(
                f"{described}: the answer is larger than {self._largest:,} bytes", request.effect
            )
        return b"".join(parts)

    def _refusal(self, request: Request, response: Any) -> ClusterError:  # noqa: ANN401 - as above
        body = self._read(request, response)
        described = self._describe(request)
        return error_of_answer(described, request.effect, response.status, body, response.headers)

    def _failure(self, request: Request, error: Exception) -> ClusterError:
        return error_of_failure(self._describe(request), request.effect, error)


class _Session:
    """One `ApiClient` with one set of credentials."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.api = ApiClient(configuration=target.configuration)
        self.api.user_agent = f"rollout/{__version__}"
        self._lock = threading.Lock()
        if not target.configuration.verify_ssl:
            # The kubeconfig says so; urllib3 would repeat its warning at every request.
            urllib3.disable_warnings(broken.InsecureRequestWarning)

    def prepare(self, request: Request) -> Sequence[Any]:
        """Return the arguments of `call_api`, with fresh credentials.

        One thread at a time: the client may run a plugin here, and sets its token in two steps.
        """
        headers = {"Accept": "application/json"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if request.gzip and self.target.compress:
            headers["Accept-Encoding"] = "gzip"
        with self._lock:
            try:
                method, url, headers, body, form = self.api.param_serialize(
                    request.method,
                    request.path,
                    query_params=dict(request.query),
                    header_params=headers,
                    body=request.body,
                    auth_settings=["BearerToken"],
                )
            except Exception as error:
                raise Forbidden(f"the credentials cannot be renewed: {error}") from error
        repeated = urllib3.HTTPHeaderDict(headers)
        for name, value in self.target.headers:
            repeated.add(name, value)
        return method, url, repeated, body, form

    def close(self) -> None:
        self.api.close()


class Stream:
    """The lines of a running watch; used by one thread, `interrupt`ed by any other."""

    def __init__(
        self, response: urllib3.HTTPResponse, translate: Callable[[Exception], ClusterError]
    ) -> None:
        self._response = response
        self._translate = translate

    def __enter__(self) -> Self:
        """Hold the connection."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the connection go."""
        self._response.close()

    def lines(self) -> Iterator[bytes]:
        """Yield whole lines until the server ends the answer properly.

        Raises:
            TimeoutError: the server has been silent for too long.
            Unreachable: the connection broke, the answer ended inside a line, or a line has no end.
        """
        begun: list[bytes] = []  # of a line whose end has not come; joined once, however long it is
        size = 0
        while chunk := self._read():
            first, *others = chunk.split(b"\n")
            begun.append(first)
            size += len(first)
            if size > LARGEST_EVENT:
                raise Unreachable(f"the server sent an event of more than {LARGEST_EVENT:,} bytes")
            if others:
                *whole, rest = b"".join(begun), *others
                yield from filter(None, whole)
                begun, size = [rest], len(rest)
        if b"".join(begun).strip():
            raise Unreachable("the server ended a watch in the middle of an event")

    def interrupt(self) -> None:
        """Make the reading thread stop at once."""
        try:
            self._response.shutdown()
        except (OSError, RuntimeError, ValueError):
            return  # it has ended by itself

    def _read(self) -> bytes:
        try:
            return self._response.read1(CHUNK)
        except broken.ReadTimeoutError as error:
            raise TimeoutError from error
        except _FAILURES as error:
            raise self._translate(error) from error


def error_of_failure(request: str, effect: Effect, error: Exception) -> ClusterError:
    """Translate what urllib3 or the kubernetes client raised in place of an answer.

    Args:
        request: method, path and server, for the message.
        effect: whether the request could change anything.
        error: any exception of a call.
    """
    cause = error.__context__ if isinstance(error, ApiException) else error
    if isinstance(cause, broken.SSLError) and (reason := _distrust(cause)):
        return ClusterError(f"{request}: no secure connection: {reason}; check the kubeconfig")
    if isinstance(cause, ValueError) and not isinstance(cause, broken.HTTPError):
        # Its text would show the header that cannot be sent: the token.
        return ClusterError(f"{request}: cannot be sent; check the token in the kubeconfig")
    message = f"{request}: {_reason(cause or error)}"
    if isinstance(cause, _NEVER_SENT):
        return Unreachable(message)
    return lost(message, effect)


def _distrust(error: broken.SSLError) -> str:
    """Return why the handshake can't ever succeed, or "" if the line just broke."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted ({inner.verify_message})"
    if isinstance(inner, ssl.SSLError) and inner.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST"}:
        return "the server does not speak TLS"
    return ""


def _reason(error: BaseException) -> str:
    """Return the few words behind a chain of wrapped errors."""
    seen: BaseException | None = error
    while seen is not None:
        for kind, words in _WORDS:
            if isinstance(seen, kind):
                return words
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        seen = seen.__cause__ or seen.__context__
    return str(error) or type(error).__name__
