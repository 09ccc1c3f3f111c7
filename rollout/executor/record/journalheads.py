"""What the run record knows of journals, so that lines cut cleanly off an end can be proven. Pure.

A chain of hashes proves that nothing was changed up to its last line, and not that this was the
last one. So each record names the head of the journal as of then; where a journal ends earlier,
lines are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from rollout.journal.chain import Reading

MOST_JOURNALS = 10  # of one run: one for each machine that has carried a part of it out


class JournalHead(msgspec.Struct, frozen=True, rename="camel"):
    """Where a journal stood, on the disk, when the record was written."""

    first: str  # hash of its first line: which journal it is
    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Testimony:
    """What the record says of a journal.

    Attributes:
        text: for people.
        wrong: whether it contradicts the journal.
        to_the_end: whether it vouches for the last line.
        phase: of the run, as the record has it; "" where there is no record.
    """

    text: str
    wrong: bool = False
    to_the_end: bool = False
    phase: str = ""


def with_head(heads: Iterable[JournalHead], head: JournalHead | None) -> tuple[JournalHead, ...]:
    """Return the heads with a newer one of the same journal, or of one more."""
    if head is None:
        return tuple(heads)
    others = (known for known in heads if known.first != head.first)
    return (*others, head)[-MOST_JOURNALS:]


def compared(
    reading: Reading, heads: Iterable[JournalHead], hash_of: Callable[[int], str]
) -> Testimony:
    """Compare a journal whose chain holds with what the record of its run names.

    Args:
        reading: of the journal.
        heads: from the record.
        hash_of: returns the hash of the line of a number.
    """
    first, heads = reading.first.get("hash"), tuple(heads)
    known = next((head for head in heads if head.first == first), None)
    last = reading.head.seq
    if not last and heads:
        return Testimony(
            f"the journal holds no line, but the run's record in the cluster names line "
            f"{heads[-1].seq} (hash {heads[-1].hash[:16]}) of one: all lines are missing",
            wrong=True,
        )
    if known is None:
        return Testimony("the run's record in the cluster names no journal like this one")
    if known.seq > last:
        return Testimony(
            f"the chain ends with line {last}, but the run's record in the cluster names line "
            f"{known.seq} (hash {known.hash[:16]}): the lines from {last + 1} on are missing",
            wrong=True,
        )
    if hash_of(known.seq) != known.hash:
        return Testimony(
            f"line {known.seq} is not the one that the run's record in the cluster names (hash "
            f"{known.hash[:16]}): the lines were written anew",
            wrong=True,
        )
    if known.seq == last:
        return Testimony("the run's record in the cluster names this very end", to_the_end=True)
    return Testimony(f"the run's record in the cluster names line {known.seq}: whole up to there")
