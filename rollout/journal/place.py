"""Where journals are: one file for each run, under the user's state directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollout.errors import JournalError

NOWHERE = "none"  # what a user gives who wants no journal


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user wants the journal.

    Attributes:
        given: a file, a directory, or `none`; "" for the state directory.
    """

    given: str = ""

    def of(self, cluster_uid: str, rollout: str, run_id: str) -> Path | None:
        """Return the file of a run, or None when there shall be none.

        Args:
            cluster_uid: UID of the cluster; runs of different clusters lie apart.
            rollout: namespace and name, `logging.log-agent-2.4`.
            run_id: id of the run.
        """
        if self.given == NOWHERE:
            return None
        if not self.given:
            return state_directory(os.environ) / cluster_uid / rollout / f"{run_id}.jsonl"
        path = Path(self.given)
        return path / f"{run_id}.jsonl" if self.given.endswith("/") or path.is_dir() else path


def state_directory(environment: Mapping[str, str]) -> Path:
    """Return where all journals are (XDG Base Directory Specification 0.8).

    Raises:
        JournalError: when the user has no home.
    """
    given = environment.get("XDG_STATE_HOME", "")
    try:
        # A relative path is to be ignored, the specification says.
        base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError:
        raise JournalError(
            "there is no home directory for the journal; say where it shall be with --journal, "
            f"or --journal {NOWHERE}"
        ) from None
    return base / "rollout"


def all_journals() -> list[Path]:
    """Return the journals in the state directory, the oldest first."""
    found = state_directory(os.environ).glob("*/*/*.jsonl")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def journals_of(run_id: str) -> list[Path]:
    """Return the journals of a run in the state directory, in their order."""
    return [path for path in all_journals() if path.stem.partition(".")[0] == run_id]


def series(path: Path) -> list[Path]:
    """Return the journals at a place, in their order; empty where there is none yet."""
    found = []
    while path.exists():
        found.append(path)
        path = successor(path)
    return found


def successor(path: Path) -> Path:
    """Return the name of the journal behind this one: `RUN.2.jsonl`, then `RUN.3.jsonl`."""
    stem, _, number = path.stem.rpartition(".")
    if stem and number.isdecimal():
        return path.with_name(f"{stem}.{int(number) + 1}{path.suffix}")
    return path.with_name(f"{path.stem}.2{path.suffix}")
