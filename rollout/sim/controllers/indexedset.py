"""A set of names that can be drawn from by position: order follows from the history alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class IndexedSet:
    """Names with constant-time add, discard and access by index."""

    __slots__ = ("_names", "_places")

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names: list[str] = []
        self._places: dict[str, int] = {}
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """Put the name in, once."""
        if name not in self._places:
            self._places[name] = len(self._names)
            self._names.append(name)

    def discard(self, name: str) -> None:
        """Take the name out, if it is in; the last one moves into its place."""
        place = self._places.pop(name, None)
        if place is None:
            return
        last = self._names.pop()
        if last != name:
            self._names[place] = last
            self._places[last] = place

    def clear(self) -> None:
        """Take all names out."""
        self._names.clear()
        self._places.clear()

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, index: int) -> str:
        return self._names[index]
