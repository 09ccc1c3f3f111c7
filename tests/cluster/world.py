"""A small HTTP server per test: the test's own function is the whole world that the client sees."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import yaml

from rollout.cluster.client import Client
from rollout.cluster.connect import load_target
from rollout.cluster.limit import WriteLimiter
from rollout.cluster.retry import DEFAULT_PATIENCE, Patience
from rollout.cluster.sending import Sender
from rollout.cluster.transport import Transport

CERTIFICATE = Path(__file__).with_name("loopback.pem")


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: Any


@dataclass(frozen=True)
class Reply:
    """An ordinary answer."""

    body: Any = None  # bytes as they are, anything else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0  # bytes promised and not sent


@dataclass(frozen=True)
class Streamed:
    """A chunked answer; `cut` ends it without the last chunk."""

    chunks: Iterable[bytes]
    cut: bool = False


class Reset:
    """Read the request, then break the connection."""


@dataclass(frozen=True)
class Raw:
    """These bytes, then the end of the connection."""

    text: bytes


Answer = Reply | Streamed | Reset | Raw
Scenario = Callable[[Asked], Answer]


PODS = "/api/v1/namespaces/default/pods"
ONCE = Patience(total_s=0.0, first_contact_s=0.0)


class Meta(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str


class Pod(msgspec.Struct):
    metadata: Meta


def replies(*answers: Answer) -> Scenario:
    """Give these answers one after the other, the last one for ever."""
    left = list(answers)

    def scenario(_: Asked) -> Answer:
        return left.pop(0) if len(left) > 1 else left[0]

    return scenario


class World(ThreadingHTTPServer):
    """Serves one scenario on loopback and remembers what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scenario = scenario
        self.asked: list[Asked] = []
        self.released = threading.Event()  # set at the end: silent scenarios wait for it

        self.scheme = "http"

    def speak_tls(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )
        self.scheme = "https"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are what many scenarios are about."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}"

    def count(self, method: str) -> int:
        return sum(asked.method == method for asked in self.asked)


@contextmanager
def serve(scenario: Scenario, *, tls: bool = False) -> Iterator[World]:
    world = World(scenario)
    if tls:
        world.speak_tls()
    thread = threading.Thread(target=world.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield world
    finally:
        world.released.set()
        world.shutdown()
        thread.join()
        world.server_close()


@contextmanager
def talking_to(
    url: str,
    directory: Path,
    *,
    patience: Patience = DEFAULT_PATIENCE,
    limiter: WriteLimiter | None = None,
    sleeps: list[float] | None = None,
    read_timeout_s: float = 120.0,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
) -> Iterator[Client]:
    """Yield a client that never really sleeps; its pauses are appended to `sleeps`."""
    path = directory / "kubeconfig"
    write_kubeconfig(path, url, user=user, cluster=cluster)
    record = [] if sleeps is None else sleeps
    transport = Transport(partial(load_target, path), read_timeout_s=read_timeout_s)
    sender = Sender(
        transport,
        patience=patience,
        limiter=limiter,
        stop=threading.Event(),
        sleep=record.append,
    )
    client = Client(sender, "default")
    try:
        yield client
    finally:
        client.close()


def write_kubeconfig(
    path: Path,
    url: str,
    *,
    context: str = "test",
    namespace: str | None = None,
    user: dict[str, Any] | None = None,
    cluster: dict[str, Any] | None = None,
) -> None:
    body: dict[str, Any] = {"cluster": "c", "user": "u"}
    if namespace:
        body["namespace"] = namespace
    document = {
        "current-context": context,
        "contexts": [{"name": context, "context": body}],
        "clusters": [{"name": "c", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {"token": "secret"}}],
    }
    path.write_text(yaml.safe_dump(document))


def status(code: int, message: str, reason: str = "", **details: Any) -> Reply:
    """Return a refusal in Kubernetes' own form."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
        "details": details,
    }
    return Reply(body, code)


def pod(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, **more}}


def pod_list(*pods: dict[str, Any], version: int = 100, continue_: str = "") -> dict[str, Any]:
    metadata = {"resourceVersion": str(version), "continue": continue_}
    return {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": list(pods)}


def event(kind: str, body: Any) -> bytes:
    return json.dumps({"type": kind, "object": body}).encode() + b"\n"


def bookmark(version: int) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: World

    def answer(self) -> None:
        asked = self._read()
        self.server.asked.append(asked)
        match self.server.scenario(asked):
            case Reply() as reply:
                self._reply(reply)
            case Streamed() as streamed:
                self._stream(streamed)
            case Raw(text):
                self.wfile.write(text)
                self.close_connection = True
            case Reset():
                self._break()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *_: Any) -> None:
        pass

    def _read(self) -> Asked:
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        form = headers.get("content-type") == "application/x-www-form-urlencoded"
        body = dict(parse_qsl(raw.decode())) if form else json.loads(raw) if raw else None
        return Asked(self.command, url.path, dict(parse_qsl(url.query)), headers, body)

    def _reply(self, reply: Reply) -> None:
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + reply.missing))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or reply.missing > 0

    def _stream(self, streamed: Streamed) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in streamed.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if streamed.cut:
            self._break()
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _break(self) -> None:
        linger = struct.pack("ii", 1, 0)  # RST instead of FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True
