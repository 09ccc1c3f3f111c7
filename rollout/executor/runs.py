"""Reads what the cluster knows of runs: the records, their histories, and who holds which lock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rollout.cluster.client import Client
from rollout.cluster.fleet import CORE
from rollout.cluster.paths import resource_path
from rollout.errors import ClusterError, Forbidden, StaleError
from rollout.executor.lock.leaseprotocol import CLOCK_ERROR_S, DURATION_S, LeaseState, parse_holder
from rollout.executor.lock.leases import LeaseName, LeaseStore
from rollout.executor.lock.processes import has_ended
from rollout.executor.record.history import PastRun, decode_history, past_run
from rollout.executor.record.record import (
    AT_WORK,
    DATA_KEY,
    NOTHING_LEFT,
    ConfigMap,
    RunRecord,
    decode_record,
    record_name,
)
from rollout.fleet import marks
from rollout.fleet.objects import JsonObject
from rollout.printable import one_line


@dataclass(frozen=True, slots=True)
class HeldLock:
    """Who holds a lease of a run's DaemonSets."""

    daemon_set: str
    run_id: str
    holder: str
    age_s: float | None  # since the last renewal, by the server's clock
    ended: bool = False  # its process has certainly ended
    waits_for: str = ""  # why nothing moves, as the holder has said it at its last renewal

    @property
    def stale(self) -> bool:
        """Whether nobody holds it any more: silent for longer than a lease lasts, or ended."""
        return self.ended or self.age_s is None or self.age_s > DURATION_S + CLOCK_ERROR_S


@dataclass(frozen=True, slots=True)
class KnownRun:
    """One run, and where its rollout is.

    Attributes:
        namespace: of the record.
        rollout: name of the rollout.
        run: what is known of it.
        last: whether it is the rollout's last run: the one that the record is of.
        locks: which leases it holds; None when leases may not be read.
        trouble: why the record cannot be read; then nothing else is known.
    """

    namespace: str
    rollout: str
    run: PastRun
    last: bool
    locks: tuple[HeldLock, ...] | None = ()
    trouble: str = ""

    @property
    def phase(self) -> str:
        """In which phase it is; a run that says `running` and holds no lock was interrupted."""
        return "interrupted" if _is_interrupted(self.run.phase, self.locks) else self.run.phase


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """A record, with the runs before it."""

    namespace: str
    name: str
    record: RunRecord | None
    history: tuple[PastRun, ...]
    trouble: str = ""


def read_records(client: Client, namespace: str) -> list[FoundRecord]:
    """Return all records in a namespace; "" is all namespaces.

    Raises:
        Forbidden: when ConfigMaps may not be listed there.
        ClusterError: when the cluster cannot be read.
    """
    path = resource_path(CORE, "configmaps", namespace=namespace)
    found = client.list(path, ConfigMap, label_selector=marks.MANAGED_BY_US).items
    return [_record(item) for item in found if DATA_KEY in item.data]


def read_records_widely(client: Client, namespace: str) -> list[FoundRecord]:
    """Return the records of all namespaces, or of one where only that may be read."""
    try:
        return read_records(client, "")
    except Forbidden:
        return read_records(client, namespace)


def read_known_records(client: Client, namespace: str) -> list[FoundRecord]:
    """Return the same; who may not read records knows of none."""
    try:
        return read_records_widely(client, namespace)
    except Forbidden:
        return []


def was_interrupted(client: Client, record: RunRecord) -> bool:
    """Whether a run that its record calls at work is carried out by nobody any more."""
    locks = _Locks(client).of(record) if record.phase in AT_WORK else ()
    return _is_interrupted(record.phase, locks)


def is_carried_out(
    client: Client, run_id: str, daemon_sets: Iterable[tuple[str, str]]
) -> bool | None:
    """Whether somebody carries a run out; None where that cannot be read.

    Args:
        client: of the cluster.
        run_id: id of the run.
        daemon_sets: namespace and name of each.
    """
    locks = _Locks(client)
    try:
        found = [locks.on(LeaseName(*daemon_set)) for daemon_set in daemon_sets]
    except ClusterError:
        return None
    return any(lock is not None and lock.run_id == run_id and not lock.stale for lock in found)


def lock_of(client: Client, namespace: str, daemon_set: str) -> HeldLock | None:
    """Return the lock that a live run holds on a DaemonSet; None also where it can't be read."""
    name = LeaseName(namespace, daemon_set)
    try:
        lock = _Locks(client).on(name)
    except Forbidden:
        return None
    return None if lock is None or lock.stale else lock


def _is_interrupted(phase: str, locks: tuple[HeldLock, ...] | None) -> bool:
    return phase in AT_WORK and locks is not None and all(lock.stale for lock in locks)


def recorded_strategy(uid: str, records: Iterable[FoundRecord]) -> JsonObject | None:
    """Return the strategy of before the last run of a DaemonSet, where it may not be back yet.

    What runs before that one have recorded is out of date: a later run has put it back, and its
    owner may have chosen another one since.

    Args:
        uid: of the DaemonSet.
        records: all run records that are known.
    """
    found = [
        (item.record, ds)
        for item in records
        if item.record is not None
        for ds in item.record.daemon_sets
        if ds.uid == uid
    ]
    record, ds = max(found, key=lambda pair: pair[0].order, default=(None, None))
    if record is None or ds is None or record.phase in NOTHING_LEFT:
        return None
    return ds.original_strategy


def past_runs(records: Iterable[FoundRecord]) -> list[PastRun]:
    """Return all runs of these records, whoever holds which lock."""
    found = []
    for item in records:
        found += [*item.history, *([past_run(item.record)] if item.record is not None else [])]
    return found


def read_runs(client: Client, records: Iterable[FoundRecord]) -> list[KnownRun]:
    """Return all runs of these records, the latest first, with the locks that they hold."""
    locks = _Locks(client)
    runs = []
    for found in records:
        runs += [KnownRun(found.namespace, found.name, run, last=False) for run in found.history]
        if found.record is None:
            nothing = PastRun("?", "", "", "unreadable", "", "", "", found.trouble, ())
            runs.append(
                KnownRun(found.namespace, found.name, nothing, last=True, trouble=found.trouble)
            )
            continue
        run, mine = past_run(found.record), locks.of(found.record)
        runs.append(KnownRun(found.namespace, found.name, run, last=True, locks=mine))
    return sorted(runs, key=lambda known: known.run.order, reverse=True)


def _record(found: ConfigMap) -> FoundRecord:
    meta = found.metadata
    name = meta.name.removeprefix(record_name(""))
    try:
        record = decode_record(found)
    except StaleError as error:
        return FoundRecord(meta.namespace, name, None, decode_history(found), str(error))
    return FoundRecord(meta.namespace, record.name, record, decode_history(found))


class _Locks:
    """The leases that are held; one list for each namespace."""

    def __init__(self, client: Client) -> None:
        self._store = LeaseStore(client, DURATION_S, patience_s=DURATION_S)
        self._held: dict[str, dict[LeaseName, LeaseState] | None] = {}

    def of(self, record: RunRecord) -> tuple[HeldLock, ...] | None:
        """Return which locks a run holds, or None when that cannot be known."""
        found = []
        for ds in record.daemon_sets:
            held = self._in(ds.namespace)
            if held is None:
                return None
            name = LeaseName(ds.namespace, ds.name)
            if name in held and parse_holder(held[name].holder).run_id == record.run_id:
                found.append(self._lock(name, held[name]))
        return tuple(found)

    def on(self, name: LeaseName) -> HeldLock | None:
        """Return the lock on one DaemonSet."""
        lease = self._store.read(name)
        return self._lock(name, lease) if lease is not None and lease.holder else None

    def _in(self, namespace: str) -> dict[LeaseName, LeaseState] | None:
        if namespace not in self._held:
            try:
                self._held[namespace] = self._store.held(namespace)
            except Forbidden:
                self._held[namespace] = None
        return self._held[namespace]

    def _lock(self, name: LeaseName, lease: LeaseState) -> HeldLock:
        holder = parse_holder(lease.holder)
        age_s = self._store.age_s(lease.renewed)
        ended, said = has_ended(holder.process), one_line(self._store.said(name))
        return HeldLock(str(name), holder.run_id, holder.who, age_s, ended, said)
