"""The way from a process to the API server, without sockets: delays, cuts and silence by seed.

Everything above a single HTTP exchange is the real client: retries, translation of answers,
streams. What goes wrong on the server's side is the fault script's (`rollout.sim.faults`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.client import RemoteDisconnected
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec
from kubernetes.client import Configuration
from urllib3 import exceptions as broken

from rollout.cluster import transport
from rollout.cluster.client import Client
from rollout.cluster.connect import Target
from rollout.cluster.limit import DEFAULT_RATE, WriteLimiter
from rollout.cluster.retry import DEFAULT_PATIENCE
from rollout.cluster.sending import Sender
from rollout.sim.api import Handler
from rollout.sim.requests import Answer, Request, Response, Stream
from tests.simulation.threads import Machine, Place, Process

HOST = "http://embedded"
TOKEN = "the-token-of-the-run"  # noqa: S105 - of nothing real
_CONFIGURATION = Configuration(host=HOST)


class Witness(Protocol):
    """Who looks at every request of every process, right before and right after it is served."""

    def before(self, process: Process, request: Request) -> None:
        """The request has reached the server."""

    def after(self, process: Process, request: Request, status: int) -> None:
        """The server has done what it will do; the answer is on its way."""


class Network:
    """All lines between processes and the server.

    Args:
        machine: where the processes run.
        server: answers requests.
        witness: sees them.
        delay_s: the longest time on the way, in each direction.
    """

    def __init__(
        self, machine: Machine, server: Handler, witness: Witness, delay_s: float = 0.02
    ) -> None:
        self.machine = machine
        self.server = server
        self.witness = witness
        self.down_until = 0.0
        self.writes = 0  # requests that were meant to change something
        self.kinds: set[str] = set()  # of objects that they were about
        self.cut_before = self.cut_after = 0  # the write at which its process is killed
        self._delay_s = delay_s
        self._rng = random.Random(machine.rng.random())

    def go_down(self, seconds: float) -> None:
        """Refuse connections for so long (the server restarts)."""
        self.down_until = self.machine.clock.now() + seconds

    def client(self, process: Process) -> Client:
        """Return a client of a process."""
        system = vars(transport)  # while the machine is installed, the machine's
        sender = Sender(
            VirtualTransport(self, process),
            patience=DEFAULT_PATIENCE,
            limiter=WriteLimiter(DEFAULT_RATE, clock=system["time"].monotonic),
            stop=system["threading"].Event(),
        )
        return Client(sender, "logging")

    def pause(self) -> None:
        """Be on the way."""
        self.machine.sleep(self._rng.uniform(0.0005, self._delay_s))

    def exchange(self, process: Process, request: Request, timeout_s: float) -> Answer:
        """Carry one request there and its answer back.

        Raises:
            HTTPError: of urllib3, where there is no answer.
        """
        self.pause()
        if self.machine.clock.now() < self.down_until:
            refused = ConnectionRefusedError(111, "Connection refused")
            raise broken.NewConnectionError(None, "refused") from refused  # type: ignore[arg-type] # only for its text
        writes = request.method != "GET" and not _asks_only(request.path)
        self.writes += writes
        if writes:
            self.kinds.add(_kind(request.path))
        if writes and self.writes == self.cut_before:
            self.machine.kill(process)
        process.check()
        self.witness.before(process, request)
        answer = self.server.handle(request)
        self.witness.after(process, request, answer.status if isinstance(answer, Response) else 200)
        if writes and self.writes == self.cut_after:
            self.machine.kill(process)
        process.check()
        if answer.delay > timeout_s:
            self.machine.sleep(timeout_s)
            raise broken.ReadTimeoutError(None, request.target, "silent")  # type: ignore[arg-type] # as above
        self.machine.sleep(answer.delay)
        self.pause()
        if answer.lost and isinstance(answer, Response):
            raise broken.ProtocolError("Connection aborted.", RemoteDisconnected("cut"))
        return answer


def _asks_only(path: str) -> bool:
    """Whether a POST changes nothing: what one may do, and as whom one is known."""
    return path.startswith(("/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/"))


def _kind(path: str) -> str:
    """Return the plural that the path of a namespaced object, or of its collection, names."""
    return path.partition("/namespaces/")[2].split("/")[1]


class VirtualTransport(transport.Transport):
    """The real transport, but for the exchange itself."""

    def __init__(self, network: Network, process: Process) -> None:
        target = Target(_CONFIGURATION, "embedded", "logging")
        super().__init__(lambda _context: target)
        self._network = network
        self._process = process
        self._headers = {
            "authorization": f"Bearer {TOKEN}",
            "accept": "application/json",
            "user-agent": "rollout",
        }

    def _attempt(
        self,
        session: object,
        request: transport.Request,
        timeout: tuple[float, float],
        permit: Callable[[], None],
    ) -> Any:
        del session
        permit()
        asked = self._now()
        try:
            answer = self._network.exchange(self._process, self._spoken(request), timeout[1])
        except broken.HTTPError as error:
            raise self._failure(request, error) from error
        self.reached = True
        headers = {"Date": formatdate(self._network.machine.clock.now(), usegmt=True)}
        self.skew.observe(asked, self._now(), headers["Date"])
        if isinstance(answer, Stream):
            line = _Line(self._network, self._process, answer, timeout[1])
            return _Answered(200, headers, line, b"")
        return _Answered(answer.status, {**answer.headers, **headers}, None, answer.render())

    def _spoken(self, request: transport.Request) -> Request:
        query = dict(request.query)
        target = request.path + (f"?{urlencode(query)}" if query else "")
        body = b"" if request.body is None else msgspec.json.encode(request.body)
        headers = {**self._headers, "content-type": request.content_type}
        return Request(request.method, request.path, query, headers, body, target)


class _Answered:
    """What the kubernetes client returns: status, headers, and the body or the line to read on."""

    def __init__(
        self, status: int, headers: dict[str, str], line: _Line | None, body: bytes
    ) -> None:
        self.status = status
        self.headers = headers
        self.response = line or self
        self._body = body

    def stream(self, _amount: int) -> Iterator[bytes]:
        yield self._body

    def drain_conn(self) -> None:
        """Nothing is left to read."""


class _Line:
    """The running answer to a watch, with the methods of urllib3's response that are used."""

    def __init__(
        self, network: Network, process: Process, stream: Stream, silence_s: float
    ) -> None:
        self._network = network
        self._stream = stream
        self._silence_s = silence_s
        self._news = Place(network.machine)
        self._cut = False
        stream.wake = self._news.wake_all
        process.at_death.append(stream.close)
        self._forget: Callable[[], None] = lambda: _remove(process.at_death, stream.close)

    def read1(self, _amount: int) -> bytes:
        while not self._cut:
            if chunks := self._stream.take():
                self._network.pause()
                return b"".join([*chunks, *self._stream.take()])
            if self._stream.closed:
                if self._stream.lost:
                    raise broken.ProtocolError("Connection broken", RemoteDisconnected("cut"))
                return b""
            if not self._news.wait(self._silence_s):
                raise broken.ReadTimeoutError(None, "watch", "silent")  # type: ignore[arg-type] # only for its text
        return b""

    def shutdown(self) -> None:
        self._cut = True
        self._news.wake_all()

    def close(self) -> None:
        self._stream.wake = lambda: None
        self._stream.close()
        self._forget()


def _remove(callbacks: list[Callable[[], None]], gone: Callable[[], None]) -> None:
    if gone in callbacks:
        callbacks.remove(gone)
