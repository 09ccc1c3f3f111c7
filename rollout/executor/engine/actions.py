"""What the engine asks for. The loop in `run.py` carries it out and reports the answer back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from rollout.errors import ExitCode
from rollout.executor.engine.claims import OtherRun

_MOST_TEXT = 3900  # characters


@dataclass(frozen=True, slots=True)
class Prepare:
    """Set OnDelete and the target template in one patch (behaviour.md 8.1)."""

    daemon_set: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Set the final strategy and take our annotations away."""

    daemon_set: str


@dataclass(frozen=True, slots=True)
class Reassert:
    """Set OnDelete again, which somebody has turned back in mid-run."""

    daemon_set: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete one pod, with its UID as precondition."""

    daemon_set: str
    node: str
    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Take the label from an old pod, so that its successor starts beside it (8.3)."""

    daemon_set: str
    node: str
    pod: str
    uid: str


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Give a released pod its labels back: the controller adopts it and ends its successor."""

    daemon_set: str
    node: str
    pod: str
    uid: str


PodWrite: TypeAlias = DeletePod | ReleasePod | TakeBack


@dataclass(frozen=True, slots=True)
class ReadPod:
    """Find out what became of a write to a pod whose answer was lost."""

    write: PodWrite


@dataclass(frozen=True, slots=True)
class ReadDaemonSet:
    """Find out what became of a patch whose answer was lost or that met a conflict."""

    daemon_set: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the person at the terminal whether a node may go (`rollout step`)."""

    daemon_set: str
    node: str
    wave: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Look at what a gate asks about, once."""

    meter: str
    round: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Write the run record, which names all nodes that the run works on or wants."""


@dataclass(frozen=True, slots=True)
class LookFor:
    """Look whether another run lives."""

    other: OtherRun


class Outcome(Enum):
    """How a run ended."""

    DONE = "done"
    DEFERRED = "complete, with nodes deferred"
    FAILED_NODES = "complete, with failed nodes"
    HELD = "held"
    ABORTED = "aborted"
    DEADLINE = "deadline"
    INCONCLUSIVE = "inconclusive"
    PAUSED = "paused"
    DRIFT = "drift"
    REFUSED = "refused"
    ROLLED_BACK = "rolled back"
    ROLLBACK_INCOMPLETE = "rollback incomplete"


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do, or nothing may be done any more."""

    outcome: Outcome
    message: str
    refused: ExitCode = ExitCode.ERROR  # why the server refused; only with REFUSED
    by_release: bool = False  # the release itself failed: what `onFailure` answers
    reaction: Literal["", "hold", "abort", "rollback"] = ""  # what a gate wants; "": the plan
    by_hand: tuple[str, ...] = ()  # commands that do the rest where the tool can't
    resumes: bool = False  # the lock was lost: the plan fits still, and another process may go on

    @property
    def text(self) -> str:
        """The message with as many whole commands as a record has room for."""
        if not self.by_hand:
            return self.message
        shown = self.message + ". By hand: "
        for number, command in enumerate(self.by_hand):
            if len(shown) + len(command) > _MOST_TEXT:
                return f"{shown}and {len(self.by_hand) - number} more that 'rollout rollback' shows"
            shown += command + "; "
        return shown.removesuffix("; ")


Action: TypeAlias = (
    Prepare
    | Restore
    | Reassert
    | PodWrite
    | ReadPod
    | ReadDaemonSet
    | Ask
    | Measure
    | Claim
    | LookFor
    | Finish
)
