"""Who may take down a node that several runs want: decided from what the run records say.

Each run names the nodes that it works on in its record, its *claims*, and hears of all records by
one watch, so all runs see all claims in one and the same order: that in which the API server stored
them. Why no node is ever taken down by two runs, whatever is late or lost:

- A claim is good only once the watch has told the very record that names it: all that was claimed
  before is seen by then. A node that another run claims at that moment is lost, and whoever claims
  it later sees ours. So the order of the store decides, and no clock does.
- What is lost is withdrawn at once, and claimed again only when the watch has told that record as
  well: whoever has lost to a claim that was itself lost sees it go first.
- A run whose record is new takes nothing away before its own record was told, and before each run
  that was there has said in its own (`beside`) that it knows of it: until then that one need not
  name its nodes. It says so in a record that names all that it works on, and claims from then on.
- Whoever lost its lock for a while may have been taken for dead, and joins once more.
- A run whose lease has run out keeps nobody waiting. Whoever wakes up after that has a lock that
  has lapsed, and each change of its record makes others look at its lease again.

The sum of all nodes in flight is kept in the same way. Costs O(what changed) for each record that
is told; where no other run is at work nothing is claimed at all. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OtherRun:
    """A run that its record calls at work.

    Attributes:
        where: namespace and name of the record's rollout; one run at a time is there.
        run_id: id of the run.
        epoch: of its lock: each process of a run has a higher one.
        daemon_sets: namespace and name of each.
        nodes: which it claims.
        beside: the processes that it knows of, as `token` names them.
        version: of the record.
    """

    where: str
    run_id: str
    epoch: int
    daemon_sets: tuple[tuple[str, str], ...] = ()
    nodes: frozenset[str] = frozenset()
    beside: frozenset[str] = frozenset()
    version: str = ""

    @property
    def token(self) -> str:
        """The process that carries it out."""
        return token_of(self.run_id, self.epoch)

    def __str__(self) -> str:
        """Return who it is for a sentence."""
        sets = ", ".join(f"{namespace}/{name}" for namespace, name in self.daemon_sets)
        return f"run {self.run_id} of rollout {self.where} (DaemonSet {sets})"


def token_of(run_id: str, epoch: int) -> str:
    """Return what tells one process of a run from all others."""
    return f"{run_id}/{epoch}"


@dataclass(slots=True)
class Claims:
    """What a run knows of others, and what it claims itself.

    Attributes:
        joins: whether others are told of at all; else the run is alone.
        word: number of the last record that was asked for to claim something.
        zones: node -> zone, of those that the plan knows.
        heard: number in our own record, as the watch has told it last.
        recorded: the watch has told a record of ours.
        joined: our own record was told, and so all that stood beside it.
        owed: runs that were there before and have not said yet that they know of us.
        others: all runs at work, by where they are.
        unknown: those of which nobody has looked yet whether they live.
        dead: those whose lease has run out.
        heeded: processes that are to read in our record that we know of them.
        taken: node -> the runs that claim it and are not dead.
        zone_load: zone -> such nodes.
        asked: nodes that we want -> number of the record that claims them.
        ours: nodes that are claimed for good, and not begun yet, or under way.
        lost: nodes that another one has -> number of the record that withdraws them.
        freed: nodes that may be free again, for whoever waits for them.
        unsaid: whether our record lacks something that others wait for.
        stale: whether our record names what we work on no longer.
    """

    joins: bool
    word: int = 0
    zones: Mapping[str, str] = field(default_factory=dict)
    heard: int = 0
    recorded: bool = False
    joined: bool = False
    owed: set[str] = field(default_factory=set)
    others: dict[str, OtherRun] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)
    heeded: set[str] = field(default_factory=set)
    taken: dict[str, set[str]] = field(default_factory=dict)
    zone_load: Counter[str] = field(default_factory=Counter)
    asked: dict[str, int] = field(default_factory=dict)
    ours: set[str] = field(default_factory=set)
    lost: dict[str, int] = field(default_factory=dict)
    freed: list[str] = field(default_factory=list)
    unsaid: bool = False
    stale: bool = False
    _said: int = 0  # the last record that was sent to claim something
    _joins_with: int = 0  # number of the record that must have been told
    _token: str = ""

    def __post_init__(self) -> None:
        """Go on from the number that an earlier process has come to."""
        self.heard = self._said = self._joins_with = self.word

    @property
    def are_needed(self) -> bool:
        """Whether a node may be taken down only once it is claimed."""
        beside = len(self.others) > len(self.dead) or bool(self.heeded)
        return self.joins and (not self.joined or beside)

    # Others

    def saw(self, other: OtherRun) -> bool:
        """Take in the record of another run; returns whether to look if it lives."""
        where, before = other.where, self.others.get(other.where)
        is_new = before is None or before.token != other.token
        woke = not is_new and where in self.dead and before != other
        if before is not None and (is_new or where not in self.dead):
            self._leave(where, before.nodes - other.nodes)
        if is_new:  # whoever comes later needs our word, and we none of theirs
            self.owed.discard(where)
            self.heeded -= {before.token} if before is not None else set()
        self.others[where] = other
        if is_new or woke:
            self.dead.discard(where)
            self.unknown.add(where)
        if where not in self.dead:
            self._enter(where, other.nodes)
        if self._token in other.beside:
            self.owed.discard(where)
        return is_new or woke

    def gone(self, where: str) -> None:
        """Another run is not at work any more, or its record was deleted."""
        before = self.others.pop(where, None)
        if before is None:
            return
        self._leave(where, before.nodes)
        self.heeded.discard(before.token)
        for found in (self.owed, self.unknown, self.dead):
            found.discard(where)

    def looked(self, where: str, version: str, *, alive: bool) -> bool:
        """Hear whether another run lives; returns whether to look again.

        Args:
            where: it is.
            version: of its record when somebody was to look; behind a later one it has woken up.
            alive: whether it lives.
        """
        other = self.others.get(where)
        if other is None:
            return False
        if not alive and other.version != version:
            return True
        self.unknown.discard(where)
        if alive:
            if other.token not in self.heeded:
                self.heeded.add(other.token)
                self.unsaid = True
        elif where not in self.dead:
            self.dead.add(where)
            self.owed.discard(where)
            self._leave(where, other.nodes)
        return False

    def _enter(self, where: str, nodes: frozenset[str]) -> None:
        for node in nodes:
            runs = self.taken.setdefault(node, set())
            if not runs:
                self.zone_load[self.zones.get(node, "")] += 1
            runs.add(where)

    def _leave(self, where: str, nodes: frozenset[str]) -> None:
        for node in nodes:
            runs = self.taken.get(node)
            if runs is None:
                continue
            runs.discard(where)
            if not runs:
                del self.taken[node]
                self.zone_load[self.zones.get(node, "")] -= 1
                self.freed.append(node)

    # Our own

    def want(self, node: str) -> None:
        """Claim a node with the next record."""
        self.asked[node] = self.word + 1
        self.unsaid = True

    def give_up(self, node: str) -> None:
        """Claim a node no longer: its step is over, or was let go."""
        self.asked.pop(node, None)
        self.ours.discard(node)
        self.stale = self.stale or self.are_needed

    def speak(self) -> bool:
        """Whether to write our record now, under the number `word`; one such write at a time."""
        if not self.unsaid or self._said > self.heard:
            return False
        if not (self.recorded or self.asked):  # nobody knows of us, and nobody waits
            return False
        self.unsaid = self.stale = False
        self.word += 1
        self._said = self.word
        return True

    def not_said(self) -> None:
        """Our record could not be written."""
        self._said = self.heard

    def say_again(self) -> None:
        """Write it once more, if anybody waits for that."""
        self.unsaid = self.unsaid or bool(self.asked or self.lost or self.heeded)

    def lapsed(self) -> None:
        """Our lock was not valid for a while: others may have taken us for dead."""
        self.joined = False
        self._joins_with = self.word + 1
        self.ours.clear()
        self.asked = dict.fromkeys(self.asked, self._joins_with)
        self.unsaid = self.unsaid or bool(self.asked)

    def told(self, word: int, run_id: str, epoch: int) -> None:
        """Our own record was told, with all that was stored before it."""
        self._token, self.recorded = token_of(run_id, epoch), True
        self.heard = max(self.heard, word)
        if not self.joined and self.heard >= self._joins_with:
            self.joined = True
            self.owed = {
                where
                for where, other in self.others.items()
                if where not in self.dead and self._token not in other.beside
            }
        for node in [node for node, word in self.lost.items() if word <= self.heard]:
            del self.lost[node]
            self.freed.append(node)

    def settle(self, has_room: Callable[[str], bool]) -> tuple[list[str], list[str]]:
        """Return which nodes are ours from now on, and which are not to be had.

        Args:
            has_room: whether a node fits beside those of the others, and ours that were settled.
        """
        won, lost = list[str](), list[str]()
        if not self.joined or self.owed:
            return won, lost
        for node in [node for node, word in self.asked.items() if word <= self.heard]:
            del self.asked[node]
            if node not in self.taken and has_room(node):
                self.ours.add(node)
                won.append(node)
            else:
                self.lost[node] = self.word + 1
                self.unsaid = True
                lost.append(node)
        return won, lost

    def is_kept_from_us(self, node: str) -> bool:
        """Whether there is no use in claiming a node now."""
        return node in self.taken or node in self.lost
