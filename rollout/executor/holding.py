"""A session under its lock: its journal is open, and each write asks the lock first (S5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import msgspec

from rollout.cluster.client import Client
from rollout.cluster.identity import whoami
from rollout.errors import ClusterError, StaleError
from rollout.executor.engine import events as ev
from rollout.executor.inbox import Inbox
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.leases import LeaseName
from rollout.executor.lock.lock import Lock
from rollout.executor.lock.processes import this_process
from rollout.executor.observer import Observer
from rollout.executor.record.journalheads import with_head
from rollout.executor.record.record import AT_WORK, RunRecord
from rollout.executor.record.recordedgates import RecordedGate
from rollout.executor.record.timerecord import StoredTimes, recorded_starts, written
from rollout.executor.runlog import RunLog, open_log
from rollout.executor.session import Session
from rollout.executor.tuning import Tuning
from rollout.fleet.objects import format_time

_SKEW_S = 5.0  # of the two wall clocks, above which it is said


@dataclass(frozen=True, slots=True)
class Held:
    """What a part of a run works with, while its lock is held.

    Attributes:
        client: of the cluster; its writes ask the lock.
        session: what `begin` found out; its keeper asks the lock as well.
        inbox: where a stop can be asked for.
        observer: who is told.
        lock: of the run's DaemonSets.
        tuning: how long the run's own parts may take.
        log: the journal.
    """

    client: Client
    session: Session
    inbox: Inbox
    observer: Observer
    lock: Lock
    tuning: Tuning
    log: RunLog

    def now(self) -> str:
        """Return the server's time as the record holds it."""
        return format_time(self.client.server_time())

    def stamped(self, change: Callable[[RunRecord], RunRecord]) -> Callable[[RunRecord], RunRecord]:
        """Return the change of a record under our epoch; a higher one is never overwritten.

        The record also names where the journal stands by then.
        """

        def stamp(record: RunRecord) -> RunRecord:
            if record.epoch > self.lock.epoch:
                raise StaleError(
                    f"run {record.run_id} was taken over under epoch {record.epoch}, ours is "
                    f"{self.lock.epoch}; see 'rollout status'"
                )
            journals = with_head(record.journals, self.log.head)
            return msgspec.structs.replace(change(record), epoch=self.lock.epoch, journals=journals)

        return stamp

    def update(self, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """Change the record under our epoch; return what stands there then.

        Raises:
            StaleError: when another run, or a later one of this, has taken its place.
            ClusterError: when it cannot be written.
        """
        return self.session.keeper.update(self.session.record.run_id, self.stamped(change))

    def say(self, sentence: str) -> None:
        """Keep the record's sentence true while the run stops; others read it there."""
        if not self.log.intend_message(sentence):
            return
        with suppress(ClusterError, StaleError):  # it is a courtesy: the end is written anyhow
            self.update(lambda record: msgspec.structs.replace(record, message=sentence))

    def keep_gates(self, gates: tuple[RecordedGate, ...], wave: int) -> None:
        """Keep in the record what the gates say, for people and for the next process."""
        with suppress(ClusterError, StaleError):  # the end of the run writes it once more
            self.update(lambda record: msgspec.structs.replace(record, gates=gates, gate_wave=wave))

    def keep_times(self, times: StoredTimes) -> None:
        """Keep in the record what a restart must not forget.

        Raises:
            StaleError: when another run, or a later one of this, has taken its place.
            ClusterError: when it cannot be written.
        """
        starts = recorded_starts(times.started)
        since, counts_from = written(times.begun_since), written(times.counts_from)
        self.update(
            lambda record: msgspec.structs.replace(
                record,
                starts=starts,
                begun_since=since,
                counts_from=counts_from,
                claims=times.claims,
                beside=times.beside,
                word=times.word,
            )
        )


def _nobody_asks(client: Client) -> None:
    """Nothing is to be done at the begin."""
    del client


@contextmanager
def held(
    client: Client,
    session: Session,
    inbox: Inbox,
    observer: Observer,
    tuning: Tuning,
    begun: Callable[[Client], None] = _nobody_asks,
) -> Iterator[Held]:
    """Hold the lock of a run; the run hears of it when it stops being valid.

    Args:
        client: of the cluster.
        session: what `begin` found out.
        inbox: where a stop can be asked for, and what the run hears by.
        observer: who is told.
        tuning: how long the run's own parts may take.
        begun: called once the run has its lock and its journal, before anything else is told; it
            gets the client whose writes ask the lock.
    """
    lock: Lock

    def changed(reason: str) -> None:
        if lock.lost:
            inbox.put(ev.LockLost(lock.lost))
        elif reason:
            inbox.put(ev.ViewLost(ev.LOCK, reason, lock.locked_out))
        else:
            inbox.put(ev.ViewBack(ev.LOCK))

    found = session.keeper.found
    lock = Lock(
        client,
        [LeaseName(ds.namespace, ds.name) for ds in session.record.daemon_sets],
        Holder(session.record.run_id, whoami(), this_process()),
        above=found.epoch if found is not None else 0,
        held_before=found is not None and found.epoch > 0 and found.phase in AT_WORK,
        duration_s=tuning.lease_s,
        pause=inbox.stopped_within,
        on_change=changed,
        on_wait=observer.waiting,
    )
    _warn_of_skew(client, observer)
    asking = client.guarded(lock.objection)
    with lock, _log(session, observer, lambda: begun(asking)) as log:
        guarded = replace(session, keeper=session.keeper.guarded(lock.objection))
        yield Held(asking, guarded, inbox, observer, lock, tuning, log)


@contextmanager
def _log(session: Session, observer: Observer, begun: Callable[[], None]) -> Iterator[RunLog]:
    """Open the journal for the length of a run; only whoever holds the lock may write it."""
    log = open_log(
        session.place,
        session.record,
        session.keeper.namespace,
        session.cluster_uid,
        resumed=session.resumed,
        recover=session.recover,
    )
    begun()
    if log.found:
        observer.warning(log.found)
    log.note("begin", event=observer.sequence, resumed=session.resumed, who=whoami())
    try:
        yield log
    except BaseException as error:
        log.conclude(event=observer.sequence, message=str(error) or repr(error))
        raise
    finally:
        log.close()


def _warn_of_skew(client: Client, observer: Observer) -> None:
    """Say that our wall clock is wrong, or the cluster's; the run itself goes by neither."""
    skew_s = client.clock_skew_s or 0.0
    if abs(skew_s) > _SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        observer.warning(
            f"the clock of this machine is {abs(skew_s):.0f} s {side} the cluster's; the run goes "
            "by the cluster's time, but times that this machine writes are wrong"
        )
