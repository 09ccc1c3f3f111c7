"""Who is told about a run while it goes: the one interface between a run and what shows it."""

from __future__ import annotations

from typing import Protocol

from rollout.executor.engine.engine import Engine
from rollout.executor.engine.notices import Notice


class Observer(Protocol):
    """Who is told about the run while it goes."""

    @property
    def sequence(self) -> int:
        """Number of the last thing that was told."""

    def notice(self, told: Notice, engine: Engine) -> None:
        """Something happened."""

    def heartbeat(self, why: str, engine: Engine) -> None:
        """Nothing happened for a while; `why` says what the run waits for."""

    def look(self, engine: Engine, now: float) -> float:
        """The state may be another one; returns when it wants to look again at the latest."""

    def waiting(self, why: str) -> None:
        """The run has not begun yet; `why` says what it waits for."""

    def warning(self, text: str) -> None:
        """Something is not as it should be; the run goes on, or has ended all the same."""
