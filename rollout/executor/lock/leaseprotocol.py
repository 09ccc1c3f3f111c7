"""The lease protocol: who may write, decided from what was seen and from one's own clock alone.

A lease is one small object in the cluster; every write to it is a compare-and-swap. Why two
holders are never valid at once, whatever is lost, late, stale or asleep:

- A holder counts its validity from the moment at which it *sent* the last renewal that is known
  to be stored, and ends it a margin before the duration is over.
- A contender counts from the moment at which it *received* the lease that it takes over, and
  takes it only after a full duration without a sign of life. The renewal was sent before it could
  be received, so the old validity is over by then. A stale read only makes the swap fail.
- A read that finds no lease takes nothing from its holder: it may be of before the lease was made.
  Only the answer to a write over it says that it was deleted, and until then time runs out as ever.
- A lease that is not there, although a run under way has held it, was deleted by somebody. Its
  holder may live, so a contender waits from the moment at which it saw that nothing is there.
- Each holder has a higher epoch than all before it, in the lease or in the run record. So whoever
  meets a higher one, wherever it stands, knows that it was replaced, whatever its clock says.
- What looks like a release, or the end of the holder's own process, may be taken at once: the
  holder stops before it says so, and a process that has ended writes nothing.

The other's clock is never believed; only how it looks decides between refusing at once and
waiting. Pure: no clock, no I/O. The state space is searched exhaustively by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

DURATION_S = 15.0  # of a lease; a policy of whoever judges it, never of whoever wrote it
POLL_S = 1.0  # between two looks at a lease that may be dead
CLOCK_ERROR_S = 2.0  # by which two estimates of the server's clock may differ


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease; no two that live at the same time have the same `process`."""

    run_id: str
    who: str  # user@host
    process: str  # without spaces

    @property
    def identity(self) -> str:
        """The text in `spec.holderIdentity`."""
        return f"{self.run_id} {self.who} {self.process}"

    def __str__(self) -> str:
        """Return who it is for a sentence."""
        return f"run {self.run_id} of {self.who or 'somebody'}"


def parse_holder(identity: str) -> Holder:
    """Return who wrote the identity; of a foreign one all is in `run_id`."""
    run_id, _, rest = identity.partition(" ")
    who, _, process = rest.rpartition(" ")
    return Holder(run_id, who, process)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long things last, in seconds."""

    duration_s: float = DURATION_S

    @property
    def margin_s(self) -> float:
        """What a holder leaves unused, for writes on their way and clocks that run unevenly."""
        return self.duration_s / 3

    @property
    def renew_s(self) -> float:
        """Between two renewals."""
        return self.duration_s / 3


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A lease as the server has it; `epoch` is the fencing number (`leaseTransitions`)."""

    uid: str
    version: str
    holder: str  # identity, empty after a release
    epoch: int
    acquired: str  # MicroTime, for people
    renewed: str  # MicroTime, other than that of any earlier write

    def same_life(self, other: LeaseState) -> bool:
        """Whether nobody has renewed, taken or released it between the two."""
        return (self.uid, self.holder, self.epoch, self.renewed) == (
            (other.uid, other.holder, other.epoch, other.renewed)
        )


@dataclass(frozen=True, slots=True)
class Deleted:
    """The answer to a write over a lease: there is none, or not this one, any more."""


Found: TypeAlias = LeaseState | Deleted | None  # what there is after a write; None: a read saw none


@dataclass(frozen=True, slots=True)
class Observation:
    """A lease, and since when (received, own clock) it has shown no sign of life."""

    lease: LeaseState | None
    since: float
    moved: bool = False  # it has shown one while we looked


def observe(before: Observation | None, lease: LeaseState | None, received: float) -> Observation:
    """Return what is known after one more look.

    Args:
        before: after the last look; None: this is the first.
        lease: what the server said; None: there is none.
        received: when it had said so, by our own clock; a time before would be unsafe.
    """
    if before is None:
        return Observation(lease, received)
    if lease is None and before.lease is None:
        return before
    if lease is not None and before.lease is not None and lease.same_life(before.lease):
        return replace(before, lease=lease)
    return Observation(lease, received, moved=True)


@dataclass(frozen=True, slots=True)
class Take:
    """It may be taken now."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Its holder looks alive."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Its holder may be dead: look again after so many seconds."""

    seconds: float


Verdict: TypeAlias = Take | Busy | Wait


def judge(
    seen: Observation,
    now: float,
    policy: Policy,
    me: Holder,
    *,
    age_s: float | None,
    ended: bool,
    held_before: bool = False,
) -> Verdict:
    """Decide whether the lease may be taken.

    Args:
        seen: the lease, and since when it has been still.
        now: own clock.
        policy: ours; what the lease says about its duration doesn't count.
        me: who asks.
        age_s: of the last renewal as the wall clocks tell it; None when they don't.
        ended: whether the holder's process has certainly ended.
        held_before: a run that is not over has held it, as its record says.
    """
    lease = seen.lease
    if _is_free(lease, me, held_before=held_before):
        return Take()
    if lease is not None and ended and parse_holder(lease.holder).run_id == me.run_id:
        return Take()
    left_s = seen.since + policy.duration_s - now
    if left_s <= 0:
        return Take()
    if lease is not None and (seen.moved or _looks_fresh(age_s, policy)):
        return Busy()
    return Wait(min(left_s, POLL_S))


def _is_free(lease: LeaseState | None, me: Holder, *, held_before: bool) -> bool:
    """Whether nobody but us can hold it."""
    if lease is None:
        return not held_before
    return not lease.holder or lease.holder == me.identity


def _looks_fresh(age_s: float | None, policy: Policy) -> bool:
    """Whether a live holder would look like this; one from the future is no sign of life."""
    return age_s is not None and -CLOCK_ERROR_S <= age_s < policy.duration_s


@dataclass(frozen=True, slots=True)
class Attempt:
    """One write, over exactly `base` (None: where no lease is), and when it was sent."""

    base: LeaseState | None
    holder: str
    epoch: int
    acquired: str
    renewed: str
    sent: float


@dataclass(frozen=True, slots=True)
class Tenure:
    """A lease that we hold, and when the last write that is known to be stored was sent."""

    lease: LeaseState
    sent: float

    def valid_until(self, policy: Policy) -> float:
        """Return the own time from which nothing may be written under this lease."""
        return self.sent + policy.duration_s - policy.margin_s


def taking(lease: LeaseState | None, epoch: int, me: Holder, renewed: str, sent: float) -> Attempt:
    """Return the write that takes a lease; `epoch` must be above every earlier one."""
    return Attempt(lease, me.identity, epoch, renewed, renewed, sent)


def renewing(tenure: Tenure, renewed: str, sent: float) -> Attempt:
    """Return the write that keeps a lease."""
    lease = tenure.lease
    return Attempt(lease, lease.holder, lease.epoch, lease.acquired, renewed, sent)


def releasing(lease: LeaseState, renewed: str, sent: float) -> Attempt:
    """Return the write that gives a lease back; whoever sends it must have stopped writing."""
    return Attempt(lease, "", lease.epoch, lease.acquired, renewed, sent)


def confirm(attempt: Attempt, found: Found) -> Tenure | None:
    """Return what is held if the lease is what the attempt made of it, else None.

    Args:
        attempt: the write.
        found: what there is after it, by its answer or by a later read.
    """
    if not isinstance(found, LeaseState):
        return None
    wanted = (attempt.holder, attempt.epoch, attempt.renewed)
    if (found.holder, found.epoch, found.renewed) != wanted:
        return None
    return Tenure(found, attempt.sent)


@dataclass(frozen=True, slots=True)
class Kept:
    """The renewal is stored."""

    tenure: Tenure


@dataclass(frozen=True, slots=True)
class Again:
    """It is not, but the lease is still ours: renew what is there now."""

    tenure: Tenure


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is not ours any more, and never will be again under this epoch."""

    why: str


def settle(tenure: Tenure, attempt: Attempt, found: Found) -> Kept | Again | Lost:
    """Decide what became of a lease after a renewal.

    Args:
        tenure: what was held before.
        attempt: the renewal.
        found: what there is after it, by its answer or by a later read.
    """
    kept = confirm(attempt, found)
    if kept is not None:
        return Kept(kept)
    held = tenure.lease
    if found is None:  # maybe a stale read: another write tells
        return Again(tenure)
    if isinstance(found, Deleted) or found.uid != held.uid:
        return Lost("was deleted")
    if found.epoch < held.epoch:  # epochs never fall: the read was stale
        return Again(tenure)
    if (found.holder, found.epoch) == (held.holder, held.epoch):
        return Again(Tenure(found, tenure.sent))
    epochs = f"epoch {found.epoch}, ours was {held.epoch}"
    if not found.holder:
        return Lost(f"was taken from us and released ({epochs})")
    return Lost(f"was taken over by {parse_holder(found.holder)} ({epochs})")
