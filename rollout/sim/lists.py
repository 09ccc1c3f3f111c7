"""Lists as the API server serves them: pages, consistent versions and continue tokens.

What `resourceVersion`, `resourceVersionMatch`, `limit` and `continue` ask for is decided here,
with the answers of a real server where they can't be had (410 with a token for an inconsistent
rest, 504 for a version from the future).
"""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rollout.sim.errors import StatusError
from rollout.sim.requests import Request
from rollout.sim.resources import Resource
from rollout.sim.selectors import (
    FieldSelector,
    LabelSelector,
    Matcher,
    SelectorError,
    matcher,
    parse_fields,
    parse_labels,
)
from rollout.sim.store import Compacted, Key, Object, Store

TOKEN_VERSION: Final = "meta.k8s.io/v1"  # noqa: S105 - the version of continue tokens
INCONSISTENT: Final = -1  # version in a token that goes on with whatever is there now
EXACT: Final = "Exact"
NOT_OLDER: Final = "NotOlderThan"
SNAPSHOTS: Final = 4  # past states kept for lists that are being paged through

EXPIRED_CONTINUE: Final = (
    "The provided continue parameter is too old to display a consistent list result. You can "
    "start a new list without the continue parameter, or use the continue token in this response "
    "to retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


class Expired(StatusError):
    """410 for a continue token, with a token that goes on inconsistently."""

    def __init__(self, token: str) -> None:
        super().__init__(410, "Expired", EXPIRED_CONTINUE)
        self.token = token

    def body(self) -> dict[str, Any]:
        """Return the `Status` with the fresh token."""
        return {**super().body(), "metadata": {"continue": self.token}}


@dataclass(frozen=True, slots=True)
class Options:
    """What a list or watch asks for."""

    labels: LabelSelector
    fields: FieldSelector
    version: str = ""
    match: str = ""
    limit: int = 0
    token: str = ""

    @property
    def matcher(self) -> Matcher | None:
        """The test for both selectors, None when everything matches."""
        return matcher(self.labels, self.fields)


@dataclass(slots=True)
class Page:
    """One page of a list and where it stands."""

    objects: list[Object]
    version: int
    token: str = ""
    remaining: int | None = None

    @property
    def list_meta(self) -> Object:
        """The `metadata` of the list."""
        meta: Object = {"resourceVersion": str(self.version)}
        if self.token:
            meta["continue"] = self.token
            if self.remaining is not None:
                meta["remainingItemCount"] = self.remaining
        return meta


def parse_options(resource: Resource, request: Request) -> Options:
    """Read the list options of a request.

    Raises:
        StatusError: 400 or 422 when they make no sense.
    """
    query = request.query
    try:
        labels = parse_labels(query.get("labelSelector", ""))
    except SelectorError as error:
        raise StatusError(400, "BadRequest", str(error)) from None
    options = Options(
        labels,
        parse_fields(resource, query.get("fieldSelector", "")),
        query.get("resourceVersion", ""),
        query.get("resourceVersionMatch", ""),
        request.number("limit") or 0,
        query.get("continue", ""),
    )
    _check(options, request)
    return options


def _check(options: Options, request: Request) -> None:
    causes = _watch_causes(options, request) if request.flag("watch") else _causes(options, request)
    if not causes:
        return
    text = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
    text = f"[{text}]" if len(causes) > 1 else text
    raise StatusError(
        422,
        "Invalid",
        f'ListOptions.meta.k8s.io "" is invalid: {text}',
        {"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes},
    )


def _forbidden(name: str, why: str) -> Object:
    return {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": name}


def _causes(options: Options, request: Request) -> list[Object]:
    causes: list[Object] = []
    if options.match:
        if not options.version:
            why = "resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(_forbidden("resourceVersionMatch", why))
        if options.token:
            why = "resourceVersionMatch is forbidden when continue is provided"
            causes.append(_forbidden("resourceVersionMatch", why))
        if options.match not in (EXACT, NOT_OLDER):
            causes.append(_unsupported_match(options.match, f'"{EXACT}", "{NOT_OLDER}", ""'))
        if options.match == EXACT and options.version == "0":
            why = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            causes.append(_forbidden("resourceVersionMatch", why))
    if "sendInitialEvents" in request.query:
        causes.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_causes(options: Options, request: Request) -> list[Object]:
    initial = "sendInitialEvents" in request.query
    causes: list[Object] = []
    if initial and options.match != NOT_OLDER:
        why = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
        causes.append(_forbidden("resourceVersionMatch", why))
    elif options.match and not initial:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden("resourceVersionMatch", why))
    if options.match not in ("", NOT_OLDER):
        causes.append(_unsupported_match(options.match, f'"{NOT_OLDER}"'))
    return causes


def _unsupported_match(match: str, supported: str) -> Object:
    message = f'Unsupported value: "{match}": supported values: {supported}'
    return {
        "reason": "FieldValueNotSupported",
        "message": message,
        "field": "resourceVersionMatch",
    }


def parse_version(text: str) -> int:
    """Return a resource version as a number; "" and "0" are 0.

    Raises:
        StatusError: when it is none; a real server answers 500 without a reason.
    """
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        message = (
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
        raise StatusError(500, "", message)
    return int(text)


def too_large(version: int, current: int) -> StatusError:
    """Build the 504 for a version that the cluster has not reached."""
    return StatusError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {version}, current: {current}",
        {
            "causes": [
                {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            ],
            "retryAfterSeconds": 1,
        },
        retry_after=1,
    )


def encode_token(version: int, key: Key) -> str:
    """Return the token that goes on behind `key`."""
    namespace, name = key
    start = f"{namespace}/{name}\0" if namespace else f"/{name}\0"
    raw = json.dumps({"v": TOKEN_VERSION, "rv": version, "start": start}, separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def decode_token(token: str) -> tuple[int, Key]:
    """Return version and last key of a token.

    Raises:
        StatusError: 400 with the words of a real server.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise _bad_token("illegal base64 data at input byte 0") from None
    try:
        content = json.loads(raw)
    except ValueError:
        raise _bad_token(_go_json_error(raw)) from None
    if not isinstance(content, dict) or content.get("v") != TOKEN_VERSION:
        raise _bad_token("server does not recognize this encoded version")
    namespace, _, name = str(content.get("start", "")).rstrip("\0").rpartition("/")
    return int(content.get("rv", 0)), (namespace, name)


def _bad_token(why: str) -> StatusError:
    message = f"invalid continue token: continue key is not valid: {why}"
    return StatusError(400, "BadRequest", message)


def _go_json_error(raw: bytes) -> str:
    first = raw[:1]
    if not first:
        return "unexpected end of JSON input"
    char = chr(first[0]) if first.isascii() else f"\\x{first[0]:02x}"
    return f"invalid character '{char}' looking for beginning of value"


@dataclass(slots=True)
class _Snapshot:
    keys: list[Key]
    objects: dict[Key, Object]


@dataclass(slots=True)
class Lister:
    """Reads pages from a store; keeps the last past states that lists page through."""

    store: Store
    _snapshots: OrderedDict[tuple[Resource, int], _Snapshot] = field(default_factory=OrderedDict)

    def page(self, resource: Resource, namespace: str | None, options: Options) -> Page:
        """Return the page that the options ask for.

        Args:
            resource: what to list.
            namespace: one namespace, or None for all.
            options: the list options.

        Raises:
            StatusError: 400 for a bad token, 410 when the version is gone, 504 when it is not
                there yet.
        """
        if options.token:
            return self._continued(resource, namespace, options)
        current = self.store.version
        version = parse_version(options.version)
        if version > current:
            raise too_large(version, current)
        legacy_exact = bool(options.limit and not options.match and version)
        if version and (options.match == EXACT or legacy_exact):
            objects = self._at(resource, namespace, version, None)
            if objects is None:
                message = "The resourceVersion for the provided list is too old."
                raise StatusError(410, "Expired", message)
            return _cut(objects, version, namespace, options, options.limit)
        # As from a watch cache, "any version" is served whole.
        limit = 0 if options.version == "0" else options.limit
        return _cut(self.store.scan(resource, namespace), current, namespace, options, limit)

    def _continued(self, resource: Resource, namespace: str | None, options: Options) -> Page:
        if options.version not in ("", "0"):
            message = "specifying resource version is not allowed when using continue"
            raise StatusError(400, "BadRequest", message)
        version, (space, name) = decode_token(options.token)
        after = (space or namespace or "", name)
        if version == INCONSISTENT:
            objects: Iterator[Object] | None = self.store.scan(resource, namespace, after)
            version = self.store.version
        else:
            objects = self._at(resource, namespace, version, after)
        if objects is None:
            raise Expired(encode_token(INCONSISTENT, after if namespace is None else ("", name)))
        return _cut(objects, version, namespace, options, options.limit)

    def _at(
        self, resource: Resource, namespace: str | None, version: int, after: Key | None
    ) -> Iterator[Object] | None:
        """Yield the objects as they were at `version`, None when that is forgotten."""
        try:
            if not self.store.events_since(resource, version):
                return self.store.scan(resource, namespace, after)
            snapshot = self._snapshot(resource, version)
        except Compacted:
            return None
        return _scan(snapshot, namespace, after)

    def _snapshot(self, resource: Resource, version: int) -> _Snapshot:
        cache_key = (resource, version)
        found = self._snapshots.get(cache_key)
        if found is None:
            objects = self.store.objects_at(resource, version)
            found = self._snapshots[cache_key] = _Snapshot(sorted(objects), objects)
            if len(self._snapshots) > SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return found


def _cut(
    objects: Iterator[Object], version: int, namespace: str | None, options: Options, limit: int
) -> Page:
    """Take one page of the objects that match; 0 is no limit."""
    matches = options.matcher
    taken: list[Object] = []
    for obj in objects:
        if matches is not None and not matches(obj):
            continue
        if limit and len(taken) == limit:
            # A server can't count cheaply what a selector would let through.
            remaining = None if matches is not None else 1 + sum(1 for _ in objects)
            return _more(taken, version, namespace, remaining)
        taken.append(obj)
    return Page(taken, version)


def _more(taken: list[Object], version: int, namespace: str | None, remaining: int | None) -> Page:
    metadata = taken[-1]["metadata"]
    space = metadata.get("namespace", "") if namespace is None else ""
    return Page(taken, version, encode_token(version, (space, metadata["name"])), remaining)


def _scan(snapshot: _Snapshot, namespace: str | None, after: Key | None) -> Iterator[Object]:
    start = (namespace or "", "") if after is None else after
    for index in range(bisect_right(snapshot.keys, start), len(snapshot.keys)):
        key = snapshot.keys[index]
        if namespace is not None and key[0] != namespace:
            return
        yield snapshot.objects[key]
