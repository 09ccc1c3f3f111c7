"""What the engine is told: observations of the cluster, answers to its actions, and the user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeAlias

from rollout.errors import ExitCode
from rollout.executor.engine.actions import Action
from rollout.executor.engine.claims import OtherRun
from rollout.executor.record.wishes import Wishes
from rollout.fleet.objects import ControllerRevision, DaemonSet, Node, Pod
from rollout.gates.measurement import Measurement


@dataclass(frozen=True, slots=True)
class PodsListed:
    """Every pod of a DaemonSet; those that were known and are not in it are gone."""

    daemon_set: str
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class PodSeen:
    """A pod was created or changed."""

    daemon_set: str
    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """A pod is no more, or no longer the DaemonSet's."""

    daemon_set: str
    uid: str
    version: str = ""  # its resource version when it went


@dataclass(frozen=True, slots=True)
class ReleasedListed:
    """Every pod that was handed over; those that were known and are not in it are gone."""

    daemon_set: str
    pods: tuple[Pod, ...]


@dataclass(frozen=True, slots=True)
class ReleasedSeen:
    """A pod was handed over, or a handed-over pod changed."""

    daemon_set: str
    pod: Pod


@dataclass(frozen=True, slots=True)
class ReleasedGone:
    """A handed-over pod is no more."""

    daemon_set: str
    node: str
    uid: str


@dataclass(frozen=True, slots=True)
class NodesListed:
    """Every node."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node was created or changed."""

    node: Node


@dataclass(frozen=True, slots=True)
class NodeGone:
    """A node was removed from the cluster."""

    name: str


@dataclass(frozen=True, slots=True)
class DaemonSetSeen:
    """A DaemonSet as it is now."""

    name: str
    daemon_set: DaemonSet


@dataclass(frozen=True, slots=True)
class DaemonSetGone:
    """A DaemonSet was deleted, or is missing from a list, which a broken proxy may have cut."""

    name: str
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class CreationRefused:
    """The controller says that the API server did not take a new pod."""

    daemon_set: str
    message: str
    at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class RevisionsSeen:
    """All revisions that a DaemonSet controls, lowest number first."""

    daemon_set: str
    revisions: tuple[ControllerRevision, ...]


LOCK = "the lock"  # it is out of sight like a watch while it cannot be renewed


@dataclass(frozen=True, slots=True)
class ViewLost:
    """A watch is broken or silent: what it would tell is not known."""

    resource: str
    reason: str
    locked_out: bool = False  # the server does not accept our credentials


@dataclass(frozen=True, slots=True)
class WentBack:
    """The cluster stays at an older state of a view than was seen before."""

    resource: str
    version: str
    seen: str


@dataclass(frozen=True, slots=True)
class ViewBack:
    """The watch tells again."""

    resource: str


class Answer(Enum):
    """What became of a write."""

    ACCEPTED = "accepted"
    CONFLICT = "conflict"  # a precondition did not hold: look again
    NOT_FOUND = "not found"
    NOT_DONE = "not done"  # certainly not carried out; may be tried again
    UNKNOWN = "unknown"  # no answer: read before anything else
    REFUSED = "refused"  # the server will not do it
    NOT_ALLOWED = "not allowed"  # to us: nothing speaks against what was asked for


@dataclass(frozen=True, slots=True)
class Answered:
    """An action came to its end."""

    action: Action
    answer: Answer
    message: str = ""
    exit_code: ExitCode = ExitCode.ERROR  # of a refusal
    generation: int = 0  # of the DaemonSet, after a patch that was accepted


@dataclass(frozen=True, slots=True)
class Measured:
    """A gate was measured."""

    meter: str
    round: int
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class LockLost:
    """Another run has taken the lock: nothing may be written any more (S5)."""

    why: str


@dataclass(frozen=True, slots=True)
class JournalLost:
    """The journal cannot be written: nothing may be written to the cluster any more."""

    why: str


@dataclass(frozen=True, slots=True)
class TimesStored:
    """The record says by now what must stand there before pods are taken away (S4)."""

    began: float  # when that was begun to be written


@dataclass(frozen=True, slots=True)
class TimesNotStored:
    """The run record could not be told the times that it is to hold."""


@dataclass(frozen=True, slots=True)
class OtherSeen:
    """Another run is at work, or (None) no longer is."""

    where: str
    other: OtherRun | None


@dataclass(frozen=True, slots=True)
class OtherLooked:
    """Somebody has looked whether another run lives."""

    where: str
    version: str  # of its record, as it was known then
    alive: bool | None  # None: its leases cannot be read


@dataclass(frozen=True, slots=True)
class RecordTold:
    """The watch has told our own record, and all records that were stored before it."""

    word: int
    run_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The user wants nothing new to start (first Ctrl-C, SIGTERM)."""

    why: str


@dataclass(frozen=True, slots=True)
class Said:
    """All that people have said to the run so far, through its record."""

    wishes: Wishes


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to a question of `rollout step`; anything unclear is "stop"."""

    node: str
    word: Literal["go", "skip", "all", "stop"]
    wave: int


Event: TypeAlias = (
    PodsListed
    | PodSeen
    | PodGone
    | ReleasedListed
    | ReleasedSeen
    | ReleasedGone
    | NodesListed
    | NodeSeen
    | NodeGone
    | DaemonSetSeen
    | DaemonSetGone
    | CreationRefused
    | RevisionsSeen
    | ViewLost
    | ViewBack
    | WentBack
    | Answered
    | Measured
    | LockLost
    | JournalLost
    | TimesStored
    | TimesNotStored
    | OtherSeen
    | OtherLooked
    | RecordTold
    | StopAsked
    | Said
    | Decided
)
