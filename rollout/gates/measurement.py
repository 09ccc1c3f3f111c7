"""What one look at the world gave: the words that all kinds of gates share. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rollout.printable import one_line

VALUE_LENGTH = 120  # of a value that is shown; the rest is cut
REASON_LENGTH = 400


class Outcome(Enum):
    """How one measurement ended."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"  # it could not be measured; doesn't use up the count
    NO_DATA = "no data"  # judged by the gate's onNoData
    WAITING = "waiting"  # not yet: isn't counted, and is measured again


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measurement.

    Attributes:
        outcome: how it ended.
        at: when it began, in seconds on the server's clock.
        value: what was measured, short, without secrets and control characters.
        reason: why, in words, under the same rules.
        again_at: when to look again at the earliest; None: after the gate's interval.
    """

    outcome: Outcome
    at: float
    value: str = ""
    reason: str = ""
    again_at: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that the gate's conditions judge.

    Attributes:
        result: plain data, as the conditions see it.
        otherwise: the outcome where the gate has no condition.
        reason: what the value is, in words.
    """

    result: object
    otherwise: Outcome = Outcome.INCONCLUSIVE
    reason: str = ""


def plain(text: str, most: int = REASON_LENGTH) -> str:
    """Return text from outside fit for one line of a terminal: nothing that steers, and not long.

    Control characters (also the invisible ones that turn the direction of text) become spaces.
    """
    clean = " ".join(one_line(text).split())
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"
