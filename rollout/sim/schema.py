"""What the fields of the served kinds are: their types, merge keys and ownership rules.

`kinds.types` beside this module holds the description, one struct after the other; its head says
how to read it. Decoding, defaults, patches and field ownership all stand on it, so that a field
is described once. A kind without a description (StatefulSet, say) is stored as it comes. Knows
nothing of values: only of forms.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from importlib import resources
from typing import Final

NEW_EVENT: Final = ("events.k8s.io/v1", "Event")


class Form(Enum):
    """What a value looks like in JSON."""

    STRING = auto()
    BOOL = auto()
    INT = auto()
    TIME = auto()
    MICRO_TIME = auto()
    QUANTITY = auto()
    INT_OR_STRING = auto()
    BYTES = auto()
    ANY = auto()
    STRUCT = auto()
    LIST = auto()
    MAP = auto()


@dataclass(frozen=True, slots=True)
class Type:
    """The type of one value.

    Attributes:
        form: its JSON form.
        name: the type's name in messages; for a struct the key into the description.
        item: the type of a list's or map's members.
        keys: the keys by which apply knows a list's items; empty for sets and atomic lists.
        is_set: a list of scalars without order and duplicates.
        atomic: owned by apply as one value.
        patch_key: the key by which strategic patches merge items; "" merges scalars, None
            replaces the list.
        patch_replaces: a struct that strategic patches replace.
        retains_keys: strategic patches may name `$retainKeys`.
    """

    form: Form
    name: str
    item: Type | None = None
    keys: tuple[str, ...] = ()
    is_set: bool = False
    atomic: bool = False
    patch_key: str | None = None
    patch_replaces: bool = False
    retains_keys: bool = False

    @property
    def granular(self) -> bool:
        """Whether apply owns its values part by part."""
        form = self.form
        return not self.atomic and (form is Form.STRUCT or form is Form.MAP or form is Form.LIST)

    @property
    def struct(self) -> Struct:
        """The description of a struct type."""
        return structs()[self.name]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a struct: `always` is written even when zero, a `pointer` only when set."""

    name: str
    type: Type
    pointer: bool
    always: bool


@dataclass(frozen=True, slots=True)
class Struct:
    """The fields of one struct by JSON name, in the order of their description."""

    name: str
    atomic: bool
    fields: dict[str, Field] = field(default_factory=dict)


_SCALARS: Final = {
    "string": Form.STRING,
    "bool": Form.BOOL,
    "int32": Form.INT,
    "int64": Form.INT,
    "Time": Form.TIME,
    "MicroTime": Form.MICRO_TIME,
    "Quantity": Form.QUANTITY,
    "IntOrString": Form.INT_OR_STRING,
    "bytes": Form.BYTES,
    "any": Form.ANY,
}
_TYPE: Final = re.compile(
    r"(?P<many>\[\]|\{\})?(?P<base>[\w.]+)(\((?P<alias>[\w.]+)\))?"
    r"(?P<atomic>@)?(\[(?P<keys>[^]]*)\])?(?P<nopatch>-)?(<(?P<patch>\w+)>)?(?P<mark>[+=])?"
)
_KIND: Final = "kind "
_OBJECT_FIELDS: Final = "kind string; apiVersion string; metadata ObjectMeta"
_LIST_KEY_DEFAULTS: Final = {"protocol": "TCP"}


def key_default(key: str) -> str | None:
    """Return what a list item's missing key stands for (`protocol` is TCP), if anything."""
    return _LIST_KEY_DEFAULTS.get(key)


@cache
def structs() -> dict[str, Struct]:
    """Return every described struct by name."""
    text = resources.files("rollout.sim").joinpath("kinds.types").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    entries = re.split(r"\n(?=\S)", "\n".join(lines))
    atomic = {head[:-1] for entry in entries if (head := entry.partition(":")[0]).endswith("@")}
    found = (_struct(entry, atomic) for entry in entries)
    return {struct.name: struct for struct in found}


def _struct(entry: str, atomic: set[str]) -> Struct:
    head, _, body = entry.partition(":")
    name = head.removesuffix("@").removeprefix(_KIND)
    if head.startswith(_KIND):
        body = f"{_OBJECT_FIELDS};{body}"
    struct = Struct(name, name in atomic)
    for part in body.split(";"):
        field_name, type_text = part.split(maxsplit=1)
        always = field_name.endswith("!")
        pointer = type_text.startswith("*")
        bare = field_name.removesuffix("!")
        parsed = _parse(type_text.strip().removeprefix("*"), atomic)
        struct.fields[bare] = Field(bare, parsed, pointer, always)
    return struct


def _parse(text: str, atomic: set[str]) -> Type:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"kinds.types: {text!r} is not a type")
    base, mark = match["base"], match["mark"]
    form = _SCALARS.get(base, Form.STRUCT)
    inner = Type(
        form,
        match["alias"] or base,
        atomic=base in atomic,
        patch_replaces=mark == "=",
        retains_keys=mark == "+" and match["many"] is None,
    )
    if match["many"] is None:
        return inner
    if match["many"] == "{}":
        return Type(Form.MAP, inner.name, inner, atomic=bool(match["atomic"]))
    keys = tuple((match["keys"] or "").split())
    is_set = match["keys"] == ""
    patch_key = "" if is_set else keys[0] if keys else match["patch"]
    return Type(
        Form.LIST,
        inner.name,
        inner,
        keys=keys,
        is_set=is_set,
        atomic=not keys and not is_set,
        patch_key=None if match["nopatch"] else patch_key,
        retains_keys=mark == "+",
    )


@cache
def kind_type(api_version: str, kind: str) -> Type | None:
    """Return the type of a whole object, or None for a kind without a description."""
    name = "events.Event" if (api_version, kind) == NEW_EVENT else kind
    return Type(Form.STRUCT, name) if name in structs() else None
