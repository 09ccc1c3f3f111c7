"""The disk that journals are on: nothing that a dead process writes is kept; a line may be cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rollout.journal.file import _write_all

if TYPE_CHECKING:
    from tests.simulation.threads import Machine

Cut = Literal["torn", "whole"]  # how much of the line is kept that its process dies at


class Disk:
    """Writes for all processes of a machine.

    Args:
        machine: where they run.
    """

    def __init__(self, machine: Machine) -> None:
        self.lines = 0  # that were written, or begun
        self.cut_at = 0  # the line at which its process is killed; 0: none
        self.cut: Cut = "whole"
        self._machine = machine

    def write(self, descriptor: int, line: bytes) -> None:
        """Write a line of a journal."""
        process = self._machine.current
        process.check()
        self.lines += 1
        if self.lines != self.cut_at:
            _write_all(descriptor, line)
            return
        _write_all(descriptor, line if self.cut == "whole" else line[: len(line) // 2])
        self._machine.kill(process)
        process.check()
