"""Finds what runs that nobody resumes have left behind in a namespace.

What may be done about each part is decided in `planner/leftovers`, and done in `cleaning`; here it
is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rollout.cluster.client import Client
from rollout.cluster.fleet import (
    APPS,
    CORE,
    read_cluster_uid,
    read_fleet,
    read_nodes,
    read_released,
)
from rollout.cluster.paths import resource_path
from rollout.errors import LockedError, NotFound
from rollout.executor.lock.leaseprotocol import (
    CLOCK_ERROR_S,
    DURATION_S,
    LeaseState,
    parse_holder,
)
from rollout.executor.lock.leases import LeaseName, LeaseStore
from rollout.executor.lock.lockwords import held_since, locked_text
from rollout.executor.lock.processes import has_ended
from rollout.executor.oldtemplates import needed_digest
from rollout.executor.record.planstore import STORE, kept_digests
from rollout.executor.record.record import (
    DATA_KEY,
    ENDED,
    NOTHING_LEFT,
    ConfigMap,
    RunRecord,
    record_name,
)
from rollout.executor.runs import (
    FoundRecord,
    past_runs,
    read_records,
    read_records_widely,
    recorded_strategy,
)
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, JsonObject
from rollout.fleet.released import ReleasedPod
from rollout.planner.leftovers import Leftovers, find_leftovers, orphans


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to clear up.

    Attributes:
        namespace: there.
        rollout: behind the last run of this rollout only; "" for any.
        daemon_set: on this DaemonSet only; "" for any.
        force: restore strategies also where the controller then replaces pods at once.
    """

    namespace: str
    rollout: str = ""
    daemon_set: str = ""
    force: bool = False


@dataclass(frozen=True, slots=True)
class DeadLock:
    """A lease that a run holds which is gone."""

    name: LeaseName
    run_id: str
    text: str


@dataclass(frozen=True, slots=True)
class SparedStore:
    """A stored plan of a run that is over, which the next plan may need to lead back."""

    name: str  # of the ConfigMap
    digest: str  # of the template that it holds
    daemon_set: str  # namespace and name


@dataclass(frozen=True, slots=True)
class Survey:
    """All that is left, and what will be done about it."""

    left: tuple[Leftovers, ...]
    locks: tuple[DeadLock, ...]
    records: tuple[FoundRecord, ...]  # of runs that will count as ended
    stores: tuple[ConfigMap, ...]  # plans that no run needs any more
    spared: tuple[SparedStore, ...]  # what is left, for it is the way back
    epoch: int  # the highest that a record names

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.left or self.locks or self.records or self.stores)

    @property
    def refused(self) -> list[Leftovers]:
        """Where the strategy is not restored."""
        return [left for left in self.left if left.strategy and left.strategy.action == "refuse"]

    @property
    def leases(self) -> list[LeaseName]:
        """What must be locked."""
        names = {(left.namespace, left.daemon_set) for left in self.left if left.daemon_set}
        for found in self.records:
            assert found.record is not None
            names |= _names(found.record)
        return sorted({*(LeaseName(*name) for name in names), *(lock.name for lock in self.locks)})


def survey(client: Client, scope: Scope, own: str = "") -> Survey:
    """Look for what is left; nothing is written.

    Args:
        client: of the cluster.
        scope: where to look.
        own: run id under which we hold the lock ourselves; "" when we don't.

    Raises:
        LockedError: a run is alive there.
        NotFound: the rollout has no record, or the DaemonSet does not exist.
        ClusterError: the cluster cannot be read.
    """
    return _Surveyor(client, scope, own).survey()


class _Surveyor:
    def __init__(self, client: Client, scope: Scope, own: str) -> None:
        self._client = client
        self._scope = scope
        self._own = own

    def survey(self) -> Survey:
        everything = read_records(self._client, self._scope.namespace)
        records = [found for found in everything if self._is_meant(found)]
        if self._scope.rollout and not records:
            where = f"{self._scope.namespace}/{record_name(self._scope.rollout)}"
            raise NotFound(
                f"there is no run of {self._scope.rollout}: no ConfigMap {where}; check -n, or "
                "name the DaemonSet with --daemonset"
            )
        subjects = self._subjects(records)
        locks = self._locks(subjects)
        left = self._left(subjects, records, everything)
        stuck = {(item.namespace, item.daemon_set) for item in left if _is_refused(item)}
        touched = {(item.namespace, item.daemon_set) for item in left}
        ending = [
            found
            for found in records
            if found.record is not None
            and found.record.phase not in NOTHING_LEFT
            and not _names(found.record) & stuck
            and (self._scope.rollout or _names(found.record) & touched)
        ]
        stores = self._stores(records, ending, everything)
        spared = self._spared(stores, records)
        kept = {store.name for store in spared}
        return Survey(
            left=tuple(left),
            locks=tuple(locks),
            records=tuple(ending),
            stores=tuple(store for store in stores if store.metadata.name not in kept),
            spared=tuple(spared),
            epoch=max((f.record.epoch for f in records if f.record is not None), default=0),
        )

    def _is_meant(self, found: FoundRecord) -> bool:
        if self._scope.rollout:
            return found.name == self._scope.rollout
        if not self._scope.daemon_set:
            return True
        wanted = (self._scope.namespace, self._scope.daemon_set)
        return found.record is not None and wanted in _names(found.record)

    def _subjects(self, records: Iterable[FoundRecord]) -> list[tuple[str, str]]:
        """Return the DaemonSets that are meant: namespace and name."""
        if self._scope.daemon_set:
            return [(self._scope.namespace, self._scope.daemon_set)]
        named = {name for found in records if found.record for name in _names(found.record)}
        if not self._scope.rollout:
            named |= {(self._scope.namespace, name) for name in self._live(self._scope.namespace)}
        return sorted(named)

    def _live(self, namespace: str) -> Mapping[str, DaemonSet]:
        path = resource_path(APPS, "daemonsets", namespace=namespace)
        found = self._client.list(path, DaemonSet).items
        return {ds.metadata.name: ds for ds in found}

    def _left(
        self,
        subjects: Sequence[tuple[str, str]],
        records: Sequence[FoundRecord],
        everything: Sequence[FoundRecord],
    ) -> list[Leftovers]:
        cluster_uid, nodes = read_cluster_uid(self._client), read_nodes(self._client)
        now = self._client.server_time()
        found: list[Leftovers] = []
        for namespace in sorted({namespace for namespace, _ in subjects}):
            live = self._live(namespace)
            released = read_released(self._client, namespace)
            if self._scope.daemon_set and self._scope.daemon_set not in live:
                raise NotFound(
                    f"DaemonSet {namespace}/{self._scope.daemon_set} does not exist; see "
                    f"'kubectl get daemonsets -n {namespace}'"
                )
            for name in (name for where, name in subjects if where == namespace and name in live):
                recorded = recorded_strategy(live[name].metadata.uid, everything)
                if not _is_suspect(live[name], released, recorded):
                    continue
                fleet = read_fleet(
                    self._client, namespace, name, cluster_uid=cluster_uid, nodes=nodes
                )
                known = replace(fleet, recorded_strategy=recorded)
                found.append(find_leftovers(known, released, now, force=self._scope.force))
            uids = {ds.metadata.uid for ds in live.values()}
            mine = [pod for pod in released if self._is_ours(pod, records)]
            found += orphans(namespace, mine, uids)
        return [left for left in found if left.found]

    def _is_ours(self, pod: ReleasedPod, records: Sequence[FoundRecord]) -> bool:
        """Whether a pod without a DaemonSet is within the scope."""
        if not self._scope.rollout and not self._scope.daemon_set:
            return True
        uids = {ds.uid for found in records if found.record for ds in found.record.daemon_sets}
        return pod.daemon_set_uid in uids

    def _locks(self, subjects: Sequence[tuple[str, str]]) -> list[DeadLock]:
        store = LeaseStore(self._client, DURATION_S, patience_s=DURATION_S)
        dead = []
        for namespace in sorted({namespace for namespace, _ in subjects}):
            for name, lease in sorted(store.held(namespace).items()):
                holder = parse_holder(lease.holder)
                wanted = (name.namespace, name.daemon_set) in subjects or self._is_whole
                if not wanted or holder.run_id == self._own:
                    continue
                age_s = store.age_s(lease.renewed)
                if _may_live(lease, age_s):
                    raise LockedError(locked_text(name, lease, age_s))
                dead.append(DeadLock(name, holder.run_id, f"{holder}, {held_since(lease, age_s)}"))
        return dead

    @property
    def _is_whole(self) -> bool:
        return not self._scope.rollout and not self._scope.daemon_set

    def _stores(
        self,
        records: Sequence[FoundRecord],
        ending: Sequence[FoundRecord],
        everything: Sequence[FoundRecord],
    ) -> list[ConfigMap]:
        """Return the stored plans of runs that are over, and those that belong to no record."""
        over = {f.name for f in records if f.record is not None and f.record.phase in ENDED}
        over |= {found.name for found in ending}
        known = {found.name for found in everything}
        path = resource_path(CORE, "configmaps", namespace=self._scope.namespace)
        found = []
        for item in self._client.list(path, ConfigMap, label_selector=marks.MANAGED_BY_US).items:
            name = item.metadata.name
            if not name.endswith(STORE) or DATA_KEY in item.data:
                continue
            rollout = _rollout_of(item)
            if rollout in over or (self._is_whole and rollout not in known):
                found.append(item)
        return found

    def _spared(
        self, stores: Iterable[ConfigMap], records: Iterable[FoundRecord]
    ) -> list[SparedStore]:
        """Return the stores by which the next plan leads behind a run that did not go well."""
        by_name = {found.name: found for found in records}
        holding = [item for item in stores if kept_digests(item) and _rollout_of(item) in by_name]
        if not holding:
            return []
        runs = past_runs(read_records_widely(self._client, self._scope.namespace))
        spared = []
        for item in holding:
            own = past_runs([by_name[_rollout_of(item)]])
            for subject in dict.fromkeys(ds for run in own for ds in run.daemon_sets):
                digest = needed_digest(self._client, subject, kept_digests(item), runs)
                if digest:
                    where = f"{subject.namespace}/{subject.name}"
                    spared.append(SparedStore(item.metadata.name, digest, where))
        return spared


def _rollout_of(store: ConfigMap) -> str:
    return store.metadata.name.removeprefix(record_name("")).removesuffix(STORE)


def _names(record: RunRecord) -> set[tuple[str, str]]:
    return {(ds.namespace, ds.name) for ds in record.daemon_sets}


def _is_refused(left: Leftovers) -> bool:
    return left.strategy is not None and left.strategy.action == "refuse"


def _is_suspect(
    live: DaemonSet, released: Iterable[ReleasedPod], recorded: JsonObject | None
) -> bool:
    """Whether it is worth reading the whole fleet of a DaemonSet."""
    marked = any(key in live.metadata.annotations for key in marks.ALL)
    uid = live.metadata.uid
    return marked or recorded is not None or any(pod.daemon_set_uid == uid for pod in released)


def _may_live(lease: LeaseState, age_s: float | None) -> bool:
    """Whether the holder may be at work: renewed of late, and not ended on this machine."""
    fresh = age_s is not None and age_s <= DURATION_S + CLOCK_ERROR_S
    return fresh and not has_ended(parse_holder(lease.holder).process)
