"""What all parts of the spec are made of: the base struct, and the checks of single values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import msgspec

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
NonNegative: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class Struct(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Base of all spec structs: an unknown key is an error."""


def checked(field: str, check: Callable[[Any], object], value: object) -> None:
    """Apply a parser to the value of a field; its complaint begins with the field's name.

    Raises:
        ValueError: `field: what is wrong`, from which a reader can find the line.
    """
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{field}: {error}") from None
