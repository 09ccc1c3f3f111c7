"""The one way out of this process to servers that are not the cluster.

The name is resolved once and the connection goes to the address that was checked. No redirect is
followed, no proxy is used, no cluster credential is known here; an answer is bounded in size and,
from the look-up of the name to its last byte, in time. A cut or endless answer is never a short
one. Plain `http.client` over our own socket: a pooled client would look the name up by itself.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from rollout import __version__
from rollout.cluster.client import Client
from rollout.errors import RolloutError
from rollout.gates.measurement import plain
from rollout.gates.secrets import read_secret
from rollout.gates.settings import Settings
from rollout.gates.targets import Address, Target, check_addresses, check_host, parse_target
from rollout.gatespec.outside import Tls

LARGEST = 1 << 20  # bytes of an answer
_CHUNK = 1 << 16
_ATTEMPTS = 3  # addresses of a name that are tried
_BROKEN = (OSError, http.client.HTTPException, ValueError)


class OutsideError(RolloutError):
    """No usable answer: nothing is known."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose certificates are believed."""

    pem: str | None = None  # None: the machine's own list
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        timeout_s: for all of it.
        pod: the address is a pod's, from the cluster.
    """

    method: str
    url: str
    timeout_s: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    trust: Trust = Trust()
    largest: int = LARGEST
    pod: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    content_type: str = ""

    @property
    def redirects(self) -> bool:
        """Whether it sends us elsewhere, where we don't go."""
        return 300 <= self.status < 400  # noqa: PLR2004 - RFC 9110, section 15.4


class Source(Protocol):
    """Where secrets are read from."""

    @property
    def client(self) -> Client:
        """Of the cluster."""

    @property
    def namespace(self) -> str:
        """Of a Secret without one."""


def read_trust(tls: Tls, context: Source) -> Trust:
    """Read the certificates that a gate trusts.

    Raises:
        OutsideError: the file can't be read.
        SecretError: the secret can't be had.
    """
    if tls.ca is not None:
        bundle = read_secret(tls.ca, context.client, context.namespace)
        return Trust(bundle.reveal(), tls.server_name)
    if tls.ca_file is not None:
        try:
            return Trust(Path(tls.ca_file).expanduser().read_text("utf-8"), tls.server_name)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise OutsideError(f"tls.caFile {tls.ca_file} cannot be read: {reason}") from None
    return Trust(server_name=tls.server_name)


def ask(call: Call, settings: Settings) -> Answer:
    """Send a request and return its whole answer, whatever its status.

    Raises:
        TargetRefused: the caller doesn't allow the target.
        OutsideError: there's no answer, or no whole one in size and time.
    """
    end = time.monotonic() + call.timeout_s
    target = parse_target(call.url)
    check_host(target, settings, pod=call.pod)
    addresses = _resolve(target, end)
    check_addresses(target, addresses, settings, pod=call.pod)
    connection = _connect(target, addresses[:_ATTEMPTS], end)
    try:
        with _watched(connection, end) as late:
            return _exchange(call, target, connection, late)
    finally:
        connection.close()


def _resolve(target: Target, end: float) -> list[Address]:
    """Look the name up, in a thread of its own: the system's resolver knows no time limit."""
    found: list[Address] = []
    failure: list[str] = []

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            found.extend(ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries)
        except (OSError, UnicodeError, ValueError) as error:
            failure.append(getattr(error, "strerror", None) or type(error).__name__)

    thread = threading.Thread(target=look_up, name="gate-resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, end - time.monotonic()))
    if failure or thread.is_alive() or not found:
        said = failure[0] if failure else "no answer from the name service"
        raise OutsideError(f"{target.host} cannot be resolved: {said}")
    return list(dict.fromkeys(found))


def _connect(target: Target, addresses: list[Address], end: float) -> socket.socket:
    said = ""
    for address in addresses:
        left = end - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((str(address), target.port), timeout=left)
        except OSError as error:
            said = f": {error.strerror or 'no answer in time'}"
    raise OutsideError(f"{target.authority} cannot be reached{said}")


@contextmanager
def _watched(connection: socket.socket, end: float) -> Iterator[threading.Event]:
    """Break the connection when the time is over, however slowly bytes still drip."""
    late = threading.Event()
    descriptor = connection.dup()  # the socket itself changes hands when TLS begins

    def cut() -> None:
        late.set()
        try:
            descriptor.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # closed already

    timer = threading.Timer(max(0.0, end - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()
        descriptor.close()


def _exchange(
    call: Call, target: Target, connection: socket.socket, late: threading.Event
) -> Answer:
    wrapped = connection
    try:
        wrapped = _secured(call, target, connection)
        speaker = http.client.HTTPConnection(target.host, target.port)
        speaker.sock = wrapped
        speaker.request(call.method, target.path, call.body, _headers(call, target))
        response = speaker.getresponse()
        with response:
            body = _read(call, target, response)
        if late.is_set():  # our own cut looks like the end of an answer without a length
            raise TimeoutError
        return Answer(response.status, body, response.headers.get("Content-Type", ""))
    except _BROKEN as error:
        # The socket has the same limit, and may be the first to notice.
        if late.is_set() or isinstance(error, TimeoutError):
            limit = f"{call.timeout_s:g} s"
            raise OutsideError(f"{target.authority}: no whole answer within {limit}") from None
        raise OutsideError(f"{target.authority}: {_reason(error)}") from None
    finally:
        wrapped.close()


def _secured(call: Call, target: Target, connection: socket.socket) -> socket.socket:
    if target.scheme == "http":
        return connection
    try:
        context = ssl.create_default_context(cadata=call.trust.pem)
    except ssl.SSLError:
        raise OutsideError("the certificates to trust are not in PEM; mend the bundle") from None
    name = call.trust.server_name or target.host
    return context.wrap_socket(connection, server_hostname=name)


def _headers(call: Call, target: Target) -> dict[str, str]:
    return {
        "Host": target.authority,
        "User-Agent": f"rollout/{__version__}",
        "Accept": "application/json, */*",
        "Connection": "close",
        **call.headers,
    }


def _read(call: Call, target: Target, response: http.client.HTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while chunk := response.read1(_CHUNK):
        size += len(chunk)
        if size > call.largest:
            raise OutsideError(
                f"{target.authority}: the answer is larger than {call.largest // 1024} KiB"
            )
        parts.append(chunk)
    if response.length:  # of the bytes that it promised
        raise http.client.IncompleteRead(b"")
    return b"".join(parts)


def _reason(error: BaseException) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {plain(error.verify_message, 100)}"
        case ssl.SSLError():
            return f"TLS failed: {plain(error.reason or 'no reason given', 100)}"
        case http.client.IncompleteRead():
            return "the answer was cut short"
        case http.client.RemoteDisconnected() | ConnectionError():
            return "the connection broke before the answer"
        case http.client.BadStatusLine():
            return "the answer is not HTTP"
        case OSError():
            return plain(error.strerror or type(error).__name__, 100)
        case _:
            return f"the answer cannot be read ({type(error).__name__})"
