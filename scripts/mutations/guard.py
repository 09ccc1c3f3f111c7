"""What a guard is, and what the lists of guards have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BACK: Final = "tests/simulation/test_way_back.py::"
BAKING: Final = "tests/simulation/test_baking.py::"
BOUNDS: Final = "tests/fuzzing/test_bounds.py::"
CLAIMS: Final = "tests/executor/engine/test_claims.py::"
CLEANING: Final = "tests/simulation/test_cleaning.py::"
DEEDS: Final = "tests/simulation/test_guarded_deeds.py::"
DRIFT: Final = "tests/simulation/test_drift.py::"
FAULTS: Final = "tests/simulation/test_faults.py::"
COMMANDS: Final = "tests/simulation/test_stories.py::"
GATES: Final = "tests/simulation/test_gates.py::"
LIMITS: Final = "tests/simulation/test_guarded_limits.py::"
CLAUSES: Final = "tests/simulation/test_fault_clauses.py::"
ENFORCING: Final = "tests/simulation/test_enforcing.py::"
STORIES: Final = "tests/simulation/test_scenarios.py::test_what_went_wrong_once_stays_mended"
SUPERSEDING: Final = "tests/simulation/test_superseding.py::"
WAITS: Final = "tests/simulation/test_guarded_waits.py::"
RESTARTS: Final = "tests/simulation/test_restarts.py::"
STRANGERS: Final = "tests/simulation/test_strangers.py::"


@dataclass(frozen=True, slots=True)
class Place:
    """One place at which a guard stands."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard.

    `old` stands exactly once in `file`; `new` is the same program without the guard. One that
    stands at several places is taken away at all of them. Each killer is a test, or a file or class
    of tests, that must fail then.
    """

    name: str
    why: str  # what it keeps from happening
    file: str
    old: str
    new: str
    killers: tuple[str, ...]
    more: tuple[Place, ...] = ()  # where it stands as well

    @property
    def places(self) -> tuple[Place, ...]:
        """All places at which it stands."""
        return (Place(self.file, self.old, self.new), *self.more)
