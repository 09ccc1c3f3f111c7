"""The lock of a run: one lease for each of its DaemonSets, all or none, kept by a thread.

What is safe stands in `leaseprotocol`; here it is done: reads and writes over the network, waiting,
renewing. Nobody asks the cluster before a write: `valid` looks at our own clock only.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from rollout.cluster.client import Client
from rollout.errors import ClusterError, LockedError, PausedError, Unauthenticated
from rollout.executor.lock.leaseprotocol import (
    DURATION_S,
    Again,
    Attempt,
    Busy,
    Found,
    Holder,
    Kept,
    LeaseState,
    Lost,
    Observation,
    Policy,
    Take,
    Tenure,
    Verdict,
    Wait,
    confirm,
    judge,
    observe,
    parse_holder,
    releasing,
    renewing,
    settle,
    taking,
)
from rollout.executor.lock.leases import LeaseName, LeaseStore
from rollout.executor.lock.lockwords import locked_text, waiting_text
from rollout.executor.lock.processes import has_ended
from rollout.executor.lock.steadyclock import steady_clock

RETRY_S = 1.0  # between two tries to renew while the cluster can't be reached
_SIDE_BY_SIDE = 16  # renewals at a time; as many threads
_RELEASED = "the lock was released"
_ROUNDS = 5  # swaps lost in a row before something other than a run must be at it


class Alarm(Protocol):
    """How the lock waits; `threading.Event` is one."""

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds; returns True, at once, when `set` was called."""

    def set(self) -> None:
        """End all waiting, now and later."""


class Lock:
    """The leases of a run.

    `with lock:` takes them, renews them in a thread, and gives them back. Without `with`, whoever
    calls `acquire` also calls `renew` when it asks for it, and `release`.

    Args:
        client: of the cluster.
        leases: one for each DaemonSet.
        holder: who asks.
        above: an epoch that is known to have been held; ours will be higher.
        held_before: whoever held that epoch may hold the leases still, even if none is there.
        duration_s: after which a silent holder counts as dead; also for leases of others.
        clock: own steady clock in seconds.
        wall: seconds since the epoch; only for times that people read.
        alarm: how to wait between two renewals.
        pause: how to wait before the lock is held; returns True, at once, when somebody wants us
            to stop. None: as the alarm does.
        ended: whether the process of a holder has certainly ended.
        on_change: called with the reason when the lock stops being valid or is lost for good, and
            with "" when it is valid again; by the thread that renews, after the start.
        on_wait: called with a sentence before a long wait.
    """

    def __init__(
        self,
        client: Client,
        leases: Sequence[LeaseName],
        holder: Holder,
        *,
        above: int = 0,
        held_before: bool = False,
        duration_s: float = DURATION_S,
        clock: Callable[[], float] = steady_clock,
        wall: Callable[[], float] = time.time,
        alarm: Alarm | None = None,
        pause: Callable[[float], bool] | None = None,
        ended: Callable[[str], bool] = has_ended,
        on_change: Callable[[str], None] | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self._policy = Policy(duration_s)
        valid_s = duration_s - self._policy.margin_s  # an answer that is later is worth nothing
        self._store = LeaseStore(
            client,
            duration_s,
            valid_s,
            least_s=self._policy.renew_s / 2,
            clock=clock,
            wall=wall,
        )
        self._names = sorted(set(leases))
        self._me = holder
        self._above = above
        self._held_before = held_before
        self._clock = clock
        self._alarm: Alarm = alarm or threading.Event()
        self._pause = pause or self._alarm.wait
        self._ended = ended
        self._on_change = on_change or _say_nothing
        self._on_wait = on_wait or _say_nothing
        self._tenures: Mapping[LeaseName, Tenure] = {}
        self._deadline = -math.inf
        self._lost = ""
        self._trouble = ""  # why the last renewal failed
        self.locked_out = False  # the server does not accept the credentials
        self._told = (True, "")  # whether it is valid, and why it is lost, as told last
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Take the leases and keep them."""
        self.acquire()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the leases back."""
        self.release()

    # For those who write

    def valid(self) -> bool:
        """Return whether a write may be sent now; cheap, and safe in any thread."""
        return not self._lost and self._clock() < self._deadline

    def objection(self) -> str:
        """Return why nothing may be written at this moment, "" when it may: a client's guard."""
        if self.valid():
            return ""
        return self._lost or self._trouble or self._silence_text()

    def outrun(self, epoch: int, by: str) -> None:
        """Hear of an epoch that somebody has written under; a higher one ends this lock (S9).

        Args:
            epoch: as it stands in a run record.
            by: whose it is, for the message.
        """
        if self._tenures and epoch > self.epoch:
            self._lose(f"{by} writes under epoch {epoch}, ours is {self.epoch}")
            self._tell(self._lost)

    def say(self, sentence: str) -> None:
        """Let the next renewal tell others why nothing moves; costs no write of its own."""
        self._store.saying = sentence

    @property
    def epoch(self) -> int:
        """The fencing number, the same in all leases; higher than that of any earlier holder."""
        return max((tenure.lease.epoch for tenure in self._tenures.values()), default=0)

    @property
    def lost(self) -> str:
        """Why the lock is lost for good; empty while it's held, or can be valid again."""
        return self._lost

    # Start

    def acquire(self) -> None:
        """Take all leases, or none; waits where a holder may be dead.

        Raises:
            LockedError: another run holds one of them.
            PausedError: somebody wants us to stop.
            ClusterError: they cannot be read or written.
        """
        seen: dict[LeaseName, Observation] = {}
        rounds = 0
        while rounds < _ROUNDS:
            pause_s = self._look(seen)
            if pause_s > 0:
                self._rest(pause_s)
            elif self._take_all(seen) and self._catch_up():
                return
            else:
                rounds += 1
        names = ", ".join(map(str, self._names))
        raise LockedError(
            f"the leases of {names} change all the time; look for what changes them with "
            f"'kubectl get leases -n {self._names[0].namespace} --watch'"
        )

    def _look(self, seen: dict[LeaseName, Observation]) -> float:
        """Look at all leases once; returns how long to wait before the next look."""
        waits = [0.0]
        for name in self._names:
            lease = self._store.read(name)
            first = name not in seen
            seen[name] = observe(seen.get(name), lease, self._clock())
            match self._judge(seen[name]):
                case Busy():
                    assert lease is not None
                    said = locked_text(name, lease, self._store.age_s(lease.renewed))
                    raise LockedError(said, parse_holder(lease.holder).run_id)
                case Wait(seconds):
                    waits.append(seconds)
                    if first:
                        self._on_wait(self._why_it_waits(name, lease))
                case Take():
                    pass
        return max(waits)

    def _why_it_waits(self, name: LeaseName, lease: LeaseState | None) -> str:
        age_s = self._store.age_s(lease.renewed) if lease is not None else None
        return waiting_text(name, lease, age_s, self._policy.duration_s)

    def _judge(self, seen: Observation) -> Verdict:
        lease = seen.lease
        return judge(
            seen,
            self._clock(),
            self._policy,
            self._me,
            age_s=self._store.age_s(lease.renewed) if lease else None,
            ended=lease is not None and self._ended(parse_holder(lease.holder).process),
            held_before=self._held_before,
        )

    def _rest(self, seconds: float) -> None:
        if self._pause(seconds):
            raise PausedError("stopped while waiting for the lock; nothing was changed")

    def _take_all(self, seen: Mapping[LeaseName, Observation]) -> bool:
        """Take all leases under one epoch; returns whether nobody came between."""
        known = [observation.lease for observation in seen.values()]
        epoch = 1 + max((lease.epoch for lease in known if lease), default=0)
        epoch = max(epoch, self._above + 1)
        taken: dict[LeaseName, Tenure] = {}
        try:
            for name in self._names:
                tenure = self._take(name, seen[name].lease, epoch)
                if tenure is None:
                    break
                taken[name] = tenure
        except BaseException:
            self._give_back(taken)
            raise
        if len(taken) < len(self._names):
            self._give_back(taken)
            return False
        self._hold(taken)
        return True

    def _catch_up(self) -> bool:
        """Renew what was taken so slowly, one after the other, that the first has lapsed again.

        Returns:
            Whether nobody has taken one of them meanwhile; else none is held any more.
        """
        if self.valid():
            return True
        try:
            self._renew_all()
        except BaseException:
            self._give_back(self._tenures)
            raise
        if not self._lost:
            return True
        self._give_back(self._tenures)
        self._hold({})
        self._lost = ""  # nothing was written under it: the next look tells who holds it now
        return False

    def _take(self, name: LeaseName, lease: LeaseState | None, epoch: int) -> Tenure | None:
        attempt = taking(lease, epoch, self._me, self._store.stamp(), self._clock())
        return confirm(attempt, self._store.write(name, attempt))

    # While it is held

    def renew(self) -> float:
        """Renew all leases once; returns after how many seconds to call it again."""
        if not self._lost:
            self._tell(self._trouble or self._silence_text())
            try:
                self._renew_all()
            except ClusterError as error:
                self.locked_out = isinstance(error, Unauthenticated)
                self._trouble = f"the lock cannot be renewed: {error}"
                self._tell(self._trouble)
                return RETRY_S
            self._tell(self.lost or "the renewal of the lock took too long")
        return math.inf if self._lost else self._until_renewal()

    def _until_renewal(self) -> float:
        """Return in how many seconds to renew: counted from when that was sent last.

        Where the API server is slow, the next renewal follows the last one's answer at once.
        """
        sent = min((tenure.sent for tenure in self._tenures.values()), default=self._clock())
        return max(sent + self._policy.renew_s - self._clock(), 0.0)

    def _renew_all(self) -> None:
        """Renew all leases; raises the first error behind all answers, which count all the same."""
        left = self._names
        for _ in range(_ROUNDS):
            left = self._renew_each(left)
            if not left or self._lost:
                break
        else:
            raise ClusterError(f"DaemonSet {left[0]}: its lease changes, or cannot be written")
        self._trouble = ""

    def _renew_each(self, names: Sequence[LeaseName]) -> list[LeaseName]:
        """Renew leases once, side by side; returns those that somebody else has written to.

        One after the other, two would lapse on a server that takes nearly a renewal's spacing for
        each answer. What came of it is taken in by the thread that renews, and no other.
        """
        attempts = {
            name: renewing(self._tenures[name], self._store.stamp(), self._clock())
            for name in names
        }
        again, errors = [], []
        for (name, attempt), found in zip(attempts.items(), self._sent(attempts), strict=True):
            if isinstance(found, ClusterError):
                errors.append(found)
                continue
            match settle(self._tenures[name], attempt, found):
                case Kept(kept):
                    self._hold({**self._tenures, name: kept})
                case Again(other):
                    self._hold({**self._tenures, name: other})
                    again.append(name)
                case Lost(why):
                    self._lose(f"the lease of {name} {why}")
        if errors and not self._lost:
            raise errors[0]
        return again

    def _sent(self, attempts: Mapping[LeaseName, Attempt]) -> list[Found | ClusterError]:
        """Return what there is after each write, or why that is not known."""
        if len(attempts) == 1:
            return [self._written(one) for one in attempts.items()]
        most = min(len(attempts), _SIDE_BY_SIDE)
        with ThreadPoolExecutor(most, thread_name_prefix="lease") as pool:
            return list(pool.map(self._written, attempts.items()))

    def _written(self, one: tuple[LeaseName, Attempt]) -> Found | ClusterError:
        try:
            return self._store.write(*one)
        except ClusterError as error:
            return error

    def _hold(self, tenures: Mapping[LeaseName, Tenure]) -> None:
        self._tenures = tenures
        ends = [tenure.valid_until(self._policy) for tenure in tenures.values()]
        self._deadline = min(ends, default=-math.inf)

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why

    def _silence_text(self) -> str:
        sent = min((tenure.sent for tenure in self._tenures.values()), default=None)
        if sent is None:
            return "the lock is not held"
        return f"the lock was not renewed for {self._clock() - sent:.0f} s"

    def _tell(self, why_not: str) -> None:
        """Tell whether the lock is valid, or lost for good, if that has changed.

        A holder that wakes up too late is first silent, then lost: it must hear of both, or it
        waits for ever for a lock that will never come back.
        """
        valid, lost = self.valid(), self._lost
        if (valid, lost) != self._told:
            self._told = valid, lost
            self._on_change("" if valid else why_not)

    def _keep(self) -> None:
        """Run in the thread: renew until the end."""
        pause_s = self._until_renewal()
        try:
            while pause_s < math.inf and not self._alarm.wait(pause_s):
                pause_s = self.renew()
        except Exception as error:  # the run must hear of it: nothing renews the lock any more
            self._lose(f"the lock is not renewed any more: {error!r}")
            self._tell(self._lost)
            raise

    # End

    def release(self) -> None:
        """Give all leases back, as far as the cluster can be reached; nothing may be in flight."""
        self._told = False, self._lost or _RELEASED  # nobody needs to be told
        self._lose(_RELEASED)
        self._alarm.set()
        if self._thread is not None:
            self._thread.join(self._policy.renew_s)
        self._give_back(self._tenures)

    def _give_back(self, held: Mapping[LeaseName, Tenure]) -> None:
        """Release what is still ours; what can't be reached runs out by itself."""
        for name, tenure in held.items():
            with contextlib.suppress(ClusterError):
                self._give_one_back(name, tenure)

    def _give_one_back(self, name: LeaseName, tenure: Tenure) -> None:
        for _ in range(_ROUNDS):
            attempt = releasing(tenure.lease, self._store.stamp(), self._clock())
            match settle(tenure, attempt, self._store.write(name, attempt)):
                case Again(found):
                    tenure = found
                case Kept() | Lost():
                    return


def _say_nothing(_text: str) -> None:
    return
