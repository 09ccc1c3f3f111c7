"""What somebody says to a run, entered into its record. The last word counts.

Pure, so that it can be tried again on top of what others said meanwhile (compare-and-swap).
The lists that people make longer have an end here, so that the record stays below the 1 MiB that a
ConfigMap may hold, whatever the fleet's size and however much is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from rollout.errors import StaleError, UsageError
from rollout.executor.engine.events import Decided
from rollout.executor.record.record import (
    ENDED,
    Approval,
    FailurePolicy,
    NodeWord,
    RunRecord,
    Said,
    Wish,
    WishVerb,
    wave_name,
    wave_numbers,
)
from rollout.printable import one_line
from rollout.quantity import cut

MOST_NODES = 200  # skipped, to be tried again, or approved by name, each
MOST_APPROVALS = 200  # of which who and why are kept; those of gates are never forgotten
MOST_WORDS = 100  # that are kept for people to read
MOST_RANGES = 1000  # approved waves that do not follow each other
MOST_REASON = 200  # bytes
MOST_WHO = 100  # bytes
_SHOWN = 20  # names in a message
_GOING_BACK = ("rolling back", "rollback incomplete")


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks, when, and why."""

    by: str
    at: str  # as Kubernetes writes times
    reason: str = ""


def speaker(by: str, at: str, reason: str) -> Speaker:
    """Return who speaks, in printable text of bounded length."""
    return Speaker(_clean(by, MOST_WHO), at, _clean(reason, MOST_REASON))


def pause(record: RunRecord, who: Speaker) -> RunRecord:
    """Ask that nothing new starts.

    Raises:
        StaleError: when the run has ended, or is on its way back: that has no pauses (S10).
    """
    require_open(record)
    _require_forward(record, "paused")
    return _wished(record, who, "pause")


def resume(record: RunRecord, who: Speaker) -> RunRecord:
    """Take a pause or a hold back.

    Raises:
        StaleError: when the run has ended, or somebody wants it to end.
    """
    require_open(record)
    if record.wish is not None and record.wish.verb in ("abort", "rollback"):
        raise StaleError(f"run {record.run_id} is to be {record.wish}; it does not go forward")
    return _said(replace(record, wish=None), who, "resume")


def abort(record: RunRecord, who: Speaker) -> RunRecord:
    """Ask for the end of the run, or of its rollback: no further step.

    Raises:
        StaleError: when it has ended.
    """
    require_open(record)
    return _wished(record, who, "abort")


def roll_back(record: RunRecord, who: Speaker) -> RunRecord:
    """Ask for the old template; always accepted, also during a rollback and after an abort."""
    return _wished(record, who, "rollback")


def approve_waves(
    record: RunRecord, who: Speaker, numbers: Sequence[int], *, about: str = ""
) -> RunRecord:
    """Let the run go on behind waves, given by their numbers (1-based).

    Raises:
        StaleError: when the run has ended, or is on its way back.
        UsageError: when the record can't hold more approvals.
    """
    require_open(record)
    _require_forward(record, "approved")
    ranges = _joined([*record.approved_waves, *((n, n) for n in numbers)])
    if len(ranges) > MOST_RANGES:
        raise UsageError(
            f"the record holds approvals for {MOST_RANGES} separate waves; approve earlier ones"
        )
    names = [wave_name(record, n) for n in numbers]
    words = [
        Approval(who.by, who.at, record.plan_id, who.reason, wave=name)
        for name in names[-MOST_APPROVALS:]
    ]
    kept = replace(
        record, approved_waves=ranges, approvals=_newest(record, words), wish=_unheld(record)
    )
    return _said(kept, who, "approve", about or f"wave {cut(names)}")


def approve_nodes(
    record: RunRecord, who: Speaker, nodes: Sequence[str], *, interrupted: bool
) -> RunRecord:
    """Let nodes move although the run is paused.

    Args:
        record: of the run.
        who: speaks.
        nodes: their names.
        interrupted: nobody carries the run out, although the record calls it running.

    Raises:
        StaleError: when the run has ended.
        UsageError: when the record can't hold more nodes.
    """
    require_open(record)
    _require_forward(record, "moved")
    known = dict.fromkeys((*record.approved_nodes, *nodes))
    _require_room(len(known), "approved by name", "approve their wave")
    words = [Approval(who.by, who.at, record.plan_id, who.reason, node=node) for node in nodes]
    wish = record.wish
    if wish is None and (interrupted or record.phase != "running"):  # nothing else shall move
        wish = Wish("pause", who.by, who.at, who.reason)
    kept = replace(record, approved_nodes=tuple(known), approvals=_newest(record, words), wish=wish)
    return _said(kept, who, "approve", f"node {cut(nodes)}")


def note_step(record: RunRecord, who: Speaker, node: str, waves: Sequence[int]) -> RunRecord:
    """Keep who let a single node go on at the prompt of `step`, and past which waves.

    The prompt's own process moves the node, so that only the waves count for later runs.
    """
    word = Approval(who.by, who.at, record.plan_id, who.reason, node=node)
    kept = replace(
        record,
        approved_waves=_joined([*record.approved_waves, *((n, n) for n in waves)]),
        approvals=_newest(record, [word]),
    )
    return _said(kept, who, "approve", f"node {node}")


def answered_at_prompt(record: RunRecord, answer: Decided, who: Speaker) -> RunRecord:
    """Keep an answer that was given at the prompt of `step`."""
    match answer.word:
        case "go":
            return note_step(record, who, answer.node, range(1, answer.wave))
        case "skip":
            return skip(record, who, [answer.node])
        case "all":
            waves = range(1, record.wave_count + 1)
            return approve_waves(record, who, waves, about="all that are left")
    return record


def approve_gate(record: RunRecord, who: Speaker, gate: str) -> RunRecord:
    """Give a voice for an approval gate.

    Raises:
        StaleError: when the run has ended, or is on its way back.
        UsageError: when the record can't hold more voices.
    """
    require_open(record)
    _require_forward(record, "approved")
    if sum(bool(word.gate) for word in record.approvals) >= MOST_APPROVALS // 2:
        raise UsageError(f"the record can't hold more than {MOST_APPROVALS // 2} voices for gates")
    word = Approval(who.by, who.at, record.plan_id, who.reason, gate=gate)
    kept = replace(record, approvals=_newest(record, [word]), wish=_unheld(record))
    return _said(kept, who, "approve", f"gate {gate}")


def ignore_window(record: RunRecord, who: Speaker) -> RunRecord:
    """Write down who lets the run go on outside of its windows."""
    return _said(record, who, "ignore-window")


def reject(
    record: RunRecord, who: Speaker, about: str, then: FailurePolicy | None = None
) -> RunRecord:
    """Refuse an approval: the run does what `failure.onFailure` says, or `then`.

    Args:
        record: of the run.
        who: speaks.
        about: "wave canary" or "gate people".
        then: in place of the plan's own policy.

    Raises:
        StaleError: when the run has ended, or is on its way back.
    """
    require_open(record)
    _require_forward(record, "held")
    verb: WishVerb = then or record.on_failure
    wish = Wish(verb, who.by, who.at, f"{about} was rejected" + _tail(who.reason))
    return _said(replace(record, wish=wish), who, "reject", about)


def retry(record: RunRecord, who: Speaker, nodes: Sequence[str] = ()) -> RunRecord:
    """Ask for another try of failed nodes; of all of them when none is named.

    Raises:
        StaleError: when the run has ended, or is on its way back.
        UsageError: when the record can't hold more nodes.
    """
    require_open(record)
    _require_forward(record, "tried again")
    words = [NodeWord(node, who.by, who.at, who.reason) for node in nodes or ("",)]
    kept = [word for word in record.retries if word.node not in nodes] if nodes else []
    _require_room(len(kept) + len(words), "to be tried again", "name none: all are")
    names = set(nodes)
    skips = tuple(word for word in record.skips if word.node not in names)
    after = replace(record, retries=(*kept, *words), skips=skips, wish=_unheld(record))
    return _said(after, who, "retry", f"node {cut(nodes)}" if nodes else "all failed nodes")


def skip(record: RunRecord, who: Speaker, nodes: Sequence[str]) -> RunRecord:
    """Ask that nodes are left alone.

    Raises:
        StaleError: when the run has ended, or is on its way back.
        UsageError: when the record can't hold more nodes.
    """
    require_open(record)
    _require_forward(record, "skipped")
    names = set(nodes)
    words = [NodeWord(node, who.by, who.at, who.reason) for node in nodes]
    kept = [word for word in record.skips if word.node not in names]
    _require_room(len(kept) + len(words), "skipped", "leave them out in the spec ('nodes.exclude')")
    return _said(replace(record, skips=(*kept, *words)), who, "skip", f"node {cut(nodes)}")


def number_of(record: RunRecord, wave: str) -> int:
    """Return the number (1-based) of the wave that a user means, by its name or number.

    Raises:
        UsageError: when the plan has no such wave, or several and the run waits behind none of
            them now: one word lets one wave pass.
    """
    found = wave_numbers(record, wave)
    if not found:
        known = [wave_name(record, n) for n in range(1, record.wave_count + 1)]
        raise UsageError(f"the plan has no wave '{wave}'; it has {cut(known, _SHOWN)}")
    if record.waits_for in map(str, found):  # a name that is not alone is kept as a number
        return int(record.waits_for)
    if len(found) > 1:
        numbers = cut([str(number) for number in found], _SHOWN)
        raise UsageError(f"the plan has several waves '{wave}': give the number, one of {numbers}")
    return found[0]


def require_plan(record: RunRecord, plan: str) -> None:
    """Refuse a word that was meant for another plan of the same name.

    Raises:
        StaleError: when the run's plan has not this id, nor this digest.
    """
    if plan not in ("", record.plan_id, record.plan_digest):
        raise StaleError(
            f"run {record.run_id} carries out plan {record.plan_id}, not {plan}: what was meant "
            "for that one does not count for this one; look at 'rollout status' and say it again"
        )


def require_open(record: RunRecord) -> None:
    """Refuse a word to a run that is over.

    Raises:
        StaleError: it is; naming another wave or node would not help.
    """
    if record.phase in ENDED:
        raise StaleError(
            f"run {record.run_id} of plan {record.plan_id} is {record.phase}; nothing was changed; "
            "what is left to do takes a new plan"
        )


def _require_forward(record: RunRecord, what: str) -> None:
    if record.phase in _GOING_BACK:
        raise StaleError(
            f"run {record.run_id} is {record.phase}, and can't be {what}; 'rollout abort' ends it"
        )
    if record.wish is not None and record.wish.verb in ("abort", "rollback"):
        raise StaleError(f"run {record.run_id} is to be {record.wish}; it can't be {what}")


def _require_room(count: int, what: str, cure: str) -> None:
    if count > MOST_NODES:
        raise UsageError(f"the record can't hold more than {MOST_NODES} nodes {what}; {cure}")


def _unheld(record: RunRecord) -> Wish | None:
    """A word that lets the run go on ends the hold of an earlier rejection."""
    return None if record.wish is not None and record.wish.verb == "hold" else record.wish


def _wished(record: RunRecord, who: Speaker, verb: WishVerb) -> RunRecord:
    return _said(replace(record, wish=Wish(verb, who.by, who.at, who.reason)), who, verb)


def _said(record: RunRecord, who: Speaker, verb: str, about: str = "") -> RunRecord:
    number = record.said_count + 1
    word = Said(number, verb, who.by, who.at, about, who.reason)
    return replace(record, said=(*record.said, word)[-MOST_WORDS:], said_count=number)


def _newest(record: RunRecord, words: Iterable[Approval]) -> tuple[Approval, ...]:
    """Forget the oldest approvals, but none of a gate: those are counted."""
    words = [*record.approvals, *words]
    surplus = len(words) - MOST_APPROVALS
    kept: list[Approval] = []
    for word in words:
        if surplus > 0 and not word.gate:
            surplus -= 1
        else:
            kept.append(word)
    return tuple(kept)


def _joined(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Join ranges that touch."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def _clean(text: str, most: int) -> str:
    """Return printable text of at most so many bytes."""
    return one_line(text).strip().encode()[:most].decode(errors="ignore")


def _tail(reason: str) -> str:
    return f": {reason}" if reason else ""
