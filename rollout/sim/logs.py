"""What containers wrote: kept by pod and container, read as `pods/log` reads it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rollout.sim import timestamps
from rollout.sim.clock import Clock
from rollout.sim.errors import StatusError
from rollout.sim.requests import TEXT, Answer, Request, Response, Stream
from rollout.sim.store import Object

KEPT_LINES: Final = 10_000  # of each container; older ones are rotated away


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line and when it was written, in seconds since the Unix epoch."""

    time: float
    text: str


Script = Callable[[Object, str, float, bool], Sequence[LogLine] | None]
"""Says what a container of a pod has written up to a time, for logs that follow from a rule; the
last argument asks for the instance before the last restart. None: there was no such instance."""


def scripted(lines_of: Callable[[str, str], Sequence[str]]) -> Script:
    """Return the script by which containers write fixed lines, one a second from their start.

    The first line is there at once, and what has ended has written its last line.

    Args:
        lines_of: gives the lines of an image (first) on a node (second).
    """

    def script(pod: Object, container: str, now: float, previous: bool) -> list[LogLine] | None:  # noqa: FBT001 - as Script says
        span = _span(pod, container, previous=previous)
        if span is None:
            return None
        started, ended = span
        image = next(c["image"] for c in _containers(pod) if c["name"] == container)
        lines = lines_of(image, pod["spec"].get("nodeName", ""))
        timed = (LogLine(started + index, text) for index, text in enumerate(lines))
        return [line for line in timed if line.time <= min(now, ended)]

    return script


def _containers(pod: Object) -> list[Object]:
    return [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]


def _span(pod: Object, container: str, *, previous: bool) -> tuple[float, float] | None:
    """Return begin and end of an instance of the container, as far as the status tells.

    While a container waits for its restart, its log is that of the instance before, as kubelets
    have it.
    """
    status = pod["status"]
    every = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    entry: Object = next((e for e in every if e["name"] == container), {})
    states = [entry.get("lastState") or {}]
    if not previous:
        states.insert(0, entry.get("state") or {})
    for state in states:
        if started := (state.get("running") or {}).get("startedAt"):
            return timestamps.parse(started), math.inf
        ended = state.get("terminated") or {}
        if ended.get("startedAt"):
            return timestamps.parse(ended["startedAt"]), timestamps.parse(ended["finishedAt"])
    return None


@dataclass(slots=True)
class _Log:
    current: deque[LogLine]
    previous: Sequence[LogLine] | None
    listeners: list[Callable[[LogLine], None]]


class LogBook:
    """The logs of all containers.

    Args:
        clock: stamps the lines.
        script: gives the lines of containers that nobody wrote anything for.
    """

    def __init__(self, clock: Clock, script: Script | None = None) -> None:
        self._clock = clock
        self.script = script
        self._logs: dict[tuple[str, str], _Log] = {}

    def _log(self, uid: str, container: str) -> _Log:
        key = (uid, container)
        if key not in self._logs:
            self._logs[key] = _Log(deque(maxlen=KEPT_LINES), None, [])
        return self._logs[key]

    def write(self, uid: str, container: str, text: str) -> None:
        """Add a line to what a container of the pod with this uid wrote."""
        log = self._log(uid, container)
        line = LogLine(self._clock.now(), text)
        log.current.append(line)
        for listener in tuple(log.listeners):
            listener(line)

    def restart(self, uid: str, container: str) -> None:
        """Begin a new log; what was written so far is what `--previous` shows."""
        log = self._log(uid, container)
        log.previous = tuple(log.current)
        log.current.clear()

    def forget(self, uid: str, container: str) -> None:
        """Drop the log of a container whose pod is gone."""
        self._logs.pop((uid, container), None)

    def lines(self, pod: Object, container: str, *, previous: bool = False) -> list[LogLine]:
        """Return what a container wrote.

        Raises:
            StatusError: 400 when there is no earlier container to show.
        """
        log = self._logs.get((pod["metadata"]["uid"], container))
        written = (log.previous if previous else log.current or None) if log else None
        if written is None and self.script is not None:
            written = self.script(pod, container, self._clock.now(), previous)
        if written is None and previous:
            name = pod["metadata"]["name"]
            message = f'previous terminated container "{container}" in pod "{name}" not found'
            raise StatusError(400, "BadRequest", message)
        return list(written or ())

    def follow(
        self, uid: str, container: str, listener: Callable[[LogLine], None]
    ) -> Callable[[], None]:
        """Call `listener` with every later line; returns how to stop that."""
        listeners = self._log(uid, container).listeners
        listeners.append(listener)
        return lambda: listeners.remove(listener)


@dataclass(frozen=True, slots=True)
class _Options:
    timestamps: bool
    tail: int | None
    since: float
    limit: int | None

    def select(self, lines: list[LogLine]) -> list[LogLine]:
        recent = [line for line in lines if line.time >= self.since]
        if self.tail is None:
            return recent
        return recent[-self.tail :] if self.tail else []

    def render(self, lines: Iterable[LogLine]) -> bytes:
        text = "".join(f"{self._stamp(line)}{line.text}\n" for line in lines).encode()
        return text if self.limit is None else text[: self.limit]

    def _stamp(self, line: LogLine) -> str:
        return f"{timestamps.rfc3339_micro(line.time)[:-1]}000Z " if self.timestamps else ""


def read_logs(book: LogBook, clock: Clock, pod: Object, request: Request) -> Answer:
    """Serve `pods/log`.

    Raises:
        StatusError: 400 when the container has to be named, is not there, or has not started.
    """
    container = _container(pod, request.query.get("container", ""))
    previous = request.flag("previous")
    if not previous:
        _check_started(pod, container)
    options = _options(request, clock.now())
    lines = options.select(book.lines(pod, container, previous=previous))
    if not request.flag("follow") or previous:
        return Response(200, options.render(lines), TEXT)
    stream = Stream(TEXT)
    stream.send(options.render(lines))
    uid = pod["metadata"]["uid"]
    stop = book.follow(uid, container, lambda line: stream.send(options.render([line])))
    stream.on_close.append(stop)
    return stream


def _options(request: Request, now: float) -> _Options:
    since = 0.0
    if seconds := request.number("sinceSeconds"):
        since = now - seconds
    elif text := request.query.get("sinceTime"):
        since = timestamps.parse(text)
    return _Options(
        request.flag("timestamps"),
        request.number("tailLines"),
        since,
        request.number("limitBytes"),
    )


def _container(pod: Object, asked: str) -> str:
    names = [container["name"] for container in pod["spec"]["containers"]]
    name = pod["metadata"]["name"]
    every = [container["name"] for container in _containers(pod)]
    if asked:
        if asked not in every:
            message = f"container {asked} is not valid for pod {name}"
            raise StatusError(400, "BadRequest", message)
        return asked
    if len(names) > 1:
        message = (
            f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
        )
        raise StatusError(400, "BadRequest", message)
    return str(names[0])


def _check_started(pod: Object, container: str) -> None:
    if not pod["spec"].get("nodeName"):
        raise StatusError(
            400, "BadRequest", f"pod {pod['metadata']['name']} does not have a host assigned"
        )
    status = pod.get("status", {})
    statuses = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    for entry in statuses:
        waiting = entry.get("state", {}).get("waiting")
        if entry["name"] == container and waiting and not entry.get("lastState"):
            name = pod["metadata"]["name"]
            reason = waiting.get("reason", "ContainerCreating")
            message = f'container "{container}" in pod "{name}" is waiting to start: {reason}'
            raise StatusError(400, "BadRequest", message)
