"""A world of two processes, one lease and a bad network, small enough to visit all its states.

The processes decide with the functions of `leaseprotocol`; everything else is chance, and every
chance is tried: writes and their answers take any time, or get lost, and one at a time arrives
when its sender has given it up; a process stops for any time, or dies (once); a read is stale, or
its answer late (once); somebody deletes the lease (once). Time is counted from now and stamps by
rank, so states that differ in nothing else are one, and the search covers runs of any length; only
takeovers are bounded.

What makes no difference has no state of its own. A process that gives up on an answer reads in the
same step, for it might as well have given up later. A write over a version that is no more can
never be stored, so sending it is left out: its sender reads, which it would have done at last. And
the process that stores the first write is number 0, for both are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from rollout.executor.lock.leaseprotocol import (
    Again,
    Attempt,
    Busy,
    Deleted,
    Holder,
    Kept,
    LeaseState,
    Lost,
    Observation,
    Policy,
    Take,
    Tenure,
    Verdict,
    confirm,
    judge,
    observe,
    releasing,
    renewing,
    settle,
    taking,
)
from rollout.executor.lock.leaseprotocol import (
    Found as FoundLease,
)

DURATION = 2  # ticks; with the margin a renewal is good for the tick it was sent in and the next
POLICY = Policy(DURATION)
BREAKER = 2  # number of the process that breaks the lock
LIMIT = 1_000_000  # states
Mode = Literal["looking", "holding", "releasing", "dead"]


@dataclass(frozen=True, slots=True)
class Process:
    """What one process knows, and what it waits for."""

    mode: Mode = "looking"
    seen: Observation | None = None
    looked: bool = False  # the last thing it did was a look
    tenure: Tenure | None = None
    attempt: Attempt | None = None  # a write without an answer so far
    answered: bool = False  # the answer is on its way
    answer: LeaseState | None = None  # None: refused
    saw: int = 0  # the record that it has read first and goes over, by the epoch that stands there
    recorded: bool = False  # it has written the record, before which it writes nothing else

    @property
    def valid(self) -> bool:
        holds = self.mode == "holding" and self.recorded and self.tenure is not None
        return holds and self.tenure.valid_until(POLICY) > 0  # type: ignore[union-attr]  # who holds has a tenure


@dataclass(frozen=True, slots=True)
class World:
    """The server, the processes, and the writes that are on their way."""

    processes: tuple[Process, ...]
    lease: LeaseState | None = None
    past: LeaseState | None = None  # what a stale read shows
    net: frozenset[tuple[int, Attempt]] = frozenset()  # when they were sent is left out
    crashes_left: int = 0
    stale_left: int = 0
    deletions_left: int = 0
    record: int = 0  # the highest epoch of a holder: what it writes first is the run record


@dataclass(frozen=True)
class Rules:
    """The protocol; tests break one rule at a time to see that the search finds it."""

    takeovers: int = 2
    stale_reads: int = 1
    crashes: int = 1
    deletions: int = 0
    late_writes: bool = True
    same_run: bool = False  # both processes execute the same run
    judge: Callable[..., Verdict] = judge
    settle: Callable[[Tenure, Attempt, FoundLease], Kept | Again | Lost] = settle
    counts_from_answer: bool = False  # a holder's time begins when it hears that a write is done
    counts_from_question: bool = False  # a contender's time begins when it asks
    stops_before_release: bool = True
    swaps: bool = True  # writes are compare-and-swap
    clock_sleeps: bool = False  # the first process's clock stands still while it sleeps
    breaker: bool = False  # a third process breaks the lock of process 0
    breaker_waits: bool = True
    epochs_rise: bool = True
    above_the_record: bool = True  # a lease that was deleted takes the epochs of before away
    waits_for_deleted: bool = True


@dataclass(frozen=True)
class Found:
    """How many states there are, and what happened in some of them."""

    states: int
    violation: tuple[str, ...]  # the steps to two valid holders, or to an epoch of before
    given_up: tuple[str, ...]  # the steps to a holder that gave up a lease which was still its own
    epochs: tuple[int, int]  # the highest under which each of the two was valid
    replaced_a_dead_holder: bool


def search(rules: Rules) -> Found:
    """Visit every state; stops at the first in which two are valid, or an epoch is not new.

    It stops as well where a holder gives up what nobody has taken from it.
    """
    processes = (Process(),) * (3 if rules.breaker else 2)
    start = World(
        processes,
        crashes_left=rules.crashes,
        stale_left=rules.stale_reads,
        deletions_left=rules.deletions,
    )
    came_from: dict[World, tuple[World | None, str]] = {start: (None, "")}
    frontier, epochs, replaced = [start], [0, 0], False
    while frontier:
        following = []
        for world in frontier:
            for what, after in steps(rules, world):
                state = normalised(rules, after)
                if state in came_from:
                    continue
                came_from[state] = (world, what)
                following.append(state)
                valid = [i for i in (0, 1) if state.processes[i].valid]
                if len(valid) > 1 or not new_holders_are_above(world, state):
                    told = story(came_from, state)
                    return Found(len(came_from), told, (), (0, 0), replaced)
                if gives_up_its_own(rules, world, state):
                    told = story(came_from, state)
                    return Found(len(came_from), (), told, (0, 0), replaced)
                for i in valid:
                    tenure = state.processes[i].tenure
                    assert tenure is not None
                    epochs[i] = max(epochs[i], tenure.lease.epoch)
                    replaced |= tenure.lease.epoch > 1 and state.processes[1 - i].mode == "dead"
        frontier = following
        assert len(came_from) < LIMIT, "the state space is not as small as it should be"
    return Found(len(came_from), (), (), (epochs[0], epochs[1]), replaced)


def gives_up_its_own(rules: Rules, before: World, after: World) -> bool:
    """Whether a process that lives stops holding a lease in which it still stands."""
    lease = before.lease
    return lease is not None and any(
        old.mode == "holding"
        and new.mode == "looking"
        and (old.recorded or old.saw == before.record)  # else it was outrun in the record
        and old.tenure is not None
        and (lease.holder, lease.epoch) == (holder(rules, i).identity, old.tenure.lease.epoch)
        for i, (old, new) in enumerate(zip(before.processes, after.processes, strict=True))
    )


def new_holders_are_above(before: World, after: World) -> bool:
    """Whether each process that becomes valid has a higher epoch than all holders before it.

    One that hears of its success when its time is over already is no holder: it writes nothing.
    """
    pairs = list(zip(before.processes, after.processes, strict=True))[:BREAKER]
    return all(
        epoch_in_record(new) >= before.record + (not old.recorded)
        for old, new in pairs
        if new.valid and not old.valid
    )


def story(came_from: dict[World, tuple[World | None, str]], world: World) -> tuple[str, ...]:
    """Return the steps that lead to a state."""
    told = []
    at: World | None = world
    while at is not None:
        at, what = came_from[at]
        told.append(what)
    return tuple(reversed(told[:-1]))


# What can happen


def steps(rules: Rules, world: World) -> Iterator[tuple[str, World]]:
    """Yield everything that can happen next."""
    yield "time passes", aged(world)
    if rules.clock_sleeps:
        yield "time passes while 0 sleeps", aged(world, asleep=0)
    if world.deletions_left and world.lease is not None and knows_the_record(world):
        past = world.lease if world.stale_left else None
        yield "the lease is deleted", replace(world, lease=None, past=past, deletions_left=0)
    for i, attempt in world.net:
        if world.lease is None and i == 1 and not rules.deletions:
            continue
        yield f"the write of {i} arrives", arrived(rules, world, i, attempt)
    for i, process in enumerate(world.processes):
        if process.mode == "dead":
            continue
        if world.crashes_left and i != BREAKER and (process.tenure or process.attempt):
            yield f"{i} dies", replace(put(world, i, Process(mode="dead")), crashes_left=0)
        free = waiting_steps if process.attempt else free_steps
        for what, after in free(rules, world, i, process):
            yield f"{i} {what}", after


def knows_the_record(world: World) -> bool:
    """Whether no process stands between reading an old record and being refused for that.

    A deletion in those few milliseconds is left out: nothing would tell the next contender of it.
    """
    begun = (p for p in world.processes if p.seen or p.attempt or p.tenure)
    return all(p.recorded or p.saw == world.record for p in begun)


def waiting_steps(
    rules: Rules, world: World, i: int, process: Process
) -> Iterator[tuple[str, World]]:
    """Yield what may happen to a process that waits for the answer to its write."""
    if process.answered and process.answer is not None:
        yield "hears the answer", put(world, i, settled(rules, i, process, process.answer))
    late = sum(is_late(world, who, a) for who, a in world.net)
    if process.answered or late < rules.late_writes:
        for what, after, found in reads(world):
            yield f"gives up and {what}", put(after, i, settled(rules, i, process, found))


def free_steps(rules: Rules, world: World, i: int, process: Process) -> Iterator[tuple[str, World]]:
    """Yield what a process can do that waits for nothing."""
    match process.mode:
        case "looking":
            yield from look_steps(rules, world, i, process)
        case "holding" | "releasing" if rules.swaps and world.lease is None:
            gone = refused(rules, i, process, Deleted())
            yield "is told that the lease is deleted", put(world, i, gone)
        case "holding" | "releasing" if is_outdated(rules, world, process.tenure):
            for what, after, found in reads(world):
                yield f"is refused and {what}", put(after, i, refused(rules, i, process, found))
        case "holding" if i == BREAKER:
            assert process.seen is not None
            if process.seen.since + DURATION <= 0 or not rules.breaker_waits:
                yield "clears the lease", give_back(rules, world, i, process)
        case "holding":
            assert process.tenure is not None
            if not process.recorded:
                wrote = replace(process, saw=0, recorded=True)
                done = wrote if process.saw == world.record else Process()
                yield "writes the record", put(world, i, done)
            attempt = renewing(process.tenure, stamp(world), 0.0)
            yield "renews", send(world, i, process, attempt)
            yield "releases", give_back(rules, world, i, process)
        case "releasing":
            yield "releases again", give_back(rules, world, i, process)


def look_steps(rules: Rules, world: World, i: int, process: Process) -> Iterator[tuple[str, World]]:
    """Yield what a contender can do."""
    if not process.looked or process.seen is None:
        yield from looks(rules, world, i, process)
        return
    lease = process.seen.lease
    epoch = next_epoch(rules, process, lease)
    verdict = judged(rules, world, i, process.seen)
    if isinstance(verdict, Busy):
        yield "refuses", put(world, i, Process())
    elif not isinstance(verdict, Take) or (rules.swaps and lease != world.lease):
        yield from looks(rules, world, i, process)
    elif epoch <= rules.takeovers:
        attempt = taking(lease, epoch, holder(rules, i), stamp(world), 0.0)
        yield "takes", send(world, i, process, attempt)


def next_epoch(rules: Rules, process: Process, lease: LeaseState | None) -> int:
    """Return the epoch under which a process takes the lease; it has read the record."""
    known = [lease.epoch if lease else 0, process.saw if rules.above_the_record else 0]
    return max(known) + rules.epochs_rise


def judged(rules: Rules, world: World, i: int, seen: Observation) -> Verdict:
    """Return what the protocol says; the breaker takes what process 0 holds."""
    lease = seen.lease
    if i == BREAKER:
        held = lease is not None and lease.holder == holder(rules, 0).identity
        return Take() if held else Busy()
    owners = [holder(rules, k).identity for k in (0, 1)]
    owner = owners.index(lease.holder) if lease and lease.holder in owners else None
    ended = owner is not None and world.processes[owner].mode == "dead"
    held_before = rules.waits_for_deleted and world.processes[i].saw > 0
    return rules.judge(
        seen, 0.0, POLICY, holder(rules, i), age_s=None, ended=ended, held_before=held_before
    )


def looks(rules: Rules, world: World, i: int, process: Process) -> Iterator[tuple[str, World]]:
    """Yield what a contender may see."""
    saw = process.saw if process.seen is not None else world.record if rules.deletions else 0
    for what, after, found in reads(world):
        for received in (0.0, -1.0) if rules.counts_from_question else (0.0,):
            seen = observe(process.seen, found, received)
            if not found.holder if found else not (rules.waits_for_deleted and saw):
                seen = replace(seen, since=0.0)  # it's free: nobody waits
            yield what, put(after, i, Process(seen=seen, looked=True, saw=saw))


def reads(world: World) -> Iterator[tuple[str, World, LeaseState | None]]:
    """Yield the ways in which the server may answer a read."""
    yield "reads", world, world.lease
    if world.stale_left and world.past != world.lease:
        yield "reads an old state", replace(world, stale_left=0, past=None), world.past


def send(world: World, i: int, process: Process, attempt: Attempt) -> World:
    """Put a write on its way."""
    attempt = replace(attempt, acquired="")
    waiting = replace(process, attempt=attempt, looked=False)
    return replace(put(world, i, waiting), net=world.net | {(i, attempt)})


def give_back(rules: Rules, world: World, i: int, process: Process) -> World:
    """Stop being valid, and put the release on its way."""
    assert process.tenure is not None
    attempt = releasing(process.tenure.lease, stamp(world), 0.0)
    stopped = replace(process, mode="releasing") if rules.stops_before_release else process
    return send(world, i, stopped, attempt)


def arrived(rules: Rules, world: World, i: int, attempt: Attempt) -> World:
    """Let the server carry out a write, or refuse it."""
    process, stored = world.processes[i], None
    awaited = not is_late(world, i, attempt)
    world = replace(world, net=world.net - {(i, attempt)})
    if fits(attempt, world.lease) or not rules.swaps:
        now = attempt.renewed  # which no other write has: it does for the version, too
        stored = LeaseState("uid", now, attempt.holder, attempt.epoch, "", now)
        past = world.lease if world.stale_left else None
        world = replace(world, lease=stored, past=past)
    if not awaited:
        return world
    return put(world, i, replace(process, answered=True, answer=stored))


def settled(rules: Rules, i: int, process: Process, found: FoundLease) -> Process:
    """Return what a process makes of its write when it knows what is there now."""
    attempt = process.attempt
    assert attempt is not None
    if rules.counts_from_answer:
        attempt = replace(attempt, sent=0.0)
    if process.mode == "looking":
        tenure = confirm(attempt, found)
        if tenure is None:
            return Process(seen=process.seen)
        began = Observation(None, 0.0) if i == BREAKER else None  # what it waits from
        at_once = not rules.deletions  # else whoever else saw no lease may be quicker
        return Process("holding", began, tenure=tenure, saw=process.saw, recorded=at_once)
    assert process.tenure is not None
    outcome = rules.settle(process.tenure, attempt, found)
    if isinstance(outcome, Again) or (isinstance(outcome, Kept) and attempt.holder):
        kept = replace(process, tenure=outcome.tenure, looked=False)
        return replace(kept, attempt=None, answered=False, answer=None)
    return Process()


def refused(rules: Rules, i: int, process: Process, found: FoundLease) -> Process:
    """Return what a process makes of a write that was not stored."""
    assert process.tenure is not None
    attempt = renewing(process.tenure, "never stored", 0.0)
    if process.mode == "releasing":
        attempt = releasing(process.tenure.lease, "never stored", 0.0)
    return settled(rules, i, replace(process, attempt=attempt), found)


def holder(rules: Rules, i: int) -> Holder:
    return Holder("run" if rules.same_run else f"run{i}", "me@here", f"process{i}")


def put(world: World, i: int, process: Process) -> World:
    before, after = world.processes[:i], world.processes[i + 1 :]
    return World(
        (*before, process, *after),
        world.lease,
        world.past,
        world.net,
        world.crashes_left,
        world.stale_left,
        world.deletions_left,
        max(world.record, epoch_in_record(process) if i != BREAKER else 0),
    )


def epoch_in_record(process: Process) -> int:
    """Return the epoch that a process has written into the record; 0: none."""
    return process.tenure.lease.epoch if process.tenure and process.recorded else 0


def is_late(world: World, i: int, attempt: Attempt) -> bool:
    """Whether a write is still on its way although its sender doesn't wait for it any more."""
    awaited = world.processes[i].attempt
    return awaited is None or awaited.renewed != attempt.renewed


def fits(attempt: Attempt, lease: LeaseState | None) -> bool:
    """Whether the lease is at the version that the write goes over."""
    base = attempt.base
    return (base.version if base else None) == (lease.version if lease else None)


def is_outdated(rules: Rules, world: World, tenure: Tenure | None) -> bool:
    """Whether no write over this lease can be stored any more."""
    return rules.swaps and tenure is not None and tenure.lease != world.lease


def stamp(world: World) -> str:
    return str(max(map(int, stamps(world)), default=0) + 1)


# States that differ in nothing that matters


def stamps(world: World) -> set[str]:
    """Return every stamp that anybody remembers."""
    attempts = [attempt for _, attempt in world.net]
    leases = [world.lease, world.past]
    for process in world.processes:
        leases.append(process.answer)
        if process.seen:
            leases.append(process.seen.lease)
        if process.tenure:
            leases.append(process.tenure.lease)
        if process.attempt:
            attempts.append(process.attempt)
    leases += [attempt.base for attempt in attempts]
    return {lease.renewed for lease in leases if lease} | {a.renewed for a in attempts}


def older(seconds: float) -> float:
    """Return a time, counted from now, one tick later; before a lease's length all is one."""
    return max(seconds - 1, -float(DURATION))


def aged(world: World, asleep: int = -1) -> World:
    """Let one tick pass, for everybody or for all but one."""
    processes = list(world.processes)
    for i, p in enumerate(processes):
        if i != asleep and (p.seen or p.tenure or p.attempt):
            processes[i] = replace(
                p,
                seen=p.seen and Observation(p.seen.lease, older(p.seen.since), p.seen.moved),
                tenure=p.tenure and Tenure(p.tenure.lease, older(p.tenure.sent)),
                attempt=p.attempt and replace(p.attempt, sent=older(p.attempt.sent)),
            )
    return replace(world, processes=tuple(processes))


def normalised(rules: Rules, world: World) -> World:
    """Return the state with stamps by rank, without writes that can't matter any more."""
    if rules.swaps:
        world = without_vain_writes(world)
    ordered = sorted(stamps(world) if not rules.swaps else live_stamps(world), key=int)
    rank = {old: str(new) for new, old in enumerate(ordered, 1)}

    def lease(old: LeaseState | None) -> LeaseState | None:
        if old is None:
            return None
        now = rank.get(old.renewed, "0")
        return LeaseState(old.uid, now, old.holder, old.epoch, "", now)

    def attempt(old: Attempt) -> Attempt:
        now = rank.get(old.renewed, "0")
        return Attempt(lease(old.base), old.holder, old.epoch, "", now, old.sent)

    def process(old: Process) -> Process:
        seen, tenure = old.seen, old.tenure
        held = lease(tenure.lease) if tenure else None
        if seen and seen.lease and rank.get(seen.lease.renewed) is None:
            seen = Observation(LeaseState("uid", "0", "", 0, "", "0"), 0.0)  # it's another by now
        return Process(
            old.mode,
            seen and Observation(lease(seen.lease), seen.since, seen.moved),
            old.looked,
            Tenure(held, tenure.sent) if tenure and held else None,
            old.attempt and attempt(old.attempt),
            old.answered,
            lease(old.answer),
            old.saw,
            old.recorded,
        )

    return World(
        tuple(process(p) for p in world.processes),
        lease(world.lease),
        lease(world.past),
        frozenset((i, attempt(a)) for i, a in world.net),
        world.crashes_left,
        world.stale_left,
        world.deletions_left,
        world.record,
    )


def without_vain_writes(world: World) -> World:
    """Return the state without the writes that were refused, or will be."""
    net = frozenset((i, a) for i, a in world.net if fits(a, world.lease))
    under_way = {attempt.renewed for _, attempt in net}
    processes = list(world.processes)
    for i, p in enumerate(processes):
        if p.attempt and p.answer is None and p.attempt.renewed not in under_way:
            processes[i] = replace(p, looked=False, attempt=None, answered=False)
    return replace(world, processes=tuple(processes), net=net)


def live_stamps(world: World) -> set[str]:
    """Return the stamps that a read can show, now or later; all others are alike."""
    shown = {lease.renewed for lease in (world.lease, world.past) if lease}
    return shown | {attempt.renewed for _, attempt in world.net}
