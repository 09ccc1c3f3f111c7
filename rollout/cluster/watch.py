"""The state of one collection, kept up to date: list once, then follow the changes.

Three nested loops, each with one reason to exist: `_connect_once` reads one connection;
`_follow` connects again as long as the version is valid and young; `run` lists again when it isn't.
Between attempts stands a back-off that a healthy minute resets. The ready-made informer has none
of this: it sends hundreds of requests a second to a server that refuses, and a silent one blocks
it.

Behind a gap a watch tells history: a pod that was ready half a minute ago is told as ready, and
only the next line says that it is down. Nobody can tell where history ends. So a gap is never
followed up from the version before it, but for a moment's: the state is listed anew.

Versions fall for two reasons. A server that lags catches up within seconds, so an older state is
refused first. But a list is asked of the whole store, never of what one server remembers: where it
stays older the store itself was set back, to a backup mostly, and will never come to what was seen.
A watch from there is silent for ever, whatever bookmarks come: only one of at least that version is
a sign of life.

What comes out is level-triggered: a `Listed` replaces everything before it, so a consumer that
compares with what it had misses nothing, not even a deletion during a gap. Nothing is ever
skipped: what can't be read breaks the connection and comes again. The items are of any
type that has `metadata`; what they mean is not known here.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import msgspec

from rollout.cluster.answers import Status, error_of_status
from rollout.cluster.backoff import Backoff
from rollout.cluster.client import Client
from rollout.cluster.transport import Stream
from rollout.cluster.versions import Verdict, VersionBook, Versioned
from rollout.errors import ClusterError, Gone, TransientError, Unreachable
from rollout.unreadable import UNREADABLE

T = TypeVar("T", bound=Versioned)


@dataclass(frozen=True, slots=True)
class Timing:
    """All in seconds."""

    silence_s: float = 75.0  # servers send a bookmark every 60
    server_timeout_s: tuple[int, int] = (240, 300)  # jittered, so that watches don't end together
    healthy_s: float = 60.0  # a connection that lasted so long resets the back-off
    first_pause_s: float = 0.5
    max_pause_s: float = 30.0
    believed_s: float = 75.0  # an older state that is told for so long is how things are
    gap_s: float = 2.0  # without a connection; behind a longer one the state is listed anew


DEFAULT_TIMING = Timing()


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """The whole collection; replaces everything that was said before."""

    source: str
    items: list[T]
    version: str


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """An object is new or different."""

    source: str
    object: T


@dataclass(frozen=True, slots=True)
class Removed(Generic[T]):
    """An object is gone; this is its last state."""

    source: str
    object: T


@dataclass(frozen=True, slots=True)
class Outdated(Generic[T]):
    """An older state of an object was told again, and dropped: the API server lags behind."""

    source: str
    object: T
    seen: str  # the newer version that we know


@dataclass(frozen=True, slots=True)
class WentBack:
    """The collection is older than what was seen, and stays so; its `Listed` follows."""

    source: str
    version: str
    seen: str  # the newer version that we knew


@dataclass(frozen=True, slots=True)
class Stalled:
    """Neither event nor bookmark for this long; what we know may be old until `Resumed`."""

    source: str
    silent_s: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The collection can't be read at the moment; tried again by itself."""

    source: str
    error: ClusterError


@dataclass(frozen=True, slots=True)
class Resumed:
    """The server answers again, and what was missed has been told, but for a moment."""

    source: str


News: TypeAlias = (
    Listed[T] | Changed[T] | Removed[T] | Outdated[T] | WentBack | Stalled | Broken | Resumed
)


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Marked(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: _Marked


_EVENTS = msgspec.json.Decoder(_Event)
_BOOKMARKS = msgspec.json.Decoder(_Bookmark)
_STATUSES = msgspec.json.Decoder(Status)


class Reflector(Generic[T]):
    """Lists and watches one collection in a thread of its own.

    Args:
        client: of the cluster.
        source: the name that all news of this collection carries.
        path: of the collection.
        item_type: what items are decoded into.
        emit: takes the news, in order and from one thread; `SimpleQueue.put` for instance.
        label_selector: Kubernetes syntax, empty for all.
        field_selector: Kubernetes syntax, empty for all.
        timing: when to give up on a connection, and when to try again.
        rng: decides all jitter.
        clock: monotonic seconds.
        wait: pauses, in place of waiting for the end.
    """

    def __init__(
        self,
        client: Client,
        source: str,
        path: str,
        item_type: type[T],
        emit: Callable[[News[T]], None],
        *,
        label_selector: str = "",
        field_selector: str = "",
        timing: Timing = DEFAULT_TIMING,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._client = client
        self.source = self._source = source
        self._path = path
        self._item_type = item_type
        self._items = msgspec.json.Decoder(item_type)
        self._consumer = emit
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._timing = timing
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._clock = clock
        self._backoff = Backoff(timing.first_pause_s, timing.max_pause_s, self._rng)
        self._book = VersionBook()
        self._troubled = False
        self._refused_since: float | None = None  # an older list
        self._heard_at = clock()  # something not older than what was seen
        self._seen_at = clock()  # until when the server has surely told all
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._live, name=f"watch-{source}", daemon=True)

    def start(self) -> None:
        """Begin with the list."""
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the connection from any thread; no news comes after this.

        Args:
            timeout_s: how long to wait for the thread, which a hanging list may hold up.
        """
        self._stop.set()
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def run(self) -> None:
        """List, follow, and list again when the version has expired, until stopped."""
        while not self._stop.is_set():
            if self._list():
                self._follow()
            self._pause(None)

    def _live(self) -> None:
        try:
            self.run()
        except Exception as error:
            # A watch that dies unseen would look like a cluster where nothing happens.
            self._emit(Broken(self._source, ClusterError(f"the watch ended: {error!r}")))
            raise

    def _list(self) -> bool:
        try:
            listing = self._client.list(
                self._path,
                self._item_type,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
            )
        except ClusterError as error:
            self._trouble(Broken(self._source, error))
            return False
        seen = self._book.latest
        if not self._book.restart(listing.version, listing.items):
            if not self._is_believed():
                state = f"version {listing.version}, had {seen}"
                message = f"the server answers with an old state: {state}"
                self._trouble(Broken(self._source, Unreachable(message)))
                return False
            self._book = VersionBook()
            self._book.restart(listing.version, listing.items)
            self._emit(WentBack(self._source, listing.version, seen))
        self._refused_since = None
        self._emit(Listed(self._source, listing.items, listing.version))
        self._well()
        return True

    def _is_believed(self) -> bool:
        """Whether an older state has been told for so long that no server lags so far behind."""
        if self._refused_since is None:
            self._refused_since = self._clock()
        return self._clock() - self._refused_since >= self._timing.believed_s

    def _follow(self) -> None:
        """Connect again and again; return when the version is no longer valid, or too old."""
        self._seen_at = self._clock()
        while not self._stop.is_set() and not self._has_gap(0.0):
            began = self._clock()
            retry_after: float | None = None
            try:
                self._connect_once()
            except Gone:
                return
            except TimeoutError:
                self._seen_at = self._clock() - self._timing.silence_s
                self._trouble(Stalled(self._source, self._timing.silence_s))
            except ClusterError as error:
                retry_after = error.retry_after if isinstance(error, TransientError) else None
                self._trouble(Broken(self._source, error))
            finally:
                if self._clock() - began >= self._timing.healthy_s:
                    self._backoff.reset()
            self._pause(retry_after)

    def _has_gap(self, more_s: float) -> bool:
        """Whether more than a moment has gone by unseen, or will have in so many seconds."""
        return self._clock() + more_s - self._seen_at > self._timing.gap_s

    def _connect_once(self) -> None:
        """Read one connection to its end."""
        stream = self._client.watch(
            self._path,
            self._book.latest,
            timeout_s=self._rng.randint(*self._timing.server_timeout_s),
            silence_s=self._timing.silence_s,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )
        with stream:
            self._hold(stream)
            self._heard_at = self._clock()
            try:
                self._well()
                for line in stream.lines():
                    if self._stop.is_set():
                        return
                    self._take(line)
            finally:
                self._hold(None)
                self._seen_at = self._clock()

    def _hold(self, stream: Stream | None) -> None:
        with self._lock:
            self._stream = stream
            if stream is not None and self._stop.is_set():
                stream.interrupt()

    def _take(self, line: bytes) -> None:
        try:
            event = _EVENTS.decode(line)
            match event.type:
                case "ADDED" | "MODIFIED":
                    self._changed(self._items.decode(event.object))
                case "DELETED":
                    self._removed(self._items.decode(event.object))
                case "BOOKMARK":
                    self._marked(_BOOKMARKS.decode(event.object).metadata.resource_version)
                case "ERROR":
                    raise error_of_status(f"watch of {self._path}", _STATUSES.decode(event.object))
                case unknown:
                    raise Unreachable(f"watch of {self._path}: unknown event {unknown[:20]!r}")
        except UNREADABLE as error:
            message = f"watch of {self._path}: an event cannot be read: {error}"
            raise Unreachable(message) from error

    def _marked(self, version: str) -> None:
        """Hear that all up to this version was told; one from the past is as good as silence."""
        if self._book.advance(version):
            self._heard_at = self._clock()
        elif self._clock() - self._heard_at > self._timing.silence_s:
            raise TimeoutError

    def _changed(self, obj: T) -> None:
        self._heard_at = self._clock()
        verdict = self._book.change(obj.metadata)
        if verdict is Verdict.NEWS:
            self._emit(Changed(self._source, obj))
        elif verdict is Verdict.OUTDATED:
            self._emit(Outdated(self._source, obj, self._book.seen(obj.metadata)))

    def _removed(self, obj: T) -> None:
        self._heard_at = self._clock()
        verdict = self._book.remove(obj.metadata)
        if verdict is Verdict.NEWS:
            self._emit(Removed(self._source, obj))
        elif verdict is Verdict.OUTDATED:
            self._emit(Outdated(self._source, obj, self._book.seen(obj.metadata)))

    def _trouble(self, news: Stalled | Broken) -> None:
        self._troubled = True
        self._emit(news)

    def _well(self) -> None:
        if self._troubled:
            self._troubled = False
            self._emit(Resumed(self._source))

    def _emit(self, news: News[T]) -> None:
        if not self._stop.is_set():
            self._consumer(news)

    def _pause(self, retry_after: float | None) -> None:
        asked = min(retry_after or 0.0, self._timing.max_pause_s)
        pause_s = max(self._backoff.next_pause(), asked)
        if not self._troubled and self._has_gap(pause_s):
            often = f"watches of {self._path} end again and again; the next one in {pause_s:.0f} s"
            self._trouble(Broken(self._source, Unreachable(often)))
        self._wait(pause_s)
