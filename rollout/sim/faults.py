"""Faults in front of the API, and the ones that a script asks of the cluster behind it.

Stands between the transport and the API: it looks at every request, and refuses, delays, loses or
falsifies what the script says. Counters prove that a fault was reached. Works in process as over
HTTP; on a virtual clock the same script gives the same history.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from rollout.quantity import Amount
from rollout.sim import watchfaults
from rollout.sim.api import Api
from rollout.sim.errors import StatusError
from rollout.sim.faultfile import CLUSTER_ACTIONS, WATCH_ACTIONS, Fault, Match, Script
from rollout.sim.images import Fault as ImageFault
from rollout.sim.rbac import ANONYMOUS, Attributes, User, attributes_of
from rollout.sim.refusals import not_found
from rollout.sim.requests import (
    Answer,
    Request,
    Response,
    Stream,
    encode,
    refusal,
    target_of,
)
from rollout.sim.store import Compacted, Object
from rollout.sim.watches import Watch

SAMPLE_PERIOD: Final = 1.0  # seconds between two marks of which version was when
OK: Final = 200
NOT_FOUND: Final = 404
NO_ANSWER: Final = 0
COUNTERS_PATH: Final = "/debug/faults"
GONE_LIST: Final = "The provided resource version is too old."


class Operations(Protocol):
    """What a script may do to the cluster; `cluster.Cluster` has it all."""

    def stop_controllers(self) -> None:
        """Take the controller manager down."""

    def start_controllers(self) -> None:
        """Start it again."""

    def lose_node(self, name: str) -> None:
        """Cut a node off."""

    def restore_node(self, name: str) -> None:
        """Bring it back."""

    def remove_node(self, name: str) -> None:
        """Delete a node."""

    def lose_zone(self, zone: str) -> None:
        """Cut all nodes of a zone off."""

    def restore_zone(self, zone: str) -> None:
        """Bring them back."""

    def set_image_fault(self, key: str, fault: ImageFault | None) -> None:
        """Break an image, or heal it."""


@dataclass(slots=True)
class Counter:
    """How often a fault's requests came, and how often it struck."""

    seen: int = 0
    hits: int = 0


def _no_restart(_seconds: float) -> None:
    """In process there is no socket to close."""


@dataclass(slots=True)
class _State:
    fault: Fault
    counter: Counter = field(default_factory=Counter)
    active: bool = False  # an action on the cluster that has not ended yet


class Injector:
    """Answers requests as the API does, but for the faults of a script.

    `/debug/faults` shows the counters; no fault strikes it.

    Args:
        api: answers what no fault touches.
        script: what goes wrong.
        operations: the cluster behind the API; None allows no actions on it.
        restart: takes the transport down for so many seconds.
    """

    def __init__(
        self,
        api: Api,
        script: Script,
        operations: Operations | None = None,
        restart: Callable[[float], None] = _no_restart,
    ) -> None:
        self.api = api
        self.audit = api.audit
        self._clock = api.clock
        self._store = api.registry.store
        self._operations = operations
        self._restart = restart
        self._rng = random.Random(script.seed)  # noqa: S311 - repeatable, not secret
        self._start = self._clock.now()
        self._down_until = 0.0
        self._streams: list[Stream] = []
        self._marks: deque[tuple[float, int]] = deque([(self._start, self._store.version)])
        self._states = [_State(fault) for fault in script.faults]
        api.authorizer.revoked = self._revoked
        self._schedule()

    @property
    def counters(self) -> dict[str, Counter]:
        """The counters by name of the fault."""
        return {state.fault.name: state.counter for state in self._states}

    def unreached(self) -> list[str]:
        """Return the names of the faults that have not struck."""
        return [name for name, counter in self.counters.items() if not counter.hits]

    # Time

    def _schedule(self) -> None:
        oldest = max((s.fault.value for s in self._states if s.fault.action == "stale"), default=0)
        if oldest:
            self._mark(oldest)
        for state in self._states:
            if state.fault.action in CLUSTER_ACTIONS and state.fault.match is None:
                self._clock.call_later(state.fault.start, lambda s=state: self._begin(s))  # type: ignore[misc]  # no type for `s=`

    def _mark(self, oldest: float) -> None:
        now = self._clock.now()
        self._marks.append((now, self._store.version))
        while len(self._marks) > 1 and self._marks[1][0] <= now - oldest:
            self._marks.popleft()
        self._clock.call_later(SAMPLE_PERIOD, lambda: self._mark(oldest))

    def _version_before(self, seconds: float) -> int:
        limit = self._clock.now() - seconds
        past = [version for time, version in self._marks if time <= limit]
        return past[-1] if past else self._marks[0][1]

    def _in_window(self, fault: Fault) -> bool:
        since = self._clock.now() - self._start
        return since >= fault.start and (fault.end is None or since < fault.end)

    # Requests

    def handle(self, request: Request) -> Answer:
        """Answer one request, or let a fault do it."""
        if request.path == COUNTERS_PATH:
            return Response(OK, encode(describe(self)))
        attributes = attributes_of(target_of(request))
        user = self._user(request)
        if self._clock.now() < self._down_until:
            return Response(503, b"", lost=True)
        struck = [s.fault for s in self._states if self._strikes(s, user, attributes)]
        if self._clock.now() < self._down_until:  # this request set it off
            return Response(503, b"", lost=True)
        for fault in struck:
            if (answer := self._instead(fault, request, user)) is not None:
                return answer
        answer = self._answer(request, struck)
        for fault in sorted(struck, key=_ends_a_watch):
            self._alter(fault, answer)
        if isinstance(answer, Stream):
            self._streams = [stream for stream in self._streams if not stream.closed]
            self._streams.append(answer)
        return answer

    def _user(self, request: Request) -> User:
        try:
            return self.api.authorizer.authenticate(request.headers)
        except StatusError:
            return ANONYMOUS

    def _strikes(self, state: _State, user: User, attributes: Attributes) -> bool:
        fault = state.fault
        if fault.action == "revoke" or fault.match is None or not self._in_window(fault):
            return False
        if fault.action in WATCH_ACTIONS and attributes.verb != "watch":
            return False
        if not matches(fault.match, user, attributes) or not self._count(state):
            return False
        if fault.action in CLUSTER_ACTIONS:
            state.counter.hits -= 1  # counted when it begins
            self._begin(state)
            return False
        return True

    def _count(self, state: _State) -> bool:
        """Count a matching request; whether the fault strikes it."""
        fault, counter = state.fault, state.counter
        counter.seen += 1
        number = counter.seen - fault.after
        if number <= 0 or (number - 1) % fault.every:
            return False
        if fault.count is not None and counter.hits >= fault.count:
            return False
        if fault.chance < 1 and self._rng.random() >= fault.chance:
            return False
        counter.hits += 1
        return True

    def _revoked(self, user: User, attributes: Attributes) -> bool:
        revoked = False
        for state in self._states:
            fault = state.fault
            if fault.action != "revoke" or fault.match is None or not self._in_window(fault):
                continue
            if matches(fault.match, user, attributes) and self._count(state):
                revoked = True
        return revoked

    def _instead(self, fault: Fault, request: Request, user: User) -> Answer | None:
        """Return the answer of a fault that keeps the request from the API."""
        auditor = self.api.auditor
        match fault.action:
            case "error":
                error = fault.value
                refused = StatusError(
                    error.status, error.reason, error.message, retry_after=error.retry_after
                )
            case "throttle":
                refused = _throttled(fault.value)
            case "expire" if not request.flag("watch"):
                refused = StatusError(410, "Expired", GONE_LIST)
            case "refuse":
                auditor.remember(request, target_of(request), user, NO_ANSWER, fault.name)
                return Response(503, b"", lost=True)
            case _:
                return None
        answer, now = refusal(refused), self._clock.now()
        auditor.answered(request, target_of(request), user, answer, received=now, fault=fault.name)
        return answer

    def _answer(self, request: Request, struck: list[Fault]) -> Answer:
        stale = next((fault for fault in struck if fault.action == "stale"), None)
        if stale is None or request.flag("watch"):
            return self.api.handle(request)
        return self._stale(request, self._version_before(stale.value))

    def _stale(self, request: Request, version: int) -> Answer:
        """Answer a read as it would have been answered at an older version."""
        target = target_of(request)
        readable = target.verb in ("get", "list") and not target.subresource
        if target.resource is None or not readable:
            return self.api.handle(request)
        if target.verb == "list":
            if "continue" in request.query:
                return self.api.handle(request)
            exact = {"resourceVersion": str(version), "resourceVersionMatch": "Exact"}
            return self.api.handle(replace(request, query={**request.query, **exact}))
        try:
            past = self._store.objects_at(target.resource, version)
        except Compacted:
            return self.api.handle(request)
        answer = self.api.handle(request)
        if not isinstance(answer, Response) or answer.status not in (OK, NOT_FOUND):
            return answer
        found = past.get((target.namespace, target.name))
        if found is None:
            return refusal(not_found(target.resource, target.name))
        return Response(OK, encode(found))

    # What happens to an answer

    def _alter(self, fault: Fault, answer: Answer) -> None:
        match fault.action:
            case "delay":
                answer.delay += fault.value
            case "lose":
                answer.lost = True
                if isinstance(answer, Stream):
                    answer.close()
        if isinstance(answer, Response):
            _falsify(fault, answer)
        if isinstance(answer, Watch):
            watchfaults.alter(self._clock, fault, answer)

    # The cluster

    def _begin(self, state: _State) -> None:
        if state.active:
            return
        fault = state.fault
        state.active = True
        state.counter.hits += 1
        length = fault.length
        if length is None and fault.end is not None:
            length = fault.end - (self._clock.now() - self._start)
        self._act(fault, length)
        if length is not None:
            self._clock.call_later(length, lambda: self._end(state))

    def _end(self, state: _State) -> None:
        state.active = False
        match state.fault.action, self._operations:
            case "stop_controllers", operations if operations:
                operations.start_controllers()
            case "lose_node", operations if operations:
                operations.restore_node(state.fault.value)
            case "lose_zone", operations if operations:
                operations.restore_zone(state.fault.value)
            case "break_image", operations if operations:
                operations.set_image_fault(state.fault.value[0], None)

    def _act(self, fault: Fault, length: float | None) -> None:
        match fault.action, self._operations:
            case "restart", _:
                self._go_down(length or 0.0)
            case "compact", _:
                self._store.compact()
            case "stop_controllers", operations if operations:
                operations.stop_controllers()
            case "lose_node", operations if operations:
                operations.lose_node(fault.value)
            case "lose_zone", operations if operations:
                operations.lose_zone(fault.value)
            case "remove_node", operations if operations:
                operations.remove_node(fault.value)
            case "break_image", operations if operations:
                operations.set_image_fault(*fault.value)

    def _go_down(self, seconds: float) -> None:
        self._down_until = self._clock.now() + seconds
        for stream in self._streams:
            stream.lost = True
            stream.close()
        self._streams.clear()
        self._restart(seconds)


def _ends_a_watch(fault: Fault) -> bool:
    """Whether no other fault can have a say behind this one."""
    return fault.action in ("drop", "expire")


def matches(match: Match, user: User, attributes: Attributes) -> bool:
    """Whether a request is one of those that a fault is for."""
    return (
        (not match.verbs or attributes.verb in match.verbs)
        and (not match.resources or any(_names(name, attributes) for name in match.resources))
        and (not match.namespaces or _any(match.namespaces, attributes.namespace))
        and (not match.names or _any(match.names, attributes.name))
        and (not match.users or _any(match.users, user.name))
    )


def _any(patterns: tuple[str, ...], text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _names(pattern: str, attributes: Attributes) -> bool:
    qualified = attributes.full_resource
    if attributes.group:
        qualified = f"{attributes.resource}.{attributes.group}"
        if attributes.subresource:
            qualified += f"/{attributes.subresource}"
    return fnmatchcase(attributes.full_resource, pattern) or fnmatchcase(qualified, pattern)


def _throttled(seconds: float) -> StatusError:
    details: dict[str, Any] = {"retryAfterSeconds": int(seconds)}
    message = "Too many requests, please try again later."
    return StatusError(429, "TooManyRequests", message, details, retry_after=max(1, int(seconds)))


def _falsify(fault: Fault, response: Response) -> None:
    """Make a good answer say what is not so."""
    if response.status != OK or fault.action not in ("truncate", "empty", "shrink"):
        return
    true_body = response.render()
    if fault.action == "truncate":
        response.body = true_body[: len(true_body) // 2]
        return
    with contextlib.suppress(msgspec.DecodeError):  # a log, or truncated already
        change = _emptied if fault.action == "empty" else partial(_shrunken, fault.value)
        response.body = change(msgspec.json.decode(true_body), true_body)


def _emptied(document: Any, true_body: bytes) -> bytes:  # noqa: ANN401 - JSON
    if not isinstance(document, dict):
        return true_body
    for rows in ("items", "rows"):
        if rows in document:
            version = {"resourceVersion": document["metadata"].get("resourceVersion", "")}
            return encode({**document, "metadata": version, rows: []})
    return true_body


def _shrunken(share: Amount, document: Any, true_body: bytes) -> bytes:  # noqa: ANN401 - JSON
    rows = next((key for key in ("items", "rows") if key in document), "")
    if not rows:
        return true_body
    return encode({**document, rows: document[rows][share.resolve(len(document[rows])) :]})


def describe(injector: Injector) -> Object:
    """Return the counters as plain data."""
    return {
        name: {"seen": counter.seen, "hits": counter.hits}
        for name, counter in injector.counters.items()
    }
