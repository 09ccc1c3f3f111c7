"""The fault script: what goes wrong, when, and for whom (`--faults FILE`).

README.md in this directory describes it. A strict schema: an unknown key is refused with its file
and line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from rollout.quantity import parse_amount, parse_duration
from rollout.sim.fleetfile import read_fault
from rollout.yamlsource import Source, Step, read_document

Duration: TypeAlias = int | str
Verb: TypeAlias = Literal[
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"
]
DEFAULT_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of all parts of the file."""


class Match(_Strict, frozen=True):
    """Which requests; names are patterns as in a shell."""

    verbs: tuple[Verb, ...] = ()
    resources: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


class ErrorAction(_Strict, frozen=True):
    """An answer instead of the real one."""

    status: int
    reason: str = ""
    message: str = ""
    retry_after: Duration | None = None


class DropAction(_Strict, frozen=True):
    """When a watch is cut: after a time, or after so many events."""

    after: Duration | None = None
    events: int | None = None


class ImageAction(_Strict, frozen=True):
    """Which image breaks, and how (as in the fleet file)."""

    image: str
    fault: str | dict[str, Any]


class Entry(_Strict, frozen=True):
    """One fault."""

    name: str = ""
    match: Match | None = None
    from_: Duration = msgspec.field(default=0, name="from")
    until: Duration | None = None
    for_: Duration | None = msgspec.field(default=None, name="for")
    after: int = 0
    every: int = 1
    count: int | None = None
    chance: float = 1.0
    error: int | ErrorAction | None = None
    throttle: Duration | None = None
    lose: bool = False
    refuse: bool = False
    delay: Duration | None = None
    stale: Duration | None = None
    expire: bool = False
    revoke: bool = False
    truncate: bool = False
    empty: bool = False
    shrink: int | str | None = None
    drop: Duration | DropAction | None = None
    duplicate: int | None = None
    stall: Duration | None = None
    restart: bool = False
    stop_controllers: bool = False
    lose_node: str | None = None
    lose_zone: str | None = None
    remove_node: str | None = None
    break_image: ImageAction | None = None
    compact: bool = False

    @property
    def actions(self) -> list[str]:
        """The names of the actions that are set."""
        return [
            name
            for name in (*REQUEST_ACTIONS, *WATCH_ACTIONS, *CLUSTER_ACTIONS)
            if getattr(self, name) not in (None, False)
        ]


REQUEST_ACTIONS: Final = (
    "error",
    "throttle",
    "lose",
    "refuse",
    "delay",
    "stale",
    "expire",
    "revoke",
    "truncate",
    "empty",
    "shrink",
)
WATCH_ACTIONS: Final = ("drop", "duplicate", "stall")
CLUSTER_ACTIONS: Final = (
    "restart",
    "stop_controllers",
    "lose_node",
    "lose_zone",
    "remove_node",
    "break_image",
    "compact",
)


class Document(_Strict, frozen=True):
    """The file as written."""

    seed: int = 0
    faults: tuple[Entry, ...] = ()


class Fault(msgspec.Struct, frozen=True):
    """One fault, read and checked; times in seconds.

    Attributes:
        name: for the counters.
        action: which of the actions.
        value: what the action needs: seconds, an `ErrorAction`, a name, ...
        match: which requests; None for actions that only wait for their time.
        start: when it begins, since the start.
        end: when it ends, since the start; None is never.
        length: how long an action on the cluster lasts, None until `end`.
        after: how many matching requests pass first.
        every: hit the first of them, and each n-th behind it.
        count: hit no more than these.
        chance: probability of a hit.
    """

    name: str
    action: str
    value: Any = None
    match: Match | None = None
    start: float = 0.0
    end: float | None = None
    length: float | None = None
    after: int = 0
    every: int = 1
    count: int | None = None
    chance: float = 1.0


class Script(msgspec.Struct, frozen=True):
    """All faults of a run."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()


def read_faults(path: Path | None, text: str | None = None) -> Script:
    """Read a fault script from a file, or from `text`.

    Raises:
        DocumentError: with file and line, when it says something that makes no sense.
    """
    source = read_document(path, text)
    document = source.convert(Document)
    faults = tuple(_fault(source, index, entry) for index, entry in enumerate(document.faults))
    seen: set[str] = set()
    for index, fault in enumerate(faults):
        if fault.name in seen:
            message = f"the name '{fault.name}' stands twice; counters need a name of their own"
            raise source.error(("faults", index, "name"), message)
        seen.add(fault.name)
    return Script(document.seed, faults)


def _fault(source: Source, index: int, entry: Entry) -> Fault:
    place: tuple[Step, ...] = ("faults", index)
    actions = entry.actions
    if len(actions) != 1:
        found = f"found {', '.join(map(_shown, actions))}" if actions else "found none"
        raise source.error(place, f"a fault has exactly one action; {found}")
    action = actions[0]
    reader = _Reader(source, place)
    start = reader.seconds("from", entry.from_)
    end = None if entry.until is None else reader.seconds("until", entry.until)
    if end is not None and end <= start:
        raise source.error((*place, "until"), "'until' is not behind 'from'")
    reader.check_numbers(entry)
    return Fault(
        entry.name or f"{_shown(action)}-{index}",
        action,
        reader.value(action, entry),
        entry.match if entry.match or action in CLUSTER_ACTIONS else Match(),
        start,
        end,
        None if entry.for_ is None else reader.seconds("for", entry.for_),
        entry.after,
        entry.every,
        entry.count,
        entry.chance,
    )


def _shown(action: str) -> str:
    head, *rest = action.split("_")
    return head + "".join(part.capitalize() for part in rest)


class _Reader:
    """Reads the values of one fault, and says where they are wrong."""

    def __init__(self, source: Source, place: tuple[Step, ...]) -> None:
        self._source = source
        self._place = place

    def seconds(self, key: str, value: Duration) -> float:
        return float(self._checked(key, parse_duration, value))

    def _checked(self, key: str, parse: Callable[[Any], Any], value: Any) -> Any:  # noqa: ANN401 - as the parser takes and gives
        try:
            return parse(value)
        except ValueError as error:
            raise self._source.error((*self._place, key), str(error)) from None

    def check_numbers(self, entry: Entry) -> None:
        for key, value, least in (
            ("after", entry.after, 0),
            ("every", entry.every, 1),
            ("count", entry.count if entry.count is not None else 1, 1),
            ("duplicate", entry.duplicate if entry.duplicate is not None else 2, 2),
        ):
            if value < least:
                raise self._source.error((*self._place, key), f"'{key}' is at least {least}")
        if not 0 < entry.chance <= 1:
            message = "'chance' is a probability: above 0, at most 1"
            raise self._source.error((*self._place, "chance"), message)

    def value(self, action: str, entry: Entry) -> Any:  # noqa: ANN401 - by action
        given = getattr(entry, action)
        match action:
            case "throttle" | "delay" | "stale" | "stall":
                return self.seconds(action, given)
            case "shrink":
                return self._checked(action, parse_amount, given)
            case "error":
                return self._error(given)
            case "drop":
                return self._drop(given)
            case "break_image":
                return given.image, self._checked("breakImage", read_fault, given.fault)
        return given

    def _error(self, given: int | ErrorAction) -> ErrorAction:
        action = ErrorAction(given) if isinstance(given, int) else given
        if not 400 <= action.status <= 599:  # noqa: PLR2004 - HTTP's errors
            message = f"{action.status} is no HTTP error; write 400 to 599"
            raise self._source.error((*self._place, "error"), message)
        reason = action.reason or DEFAULT_REASONS.get(action.status, "")
        retry = action.retry_after
        return ErrorAction(
            action.status,
            reason,
            action.message or f"injected fault: {action.status} {reason}".rstrip(),
            None if retry is None else int(self.seconds("error", retry)),
        )

    def _drop(self, given: Duration | DropAction) -> tuple[float | None, int | None]:
        if not isinstance(given, DropAction):
            return self.seconds("drop", given), None
        if (given.after is None) == (given.events is None):
            raise self._source.error((*self._place, "drop"), "give either 'after' or 'events'")
        after = None if given.after is None else self.seconds("drop", given.after)
        return after, given.events
