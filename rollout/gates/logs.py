"""The gate `logs`: a pattern in what the new pods have written since the change.

The logs of one node's pods where it is measured for a node, else of all new pods, side by side.
A log that cannot be read, or is longer than the limit, never passes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from rollout.cluster.paths import resource_path
from rollout.errors import NotFound, Rejected
from rollout.fleet.objects import Pod, format_time
from rollout.gates.context import Context, bare_nodes
from rollout.gates.measurement import Measurement, Outcome, Reading, plain
from rollout.gatespec import LogsGate
from rollout.patterns import Pattern, compile_pattern
from rollout.quantity import cut

READERS = 8  # logs that are read at once
SHOWN_LINE = 160  # characters of a matching line in the reason


@dataclass(frozen=True, slots=True)
class Found:
    """What the containers of one pod have written.

    Attributes:
        pod: its name; `node` is where it runs.
        matches: bad lines, and the first of them.
        required: whether the line that must appear is there.
        unread: why something could not be read; "" when everything was.
        cut_short: a log was longer than the limit.
    """

    pod: str
    node: str
    matches: int = 0
    first: str = ""
    required: bool = False
    unread: str = ""
    cut_short: bool = False


def measure(gate: LogsGate, context: Context) -> Reading | Measurement:
    """Measure it."""
    name = context.node.metadata.name if context.node is not None else ""
    pods = [pod for pod in context.updated if not name or pod.target_node == name]
    if not pods:
        return Measurement(Outcome.NO_DATA, context.now, reason="there is no new pod to read")
    found = _read_all(Search(gate, context), pods)
    lost = [Found("", node, unread=f"{node} has no new pod") for node in bare_nodes(context)]
    return judge_found(gate, found + lost, context.now)


def _read_all(search: Search, pods: list[Pod]) -> list[Found]:
    """Read side by side, in threads that the end of a run does not wait for (no pool's are so)."""
    left, found, failures = deque(enumerate(pods)), dict[int, Found](), list[Exception]()

    def take(number: int, pod: Pod) -> None:
        try:
            found[number] = search.read(pod)
        except Exception as error:  # noqa: BLE001 - it is handed on
            failures.append(error)

    def read() -> None:
        with suppress(IndexError):  # nothing is left
            while not failures:
                take(*left.popleft())

    readers = [
        threading.Thread(target=read, name="gate-log", daemon=True)
        for _ in range(min(READERS, len(pods)))
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    if failures:
        raise failures[0]
    return [found[number] for number in range(len(pods))]


def judge_found(gate: LogsGate, found: list[Found], now: float) -> Reading | Measurement:
    """Judge what was found: bad lines first, then what is not known, then what is missing."""
    by_node: dict[str, int] = {}
    for item in found:
        by_node[item.node] = by_node.get(item.node, 0) + item.matches
    worst = max(by_node.values())
    if worst > gate.max_matches:
        item = max(found, key=lambda item: by_node[item.node])
        shown = next(i.first for i in found if i.node == item.node and i.matches)
        bad = sum(1 for number in by_node.values() if number > gate.max_matches)
        times = f"{worst} lines match on {item.node}"
        where = times if bad == 1 else f"{times}, and there are {bad - 1} more such nodes"
        return Reading(worst, Outcome.FAILED, f"{where}: {plain(shown, SHOWN_LINE)}")
    unread = [": ".join(t for t in (item.pod, item.unread) if t) for item in found if item.unread]
    if unread:
        return Measurement(Outcome.NO_DATA, now, reason=cut(unread, 2))
    short = [item.pod for item in found if item.cut_short]
    if short:
        text = f"longer than limitBytes {gate.limit_bytes}, the rest is unread: {cut(short)}"
        return Measurement(Outcome.INCONCLUSIVE, now, str(worst), text)
    missing = [item.pod for item in found if gate.require is not None and not item.required]
    if missing:
        text = f"the line that is required has not appeared yet: {cut(missing)}"
        return Measurement(Outcome.WAITING, now, str(worst), text)
    return Reading(worst, Outcome.PASSED, f"{sum(by_node.values())} matching lines")


class Search:
    """Reads the logs of pods for one measurement; safe to use from many threads."""

    def __init__(self, gate: LogsGate, context: Context) -> None:
        self._gate = gate
        self._context = context
        self._pattern = _compiled(gate.pattern)
        self._require = _compiled(gate.require)

    def read(self, pod: Pod) -> Found:
        """Return what the pod's containers have written since the change."""
        statuses = pod.status.container_statuses
        wanted = [s for s in statuses if self._gate.container in ("", s.name)]
        found = Found(pod.metadata.name, pod.target_node)
        if not wanted:
            missing = f"container {self._gate.container}" if self._gate.container else "container"
            return replace(found, unread=f"no {missing} has started")
        for status in wanted:
            for previous in (True, False):
                if not previous or (self._gate.previous and status.restart_count):
                    found = self._add(found, pod, status.name, previous=previous)
        return found

    def _add(self, found: Found, pod: Pod, container: str, *, previous: bool) -> Found:
        try:
            log = self._fetch(pod, container, previous=previous)
        except (NotFound, Rejected) as error:
            if previous:
                return found  # already rotated away
            return replace(found, unread=str(error))
        matches, first, required = found.matches, found.first, found.required
        for line in _lines(log):
            if self._pattern is not None and self._pattern.found_in(line):
                matches, first = matches + 1, first or line
            required = required or (self._require is not None and self._require.found_in(line))
        return replace(
            found,
            matches=matches,
            first=first,
            required=required,
            cut_short=found.cut_short or len(log) >= self._gate.limit_bytes,
        )

    def _fetch(self, pod: Pod, container: str, *, previous: bool) -> bytes:
        namespace = pod.metadata.namespace or self._context.namespace
        path = resource_path(
            "v1", "pods", namespace=namespace, name=pod.metadata.name, subresource="log"
        )
        query = {
            "container": container,
            "sinceTime": format_time(self._context.since),
            "limitBytes": str(self._gate.limit_bytes),
        }
        if previous:
            query["previous"] = "true"
        return self._context.client.text(path, query)


def _compiled(text: str | None) -> Pattern | None:
    return compile_pattern(text) if text is not None else None


def _lines(log: bytes) -> Iterator[str]:
    for line in log.split(b"\n"):
        if line:
            yield line.decode("utf-8", "replace")
