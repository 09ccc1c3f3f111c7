"""The API over HTTP/1.1 on loopback: a thread for each connection, watches as chunked streams.

Knows sockets and nothing of Kubernetes. One lock guards the cluster while a request is decided;
bodies are rendered and written outside of it. After `stop()` no thread and no socket is left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import threading
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from rollout.sim.api import Handler
from rollout.sim.errors import StatusError
from rollout.sim.requests import Answer, Request, Response, Stream, refusal

LOG: Final = logging.getLogger(__name__)
MAX_HEAD: Final = 64 * 1024  # bytes of request line and headers
RECEIVE: Final = 64 * 1024
BACKLOG: Final = 128
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class _ConnectionClosed(Exception):
    """The client is gone, or has sent what is no HTTP."""


class Server:
    """Serves a handler on a loopback port.

    Args:
        handler: answers requests; called under `lock`.
        lock: guards the whole cluster.
        host: the address to listen on.
        port: 0 takes a free one, kept over restarts.
    """

    def __init__(
        self, handler: Handler, lock: threading.RLock, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.handler = handler
        self.lock = lock
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._acceptor: threading.Thread | None = None
        self._connections: dict[_Connection, threading.Thread] = {}
        self._guard = threading.Lock()
        self.stopping = threading.Event()  # set while the port is closed
        self._ended = threading.Event()  # set for good by stop()
        self._restarter: threading.Thread | None = None

    @property
    def address(self) -> str:
        """`host:port`, once started."""
        return f"{self._host}:{self._port}"

    @property
    def url(self) -> str:
        """The server's base URL, once started."""
        return f"http://{self.address}"

    def start(self) -> None:
        """Listen and serve in the background."""
        self._ended.clear()
        self._listen(self._bound())

    def _bound(self) -> socket.socket:
        """Return a socket that holds the port; connections are refused until it listens."""
        made = socket.socket()
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self._host, self._port))
        except OSError:
            made.close()
            raise
        return made

    def _listen(self, bound: socket.socket) -> None:
        self.stopping.clear()
        bound.listen(BACKLOG)
        self._listener = bound
        self._port = bound.getsockname()[1]
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name="sim-accept", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Close everything and wait until all threads have ended."""
        self._ended.set()
        if self._restarter is not None:
            self._restarter.join()
        self._close()

    def _close(self) -> None:
        self.stopping.set()
        if self._listener is not None:
            # A blocked accept() only wakes up when the listener is shut down, not closed.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        if self._acceptor is not None:
            self._acceptor.join()
        self.drop_connections()

    def restart(self, down: float) -> None:
        """Close the port and every connection now, and listen again after `down` seconds.

        Returns at once, so that a fault may ask for it while it holds the lock.
        """
        self._restarter = threading.Thread(
            target=self._restart, args=(down,), name="sim-restart", daemon=True
        )
        self._restarter.start()

    def _restart(self, down: float) -> None:
        self._close()
        bound = self._bound()  # or another program might be given the port meanwhile
        if self._ended.wait(down):
            bound.close()
        else:
            self._listen(bound)

    def drop_connections(self) -> None:
        """Cut every open connection and wait for its thread."""
        with self._guard:
            open_now = dict(self._connections)
        for connection in open_now:
            connection.cut()
        for thread in open_now.values():
            if thread is not threading.current_thread():
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self, client)
            thread = threading.Thread(target=connection.run, name="sim-connection", daemon=True)
            with self._guard:
                self._connections[connection] = thread
            thread.start()

    def forget(self, connection: _Connection) -> None:
        """Drop a connection that has ended."""
        with self._guard:
            self._connections.pop(connection, None)


class _Connection:
    """One client: requests one after the other, until either side closes."""

    def __init__(self, server: Server, client: socket.socket) -> None:
        self._server = server
        self._socket = client
        self._buffer = b""

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> None:
        try:
            with contextlib.suppress(_ConnectionClosed, OSError):
                while not self._server.stopping.is_set():
                    if not self._serve_one():
                        break
        finally:
            self._socket.close()
            self._server.forget(self)

    def _serve_one(self) -> bool:
        request, keep_alive = self._read()
        answer = self._answer(request)
        if isinstance(answer, Stream):
            return self._stream(answer, keep_alive=keep_alive) and keep_alive
        self._wait(answer.delay)
        if answer.lost:
            return False
        self._respond(answer, keep_alive=keep_alive, head=request.method == "HEAD")
        return keep_alive

    def _answer(self, request: Request) -> Answer:
        try:
            with self._server.lock:
                return self._server.handler.handle(request)
        except Exception as error:
            # As a real server does: one broken request ends neither connection nor server.
            LOG.exception("%s %s", request.method, request.target)
            message = f"Internal error occurred: {error}"
            return refusal(StatusError(500, "InternalError", message))

    def _wait(self, seconds: float) -> None:
        if seconds and self._server.stopping.wait(seconds):
            raise _ConnectionClosed

    # Reading

    def _receive(self) -> None:
        data = self._socket.recv(RECEIVE)
        if not data:
            raise _ConnectionClosed
        self._buffer += data

    def _read(self) -> tuple[Request, bool]:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD:
                raise _ConnectionClosed
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        parts = request_line.split(" ")
        if len(parts) != 3:  # noqa: PLR2004 - method, target, version
            raise _ConnectionClosed
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if headers.get("expect", "").lower() == "100-continue":
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._body(headers)
        keep_alive = parts[2] != "HTTP/1.0" and headers.get("connection", "").lower() != "close"
        return Request.parse(parts[0], parts[1], headers, body), keep_alive

    def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return b"".join(iter(self._chunk, b""))
        try:
            length = int(headers.get("content-length", "0"))
        except ValueError:
            raise _ConnectionClosed from None
        return self._exactly(length)

    def _exactly(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._receive()
        data, self._buffer = self._buffer[:length], self._buffer[length:]
        return data

    def _chunk(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        size, _, self._buffer = self._buffer.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            raise _ConnectionClosed from None
        return self._exactly(length + 2)[:-2]

    # Writing

    def _respond(self, response: Response, *, keep_alive: bool, head: bool) -> None:
        body = response.render()
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(body)),
            **response.headers,
        }
        if not keep_alive:
            headers["Connection"] = "close"
        self._socket.sendall(_head(response.status, headers) + (b"" if head else body))

    def _stream(self, stream: Stream, *, keep_alive: bool) -> bool:
        """Send a stream to its end; whether the client is still there to ask for more."""
        try:
            self._wait(stream.delay)
            headers = {"Content-Type": stream.content_type, "Transfer-Encoding": "chunked"}
            if not keep_alive:
                headers["Connection"] = "close"
            self._socket.sendall(_head(200, {**headers, **stream.headers}))
            for data in self._chunks(stream):
                self._socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            ended = stream.closed and not stream.lost
            if ended:
                self._socket.sendall(b"0\r\n\r\n")
            return ended
        finally:
            with self._server.lock:
                stream.close()

    def _chunks(self, stream: Stream) -> Iterator[bytes]:
        """Yield what the stream has, as it comes, until it or the client ends."""
        readable, writable = os.pipe()
        bell = _Bell(writable)
        try:
            with self._server.lock:
                stream.wake = bell
            poll = select.poll()
            poll.register(readable, select.POLLIN)
            poll.register(self._socket, select.POLLIN)
            while True:
                with self._server.lock:
                    bell.rung = False
                    data, ended = b"".join(stream.take()), stream.closed
                if data:
                    yield data
                elif ended or self._client_left(poll.poll()):
                    return
                _drain(readable, poll)
        finally:
            with self._server.lock:
                stream.wake = _nobody
            os.close(readable)
            os.close(writable)

    def _client_left(self, ready: list[tuple[int, int]]) -> bool:
        return any(descriptor == self._socket.fileno() for descriptor, _ in ready)


class _Bell:
    """Wakes a thread that polls a pipe; rung once until that thread has looked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.rung = False

    def __call__(self) -> None:
        if not self.rung:
            self.rung = True
            os.write(self._descriptor, b"!")


def _nobody() -> None:
    """The client has left."""


def _drain(readable: int, poll: select.poll) -> None:
    while any(descriptor == readable for descriptor, _ in poll.poll(0)):
        os.read(readable, RECEIVE)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    lines.append("Cache-Control: no-cache, private")
    lines.append(f"Date: {formatdate(usegmt=True)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
