"""The terminal of every process of a virtual machine: what it prints, and what is typed at it."""

from __future__ import annotations

import io
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.threads import Machine


class Screen(io.StringIO):
    """Standard output and error of every process.

    click keeps every standard stream that it has seen, and must not keep the machine with it.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine: Machine = weakref.proxy(machine)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("a text stream")  # click tries, to find out
        self._machine.current.screen.append(text)
        return len(text)


class Keyboard(io.StringIO):
    """Standard input of every process: what somebody types at its terminal, line by line."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine: Machine = weakref.proxy(machine)

    def isatty(self) -> bool:
        return self._machine.current.answers is not None

    def readline(self, _size: int | None = -1) -> str:  # type: ignore[override] # as a text stream
        answers = self._machine.current.answers
        self._machine.sleep(1.0)  # nobody types at once
        return f"{answers.popleft()}\n" if answers else ""
