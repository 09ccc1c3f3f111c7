"""How a controller hears of changes and decides when to work: informer, queue, backoff.

Events reach a controller in batches, a little after they happened, as through a real watch; the
caches built from them are stale by that much. Keys wait in a queue that holds each once, and a
key that failed comes back later and later.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from rollout.sim.clock import Clock, Timer
from rollout.sim.resources import Resource
from rollout.sim.store import Event, Store

K = TypeVar("K", bound=Hashable)

FIRST_RETRY = 0.005  # client-go's default controller rate limiter
LAST_RETRY = 1000.0


class Informer:
    """Delivers the changes of some resources in order, in batches, `latency` seconds late."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        resources: Iterable[Resource],
        latency: float,
        handler: Callable[[list[Event]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._resources = tuple(resources)
        self._latency = latency
        self._handler = handler
        self._pending: list[Event] = []
        self._timer: Timer | None = None
        self._stops: list[Callable[[], None]] = []

    def start(self) -> None:
        """Deliver what exists now as ADDED, and follow all changes from here on."""
        existing: list[Event] = []
        for resource in self._resources:
            existing += [
                Event(self._store.version, "ADDED", resource, _key(obj), obj, None)
                for obj in self._store.scan(resource)
            ]
        self._handler(existing)
        self._stops = [self._store.subscribe(r, self._receive) for r in self._resources]

    def stop(self) -> None:
        """Hear nothing any more, not even what is on its way."""
        for stop in self._stops:
            stop()
        self._stops.clear()
        self._pending.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _receive(self, event: Event) -> None:
        self._pending.append(event)
        if self._timer is None:
            self._timer = self._clock.call_later(self._latency, self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        batch, self._pending = self._pending, []
        self._handler(batch)


class WorkQueue(Generic[K]):
    """Keys to work on, each at most once at a time; failures back off per key."""

    def __init__(self, clock: Clock, work: Callable[[K], bool]) -> None:
        """Make the queue.

        Args:
            clock: when to work.
            work: handles one key; False asks for another try.
        """
        self._clock = clock
        self._work = work
        self._ready: dict[K, None] = {}
        self._failures: dict[K, int] = {}
        self._timer: Timer | None = None
        self._waiting: dict[K, Timer] = {}
        self._stopped = False

    def add(self, key: K) -> None:
        """Work on the key as soon as what runs now is done."""
        if self._stopped:
            return
        self._ready[key] = None
        if self._timer is None:
            self._timer = self._clock.call_later(0.0, self._run)

    def add_after(self, key: K, delay: float) -> None:
        """Work on the key in `delay` seconds; of several delays the shortest counts."""
        if self._stopped:
            return
        timer = self._clock.call_later(delay, lambda: self._due(key))
        waiting = self._waiting.get(key)
        if waiting is None or timer.when < waiting.when:
            if waiting is not None:
                waiting.cancel()
            self._waiting[key] = timer
        else:
            timer.cancel()

    def stop(self) -> None:
        """Work on nothing any more."""
        self._stopped = True
        for timer in self._waiting.values():
            timer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        self._ready.clear()

    def _due(self, key: K) -> None:
        del self._waiting[key]
        self.add(key)

    def _run(self) -> None:
        self._timer = None
        batch, self._ready = self._ready, {}
        for key in batch:
            if self._stopped:
                return
            if self._work(key):
                self._failures.pop(key, None)
                continue
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            self.add_after(key, min(FIRST_RETRY * 2.0 ** min(failures, 30), LAST_RETRY))


class Backoff(Generic[K]):
    """Per-key delays that double up to a cap and are forgotten after twice the cap.

    client-go's `flowcontrol.Backoff`: failed daemon pods wait 1 s to 15 min (section 6.1), image
    pulls and crashed containers 10 s to 5 min.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._entries: dict[K, tuple[float, float]] = {}  # key: (delay, last update)

    def delay(self, key: K) -> float:
        """Return the current delay of the key."""
        return self._entries.get(key, (0.0, 0.0))[0]

    def waiting(self, key: K, now: float) -> bool:
        """Whether the key's delay since its last step has not passed yet."""
        delay, updated = self._entries.get(key, (0.0, 0.0))
        if delay == 0.0 or now - updated > 2 * self._most:
            return False
        return now - updated < delay

    def step(self, key: K, now: float) -> None:
        """Double the key's delay, or start it again when it was idle for long."""
        delay, updated = self._entries.get(key, (0.0, 0.0))
        fresh = delay == 0.0 or now - updated > 2 * self._most
        self._entries[key] = (self._first if fresh else min(delay * 2, self._most), now)

    def collect(self, now: float) -> None:
        """Forget the keys that were idle for long."""
        idle = [k for k, (_, updated) in self._entries.items() if now - updated > 2 * self._most]
        for key in idle:
            del self._entries[key]


def _key(obj: dict[str, object]) -> tuple[str, str]:
    meta = obj["metadata"]
    assert isinstance(meta, dict)
    return (str(meta.get("namespace", "")), str(meta["name"]))
