"""Several runs that want the same nodes, and all that chance may do to them: a model of `claims`.

The store puts writes in an order; each run hears of them in that order, as late as it likes. Runs
are killed, fall asleep for longer than their lease lasts, wake up, and are carried on by another
process. What must hold is asked at each moment at which a node is taken down.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rollout.executor.engine.claims import Claims, OtherRun


@dataclass(frozen=True)
class Record:
    """What stands in the store."""

    other: OtherRun
    word: int
    at_work: bool = True


class Run:
    """One run; `claims` is its process of now."""

    def __init__(self, world: World, where: str, nodes: set[str]) -> None:
        self.world, self.where, self.todo = world, where, set(nodes)
        self.epoch = 0
        self.excused = set[str]()  # nodes that it worked on when it was taken for dead
        self.begin()

    def begin(self) -> None:
        """Let a process begin; one that goes on says so in the record first."""
        self.epoch += 1
        before = self.world.records.get(self.where)
        self.claims = self.world.make(True, before.word if before else 0)
        self.sending: Record | None = None
        self.busy = set[str]()  # claimed, or taken down
        self.down = set[str]()
        self.looks = list[OtherRun]()
        self.alive, self.asleep = True, False
        if before is not None:
            other = replace(before.other, epoch=self.epoch, beside=frozenset())
            self.world.store(self.where, Record(other, before.word))
        for record in self.world.records.values():
            if record.other.where != self.where:
                self._hear(record)
        if before is not None:
            self._hear(self.world.records[self.where])
        self.heard = len(self.world.history)

    @property
    def acts(self) -> bool:
        return self.alive and not self.asleep

    @property
    def holds_lease(self) -> bool:
        return self.acts and bool(self.todo)

    def step(self, rng: random.Random) -> None:
        """Do one thing, if it can."""
        deeds: list[Callable[[], None]] = [self.start, self.hear, self.look, self.write, self.end]
        rng.choice(deeds)()

    def start(self) -> None:
        """Want a node, or take it down where nobody else is."""
        for node in sorted(self.todo - self.busy):
            if self.claims.is_kept_from_us(node):
                continue
            if len(self.busy) + len(self.claims.taken) >= self.world.limit:
                return
            self.busy.add(node)
            if self.claims.are_needed:
                self.claims.want(node)
            else:
                self._take_down(node)
            return

    def hear(self) -> None:
        """Hear of the next write, whosever it was."""
        if self.heard < len(self.world.history):
            self._hear(self.world.history[self.heard])
            self.heard += 1

    def look(self) -> None:
        """Look whether another run lives."""
        if self.looks:
            other = self.looks.pop(0)
            alive = self.world.runs[other.where].holds_lease
            if self.claims.looked(other.where, other.version, alive=alive):
                self.looks.append(self.claims.others[other.where])
            self._settle()

    def write(self) -> None:
        """Send the record, or let what was sent be stored."""
        if self.sending is not None:
            self.world.store(self.where, self.sending)
            self.sending = None
            return
        self.claims.freed.clear()
        speaks = self.claims.speak()
        if speaks or self.claims.stale:
            self.claims.stale = False
            nodes, beside = frozenset(self.busy), frozenset(self.claims.heeded)
            needed = self.claims.are_needed
            other = OtherRun(
                self.where, self.where, self.epoch, (), nodes if needed else frozenset(), beside
            )
            self.sending = Record(other, self.claims.word)

    def end(self) -> None:
        """Be done with a node, and with the run after the last."""
        if self.down:
            node = min(self.down)
            for found in (self.down, self.busy, self.todo, self.excused):
                found.discard(node)
            self.claims.give_up(node)
            if not self.todo and self.sending is None and self.where in self.world.records:
                record = self.world.records[self.where]
                self.world.store(self.where, replace(record, at_work=False))
                self.alive = False

    def kill(self) -> None:
        self.alive, self.sending = False, None
        self.down, self.busy, self.excused = set(), set(), set()

    def sleep(self) -> None:
        """Sleep for longer than the lease lasts."""
        self.asleep = True
        self.excused = set(self.down)

    def wake(self) -> None:
        """Find that the lock has lapsed; what was sent is withheld."""
        self.asleep = False
        self.claims.lapsed()
        if self.sending is not None:
            self.sending = None
            self.claims.not_said()
            self.claims.say_again()

    def look_again(self) -> None:
        """Look again for whom we wait, as after the length of a lease."""
        self.looks = [o for w, o in self.claims.others.items() if w not in self.claims.dead]
        if self.sending is None:
            self.claims.not_said()
            self.claims.say_again()

    def _hear(self, record: Record) -> None:
        other = record.other
        if other.where == self.where:
            self.claims.told(record.word, other.run_id, other.epoch)
        elif not record.at_work:
            self.claims.gone(other.where)
        elif self.claims.saw(other):
            self.looks.append(other)
        self._settle()

    def _settle(self) -> None:
        flying = len(self.busy) - len(self.claims.asked)

        def fits(_node: str) -> bool:
            nonlocal flying
            has_room = flying + len(self.claims.taken) < self.world.limit
            flying += has_room
            return has_room

        won, lost = self.claims.settle(fits)
        for node in won:
            self._take_down(node)
        for node in lost:
            self.busy.discard(node)
            self.claims.give_up(node)

    def _take_down(self, node: str) -> None:
        self.down.add(node)
        self.world.check(self, node)


@dataclass
class World:
    """The store, and all runs.

    Attributes:
        make: makes what a process knows; a test puts something worse in its place.
        limit: of all nodes in flight.
    """

    make: Callable[[bool, int], Claims]
    limit: int
    runs: dict[str, Run] = field(default_factory=dict)
    records: dict[str, Record] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)

    def store(self, where: str, record: Record) -> None:
        other = replace(record.other, version=str(len(self.history)))
        self.records[where] = record = replace(record, other=other)
        self.history.append(record)
        if not record.at_work:
            del self.records[where]

    def check(self, run: Run, node: str) -> None:
        """Assert that nobody else works on the node, and that all keep the limit."""
        others = [other for other in self.runs.values() if other is not run and other.acts]
        works = [o.where for o in others if node in o.down - o.excused]
        assert not works, f"{run.where} takes {node} down beside {works}"
        down = len(run.down - run.excused) + sum(len(o.down - o.excused) for o in others)
        assert down <= self.limit, f"{down} nodes are down"


def play(seed: int, make: Callable[[bool, int], Claims] = Claims, steps: int = 250) -> None:
    """Let chance play; then let it be fair, and see that all come to their end."""
    rng = random.Random(seed)
    nodes = [f"n{i}" for i in range(rng.randint(1, 4))]
    world = World(make, limit=rng.choice([1, 2, 9]))
    wheres = ["a", "b", "c"][: rng.randint(2, 3)]
    for _ in range(steps):
        unborn = [where for where in wheres if where not in world.runs]
        if unborn and rng.random() < 0.1:
            where = unborn[0]
            wanted = set(rng.sample(nodes, rng.randint(1, len(nodes))))
            world.runs[where] = Run(world, where, wanted)
        if not world.runs:
            continue
        _one_step(rng.choice(list(world.runs.values())), rng)
    _finish(world, rng)


def _one_step(run: Run, rng: random.Random) -> None:
    chance = rng.random()
    if run.asleep:
        if chance < 0.3:
            run.wake()
    elif not run.alive:
        if run.todo and chance < 0.1:
            run.begin()
    elif chance < 0.01:
        run.kill()
    elif chance < 0.02:
        run.sleep()
    elif chance < 0.04:
        run.look_again()
    else:
        run.step(rng)


def _finish(world: World, rng: random.Random) -> None:
    runs = list(world.runs.values())
    for run in runs:
        if run.asleep:
            run.wake()
    for turn in range(4000):
        left = [run for run in runs if run.alive and run.todo]
        if not left:
            return
        for run in left:
            run.step(rng)
        if turn % 20 == 0:
            for run in left:
                run.look_again()
    raise AssertionError(f"{[run.where for run in runs if run.alive]} wait for ever")
