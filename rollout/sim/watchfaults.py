"""What faults do to a watch: they cut, repeat, delay or withhold what it tells.

Knows streams and time, and nothing of requests or of what the events say.
"""

from __future__ import annotations

from collections.abc import Callable

from rollout.sim.clock import Clock
from rollout.sim.faultfile import Fault
from rollout.sim.requests import Relay
from rollout.sim.watches import Watch


def alter(clock: Clock, fault: Fault, watch: Watch) -> None:
    """Let a fault loose on a watch that has just begun."""
    match fault.action:
        case "expire":
            watch.take()
            watch.expire()
        case "drop":
            _drop(clock, watch, *fault.value)
        case "duplicate":
            watch.relay(lambda chunk, forward: forward(chunk * fault.value))
        case "stale":
            watch.relay(_later(clock, fault.value))
        case "stall":
            _stall(clock, watch, fault.value)


def _later(clock: Clock, seconds: float) -> Relay:
    def send(chunk: bytes, forward: Callable[[bytes], None]) -> None:
        clock.call_later(seconds, lambda: forward(chunk))

    return send


def _drop(clock: Clock, watch: Watch, after: float | None, events: int | None) -> None:
    def cut() -> None:
        watch.lost = True
        watch.close()

    if after is not None:
        clock.call_later(after, cut)
        return
    left = events or 0

    def send(chunk: bytes, forward: Callable[[bytes], None]) -> None:
        nonlocal left
        if left > 0:
            left -= 1
            forward(chunk)
        if left == 0:
            cut()

    watch.relay(send)


def _stall(clock: Clock, watch: Watch, seconds: float) -> None:
    held: list[Callable[[], None]] = []
    silent = True

    def hold(chunk: bytes, forward: Callable[[bytes], None]) -> None:
        if silent:
            held.append(lambda: forward(chunk))
        else:
            forward(chunk)

    def release() -> None:
        nonlocal silent
        silent = False
        for pass_on in held:
            pass_on()
        held.clear()

    watch.relay(hold)
    clock.call_later(seconds, release)
