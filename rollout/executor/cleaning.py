"""Clears up behind runs that nobody resumes, under the lock of every DaemonSet that it is about.

Everything is looked at again once the lock is held, each write is bound to the object that was
looked at and stands in a journal before, and doing it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec

from rollout.cluster.client import Client, PatchKind
from rollout.cluster.fleet import CORE, daemon_set_path, read_cluster_uid
from rollout.cluster.paths import resource_path
from rollout.errors import Conflict, NotFound
from rollout.executor.cleanup import Scope, Survey, survey
from rollout.executor.lock.leaseprotocol import Holder
from rollout.executor.lock.lock import Lock
from rollout.executor.patches import clean_patch, give_back_patch
from rollout.executor.record.keeper import Keeper
from rollout.executor.record.record import ConfigMap, RunRecord
from rollout.executor.runlog import journal_file
from rollout.executor.runs import FoundRecord
from rollout.fleet import marks
from rollout.fleet.objects import DaemonSet, format_time
from rollout.fleet.released import ReleasedPod
from rollout.fleet.selectors import selector_of
from rollout.journal.file import Journal, no_journal, open_journal
from rollout.journal.place import Place
from rollout.planner.leftovers import Leftovers, LeftPod, LeftStrategy

_ROUNDS = 5  # swaps of a DaemonSet's marks that others may come between


def clean(
    client: Client, scope: Scope, me: Holder, tell: Callable[[str], None], place: Place
) -> Survey:
    """Clear up, under the lock of every DaemonSet that it is about.

    Args:
        client: of the cluster.
        scope: where.
        me: as whom the lock is held.
        tell: takes one sentence about each thing that was done.
        place: where the journal shall be.

    Returns:
        What was found once the lock was held.

    Raises:
        LockedError: a run is alive there.
        JournalError: what is to be done cannot be written down.
        ClusterError: something cannot be read or written; the same command goes on.
    """
    before = survey(client, scope)
    log = _open_journal(client, scope, me, place)
    try:
        return _clean(client, scope, me, tell, before, log)
    finally:
        log.close()


def _clean(
    client: Client,
    scope: Scope,
    me: Holder,
    tell: Callable[[str], None],
    before: Survey,
    log: Journal,
) -> Survey:
    dead = {lock.run_id for lock in before.locks}
    if len(dead) == 1:
        # Its process has ended, or is silent: as the same run nobody need wait for its lease.
        me = replace(me, run_id=dead.pop())
    with _under_lock(client, before, me, tell) as (guarded, epoch):
        found = survey(client, scope, me.run_id)
        cleaner = _Cleaner(guarded, tell, log)
        for left in found.left:
            cleaner.clean(left)
        for ended in found.records:
            cleaner.end(ended, epoch, me.who)
        for store in found.stores:
            cleaner.forget(store)
    for lock in before.locks:
        tell(f"Lock of DaemonSet {lock.name}: released")
    log.append("end", outcome="done")
    log.sync()
    return found


def _open_journal(client: Client, scope: Scope, me: Holder, place: Place) -> Journal:
    cluster_uid = read_cluster_uid(client)
    path = journal_file(place, cluster_uid, f"{scope.namespace}.cleanup", me.run_id)
    if path is None:
        return no_journal()
    what = scope.rollout or scope.daemon_set or "all that is left over"
    about = {"cluster": cluster_uid, "rollout": f"{scope.namespace}/{what}", "who": me.who}
    return open_journal(path, me.run_id, **about).journal


@contextmanager
def _under_lock(
    client: Client, found: Survey, me: Holder, tell: Callable[[str], None]
) -> Iterator[tuple[Client, int]]:
    """Hold the locks; where no DaemonSet is left there is nothing to lock, and no run either."""
    if not found.leases:
        yield client, found.epoch
        return
    with Lock(client, found.leases, me, above=found.epoch, on_wait=tell) as lock:
        yield client.guarded(lock.objection), lock.epoch


class _Cleaner:
    """Carries out what was decided, one write after the other; each is written down before."""

    def __init__(self, client: Client, tell: Callable[[str], None], log: Journal) -> None:
        self._client = client
        self._say = tell
        self._log = log

    def _intend(self, action: str, **about: str) -> None:
        self._log.append("intent", action=action, **about)
        self._log.sync()

    def _tell(self, sentence: str) -> None:
        self._log.append("outcome", message=sentence)
        self._say(sentence)

    def clean(self, left: Leftovers) -> None:
        live: DaemonSet | None = None
        if left.daemon_set:
            live = self._client.get(daemon_set_path(left.namespace, left.daemon_set), DaemonSet)
        for item in left.pods:
            self._pod(left, item, live)
        if left.strategy is not None and live is not None:
            self._strategy(live, left.strategy)

    def _pod(self, left: Leftovers, item: LeftPod, live: DaemonSet | None) -> None:
        meta = item.pod.metadata
        path = resource_path(CORE, "pods", namespace=left.namespace, name=meta.name)
        try:
            if item.action != "leave":
                self._intend(item.action, node=item.pod.node, pod=meta.name, uid=meta.uid)
            if item.action == "delete":
                self._client.delete(path, uid=meta.uid)
                self._tell(f"Pod {meta.name} on {item.pod.node}: deleted, {item.why}")
            elif item.action == "take back" and live is not None:
                body = give_back_patch(meta.uid, _labels_back(item.pod, live))
                self._client.patch(path, body, PatchKind.MERGE, msgspec.Raw)
                self._tell(f"Pod {meta.name} on {item.pod.node}: taken back, {item.why}")
        except (NotFound, Conflict):
            self._tell(f"Pod {meta.name} on {item.pod.node}: it was gone already")

    def _strategy(self, live: DaemonSet, strategy: LeftStrategy) -> None:
        """Swap the marks for the strategy, unless somebody else has changed either meanwhile."""
        name = f"DaemonSet {live.metadata.namespace}/{live.metadata.name}"
        if strategy.action == "refuse":
            return
        path = daemon_set_path(live.metadata.namespace, live.metadata.name)
        said = _said(live)
        self._intend(strategy.action, daemonSet=live.metadata.name, uid=live.metadata.uid)
        for _ in range(_ROUNDS):
            try:
                body = clean_patch(live, strategy.original)
                self._client.patch(path, body, PatchKind.STRATEGIC, msgspec.Raw)
            except Conflict:  # the controller writes the status all the time
                live = self._client.get(path, DaemonSet)
                if _said(live) != said:
                    break
            else:
                did = "strategy restored" if strategy.original else "marks taken away"
                self._tell(f"{name}: {did}")
                return
        raise Conflict(f"{name} was changed meanwhile; look again with 'rollout cleanup'")

    def end(self, found: FoundRecord, epoch: int, who: str) -> None:
        assert found.record is not None
        run_id = found.record.run_id
        keeper = Keeper(self._client, found.namespace, found.name)
        keeper.read()

        def ended(record: RunRecord) -> RunRecord:
            return msgspec.structs.replace(
                record,
                phase="cleaned up",
                message=f"cleared up by {who}, was {record.phase}",
                finished_at=format_time(self._client.server_time()),
                epoch=max(epoch, record.epoch),
            )

        self._intend("end", cleaned=run_id)
        keeper.update(run_id, ended)
        self._tell(f"Run {run_id} of rollout {found.name}: recorded as cleaned up")

    def forget(self, store: ConfigMap) -> None:
        meta = store.metadata
        path = resource_path(CORE, "configmaps", namespace=meta.namespace, name=meta.name)
        self._intend("delete", configMap=meta.name, uid=meta.uid)
        try:
            self._client.delete(path, uid=meta.uid)
        except (NotFound, Conflict):
            return
        self._tell(f"ConfigMap {meta.name}: deleted, no run needs the plan in it any more")


def _labels_back(pod: ReleasedPod, live: DaemonSet) -> dict[str, str | None]:
    """Return the labels after which the selector matches the pod again."""
    labels: dict[str, str | None] = {}
    if pod.lost_label is not None:
        labels[pod.lost_label[0]] = pod.lost_label[1]
    has = pod.metadata.labels
    wanted = live.spec.selector.match_labels.items()
    labels.update({key: value for key, value in wanted if has.get(key) != value})
    return labels


def _said(live: DaemonSet) -> tuple[object, ...]:
    """Return all of a DaemonSet that the decision about its strategy was made from."""
    kept = {key: live.metadata.annotations.get(key) for key in marks.ALL}
    return live.metadata.uid, live.metadata.generation, str(selector_of(live.spec.selector)), kept
