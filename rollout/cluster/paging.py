"""A list in pages, as it was at one version, however many requests that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from rollout.errors import Gone

PAGE_SIZE = 500  # objects per page: bounds what one answer costs both sides
PAGED_ATTEMPTS = 2  # before a list whose continuation expired is asked for in one piece

T = TypeVar("T")
Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """All objects of a list at one resource version, from which a watch can go on."""

    items: list[T]
    version: str


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str
    continue_: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page has all three fields, or it isn't one: `{}` must never look like an empty list."""

    kind: str
    metadata: _ListMeta
    items: list[T] | None  # Go writes null for a list that was never filled

    def __post_init__(self) -> None:
        if not (self.kind.endswith("List") and self.metadata.resource_version):
            raise ValueError(f"the answer is no list but {self.kind!r}")


def list_all(read: Callable[[Query], Page[T]], query: Query, page_size: int) -> Listing[T]:
    """Read a list.

    When the version of the first page expires before the last page, or pages differ in version,
    the list starts anew and at last comes in one piece.

    Args:
        read: asks for one page.
        query: what selects the objects.
        page_size: objects per request.
    """
    for _ in range(PAGED_ATTEMPTS):
        try:
            listing = _list_paged(read, {**query, "limit": str(page_size)})
        except Gone:
            continue
        if listing is not None:
            return listing
    page = read(query)
    return Listing(page.items or [], page.metadata.resource_version)


def _list_paged(read: Callable[[Query], Page[T]], query: Query) -> Listing[T] | None:
    """Return the list, or None when its pages are of different versions."""
    page = read(query)
    items, version = page.items or [], page.metadata.resource_version
    while page.metadata.continue_:
        page = read({**query, "continue": page.metadata.continue_})
        if page.metadata.resource_version != version:
            return None
        items += page.items or []
    return Listing(items, version)
