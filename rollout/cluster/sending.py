"""How one request becomes an answer: patience, the rate of writes, the guard before each of them.

Reads are retried; writes only when they certainly were not carried out. Which requests there are
is not known here (`client`), nor how bytes travel (`transport`).
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias, TypeVar

import msgspec

from rollout.cluster.answers import Effect, lost
from rollout.cluster.limit import WriteLimiter
from rollout.cluster.retry import Patience, build_policy
from rollout.cluster.serving import GROUPS, Groups, group_version, lacks
from rollout.cluster.transport import Request, Stream, Transport
from rollout.errors import (
    ClusterError,
    Gone,
    NotRouted,
    NotServed,
    Throttled,
    Unreachable,
    Withheld,
)
from rollout.unreadable import UNREADABLE

T = TypeVar("T")
Guard: TypeAlias = Callable[[], str]
"""Says why nothing may be written at this moment; "" when it may."""


class _Waits:
    """How long writes were held back, summed up over all threads, in seconds."""

    def __init__(self) -> None:
        self.total_s = 0.0
        self._lock = threading.Lock()

    def add(self, seconds: float) -> None:
        with self._lock:
            self.total_s += seconds


class Sender:
    """Sends requests until they are answered, refused, or their time is up; from any thread.

    Args:
        transport: sends single requests.
        patience: limits of the retry policy.
        limiter: shared by all writes; None for no limit.
        stop: ends every wait.
        sleep: in place of waiting for `stop`.
        guard: asked right before every sending of a write, repetitions included.
        timeout_s: for each connection and silence; None: the transport's own.
        waits: sums up how long writes were held back; None: on its own.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        patience: Patience,
        limiter: WriteLimiter | None,
        stop: threading.Event,
        sleep: Callable[[float], None] | None = None,
        guard: Guard = lambda: "",
        timeout_s: float | None = None,
        waits: _Waits | None = None,
    ) -> None:
        self.transport = transport
        self._patience = patience
        self._limiter = limiter
        self._stop = stop
        self._given_sleep = sleep
        self._guard = guard
        self._timeout_s = timeout_s
        self._waits = _Waits() if waits is None else waits
        self._policy = build_policy(patience, stop, lambda: transport.reached, sleep)

    @property
    def held_back_s(self) -> float:
        """How long writes through this object waited before their last sending, summed up.

        For our own rate, for a server that asked for patience, and for earlier attempts.
        """
        return self._waits.total_s

    def urgent(self, total_s: float) -> Sender:
        """Return a sender that tries at most `total_s` (> 0) seconds, unlimited and unguarded."""
        return Sender(
            self.transport,
            patience=Patience(total_s=total_s, first_contact_s=total_s),
            limiter=None,
            stop=self._stop,
            sleep=self._given_sleep,
            timeout_s=total_s,
        )

    def guarded(self, guard: Guard) -> Sender:
        """Return a sender whose every write asks this guard too, behind all waiting."""
        before = self._guard
        return Sender(
            self.transport,
            patience=self._patience,
            limiter=self._limiter,
            stop=self._stop,
            sleep=self._given_sleep,
            guard=lambda: before() or guard(),
            timeout_s=self._timeout_s,
            waits=self._waits,
        )

    def close(self) -> None:
        """End all waits and close the connections."""
        self._stop.set()
        self.transport.close()

    def read(self, request: Request, type_: type[T]) -> T:
        """Send a request that changes nothing; return its decoded answer.

        Raises:
            ClusterError: it was refused, or not answered in time.
        """
        result: T = self._policy(self._read, request, type_)
        return result

    def read_first_page(self, request: Request, type_: type[T]) -> T:
        """Send a request that begins a list; return its decoded answer.

        It names no version that could be too old, so who says so is not himself at the moment.

        Raises:
            ClusterError: it was refused, or not answered in time.
        """
        result: T = self._policy(self._read_newest, request, type_)
        return result

    def _read_newest(self, request: Request, type_: type[T]) -> T:
        try:
            return self._read(request, type_)
        except Gone as error:
            raise Unreachable(str(error)) from error

    def _read(self, request: Request, type_: type[T]) -> T:
        try:
            return self._send(request, type_)
        except NotRouted as error:
            wanted = group_version(request.path)
            if not wanted or not self._lacks(wanted):
                raise
            server = self.transport.target.server
            raise NotServed(f"{server} does not serve the API {wanted}") from error

    def _lacks(self, wanted: str) -> bool:
        """Whether the server itself says that it has no such API; where it says nothing, no."""
        try:
            found = self._send(Request("GET", GROUPS, {}, Effect.READ), Groups)
        except ClusterError:
            return False
        return lacks(found, wanted)

    def text(self, request: Request) -> bytes:
        """Send a request that changes nothing; return its answer as it came."""
        result: bytes = self._policy(self.transport.send, request)
        return result

    def stream(self, request: Request, silence_s: float) -> Stream:
        """Open a connection whose answer has no end; never retried.

        Args:
            request: what is asked for.
            silence_s: after which reading raises TimeoutError.
        """
        return self.transport.open(request, silence_s)

    def write(self, request: Request, type_: type[T]) -> T:
        """Send a request behind those that wait already; return its decoded answer.

        Raises:
            Withheld: the guard kept it back.
            UnknownOutcome: it may have been carried out.
            ClusterError: it was refused, or not answered in time.
        """
        began = sent = time.monotonic()

        def attempt() -> T:
            nonlocal sent
            self._queue()
            sent = time.monotonic()
            return self._send_limited(request, type_)

        try:
            result: T = self._policy(attempt)
        finally:
            self._waits.add(sent - began)
        return result

    def _send(self, request: Request, type_: type[T]) -> T:
        if request.effect is Effect.WRITE:
            body = self.transport.send(request, permit=self._permit, timeout_s=self._timeout_s)
        else:
            body = self.transport.send(request, timeout_s=self._timeout_s)
        try:
            result: T = _decoder(type_).decode(body)  # type: ignore[arg-type] # a type has a hash
        except UNREADABLE as error:
            server = self.transport.target.server
            message = f"{request.method} {server}{request.path}: not what was asked for"
            raise lost(f"{message}: {error}", request.effect) from error
        return result

    def _queue(self) -> None:
        if self._limiter is not None:
            self._wait(self._limiter.reserve())

    def _send_limited(self, request: Request, type_: type[T]) -> T:
        if self._limiter is None:
            return self._send(request, type_)
        try:
            result = self._send(request, type_)
        except Throttled as error:
            self._limiter.refused(error.retry_after)
            raise
        self._limiter.accepted()
        return result

    def _permit(self) -> None:
        why_not = self._guard()
        if why_not:
            raise Withheld(f"nothing was sent to {self.transport.target.server}: {why_not}")

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            (self._given_sleep or self._stop.wait)(seconds)
        if self._stop.is_set():
            raise ClusterError(f"stopped before the next write to {self.transport.target.server}")


@functools.cache
def _decoder(type_: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)
