"""Nodes that other runs work on, in the book: what is claimed, what waits, and what to say of it.

The rules are in `claims`. A step whose node must be claimed holds its slot meanwhile, as one whose
gates are asked; one whose node another run has waits apart, so that others start in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollout.executor.engine import events as ev
from rollout.executor.engine import storedtimes
from rollout.executor.engine.actions import Claim, LookFor
from rollout.executor.engine.claims import Claims, OtherRun
from rollout.executor.engine.state import StepRun, StepState
from rollout.executor.lock.leaseprotocol import DURATION_S
from rollout.quantity import cut

if TYPE_CHECKING:
    from rollout.executor.engine.book import Book
    from rollout.planner.plan import Plan

MOST_CLAIMED = 10_000  # nodes in flight beside another run: as many as a record has room to name
SILENT_S = 120.0  # a run that sees nothing knows it by then (`cluster.watch`) and starts nothing
_AGAIN_S = 2.0  # seconds until a record that could not be written is tried again


@dataclass(slots=True)
class Claiming:
    """What waits for other runs.

    Attributes:
        claims: who claims what.
        parked: node -> steps that wait for other runs to leave it, by id.
        looks: whether somebody will look again if the others live.
        unread: runs whose leases could not be read -> since when.
    """

    claims: Claims
    parked: dict[str, dict[str, StepRun]] = field(default_factory=dict)
    looks: bool = False
    unread: dict[str, float] = field(default_factory=dict)


def begin_claiming(plan: Plan, word: int, *, joins: bool) -> Claiming:
    """Return what a process begins with.

    Args:
        plan: of the run.
        word: number of the last record that an earlier process of the run has claimed with.
        joins: whether it is told of other runs.
    """
    zones = {node.name: node.zone for ds in plan.daemon_sets for node in ds.nodes}
    return Claiming(Claims(joins, word, zones))


def other_seen(book: Book, where: str, other: OtherRun | None) -> None:
    """Take in that another run is at work, or (None) no longer is."""
    claims = book.claiming.claims
    if other is None:
        claims.gone(where)
    elif claims.saw(other):
        book.actions.append(LookFor(other))
    _settle(book)


def looked(book: Book, where: str, version: str, now: float, *, alive: bool | None) -> None:
    """Hear whether another run lives.

    One whose leases cannot be read is heeded. But if it does not say for long that it knows of us,
    it sees nothing if it lives, and so starts nothing: we wait for it no longer.
    """
    claims = book.claiming.claims
    if alive is None:
        since = book.claiming.unread.setdefault(where, now)
        alive = where not in claims.owed or now < since + SILENT_S
    else:
        book.claiming.unread.pop(where, None)
    if claims.looked(where, version, alive=alive):
        book.actions.append(LookFor(claims.others[where]))
    _settle(book)


def told(book: Book, word: int, run_id: str, epoch: int) -> None:
    """Our own record was told."""
    book.claiming.claims.told(word, run_id, epoch)
    _settle(book)


def lapsed(book: Book) -> None:
    """Our lock was not valid for a while."""
    claims = book.claiming.claims
    if claims.joins:
        claims.lapsed()


def not_said(book: Book, now: float) -> None:
    """Our record could not be written."""
    book.claiming.claims.not_said()
    book.at(now + _AGAIN_S, lambda _: book.claiming.claims.say_again())


def must_claim(book: Book, run: StepRun) -> bool:
    """Whether the pod of a node may be taken away only once the node is claimed."""
    claims = book.claiming.claims
    return claims.are_needed and run.node not in claims.ours


def claim(book: Book, run: StepRun) -> None:
    """Let a step that holds its slot wait until its node is ours."""
    run.state = StepState.ASKING
    book.claiming.claims.want(run.node)


def waiting(book: Book) -> list[StepRun]:
    """Return the steps that hold a slot until their node is ours."""
    return [book.busy_nodes[node] for node in book.claiming.claims.asked]


def set_aside(book: Book, run: StepRun) -> bool:
    """Whether a step has to wait for another run; then it is in no lane."""
    if not book.claiming.claims.is_kept_from_us(run.node):
        return False
    run.lane = None
    book.claiming.parked.setdefault(run.node, {})[run.id] = run
    return True


def has_room(book: Book) -> bool:
    """Whether the nodes in flight of all runs leave room for one more."""
    claims, limit = book.claiming.claims, book.plan.limits.max_nodes_in_flight
    if claims.are_needed and book.in_flight >= MOST_CLAIMED:
        return False
    return not limit or book.in_flight + len(claims.taken) < limit


def load_of(book: Book, zone: str) -> int:
    """Return how many nodes of a zone are in flight, of all runs."""
    return book.zone_load.get(zone, 0) + book.claiming.claims.zone_load.get(zone, 0)


def take_up(book: Book, now: float) -> None:
    """Say what others wait for, and look again whether those live for whom we wait."""
    _wake(book)
    claims = book.claiming.claims
    if book.finished is not None or ev.LOCK in book.lost_views:
        return
    if claims.speak():
        book.actions.append(Claim())
    if claims.stale:
        claims.stale = False
        storedtimes.store_soon(book, now)
    if waits(book) and not book.claiming.looks:
        book.claiming.looks = True
        book.at(now + DURATION_S, lambda _: _look_again(book))


def waits(book: Book) -> bool:
    """Whether anything of this run waits for others, or for its own record."""
    return bool(book.claiming.parked or book.claiming.claims.asked)


def sentence(book: Book) -> str:
    """Return for whom the run waits; "" where it does not."""
    claims = book.claiming.claims
    if claims.asked:
        return _claim_sentence(book)
    nodes = sorted(book.claiming.parked)
    if nodes:
        return f"{_who_has(book, nodes[0])}; {cut(nodes)} waits for it"
    limit = book.plan.limits.max_nodes_in_flight
    if limit and claims.taken and book.in_flight + len(claims.taken) >= limit:
        runs = sorted({str(claims.others[i]) for on in claims.taken.values() for i in on})
        return (
            f"maxNodesInFlight {limit} is used up together with {cut(runs)}, which works on "
            f"{cut(sorted(claims.taken))}"
        )
    return ""


def sentence_of(book: Book, run: StepRun) -> str:
    """Return for whom a node in flight waits; "" where it does not."""
    return _claim_sentence(book) if run.node in book.claiming.claims.asked else ""


def _claim_sentence(book: Book) -> str:
    claims = book.claiming.claims
    nodes = cut(sorted(claims.asked))
    if claims.owed:
        runs = cut([str(claims.others[where]) for where in sorted(claims.owed)])
        return f"{nodes} waits for a word of {runs}, which may work on the same nodes"
    return f"{nodes} is claimed: waiting for the run record"


def _who_has(book: Book, node: str) -> str:
    claims = book.claiming.claims
    for where in sorted(claims.taken.get(node, ())):
        return f"node {node} is worked on by {claims.others[where]}"
    return f"node {node} was claimed by another run first"


def _settle(book: Book) -> None:
    """Let steps go on whose nodes are ours by now, and others go that lost theirs."""
    claims = book.claiming.claims
    if not claims.asked:
        return
    zones = book.claiming.claims.zones
    flying = book.in_flight - len(claims.asked)
    settled = {node: zones.get(node, "") for node in claims.asked}

    def fits(node: str) -> bool:
        nonlocal flying
        limit, cap = book.plan.limits.max_nodes_in_flight, book.plan.limits.max_per_zone
        if limit and flying + len(claims.taken) >= limit:
            return False
        zone = settled[node]
        if cap and load_of(book, zone) - list(settled.values()).count(zone) >= cap:
            return False
        del settled[node]
        flying += 1
        return True

    won, lost = claims.settle(fits)
    for node in won:
        book.gating.cleared.append(book.busy_nodes[node])
    for node in lost:
        _let_go(book, book.busy_nodes[node])


def _let_go(book: Book, run: StepRun) -> None:
    ds = book.daemon_sets[run.step.daemon_set]
    book.release(ds, run)
    run.state, run.lane = StepState.READY, None
    book.enqueue(ds, run)


def _wake(book: Book) -> None:
    """Let steps wait in their lanes again whose nodes may be free."""
    claiming, claims = book.claiming, book.claiming.claims
    freed, claims.freed = claims.freed, []
    for node in freed:
        if claims.is_kept_from_us(node):
            continue
        for run in claiming.parked.pop(node, {}).values():
            if run.state is StepState.READY:
                book.enqueue(book.daemon_sets[run.step.daemon_set], run)


def _look_again(book: Book) -> None:
    book.claiming.looks = False
    claims = book.claiming.claims
    if book.finished is None and waits(book):
        book.actions.extend(
            LookFor(other) for where, other in claims.others.items() if where not in claims.dead
        )
