"""A TCP proxy that breaks connections by seed: resets, stalls, cuts in the middle of a body."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
PIECE = 1 << 14
STALL_S = 0.3


class BadLine:
    """Stands between a client and a server.

    Args:
        server: `host:port`.
        seed: decides what becomes of each connection.
    """

    def __init__(self, server: str, seed: int) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._rng = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.fates: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        self._run(self._accept)

    def stop(self) -> None:
        """Close everything and wait for all threads."""
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _run(self, target: object, *given: object) -> None:
        thread = threading.Thread(target=target, args=given)  # type: ignore[arg-type] # any function
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            fate = self._rng.choices(["whole", "reset", "cut", "stall"], [6, 1, 2, 1])[0]
            self.fates[fate] += 1
            self._run(self._serve, client, fate, self._rng.randrange(200, 20_000))

    def _serve(self, client: socket.socket, fate: str, left: int) -> None:
        """Pass bytes on in both directions; `left` bytes of answers come through a cut line."""
        if fate == "reset":
            _reset(client)
            return
        with client, socket.create_connection(self._server) as server:
            while not self._ended.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.2)
                for source in ready:
                    data = _receive(source)
                    if not data:
                        return
                    if source is server and fate != "whole":
                        if len(data) >= left:
                            self._break(client, data[:left], fate)
                            return
                        left -= len(data)
                    with contextlib.suppress(OSError):
                        (server if source is client else client).sendall(data)

    def _break(self, client: socket.socket, data: bytes, fate: str) -> None:
        with contextlib.suppress(OSError):
            client.sendall(data)
        if fate == "stall":
            self._ended.wait(STALL_S)
        _reset(client)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(PIECE)
    except OSError:
        return b""


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    client.close()


@contextmanager
def bad_line(server: str, seed: int) -> Iterator[BadLine]:
    """Run a proxy for the length of a test."""
    made = BadLine(server, seed)
    made.start()
    try:
        yield made
    finally:
        made.stop()
