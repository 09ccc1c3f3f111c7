"""Request bodies: JSON or YAML text into objects, with field validation.

`fieldValidation` decides what becomes of unknown and duplicate fields: dropped silently (Ignore),
named in a `Warning` header (Warn, the default) or refused (Strict).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from rollout.sim import decoding, protobuf
from rollout.sim.errors import StatusError
from rollout.sim.patches import go_text
from rollout.sim.registry import PatchType
from rollout.sim.requests import JSON, YAML, Request, check_media_type, options_kind
from rollout.sim.resources import Resource
from rollout.sim.store import Object

STRICT: Final = "Strict"
WARN: Final = "Warn"
IGNORE: Final = "Ignore"
MEDIA_TYPES: Final = (JSON, YAML, protobuf.MEDIA_TYPE)
_MISSING: Final = object()
MAX_BODY: Final = 3 * 1024 * 1024  # bytes, apiserver


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as Go reads it into JSON: times stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(slots=True)
class FieldValidation:
    """What a request wants done about fields that do not belong, and the warnings so far."""

    mode: str = WARN
    warnings: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, request: Request) -> FieldValidation:
        """Read the `fieldValidation` parameter.

        Raises:
            StatusError: 422 for a value that is not known.
        """
        mode = request.query.get("fieldValidation", "") or WARN
        if mode not in (STRICT, WARN, IGNORE):
            supported = f'"", "{IGNORE}", "{STRICT}", "{WARN}"'
            text = f'Unsupported value: "{mode}": supported values: {supported}'
            kind = options_kind(request)
            raise StatusError(
                422,
                "Invalid",
                f'{kind}.meta.k8s.io "" is invalid: fieldValidation: {text}',
                {
                    "group": "meta.k8s.io",
                    "kind": kind,
                    "causes": [
                        {
                            "reason": "FieldValueNotSupported",
                            "message": text,
                            "field": "fieldValidation",
                        }
                    ],
                },
            )
        return cls(mode)

    def object(self, resource: Resource, request: Request) -> Object:
        """Return the body as an object of the kind.

        Raises:
            StatusError: 400 when it is none.
        """
        text = _check_size(request.body)
        media_type = request.media_type or JSON
        check_media_type(media_type, MEDIA_TYPES)
        duplicates: list[str] = []
        if media_type == protobuf.MEDIA_TYPE:
            body: Any = protobuf.decode(text)
        elif media_type == YAML:
            body = _yaml(text)
        else:
            body, duplicates = self._json(resource, text)
        _check_kind(resource, body)
        try:
            decoded, unknown = decoding.decode(resource, body)
        except decoding.DecodeError as error:
            raise decoding.unhandled(resource, str(error)) from None
        problems = [*duplicates, *map(decoding.unknown_field, unknown)]
        if problems and self.mode == STRICT:
            reason = f"strict decoding error: {', '.join(problems)}"
            raise decoding.unhandled(resource, reason)
        self._warn(problems)
        return decoded

    def _json(self, resource: Resource, text: bytes) -> tuple[Any, list[str]]:
        try:
            return parse_json(text)
        except ValueError as error:
            why = _go_syntax_error(text, error)
            message = (
                f"the object provided is unrecognized (must be of type {resource.kind}): "
                f"couldn't get version/kind; json parse error: {why} ({text[:20].hex()} ...)"
            )
            raise StatusError(400, "BadRequest", message) from None

    def patched(
        self,
        resource: Resource,
        new: Object,
        old: Object | None,
        patch: Any,  # noqa: ANN401 - JSON
        patch_type: PatchType,
    ) -> Object:
        """Return the result of a patch in the server's form.

        Only what the patch changed is read: the rest is in that form already.

        Raises:
            StatusError: 422 when a value does not fit, or unknown fields are refused.
        """
        changed, kept = _split(new, old or {})
        try:
            decoded, unknown = decoding.decode(resource, changed)
        except decoding.DecodeError as error:
            strategic = patch_type is PatchType.STRATEGIC
            reason = error.converted if strategic else str(error)
            raise _spoiled(new, patch, patch_type, reason) from None
        if unknown and self.mode == STRICT:
            raise _spoiled(new, patch, patch_type, decoding.strict_error(unknown))
        self._warn([decoding.unknown_field(path) for path in unknown])
        metadata = {**(decoded.get("metadata") or {}), **kept.pop("metadata", {})}
        return {**decoded, **kept, "metadata": metadata}

    def _warn(self, problems: list[str]) -> None:
        if self.mode == WARN:
            self.warnings.extend(problems)


def _spoiled(new: Object, patch: Any, patch_type: PatchType, reason: str) -> StatusError:  # noqa: ANN401 - any JSON
    """Quote the patch where the server converts maps, the whole result where it decodes JSON."""
    if patch_type is PatchType.STRATEGIC:
        return decoding.undecodable_patch(go_text(patch), reason)
    text = json.dumps(new, separators=(",", ":"), ensure_ascii=False)
    return decoding.undecodable_patch(text, reason)


def _split(new: Object, old: Object) -> tuple[Object, Object]:
    """Part an object into what differs from the old one and what it shares with it."""
    kept = {key: value for key, value in new.items() if value is old.get(key, _MISSING)}
    changed = {key: value for key, value in new.items() if key not in kept}
    metadata, before = new.get("metadata"), old.get("metadata") or {}
    if "metadata" in changed and isinstance(metadata, dict):
        shared = {k: v for k, v in metadata.items() if v is before.get(k, _MISSING)}
        changed["metadata"] = {k: v for k, v in metadata.items() if k not in shared}
        kept["metadata"] = shared
    return changed, kept


def patch_body(request: Request, patch_type: PatchType) -> Any:  # noqa: ANN401 - JSON
    """Return the body of a PATCH.

    Raises:
        StatusError: 400 when it can't be parsed.
    """
    text = _check_size(request.body)
    if patch_type is PatchType.APPLY:
        return _yaml(text)
    try:
        return parse_json(text)[0]
    except ValueError as error:
        raise StatusError(400, "BadRequest", _go_syntax_error(text, error)) from None


def read_body(media_type: str, text: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return what a body says, before any rule; None where there is none that can be read."""
    try:
        if media_type == protobuf.MEDIA_TYPE:
            return protobuf.decode(text)
        if media_type in (PatchType.APPLY.value, YAML):
            return _yaml(_check_size(text))
        return parse_json(text)[0]
    except (ValueError, StatusError):
        return None


def _check_size(text: bytes) -> bytes:
    if len(text) > MAX_BODY:
        message = f"Request entity too large: limit is {MAX_BODY}"
        raise StatusError(413, "RequestEntityTooLarge", message)
    return text


def _check_kind(resource: Resource, body: Any) -> None:  # noqa: ANN401 - JSON
    if not isinstance(body, dict):
        return
    version, kind = body.get("apiVersion"), body.get("kind")
    if version not in (None, "", resource.api_version):
        message = (
            f"the API version in the data ({version}) does not match the expected API version "
            f"({resource.api_version})"
        )
        raise StatusError(400, "BadRequest", message)
    if kind not in (None, "", resource.kind):
        message = (
            f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"converting to {resource.kind}: unknown conversion"
        )
        raise StatusError(400, "BadRequest", message)


def _yaml(text: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader, see above
    except yaml.YAMLError as error:
        message = f"error decoding YAML: {error}"
        raise StatusError(400, "BadRequest", message) from None


def parse_json(text: bytes) -> tuple[Any, list[str]]:
    """Return parsed JSON and complaints about duplicate fields.

    Raises:
        ValueError: when it is no JSON.
    """
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            repeated.append("")
        return found

    body = json.loads(text, object_pairs_hook=pairs)
    if not repeated:
        return body, []
    nested = json.loads(text, object_pairs_hook=_Pairs)
    return body, [f'duplicate field "{path}"' for path in _duplicates(nested, "")]


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its members, also the repeated ones."""


def _duplicates(value: Any, path: str) -> list[str]:  # noqa: ANN401 - JSON
    if isinstance(value, _Pairs):
        found: list[str] = []
        seen: set[str] = set()
        for key, member in value:
            inner = f"{path}.{key}" if path else key
            if key in seen:
                found.append(inner)
            seen.add(key)
            found.extend(_duplicates(member, inner))
        return found
    if isinstance(value, list):
        items = enumerate(value)
        return [name for index, item in items for name in _duplicates(item, f"{path}[{index}]")]
    return []


def _go_syntax_error(text: bytes, error: ValueError) -> str:
    position = getattr(error, "pos", 0)
    if position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    char = text[position : position + 1].decode(errors="replace")
    return f"invalid character '{char}' looking for beginning of value"
