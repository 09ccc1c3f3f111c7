"""Watches: changes as a stream of lines, with the semantics of the API server's watch cache.

An object that leaves the selector gives DELETED, one that enters it ADDED. Bookmarks tell a
client how far it is; a version that is gone gives 410 as an event in the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rollout.sim.clock import Clock, Timer
from rollout.sim.encoding import Encoder, line
from rollout.sim.errors import StatusError
from rollout.sim.lists import Options, parse_version
from rollout.sim.requests import Stream, encode
from rollout.sim.resources import Resource
from rollout.sim.selectors import Matcher
from rollout.sim.store import Compacted, Event, Object, Store

BOOKMARK_PERIOD: Final = 60.0  # seconds, watch cache
BOOKMARK_BEFORE_END: Final = 2.0  # seconds before the watch's own end
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
EXPIRED: Final = "The resourceVersion for the provided watch is too old."

Convert = Callable[[Object], Object]


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """What a watch asks for beyond selectors."""

    timeout: float  # seconds until the server ends it
    bookmarks: bool = False
    initial_events: bool = False


class Watch(Stream):
    """One client's view of the changes of one resource.

    Args:
        store: where the changes come from.
        clock: ends the watch and paces its bookmarks.
        encoder: encodes each change once for all watches.
        resource: what is watched.
        namespace: one namespace, or None for all.
        options: selectors and the version to start behind.
        watch_options: duration and bookmarks.
        convert: turns objects into another shape (a table row); None sends them as they are.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        encoder: Encoder,
        resource: Resource,
        namespace: str | None,
        options: Options,
        watch_options: WatchOptions,
        convert: Convert | None = None,
    ) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._encoder = encoder
        self.resource = resource
        self._namespace = namespace
        self._matches: Matcher | None = options.matcher
        self._convert = convert
        self._options = watch_options
        self._after = parse_version(options.version)
        self._timers: list[Timer] = []
        self._start(fresh=options.version in ("", "0"))

    def _start(self, *, fresh: bool) -> None:
        if self._options.initial_events or fresh:
            self._send_state()
        else:
            try:
                missed = self._store.events_since(self.resource, self._after)
            except Compacted:
                self._fail(StatusError(410, "Expired", EXPIRED))
                return
            for event in missed:
                self._on_event(event)
        self.on_close.append(self._store.subscribe(self.resource, self._on_event))
        self.on_close.append(self._cancel_timers)
        self._timers.append(self._clock.call_later(self._options.timeout, self.close))
        if self._options.bookmarks:
            self._schedule_bookmarks()

    def _schedule_bookmarks(self) -> None:
        before_end = self._options.timeout - BOOKMARK_BEFORE_END
        if before_end > 0:
            self._timers.append(self._clock.call_later(before_end, self._bookmark))
        self._timers.append(self._clock.call_later(BOOKMARK_PERIOD, self._periodic_bookmark))

    def _periodic_bookmark(self) -> None:
        self._bookmark()
        self._timers[-1] = self._clock.call_later(BOOKMARK_PERIOD, self._periodic_bookmark)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _send_state(self) -> None:
        for obj in self._store.scan(self.resource, self._namespace):
            if self._matches is None or self._matches(obj):
                self._send_object("ADDED", obj)
        # A version from the future keeps quiet until the cluster has come so far.
        self._after = max(self._after, self._store.version)
        if self._options.initial_events and self._options.bookmarks:
            self._bookmark({INITIAL_EVENTS_END: "true"})

    def _on_event(self, event: Event) -> None:
        if event.version <= self._after:
            return
        if self._namespace is not None and event.key[0] != self._namespace:
            return
        if self._matches is None:
            self._forward(event)
            return
        is_in = event.type != "DELETED" and self._matches(event.object)
        was_in = event.old is not None and self._matches(event.old)
        if is_in and (was_in or event.type == "ADDED"):
            self._forward(event)
        elif is_in:
            self._send_object("ADDED", event.object)
        elif was_in and event.type == "DELETED":
            self._forward(event)
        elif was_in and event.old is not None:
            metadata = {**event.old["metadata"], "resourceVersion": str(event.version)}
            gone = {**event.old, "metadata": metadata}
            self._send_line("DELETED", gone)

    def _forward(self, event: Event) -> None:
        if self._convert is None:
            self.send(self._encoder.event(event))
        else:
            self._send_line(event.type, event.object)

    def _send_object(self, kind: str, obj: Object) -> None:
        if self._convert is None:
            self.send(line(kind, self._encoder.encode(self.resource, obj)))
        else:
            self._send_line(kind, obj)

    def _send_line(self, kind: str, obj: Object) -> None:
        converted = obj if self._convert is None else self._convert(obj)
        self.send(line(kind, encode(converted)))

    def _bookmark(self, annotations: dict[str, str] | None = None) -> None:
        metadata: Object = {"resourceVersion": str(self._store.version)}
        if annotations:
            metadata["annotations"] = annotations
        bookmark = _empty(self.resource)
        bookmark["metadata"] = {**bookmark["metadata"], **metadata}
        self._send_line("BOOKMARK", bookmark)

    def _fail(self, error: StatusError) -> None:
        self.send(line("ERROR", encode(error.body())))
        self.close()

    def expire(self) -> None:
        """End the watch as if its version were gone: 410 as an event."""
        self._fail(StatusError(410, "Expired", EXPIRED))


_EMPTY_PARTS: Final[dict[str, Object]] = {
    "Pod": {"spec": {"containers": None}, "status": {}},
    "Node": {
        "spec": {},
        "status": {
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": dict.fromkeys(
                (
                    "machineID",
                    "systemUUID",
                    "bootID",
                    "kernelVersion",
                    "osImage",
                    "containerRuntimeVersion",
                    "kubeletVersion",
                    "kubeProxyVersion",
                    "operatingSystem",
                    "architecture",
                ),
                "",
            ),
        },
    },
    "DaemonSet": {
        "spec": {
            "selector": None,
            "template": {"metadata": {}, "spec": {"containers": None}},
            "updateStrategy": {},
        },
        "status": {
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        },
    },
    "ControllerRevision": {"revision": 0},
    "Lease": {"spec": {}},
    "Namespace": {"spec": {}, "status": {}},
}
"""What an empty object of a kind looks like in a bookmark: Go writes its zero values."""


def _empty(resource: Resource) -> Object:
    return {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": {},
        **_EMPTY_PARTS.get(resource.kind, {}),
    }
